"""Render the clips of the embedded data set (`synthetic`) as H.264 MP4, and list them in a table.

The class `label`, the `split` ("train" or "test"), the `index` from 0 in this class and split, and
the `seed` of the data set determine a clip. `size` is the height and width of the frames in pixels,
an even number.
"""

from __future__ import annotations

import colorsys
import csv
import functools
import math
import multiprocessing
import operator
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from tqdm import tqdm

from keras_videorel.checks import check_choice, check_integer
from keras_videorel.data.local_engine import available_cores
from keras_videorel.data.synthetic import (
    CLASSES,
    FRAMES,
    SIDE,
    Layout,
    draw_layout,
    trajectory,
    unit_vector,
)
from keras_videorel.files import atomic_write, read_json, write_json

SPLITS = ("train", "test")
COLUMNS = ("path", "label", "split", "speed", "background", "disc", "square")

FPS = 25
DISC_RADIUS = (11.0, 12.5)
SQUARE_SIDE = (17.5, 20.0)
DRIFT = (0.1, 0.3)  # speed of the background in pixels per frame

# Speeds of training and test clips interleave. Test clips have speeds and textures that training
# clips never have, within the range of the training clips.
SPEEDS = {
    "train": ((1.00, 1.12), (1.30, 1.42), (1.60, 1.72)),
    "test": ((1.15, 1.27), (1.45, 1.57)),
}
TEXTURES = {"train": range(0, 48), "test": range(48, 72)}
_HUES = {"train": (0.0, 0.55), "test": (0.65, 0.9)}  # parts of each sixth of the color circle
_WAVELENGTHS = {
    ("object", "train"): ((8.0, 9.0), (10.5, 12.0)),
    ("object", "test"): ((9.2, 10.3),),
    ("background", "train"): ((14.0, 17.0), (22.0, 28.0)),
    ("background", "test"): ((17.5, 21.5),),
}

_RENDERER = 1  # stored in render.json; raise it after any change to drawing or encoding
_MIN_SIZE, _MAX_SIZE = 32, 512


class RenderedClip(NamedTuple):
    """Everything that determines the frames of a clip."""

    label: str
    split: str
    index: int  # type: ignore[assignment]
    layout: Layout
    speed: float
    background: int  # texture ids
    disc: int
    square: int
    disc_radius: float
    square_side: float
    texture_offsets: np.ndarray  # (3, 2); of background, disc and square, uniform on the torus
    drift: tuple  # background velocity in pixels per frame

    @property
    def path(self) -> str:
        """Path of the video in the folder of the data set, with forward slashes."""
        return f"{self.split}/{self.label}/{self.index:04d}.mp4"


def _check_size(size):
    size = check_integer("size", size, _MIN_SIZE, _MAX_SIZE)
    if size % 2:
        raise ValueError(f"`size` must be even, as H.264 in yuv420p requires. Received: {size}")
    return size


def _draw_from(rng, intervals):
    low, high = intervals[rng.integers(len(intervals))]
    return rng.uniform(low, high)


def draw_clip(label: str, split: str, index: int, seed: int) -> RenderedClip:
    """Draw a `RenderedClip`. Each clip has its own random generator."""
    check_choice("label", label, CLASSES)
    check_choice("split", split, SPLITS)
    index = check_integer("index", index, 0)
    seed = check_integer("seed", seed, 0)
    rng = np.random.default_rng([seed, SPLITS.index(split), CLASSES.index(label), index])
    layout = draw_layout(rng)
    speed = round(_draw_from(rng, SPEEDS[split]), 4)  # as in clips.csv
    background = rng.choice(TEXTURES[split])
    disc, square = rng.choice(TEXTURES[split], 2, replace=False)
    return RenderedClip(
        label=label,
        split=split,
        index=index,
        layout=layout,
        speed=speed,
        background=int(background),
        disc=int(disc),
        square=int(square),
        disc_radius=rng.uniform(*DISC_RADIUS),
        square_side=rng.uniform(*SQUARE_SIDE),
        texture_offsets=rng.uniform(0, SIDE, (3, 2)),
        drift=tuple((rng.uniform(*DRIFT) * unit_vector(rng.uniform(0, 2 * np.pi))).tolist()),
    )


