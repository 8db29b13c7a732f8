"""A small embedded data set: videos of two moving objects, drawn and encoded as H.264 MP4.

A textured disc and a textured square move over a slowly drifting textured background. Sixteen
classes form eight pairs whose members share their frames: the second member of a pair shows the
trajectories of the first one backwards or, for the last pair, with the halves of the clip
exchanged. Only motion tells the members of a pair apart, and for most pairs only the motion of
the two objects relative to each other:

    left, right                                 both translate together, horizontally
    up, down                                    both translate together, vertically
    turn_cw, turn_ccw                           both spin in place, in the same sense
    mirror_cw, mirror_ccw                       both spin in place, in opposite senses
    circle_cw, circle_ccw                       they orbit around their midpoint, without spin
    approach, part                              their distance shrinks or grows over the clip
    square_follows_disc, disc_follows_square    one moves, the other imitates it, a pause
    approach_then_part, part_then_approach      two halves in one or the other order

A single frame carries no information on the class. Everything lives on a torus (what leaves the
frame on one side enters on the other), so that positions are uniform; orientations and the
direction from disc to square are uniform; and the distance of the objects at a random frame has
one distribution in all classes, that of the imitation classes (see `distance_quantile`): the
classes with a constant distance draw it from there and the sweeps run through its quantiles.

`speed` is a factor per clip. It multiplies the velocity of translation, spin and orbit and the
number of imitation cycles in a clip. A sweep covers the whole range of distances once per clip
(twice in the last pair) whatever the speed, because any other pace would change the distribution
of the distance; there `speed` scales the loop that both objects ride together.

Lengths are in pixels of a frame of `SIDE` x `SIDE` pixels, x to the right and y down; angles are
in radians and grow clockwise as seen on the screen. Rendering scales lengths to the frame's size.
"""

import colorsys
import csv
import functools
import io
import json
import math
import multiprocessing
import operator
import os
import signal
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from tqdm import tqdm

from keras_videorel.checks import check_choice, check_integer
from keras_videorel.files import write_json, written_whole

PAIRS = (
    ("left", "right"),
    ("up", "down"),
    ("turn_cw", "turn_ccw"),
    ("mirror_cw", "mirror_ccw"),
    ("circle_cw", "circle_ccw"),
    ("approach", "part"),
    ("square_follows_disc", "disc_follows_square"),
    ("approach_then_part", "part_then_approach"),
)
CLASSES = tuple(label for pair in PAIRS for label in pair)
SPLITS = ("train", "test")
COLUMNS = ("path", "label", "split", "speed", "background", "disc", "square")

FRAMES = 60
FPS = 25
SIDE = 112.0

# The objects never touch at MIN_DISTANCE, and below half the torus the distance on the torus is
# the distance seen within the frame.
MIN_DISTANCE = 27.5
MAX_DISTANCE = 55.5
DISC_RADIUS = (11.0, 12.5)
SQUARE_SIDE = (17.5, 20.0)

TRANSLATION = 1.1  # pixels per frame at speed 1
SPIN = math.radians(4.5)  # per frame
ORBIT = math.radians(2.7)  # per frame
LOOP_RADIUS = 2.0  # of the path that both objects ride while their distance changes
STEP = 5.0  # length of an imitated move
CYCLE = 21.0  # frames from one imitation to the next at speed 1
MOVE = 0.25  # part of a cycle that a move takes; half of the cycle is a pause
DRIFT = (0.1, 0.3)  # speed of the background in pixels per frame

# Interleaved, so that no speed and no texture of a test clip occurs in training and yet both lie
# within the range that training covers.
SPEEDS = {
    "train": ((1.00, 1.12), (1.30, 1.42), (1.60, 1.72)),
    "test": ((1.15, 1.27), (1.45, 1.57)),
}
TEXTURES = {"train": range(0, 48), "test": range(48, 72)}
_HUES = {"train": (0.0, 0.55), "test": (0.65, 0.9)}  # parts of each sixth of the colour circle
_WAVELENGTHS = {
    ("object", "train"): ((8.0, 9.0), (10.5, 12.0)),
    ("object", "test"): ((9.2, 10.3),),
    ("background", "train"): ((14.0, 17.0), (22.0, 28.0)),
    ("background", "test"): ((17.5, 21.5),),
}

