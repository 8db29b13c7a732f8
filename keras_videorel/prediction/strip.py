"""Draw frames, attention maps and probabilities of a video as one figure for a paper."""

from __future__ import annotations

import os

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from keras_videorel import text as lettering
from keras_videorel.data import video
from keras_videorel.files import atomic_write
from keras_videorel.prediction import maps
from keras_videorel.prediction.predictor import Prediction, Predictor, Sample

EXTENSIONS = (".png", ".pdf", ".svg")

_WIDTH = 7.0  # in inches: both columns of a page
_MAX_FRAMES = 8
_DPI = 200
_SIDE = 400  # longer side of a frame in pixels
_BAR = 0.17  # height of the bar of a class in inches


def write(
    predictor: Predictor,
    source: str | os.PathLike,
    path: str | os.PathLike,
    *,
    top: int = 5,
    position: tuple[int, int] | None = None,
    gate: str = "mean",
) -> str | os.PathLike:
    """Draw a strip of frames that the model saw, their attention maps, and probabilities.

    The frames come from the sample in the middle of the video, at most eight. For a model of
    segments, they are the middle frames of the snippets. Heat maps show how much one position
    (framed) takes from each position of the state before, in multiples of a uniform weight. The
    bars below show the most probable classes of the whole video. The file is decoded twice.

    Args:
        source: The video file to label.
        path: The file to write, with one of `EXTENSIONS`.
        top: Number of classes.
        position: As for `overlay.write`.
        gate: As for `overlay.write`.

    Returns:
        `path`.

    Raises:
        ValueError: If an argument is out of range, or the video cannot be decoded.
    """
    if not os.fspath(path).lower().endswith(EXTENSIONS):
        raise ValueError(f"`path` must end in {', '.join(EXTENSIONS)}. Received: {path!r}")
    maps.check_options(predictor, position, gate)
    found = predictor.predict(source, video.count_frames(source, threads=0), top, with_sample=True)
    return draw(predictor, path, *found, position=position, gate=gate)


def draw(
    predictor: Predictor,
    path: str | os.PathLike,
    prediction: Prediction,
    sample: Sample | None,
    *,
    position: tuple[int, int] | None = None,
    gate: str = "mean",
) -> str | os.PathLike:
    """Draw the strip of `write` from the results of `Predictor.predict(with_sample=True)`."""
    assert sample is not None
    heat = place = None
    if sample.attention_maps is not None:
        heat, place = maps.select(sample.attention_maps, predictor.settings, position, gate)
    steps = max(predictor.clip.segments, 1) if heat is None else len(heat)
    if steps == 1:  # each frame of a clip is a step
        steps = len(sample.frames)
    shown = np.unique(np.linspace(0, steps - 1, min(steps, _MAX_FRAMES)).round().astype(int))
    length = len(sample.frames) // steps  # frames of a snippet
    middles = shown * length + length // 2
    frames = [_fit(sample.frames[index]) for index in middles]
    figure, grid = _draw(frames, sample.times[middles], prediction, heat is not None)
    if heat is not None:
        _draw_maps(figure, grid, frames, heat[shown], place, predictor.clip, gate)
    with atomic_write(path) as temporary:
        # Without a date, the same input gives the same file.
        metadata = {".png": None, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
        extension = os.path.splitext(path)[1].lower()
        figure.savefig(temporary, dpi=_DPI, metadata=metadata[extension])
    return path


def _fit(frame):
    scale = _SIDE / max(frame.shape[:2])
    size = tuple(max(round(side * scale), 1) for side in frame.shape[1::-1])
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _draw(frames, times, prediction, has_maps):
    """Draw the frames and the classes; return the figure and the grid of frames and maps."""
    aspect = frames[0].shape[0] / frames[0].shape[1]
    side = 0.75 if has_maps else 0.02  # inches for the scale of the maps
    width = (_WIDTH - side - 0.1) / len(frames)
    rows = 2 if has_maps else 1
    bars = _BAR * len(prediction.labels) + 0.32
    height = rows * (width * aspect + 0.04) + 0.2 + bars
    figure = Figure((_WIDTH, height))
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        rows, len(frames), left=0.05 / _WIDTH, right=1 - (side + 0.05) / _WIDTH,
        top=1 - 0.18 / height, bottom=bars / height, wspace=0.03, hspace=0.04,
    )  # fmt: skip
    for column, (frame, time) in enumerate(zip(frames, times, strict=True)):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(frame)
        axes.set_title(f"{time:.2f} s", size=7, pad=2)
        axes.set_axis_off()
    axes = figure.add_axes([0.32, 0.28 / height, 0.62, (bars - 0.32) / height])
    families, available = lettering.fonts({c for label in prediction.labels for c in label})
    names = [lettering.drawable(label, available) for label in prediction.labels]
    places = np.arange(len(names))
    axes.barh(places, prediction.probabilities, color="0.35", height=0.7)
    axes.set_yticks(places, names, size=8, family=families)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
        lettering.shorten(label, 0.3 * _WIDTH * figure.dpi, figure.canvas.get_renderer())
    for place, value in zip(places, prediction.probabilities, strict=True):
        inside = value > 0.9
        axes.annotate(
            f"{value:.1%}", (value, place), (-3 if inside else 3, 0), size=7, va="center",
            textcoords="offset points", ha="right" if inside else "left",
            color="white" if inside else "black",
        )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(len(names) - 0.4, -0.6))
    axes.tick_params("x", labelsize=7)
    axes.tick_params("y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, grid


def _draw_maps(figure, grid, frames, heat, place, clip, gate):
    """Draw heat maps over gray frames in the second row of the grid, and a color scale."""
    full = maps.full_heat(heat.max())
    height, width = frames[0].shape[:2]
    top, left, bottom, right = maps.seen_box(height, width, clip)
    rows, columns = heat.shape[1:]
    cell = (right - left) / columns, (bottom - top) / rows
    corner = left + place[1] * cell[0], top + place[0] * cell[1]
    for column, frame in enumerate(frames):
        axes = figure.add_subplot(grid[1, column])
        axes.imshow(frame.mean(axis=-1), cmap="gray", vmin=-80, vmax=400)
        shown = axes.imshow(
            heat[column], cmap=maps.HEAT, vmin=0, vmax=full, alpha=0.7,
            extent=(left, right, bottom, top), interpolation="bicubic",
        )  # fmt: skip
        for color, line in (("black", 1.8), ("white", 0.9)):
            axes.add_patch(Rectangle(corner, *cell, fill=False, edgecolor=color, linewidth=line))
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        axes.set_axis_off()
    box = axes.get_position()
    scale = figure.add_axes([box.x1 + 0.008, box.y0, 0.012, box.height])
    ticks = [0, 1, *([round(full / 2, 1)] if full > 4 else []), full]
    bar = figure.colorbar(shown, cax=scale, ticks=ticks)
    scale.set_yticklabels([f"{tick:.3g}x" for tick in ticks], size=6)
    scale.tick_params(length=2, pad=1)
    bar.solids.set_alpha(1)
    name = "mean of\ngates" if gate == "mean" else f"gate {gate}"
    scale.set_title(name, size=6, loc="left", pad=4)