@functools.lru_cache(maxsize=256)
def _texture(kind, identifier, size):
    """Draw a tileable texture, float32 RGB `(size, size, 3)` with values from 0 to 255."""
    # Objects are bright, fine and rich in contrast. Backgrounds are dark and coarse.
    split = next(name for name in SPLITS if identifier in TEXTURES[name])
    rng = np.random.default_rng([("object", "background").index(kind), identifier])
    wavelength = _draw_from(rng, _WAVELENGTHS[kind, split])
    hues = [(rng.integers(6) + rng.uniform(*_HUES[split])) / 6 for _ in range(2)]
    saturations = rng.uniform(0.35, 0.75, 2)
    values = (0.42, 1.0) if kind == "object" else (0.1, 0.35)
    hsv = zip(hues, saturations, values, strict=True)
    dark, light = (np.array(colorsys.hsv_to_rgb(*each)) for each in hsv)

    # Noise in a band of frequencies. The FFT makes it periodic.
    y, x = np.meshgrid(*[np.fft.fftfreq(size, 1 / size)] * 2, indexing="ij")
    frequency = np.maximum(np.hypot(x, y), 1e-9)
    band = np.exp(-((np.log(frequency * wavelength / SIDE) / 0.25) ** 2))
    if split == "test" and identifier % 2:  # streaks: one orientation is favored
        band *= np.exp(np.cos(2 * (np.arctan2(y, x) - rng.uniform(0, np.pi))))
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((size, size))) * band).real
    noise /= noise.std()
    if split == "train":  # soft or sharp blobs
        level = 0.5 + 0.5 * np.tanh(noise * (3.0 if identifier % 2 else 1.4))
    elif identifier % 2:
        level = 0.5 + 0.5 * np.tanh(1.7 * noise)
    else:  # terraces: three levels with soft steps
        level = 0.5 + 0.25 * (np.tanh(5 * (noise - 0.6)) + np.tanh(5 * (noise + 0.6)))
    return (255 * (dark + level[..., None] * (light - dark))).astype(np.float32)