_RENDERER = 1  # part of render.json: to be raised by any change to what is drawn or encoded
_MIN_SIZE, _MAX_SIZE = 32, 512


class Layout(NamedTuple):
    """The random numbers behind a trajectory; they are drawn alike for all classes."""

    centre: tuple  # midpoint of the objects, uniform on the torus
    bearing: float  # direction from disc to square
    quantile: float  # in [0, 1): where in the distribution of the distance
    disc_angle: float
    square_angle: float
    heading: float  # direction of the imitated move, start of the loop
    phase: float  # in [0, 2): where in two imitation cycles the clip begins


class Trajectory(NamedTuple):
    """State of the two objects in each frame."""

    disc: np.ndarray  # (frames, 2): x and y of the centre in pixels, to be taken modulo SIDE
    square: np.ndarray  # (frames, 2)
    disc_angle: np.ndarray  # (frames,)
    square_angle: np.ndarray  # (frames,)


class Clip(NamedTuple):
    """Everything that determines the frames of a clip."""

    label: str
    split: str
    index: int
    layout: Layout
    speed: float
    background: int  # texture ids
    disc: int
    square: int
    disc_radius: float
    square_side: float
    texture_offsets: np.ndarray  # (3, 2): of background, disc and square, uniform on the torus
    drift: tuple  # background velocity in pixels per frame

    @property
    def path(self):
        """Path of the video relative to the folder of the data set, with forward slashes."""
        return f"{self.split}/{self.label}/{self.index:04d}.mp4"


# --- Trajectories ---------------------------------------------------------------------------


def draw_layout(rng):
    """Draw the random numbers of a trajectory.

    Args:
        rng: `numpy.random.Generator`.

    Returns:
        A `Layout`.
    """
    turn = 2 * math.pi
    return Layout(
        centre=tuple(rng.uniform(0, SIDE, 2).tolist()),
        bearing=rng.uniform(0, turn),
        quantile=rng.random(),
        disc_angle=rng.uniform(0, turn),
        square_angle=rng.uniform(0, turn),
        heading=rng.uniform(0, turn),
        phase=rng.uniform(0, 2),
    )


def _unit(angle):
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _wave(phase):
    """Progress of a move there (from phase 0) and back (from phase 1), between 0 and 1."""
    phase = np.mod(phase, 2)
    return np.clip(phase / MOVE, 0, 1) - np.clip((phase - 1) / MOVE, 0, 1)


def _home_distance(quantile):
    """Distance of the objects in the pauses of the imitation classes.

    A move changes the distance by `STEP` at most, hence the margins. The ends of the range are
    favoured to make up for the time that imitating objects spend away from this distance.
    """
    ends = (1 - np.cos(np.pi * np.asarray(quantile))) / 2
    share = 0.4 * np.asarray(quantile) + 0.6 * ends
    return MIN_DISTANCE + STEP + (MAX_DISTANCE - MIN_DISTANCE - 2 * STEP) * share


@functools.lru_cache(maxsize=1)
def _distance_table():
    home = _home_distance((np.arange(512) + 0.5) / 512)[:, None, None]
    phase = (np.arange(128) + 0.5) / 64
    lag = STEP * (_wave(phase) - _wave(phase - MOVE))[:, None]
    heading = (np.arange(64) + 0.5) / 64 * np.pi
    distances = np.hypot(home + lag * np.cos(heading), lag * np.sin(heading))
    return np.quantile(distances, np.linspace(0, 1, 1025))


def distance_quantile(quantile):
    """Quantiles of the distance of the objects at a random frame, in every class.

    It is the distribution that the imitation classes have, where the distance follows from home
    position, step and direction. All other classes take their distances from it.

    Args:
        quantile: Numbers in [0, 1], of any shape.

    Returns:
        Distances in pixels, of the same shape, between `MIN_DISTANCE` and `MAX_DISTANCE`.
    """
    table = _distance_table()
    return np.interp(quantile, np.linspace(0, 1, len(table)), table)


