"""A picture of clips: a few frames of each, what they are, and their optical flow."""

import cv2
import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import IdentityTransform

from keras_videorel import files
from keras_videorel import text as lettering
from keras_videorel.checks import check_integer
from keras_videorel.data import flow, inspection

FRAMES = 6  # of a clip

# In pixels.
_BOX = (128, 170)  # height and width that a frame must fit into
_GAP = 3  # between frames
_MARGIN = 22  # between clips, and around all
_LINE = 18  # of text
_WIDTH = FRAMES * (_BOX[1] + _GAP) - _GAP  # of a clip
_FACTS_WIDTH = 400  # of that, beside the label

_DPI = 100


def save_sheet(layout, clips, path, count=12, seed=0):
    """Draw random clips, each with frames at equal distances.

    Under each frame lies the optical flow from it to the next, where the shards hold it. Hue is
    direction, as on the wheel at the top; the full colour is the fastest motion shown of a clip,
    named above it, or 1 pixel per frame if all is slower.

    Args:
        layout: An `inspection.Layout`.
        clips: List of `inspection.Clip` to choose from, without problems.
        path: Where to write the PNG.
        count: Number of clips; all if there are not so many.
        seed: Seed of the choice.

    Raises:
        ValueError: If `count` is less than 1, there are no clips, or one does not decode.
    """
    count = min(check_integer("count", count, 1), len(clips))
    if not clips:
        raise ValueError("`clips` must hold at least one that decodes. Received: none")
    rng = np.random.default_rng(check_integer("seed", seed, 0))
    chosen = [clips[i] for i in sorted(rng.choice(len(clips), count, replace=False))]
    strips = [_strip(layout, clip) for clip in chosen]

    columns = 1 if count <= 3 else 2
    width = columns * (_WIDTH + _MARGIN) + _MARGIN
    title = f"{layout.folder}: {count} of {len(clips):,} clips, seed {seed}"
    parts, texts = [], [(_MARGIN, _MARGIN, title, 0.7 * width, {"weight": "bold", "size": 11})]
    if any(clip.flow for clip in chosen):
        wheel = _wheel(2 * _LINE)
        left = width - _MARGIN - wheel.shape[1]
        parts.append((left, _MARGIN - _LINE // 2, wheel))
        texts.append((left - 8, _MARGIN, "direction of flow", 0.2 * width, {"ha": "right"}))
    top = 2 * _MARGIN + _LINE
    for first in range(0, count, columns):
        height = 0
        for column, index in enumerate(range(first, min(first + columns, count))):
            clip, (strip, fastest) = chosen[index], strips[index]
            left = _MARGIN + column * (_WIDTH + _MARGIN)
            facts = _facts(clip, fastest)
            texts += [
                (left, top, layout.labels[clip.label], _WIDTH - _FACTS_WIDTH, {"weight": "bold"}),
                (left + _WIDTH, top, facts, _FACTS_WIDTH - _MARGIN, {"ha": "right"}),
                (left, top + _LINE, clip.path, _WIDTH, {"color": "0.35"}),
            ]
            parts.append((left, top + 2 * _LINE, strip))
            height = max(height, 2 * _LINE + strip.shape[0])
        top += height + _MARGIN
    page = np.full((top, width, 3), 255, np.uint8)
    for left, above, picture in parts:
        page[above : above + picture.shape[0], left : left + picture.shape[1]] = picture
    _save(page, texts, path)


def _facts(clip, fastest):
    frames = "1 frame" if clip.frames == 1 else f"{clip.frames} frames"
    facts = [clip.split, frames, "{}x{}".format(*clip.size)]
    if clip.seconds is not None:
        facts.insert(2, f"{clip.seconds:.1f} s")
    if fastest is not None:
        facts.append(f"flow up to {fastest:.1f} px")
    return " · ".join(facts)


def _strip(layout, clip):
    """Frames of a clip side by side, over their flow.

    Returns:
        `(picture, fastest)`: uint8 `(height, width, 3)`, and the length of the fastest motion in
        it in pixels per frame, or None.
    """
    jpegs, fields = inspection.read_pictures(layout, clip)
    places = np.unique(np.linspace(0, len(jpegs) - 1, FRAMES).round().astype(int))
    strip = _side_by_side([_decode(jpegs[i], clip) for i in places])
    if fields is None:
        return strip, None
    fields = [flow.from_levels(_decode(fields[i], clip)[..., :2]) for i in places]
    fastest = max(np.hypot(*np.moveaxis(field, -1, 0)).max() for field in fields)
    wheels = [flow.color_wheel(field, max(fastest, 1.0)) for field in fields]
    gap = np.full((_GAP, strip.shape[1], 3), 255, np.uint8)
    return np.concatenate([strip, gap, _side_by_side(wheels)]), fastest


def _decode(jpeg, clip):
    try:
        return tf.io.decode_jpeg(jpeg, channels=3).numpy()
    except tf.errors.InvalidArgumentError:
        raise ValueError(
            f"`clips` must be of pictures that decode. Received: record {clip.record} of "
            f"{clip.file} ({clip.path})"
        ) from None


def _side_by_side(pictures):
    """Pictures of one size, as large as they fit into boxes, with gaps."""
    height, width = pictures[0].shape[:2]
    scale = min(_BOX[0] / height, _BOX[1] / width)
    size = max(round(scale * width), 1), max(round(scale * height), 1)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    gap = np.full((size[1], _GAP, 3), 255, np.uint8)
    row = [part for p in pictures for part in (gap, cv2.resize(p, size, interpolation=way))]
    return np.concatenate(row[1:], axis=1)


def _wheel(size):
    """The colours of all directions, on a disc."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    wheel = flow.color_wheel(np.stack([x, y], axis=-1), 1.0)
    wheel[np.hypot(x, y) > 1] = 255
    return wheel


# --- Text -----------------------------------------------------------------------------------


def _save(page, texts, path):
    """Write a picture with texts on it as a PNG.

    Args:
        page: uint8 `(height, width, 3)`.
        texts: List of `(x, y, text, width, style)`: where the upper corner of its line is and how
            wide it may be, in pixels, and a dict of options of matplotlib's `Text`.
        path: Where.
    """
    height, width = page.shape[:2]
    figure = Figure((width / _DPI, height / _DPI), dpi=_DPI)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.figimage(page)
    families, available = lettering.fonts({c for _, _, text, _, _ in texts for c in text})
    for x, y, text, most, style in texts:
        text = lettering.drawable(text, available)
        style = {"size": 9, "family": families, "parse_math": False, **style}
        baseline = height - y - 0.7 * _LINE
        shown = figure.text(x, baseline, text, transform=IdentityTransform(), **style)
        lettering.shorten(shown, most, renderer)
    with files.atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)