def _sample(texture, x, y):
    """Colors of a tileable texture at coordinates in pixels, whose centers are at .5."""
    x, y = np.broadcast_arrays(np.float32(x - 0.5), np.float32(y - 0.5))
    return cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _draw_object(frame, texture, offset, center, angle, is_disc, extent):
    """Draw a disc or a square into a frame, in place, wrapped around the frame's borders.

    Lengths are in pixels of the frame. `offset` is the object's center (x, y) in the texture,
    `center` its center in the frame, and `extent` the radius or half the side.
    """
    size = len(frame)
    reach = math.ceil(extent * (1 if is_disc else math.sqrt(2))) + 1
    columns, rows = (int(c // 1) + np.arange(-reach, reach + 1) for c in center)
    x = (columns + 0.5 - center[0])[None, :]
    y = (rows + 0.5 - center[1])[:, None]
    cosine, sine = math.cos(angle), math.sin(angle)
    along, across = cosine * x + sine * y, cosine * y - sine * x
    radius = np.hypot(along, across) if is_disc else np.maximum(abs(along), abs(across))
    opacity = np.clip(extent - radius + 0.5, 0, 1).astype(np.float32)[..., None]
    where = np.ix_(rows % size, columns % size)
    color = _sample(texture, along + offset[0], across + offset[1])
    frame[where] += opacity * (color - frame[where])


def _render(clip, size):
    scale = size / SIDE
    path = trajectory(clip.label, clip.layout, clip.speed)
    background = _texture("background", clip.background, size)
    disc, square = (_texture("object", texture, size) for texture in (clip.disc, clip.square))
    radius, half_side = clip.disc_radius * scale, clip.square_side / 2 * scale
    offsets = clip.texture_offsets * scale
    grid = np.arange(size) + 0.5
    frames = np.empty((FRAMES, size, size, 3), np.uint8)
    for number, (at, other, angle, other_angle) in enumerate(zip(*path, strict=True)):
        x, y = offsets[0] - number * scale * np.asarray(clip.drift)
        frame = _sample(background, (grid + x)[None, :], (grid + y)[:, None])
        _draw_object(frame, disc, offsets[1], at * scale, angle, True, radius)
        _draw_object(frame, square, offsets[2], other * scale, other_angle, False, half_side)
        frames[number] = np.rint(frame)
    return frames


def render_clip(label: str, split: str, index: int, seed: int, size: int = 112) -> np.ndarray:
    """Frames of a clip before encoding, uint8 RGB `(FRAMES, size, size, 3)`."""
    return _render(draw_clip(label, split, index, seed), _check_size(size))


# --- Files ----------------------------------------------------------------------------------

# All blocks of all frames have the same quantizer, so that coding errors in a single frame reveal
# as little as possible about its motion. One thread makes the bytes reproducible.
_ENCODER = {
    "preset": "veryfast",
    "qp": "16",
    "threads": "1",
    "x264-params": "ipratio=1:pbratio=1:aq-mode=0:mbtree=0:scenecut=0:keyint=infinite",
}


def _encode(frames, path):
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options=dict(_ENCODER))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def write_video(path: str | os.PathLike, labels: Sequence[str], seed: int, size: int = 112) -> None:
    """Write an MP4 with the first test clip of each class in `labels`, one after the other."""
    clips = [render_clip(label, "test", 0, seed, size) for label in labels]
    with atomic_write(path) as temporary:
        _encode(np.concatenate(clips), temporary)


def _write_clip(output, clip, size):
    path = Path(output, clip.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        _encode(_render(clip, size), temporary)


def _start_worker():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends this process
    cv2.setNumThreads(1)  # each core has its own process


def _write_clips(output, clips, size, workers):
    write = functools.partial(_write_clip, output, size=size)
    progress = functools.partial(tqdm, total=len(clips), unit="clip", desc="render")
    if workers == 1 or len(clips) <= 1:
        for clip in progress(clips):
            write(clip)
        return
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(min(workers, len(clips)), context, _start_worker) as executor:
            for _ in progress(executor.map(write, clips)):
                pass
    except BrokenProcessPool:
        raise OSError(
            f"a rendering process died (memory may be short; workers={workers}); the same "
            "command again renders the clips that are missing"
        ) from None


def _claim(output, options):
    """Write the options to a folder. Raise a `ValueError` if it holds other options or files."""
    record = output / "render.json"
    if not record.exists():
        foreign = [name for name in (*SPLITS, "clips.csv") if (output / name).exists()]
        if foreign:
            raise ValueError(
                f"`output` holds {', '.join(foreign)} but no render.json, so it is not a render to "
                f"complete; choose another folder. Received: {str(output)!r}"
            )
        write_json(record, options)
        return
    found = read_json(record)
    there = found if isinstance(found, dict) else {}
    different = [
        f"{name}={there.get(name)} there, {value} wanted"
        for name, value in options.items()
        if there.get(name) != value
    ]
    if different:
        raise ValueError(
            f"`output` holds a render.json with other options ({'; '.join(different)}); choose "
            f"another folder or repeat its options. Received: {str(output)!r}"
        )


def write_dataset(
    output: str | os.PathLike,
    clips_per_class: int = 38,
    test_clips_per_class: int | None = None,
    seed: int = 0,
    size: int = 112,
    workers: int | None = None,
) -> Path:
    """Render the data set as `SPLIT/LABEL/NNNN.mp4` with a table of the clips, `clips.csv`.

    A second call with the same options renders only the missing clips.

    Args:
        output: Folder of the data set; created if needed.
        clips_per_class: Training clips per class.
        test_clips_per_class: Test clips per class. Default: a third of `clips_per_class`, at
            least 1.
        seed: Seed of the data set.
        size: Height and width of the frames.
        workers: Number of processes. Default: one per available core.

    Returns:
        Path of `clips.csv`, with the columns `COLUMNS`: the path relative to the folder, label,
        split, speed factor, and the texture ids of background, disc and square.

    Raises:
        ValueError: If an argument is out of range, or `output` holds other files or a render with
            other options.
    """
    clips_per_class = check_integer("clips_per_class", clips_per_class, 1)
    if test_clips_per_class is None:
        test_clips_per_class = max(1, clips_per_class // 3)
    counts = {
        "train": clips_per_class,
        "test": check_integer("test_clips_per_class", test_clips_per_class, 1),
    }
    options = {
        "clips_per_class": counts["train"],
        "test_clips_per_class": counts["test"],
        "seed": check_integer("seed", seed, 0),
        "size": _check_size(size),
        "renderer": _RENDERER,
    }
    workers = check_integer("workers", available_cores() if workers is None else workers, 1)
    folder = Path(output)
    _claim(folder, options)
    clips = [
        draw_clip(label, split, index, seed)
        for split in SPLITS
        for label in CLASSES
        for index in range(counts[split])
    ]
    clips.sort(key=operator.attrgetter("path"))
    missing = [clip for clip in clips if not Path(folder, clip.path).exists()]
    _write_clips(folder, missing, options["size"], workers)
    path = folder / "clips.csv"
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([getattr(clip, column) for column in COLUMNS] for clip in clips)
    return path