def _translate(direction, layout, speed, time):
    shift = TRANSLATION * speed * time[:, None] * np.asarray(direction)
    return _assemble(layout, centre=shift)


def _spin(square_sense, layout, speed, time):
    turn = SPIN * speed * time
    return _assemble(layout, disc_turn=turn, square_turn=square_sense * turn)


def _orbit(layout, speed, time):
    return _assemble(layout, bearing=ORBIT * speed * time)


def _sweep(layout, speed, time, distance):
    # The loop closes after the clip, so that its halves can be exchanged without a jump.
    around = 2 * np.pi * time / len(time)
    loop = LOOP_RADIUS * speed * _unit(layout.heading + around)
    return _assemble(layout, centre=loop, distance=distance)


def _approach(layout, speed, time):
    frame = np.arange(len(time))
    return _sweep(layout, speed, time, _shrinking(layout, frame, len(time)))


def _approach_then_part(layout, speed, time):
    half = len(time) // 2
    shrinking = _shrinking(layout, np.arange(half), half)
    return _sweep(layout, speed, time, np.concatenate([shrinking, shrinking[::-1]]))


def _shrinking(layout, frame, frames):
    # At a random frame, (frame + quantile) / frames is uniform: the distribution is met exactly.
    return distance_quantile(1 - (frame + layout.quantile) / frames)


def _imitate(layout, speed, time):
    phase = layout.phase + speed * time / CYCLE
    step = STEP * _unit(layout.heading)
    leader, follower = ((_wave(p)[:, None] - 0.5) * step for p in (phase, phase - MOVE))
    path = _assemble(layout, distance=_home_distance(layout.quantile))
    return path._replace(disc=path.disc + leader, square=path.square + follower)


def _assemble(layout, centre=0.0, bearing=0.0, distance=None, disc_turn=0.0, square_turn=0.0):
    """Trajectory from the layout and what changes in it over time."""
    if distance is None:
        distance = distance_quantile(layout.quantile)
    arm = np.asarray(distance)[..., None] / 2 * _unit(layout.bearing + np.asarray(bearing))
    middle = np.asarray(layout.centre) + centre
    return Trajectory(
        disc=middle - arm,
        square=middle + arm,
        disc_angle=layout.disc_angle + np.asarray(disc_turn),
        square_angle=layout.square_angle + np.asarray(square_turn),
    )


_FIRST_MEMBERS = {
    "left": functools.partial(_translate, (-1, 0)),
    "up": functools.partial(_translate, (0, -1)),
    "turn_cw": functools.partial(_spin, 1),
    "mirror_cw": functools.partial(_spin, -1),
    "circle_cw": _orbit,
    "approach": _approach,
    "square_follows_disc": _imitate,
    "approach_then_part": _approach_then_part,
}


