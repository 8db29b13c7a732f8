"""Draw a contact sheet of clips: a few frames of each clip, with labels and optical flow."""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from keras_videorel import files
from keras_videorel.checks import check_integer
from keras_videorel.data import flow, inspection
from keras_videorel.data.manifest import Manifest

FRAMES = 6  # per clip
WIDTH = 7  # of a clip, in inches


def save_sheet(
    manifest: Manifest,
    clips: Sequence[inspection.Clip],
    path: str | os.PathLike,
    count: int = 12,
    seed: int = 0,
) -> None:
    """Draw a PNG of random clips, with equally spaced frames of each and their flow below.

    The hue of flow is its direction. Full color means the fastest motion in the row, or 1 pixel per
    frame if all motion is slower. Raises a `ValueError` if there are no clips.
    """
    count = min(check_integer("count", count, 1), len(clips))
    if not clips:
        raise ValueError("`clips` must hold at least one that decodes. Received: none")
    rng = np.random.default_rng(check_integer("seed", seed, 0))
    chosen = [clips[i] for i in sorted(rng.choice(len(clips), count, replace=False))]
    strips = [_strip(manifest, clip) for clip in chosen]

    columns = 1 if count <= 3 else 2
    rows = -(-count // columns)
    height = WIDTH * max(strip.shape[0] / strip.shape[1] for strip in strips) + 0.5
    figure = Figure((columns * WIDTH, rows * height + 0.4), dpi=100, layout="constrained")
    title = f"{manifest.path}: {count} of {len(clips):,} clips, seed {seed}"
    if manifest.flow:
        title += "\nmotion to the right is red, down yellow, to the left cyan, up violet"
    figure.suptitle(title, fontsize=10, parse_math=False)
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, clip, strip in zip(figure.axes, chosen, strips, strict=False):
        axes.imshow(strip)
        seconds = "" if clip.seconds is None else f", {clip.seconds:.1f} s"
        facts = f"{clip.split}, {clip.frames} frames{seconds}, {clip.size[0]}x{clip.size[1]}"
        text = f"{manifest.labels[clip.label][:60]} ({facts})\n{clip.path[-100:]}"
        axes.set_title(text, loc="left", fontsize=8, parse_math=False)
    with files.atomic_write(path) as temporary:
        figure.savefig(temporary, format="png")


def _strip(manifest, clip):
    """Frames of a clip side by side, with their flow below, uint8 `(height, width, 3)`."""
    shard = tf.data.TFRecordDataset(files.join(manifest.path, clip.file), manifest.compression)
    serialized = next(shard.skip(clip.record).as_numpy_iterator())
    jpegs, fields = inspection.pictures(tf.train.SequenceExample.FromString(serialized), manifest)
    indices = np.unique(np.linspace(0, len(jpegs) - 1, FRAMES).round().astype(int))
    try:
        rows = [
            [tf.io.decode_jpeg(pictures[i], channels=3).numpy() for i in indices]
            for pictures in (jpegs, fields)
            if pictures is not None
        ]
    except tf.errors.InvalidArgumentError:
        place = f"record {clip.record} of {clip.file} ({clip.path})"
        raise ValueError(f"`clips` must be of pictures that decode. Received: {place}") from None
    if fields is not None:
        motion = [flow.from_levels(levels[..., :2]) for levels in rows[1]]
        fastest = max(np.hypot(field[..., 0], field[..., 1]).max() for field in motion)
        rows[1] = [flow.color_wheel(field, max(fastest, 1.0)) for field in motion]
    return np.concatenate([_row(row) for row in rows])


def _row(pictures):
    """Pictures of one size side by side, with gaps. The row of a short clip ends in white."""
    gap = max(pictures[0].shape[0] // 40, 1)
    framed = [np.pad(p, ((0, gap), (0, gap), (0, 0)), constant_values=255) for p in pictures]
    framed += [np.full_like(framed[0], 255)] * (FRAMES - len(framed))
    return np.concatenate(framed, axis=1)