def trajectory(label, layout, speed, frames=FRAMES):
    """Positions and orientations of the two objects over a clip.

    The same layout and speed give the members of a pair the same frames: in reverse order or,
    for the last pair, with the halves exchanged.

    Args:
        label: One of `CLASSES`.
        layout: A `Layout`, for example of `draw_layout`.
        speed: Speed factor, above 0; the module's docstring says what it means in each class.
        frames: Number of frames, even and at least 2.

    Returns:
        A `Trajectory` of float64 arrays.

    Raises:
        ValueError: An argument is none of these.
    """
    check_choice("label", label, CLASSES)
    if not (math.isfinite(speed) and speed > 0):
        raise ValueError(f"`speed` must be a number above 0. Received: {speed}")
    frames = check_integer("frames", frames, 2)
    if frames % 2:
        raise ValueError(f"`frames` must be even, to have two halves. Received: {frames}")
    first, second = PAIRS[CLASSES.index(label) // 2]
    # Time is counted from the middle of the clip: reversal is then a change of its sign.
    time = np.arange(frames) - (frames - 1) / 2
    path = _FIRST_MEMBERS[first](layout, speed, time)
    shapes = ((frames, 2), (frames, 2), (frames,), (frames,))
    path = (np.broadcast_to(values, shape) for values, shape in zip(path, shapes, strict=True))
    if label == second:
        if first == "approach_then_part":
            path = (np.roll(values, frames // 2, axis=0) for values in path)
        else:
            path = (values[::-1] for values in path)
    return Trajectory(*(np.array(values) for values in path))


# --- Clips ----------------------------------------------------------------------------------


def _check_size(size):
    size = check_integer("size", size, _MIN_SIZE, _MAX_SIZE)
    if size % 2:
        raise ValueError(f"`size` must be even, as H.264 in yuv420p requires. Received: {size}")
    return size


def _draw_from(rng, intervals):
    low, high = intervals[rng.integers(len(intervals))]
    return rng.uniform(low, high)


def draw_clip(label, split, index, seed):
    """Draw all that determines a clip, from a generator of its own.

    Args:
        label: One of `CLASSES`.
        split: `"train"` or `"test"`.
        index: Number of the clip within its split and class, from 0.
        seed: Seed of the data set, an integer of at least 0.

    Returns:
        A `Clip`.

    Raises:
        ValueError: An argument is none of these.
    """
    check_choice("label", label, CLASSES)
    check_choice("split", split, SPLITS)
    index = check_integer("index", index, 0)
    seed = check_integer("seed", seed, 0)
    rng = np.random.default_rng([seed, SPLITS.index(split), CLASSES.index(label), index])
    layout = draw_layout(rng)
    speed = round(_draw_from(rng, SPEEDS[split]), 4)  # as in clips.csv
    background = rng.choice(TEXTURES[split])
    disc, square = rng.choice(TEXTURES[split], 2, replace=False)
    return Clip(
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
        drift=tuple((rng.uniform(*DRIFT) * _unit(rng.uniform(0, 2 * np.pi))).tolist()),
    )


@functools.lru_cache(maxsize=256)
def _texture(kind, identifier, size):
    """Draw a tileable texture.

    Args:
        kind: `"object"` (bright, fine, rich in contrast) or `"background"` (dark and coarse).
        identifier: Texture id, which also tells the split.
        size: Height and width of the tile in pixels; it stands for `SIDE` pixels.

    Returns:
        Float32 RGB array of shape `(size, size, 3)`, values from 0 to 255.
    """
    split = next(name for name in SPLITS if identifier in TEXTURES[name])
    rng = np.random.default_rng([("object", "background").index(kind), identifier])
    wavelength = _draw_from(rng, _WAVELENGTHS[kind, split])
    hues = [(rng.integers(6) + rng.uniform(*_HUES[split])) / 6 for _ in range(2)]
    saturations = rng.uniform(0.35, 0.75, 2)
    values = (0.42, 1.0) if kind == "object" else (0.1, 0.35)
    dark, light = (colorsys.hsv_to_rgb(*hsv) for hsv in zip(hues, saturations, values, strict=True))

    # Noise limited to a band of frequencies; made with the FFT, it is periodic.
    y, x = np.meshgrid(*[np.fft.fftfreq(size, 1 / size)] * 2, indexing="ij")
    frequency = np.maximum(np.hypot(x, y), 1e-9)
    band = np.exp(-((np.log(frequency * wavelength / SIDE) / 0.25) ** 2))
    if split == "test" and identifier % 2:  # streaks: one orientation is favoured
        band *= np.exp(np.cos(2 * (np.arctan2(y, x) - rng.uniform(0, np.pi))))
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((size, size))) * band).real
    noise /= noise.std()
    if split == "train":  # soft or sharp blobs
        level = 0.5 + 0.5 * np.tanh(noise * (3.0 if identifier % 2 else 1.4))
    elif identifier % 2:
        level = 0.5 + 0.5 * np.tanh(1.7 * noise)
    else:  # terraces: three levels with soft steps
        level = 0.5 + 0.25 * (np.tanh(5 * (noise - 0.6)) + np.tanh(5 * (noise + 0.6)))
    dark, light = np.array(dark), np.array(light)
    return (255 * (dark + level[..., None] * (light - dark))).astype(np.float32)


def _sample(texture, x, y):
    """Colours of a tileable texture at coordinates in its pixels, whose centres are at .5."""
    x, y = np.broadcast_arrays(np.float32(x - 0.5), np.float32(y - 0.5))
    return cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _draw_object(frame, texture, offset, centre, angle, is_disc, extent):
    """Draw an object into a frame, in place, wrapped around its borders.

    Args:
        frame: Float32 array of shape `(size, size, 3)`.
        texture: Tile of the same shape.
        offset: x and y of the object's centre within the tile, in pixels of the frame.
        centre: x and y of the object's centre in the frame, in pixels of the frame.
        angle: Orientation in radians.
        is_disc: Whether to draw a disc or a square.
        extent: Radius of the disc or half the side of the square, in pixels of the frame.
    """
    size = len(frame)
    reach = math.ceil(extent * (1 if is_disc else math.sqrt(2))) + 1
    columns, rows = (int(c // 1) + np.arange(-reach, reach + 1) for c in centre)
    x = (columns + 0.5 - centre[0])[None, :]
    y = (rows + 0.5 - centre[1])[:, None]
    cosine, sine = math.cos(angle), math.sin(angle)
    along, across = cosine * x + sine * y, cosine * y - sine * x
    radius = np.hypot(along, across) if is_disc else np.maximum(abs(along), abs(across))
    opacity = np.clip(extent - radius + 0.5, 0, 1).astype(np.float32)[..., None]
    where = np.ix_(rows % size, columns % size)
    colour = _sample(texture, along + offset[0], across + offset[1])
    frame[where] += opacity * (colour - frame[where])


def _render(clip, size):
    scale = size / SIDE
    path = trajectory(clip.label, clip.layout, clip.speed)
    offsets = clip.texture_offsets * scale
    background = _texture("background", clip.background, size)
    objects = (
        (clip.disc, offsets[1], path.disc * scale, path.disc_angle, True, clip.disc_radius),
        (
            clip.square,
            offsets[2],
            path.square * scale,
            path.square_angle,
            False,
            clip.square_side / 2,
        ),
    )
    grid = np.arange(size) + 0.5
    frames = np.empty((FRAMES, size, size, 3), np.uint8)
    for number in range(FRAMES):
        x, y = offsets[0] - number * scale * np.asarray(clip.drift)
        frame = _sample(background, (grid + x)[None, :], (grid + y)[:, None])
        for identifier, offset, centre, angle, is_disc, extent in objects:
            _draw_object(
                frame,
                _texture("object", identifier, size),
                offset,
                centre[number],
                angle[number],
                is_disc,
                extent * scale,
            )
        frames[number] = np.rint(frame)
    return frames


def render_clip(label, split, index, seed, size=112):
    """Draw the frames of a clip, as they are before encoding.

    Args:
        label: One of `CLASSES`.
        split: `"train"` or `"test"`.
        index: Number of the clip within its split and class, from 0.
        seed: Seed of the data set, an integer of at least 0.
        size: Height and width of the frames in pixels, even.

    Returns:
        Uint8 RGB array of shape `(FRAMES, size, size, 3)`.

    Raises:
        ValueError: An argument is none of these.
    """
    return _render(draw_clip(label, split, index, seed), _check_size(size))


# --- Files ----------------------------------------------------------------------------------

# Every block of every frame gets the same quantiser, so that the coding error, which a frame
# shows, follows the motion as little as possible. One thread makes the bytes repeatable.
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


def _write_clip(output, clip, size):
    path = Path(output, clip.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        _encode(_render(clip, size), beside)


def _start_worker():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which stops us
    cv2.setNumThreads(1)  # the processes share the cores already


def _write_clips(output, clips, size, workers):
    progress = functools.partial(tqdm, total=len(clips), unit="clip", desc="render")
    if workers == 1 or len(clips) <= 1:
        for clip in progress(clips):
            _write_clip(output, clip, size)
        return
    executor = ProcessPoolExecutor(
        min(workers, len(clips)), multiprocessing.get_context("spawn"), _start_worker
    )
    try:
        jobs = [executor.submit(_write_clip, output, clip, size) for clip in clips]
        for job in progress(as_completed(jobs)):
            job.result()
    except BrokenProcessPool:
        raise OSError(
            f"a rendering process died (memory may be short; workers={workers}); the same "
            "command again renders the clips that are missing"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def _claim(output, options):
    """Check that a folder is free for a render with these options, and mark it as theirs."""
    if output.exists() and not output.is_dir():
        raise NotADirectoryError(f"`output` must be a folder. Received: {str(output)!r}, a file")
    record = output / "render.json"
    if record.exists():
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
            found = {name: found[name] for name in options}
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"`output` holds a render.json that is none of a render; choose another folder. "
                f"Received: {str(output)!r}"
            ) from None
        different = [
            f"{name}={found[name]} there, {value} wanted"
            for name, value in options.items()
            if found[name] != value
        ]
        if different:
            raise ValueError(
                f"`output` holds a render with other options ({'; '.join(different)}); choose "
                f"another folder or repeat its options. Received: {str(output)!r}"
            )
        return
    foreign = [name for name in (*SPLITS, "clips.csv") if (output / name).exists()]
    if foreign:
        raise ValueError(
            f"`output` holds {', '.join(foreign)} but no render.json, so it is no render to "
            f"complete; choose another folder. Received: {str(output)!r}"
        )
    output.mkdir(parents=True, exist_ok=True)
    write_json(record, options)


def write_dataset(
    output, clips_per_class=38, test_clips_per_class=None, seed=0, size=112, workers=None
):
    """Render the data set as `SPLIT/LABEL/NNNN.mp4` with a table of the clips, `clips.csv`.

    A second call with the same options renders what is missing and leaves the rest alone.

    Args:
        output: Folder of the data set; made if need be.
        clips_per_class: Training clips per class.
        test_clips_per_class: Test clips per class; by default a third of `clips_per_class`, and
            at least 1.
        seed: Seed of the data set, an integer of at least 0.
        size: Height and width of the frames in pixels, even.
        workers: Number of processes; by default one for each available core.

    Returns:
        Path of `clips.csv`. Its columns are `COLUMNS`: the path relative to the folder, label,
        split, speed factor, and the texture ids of background, disc and square.

    Raises:
        ValueError: An argument is none of these, or the folder holds something else, such as a
            render with other options.
        OSError: A file cannot be written.
    """
    clips_per_class = check_integer("clips_per_class", clips_per_class, 1)
    if test_clips_per_class is None:
        test_clips_per_class = max(1, clips_per_class // 3)
    test_clips_per_class = check_integer("test_clips_per_class", test_clips_per_class, 1)
    seed = check_integer("seed", seed, 0)
    size = _check_size(size)
    if workers is None:
        affinity = getattr(os, "sched_getaffinity", None)
        workers = os.cpu_count() if affinity is None else len(affinity(0))
    workers = check_integer("workers", workers, 1)
    output = Path(output)
    options = {
        "clips_per_class": clips_per_class,
        "test_clips_per_class": test_clips_per_class,
        "seed": seed,
        "size": size,
        "renderer": _RENDERER,
    }
    _claim(output, options)
    counts = {"train": clips_per_class, "test": test_clips_per_class}
    clips = [
        draw_clip(label, split, index, seed)
        for split in SPLITS
        for label in CLASSES
        for index in range(counts[split])
    ]
    clips.sort(key=operator.attrgetter("path"))
    missing = [clip for clip in clips if not Path(output, clip.path).exists()]
    _write_clips(output, missing, size, workers)

    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(clip, column) for column in COLUMNS] for clip in clips)
    path = output / "clips.csv"
    with written_whole(path) as beside:
        Path(beside).write_bytes(table.getvalue().encode())
    return path
