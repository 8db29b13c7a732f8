"""A small embedded data set: the trajectories of two objects, which `rendering` draws as videos.

A textured disc and a textured square move over a slowly drifting textured background. Twenty
classes form ten pairs. Both members of a pair have the same frames: the second member plays the
first one backwards, or swaps the halves of the clip (the last three pairs, `ORDER_PAIRS`). Only
motion tells the members of a pair apart, mostly the relative motion of the two objects:

    left, right                                 both translate together, horizontally
    up, down                                    both translate together, vertically
    turn_cw, turn_ccw                           both spin in place, in the same direction
    mirror_cw, mirror_ccw                       both spin in place, in opposite directions
    circle_cw, circle_ccw                       both orbit around their midpoint, without spin
    approach, part                              their distance shrinks or grows over the clip
    square_follows_disc, disc_follows_square    one moves, the other imitates it, then a pause
    approach_then_part, part_then_approach      two halves in one order or the other
    left_then_right, right_then_left            the same for translation
    up_then_down, down_then_up

A single frame carries no information about the class. An object that leaves the frame on one side
enters on the other side (a torus), so positions are uniform. Orientations and the direction from
disc to square are uniform, too. In all classes, the distance of the objects at a random frame has
the same distribution, which comes from the imitation classes (see `distance_quantile`). Classes
with a constant distance draw it from this distribution. The sweeps of `approach` and `part` run
through its quantiles.

`speed` is a factor per clip. It multiplies the velocity of translation, spin and orbit, and the
number of imitation cycles in a clip. A sweep covers all distances once or twice per clip at any
speed, because another pace would change the distribution of the distance. In a sweep, `speed`
scales a loop on which both objects move together.

Lengths are in pixels of a frame of `SIDE` x `SIDE` pixels, x to the right and y down. Angles are in
radians and grow clockwise. Rendering scales lengths to the size of the frame.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from keras_videorel.checks import check_choice, check_integer, check_number

PAIRS = (
    ("left", "right"),
    ("up", "down"),
    ("turn_cw", "turn_ccw"),
    ("mirror_cw", "mirror_ccw"),
    ("circle_cw", "circle_ccw"),
    ("approach", "part"),
    ("square_follows_disc", "disc_follows_square"),
    ("approach_then_part", "part_then_approach"),
    ("left_then_right", "right_then_left"),
    ("up_then_down", "down_then_up"),
)
ORDER_PAIRS = PAIRS[-3:]
CLASSES = tuple(label for pair in PAIRS for label in pair)

FRAMES = 60
SIDE = 112.0

# At MIN_DISTANCE the objects do not touch. MAX_DISTANCE is below half the torus, so the distance on
# the torus is the distance seen in the frame.
MIN_DISTANCE = 27.5
MAX_DISTANCE = 55.5

TRANSLATION = 1.1  # pixels per frame at speed 1
SPIN = math.radians(4.5)  # per frame
ORBIT = math.radians(2.7)  # per frame
LOOP_RADIUS = 2.0  # of the loop on which both objects move during a sweep
STEP = 5.0  # length of an imitated move
CYCLE = 21.0  # frames from one imitation to the next at speed 1
MOVE = 0.25  # share of a cycle that a move takes; half of the cycle is a pause


class Layout(NamedTuple):
    """The random numbers of a trajectory. They have the same distribution in all classes."""

    center: tuple  # midpoint of the objects, uniform on the torus
    bearing: float  # direction from disc to square
    quantile: float  # in [0, 1), of the distance
    disc_angle: float
    square_angle: float
    heading: float  # direction of the imitated move, or start of the loop
    phase: float  # in [0, 2); where in two imitation cycles the clip begins


class Trajectory(NamedTuple):
    """State of the two objects in each frame."""

    disc: np.ndarray  # (frames, 2); x and y of the center in pixels, modulo SIDE
    square: np.ndarray  # (frames, 2)
    disc_angle: np.ndarray  # (frames,)
    square_angle: np.ndarray  # (frames,)


def draw_layout(rng: np.random.Generator) -> Layout:
    """Draw a `Layout`."""
    turn = 2 * math.pi
    return Layout(
        center=tuple(rng.uniform(0, SIDE, 2).tolist()),
        bearing=rng.uniform(0, turn),
        quantile=rng.random(),
        disc_angle=rng.uniform(0, turn),
        square_angle=rng.uniform(0, turn),
        heading=rng.uniform(0, turn),
        phase=rng.uniform(0, 2),
    )


def unit_vector(angle: np.ndarray | float) -> np.ndarray:
    """Unit vectors `(..., 2)` of angles `(...)` in radians."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _wave(phase):
    """Progress between 0 and 1 of a move forth (from phase 0) and back (from phase 1)."""
    phase = np.mod(phase, 2)
    return np.clip(phase / MOVE, 0, 1) - np.clip((phase - 1) / MOVE, 0, 1)


def _home_distance(quantile):
    """Distance of the objects in the pauses of the imitation classes."""
    # A move changes the distance by at most `STEP`, hence the margins. The ends of the range are
    # favored, because imitating objects spend time away from this distance.
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


def distance_quantile(quantile: np.ndarray | float) -> np.ndarray:
    """Quantiles of the distance of the objects at a random frame, for numbers in [0, 1].

    In the imitation classes this distribution follows from home position, step and direction. All
    other classes draw their distances from it.
    """
    table = _distance_table()
    return np.interp(quantile, np.linspace(0, 1, len(table)), table)


# Functions that move the first member of a pair. `time` counts from the middle of the clip.


def _translate(direction, layout, speed, time):
    return _assemble(layout, center=TRANSLATION * speed * time[:, None] * np.asarray(direction))


def _translate_and_return(direction, layout, speed, time):
    # Each half ends where the other begins, so swapping the halves causes no jump.
    return _translate(direction, layout, speed, -np.abs(time))


def _spin(square_sense, layout, speed, time):
    turn = SPIN * speed * time
    return _assemble(layout, disc_turn=turn, square_turn=square_sense * turn)


def _orbit(layout, speed, time):
    return _assemble(layout, bearing=ORBIT * speed * time)


def _sweep(layout, speed, time, distance):
    # The loop closes at the end of the clip, so swapping the halves causes no jump.
    around = 2 * np.pi * time / len(time)
    loop = LOOP_RADIUS * speed * unit_vector(layout.heading + around)
    return _assemble(layout, center=loop, distance=distance)


def _approach(layout, speed, time):
    return _sweep(layout, speed, time, _shrinking(layout, len(time)))


def _approach_then_part(layout, speed, time):
    shrinking = _shrinking(layout, len(time) // 2)
    return _sweep(layout, speed, time, np.concatenate([shrinking, shrinking[::-1]]))


def _shrinking(layout, frames):
    # The quantile is uniform at a random frame, so the distribution is exact.
    return distance_quantile(1 - (np.arange(frames) + layout.quantile) / frames)


def _imitate(layout, speed, time):
    phase = layout.phase + speed * time / CYCLE
    step = STEP * unit_vector(layout.heading)
    leader, follower = ((_wave(p)[:, None] - 0.5) * step for p in (phase, phase - MOVE))
    path = _assemble(layout, distance=_home_distance(layout.quantile))
    return path._replace(disc=path.disc + leader, square=path.square + follower)


def _assemble(layout, center=0.0, bearing=0.0, distance=None, disc_turn=0.0, square_turn=0.0):
    """The trajectory of a layout and its changes over time."""
    if distance is None:
        distance = distance_quantile(layout.quantile)
    arm = np.asarray(distance)[..., None] / 2 * unit_vector(layout.bearing + np.asarray(bearing))
    middle = np.asarray(layout.center) + center
    return Trajectory(
        disc=middle - arm,
        square=middle + arm,
        disc_angle=layout.disc_angle + np.asarray(disc_turn),
        square_angle=layout.square_angle + np.asarray(square_turn),
    )


_FIRST_MEMBERS: dict[str, Callable] = {
    "left": functools.partial(_translate, (-1, 0)),
    "up": functools.partial(_translate, (0, -1)),
    "turn_cw": functools.partial(_spin, 1),
    "mirror_cw": functools.partial(_spin, -1),
    "circle_cw": _orbit,
    "approach": _approach,
    "square_follows_disc": _imitate,
    "approach_then_part": _approach_then_part,
    "left_then_right": functools.partial(_translate_and_return, (-1, 0)),
    "up_then_down": functools.partial(_translate_and_return, (0, -1)),
}


def trajectory(label: str, layout: Layout, speed: float, frames: int = FRAMES) -> Trajectory:
    """The `Trajectory` of the two objects over a clip.

    With the same layout and speed, both members of a pair have the same frames, in reverse order
    or (`ORDER_PAIRS`) with the halves swapped.

    Args:
        label: One of `CLASSES`.
        layout: Where the objects are.
        speed: Speed factor, above 0.
        frames: Number of frames, even and at least 2.
    """
    check_choice("label", label, CLASSES)
    check_number("speed", speed, above=0)
    frames = check_integer("frames", frames, 2)
    if frames % 2:
        raise ValueError(f"`frames` must be even, to have two halves. Received: {frames}")
    first, second = PAIRS[CLASSES.index(label) // 2]
    time = np.arange(frames) - (frames - 1) / 2
    path = _FIRST_MEMBERS[first](layout, speed, time)
    shapes = ((frames, 2), (frames, 2), (frames,), (frames,))
    path = (np.broadcast_to(values, shape) for values, shape in zip(path, shapes, strict=True))
    if label == second:
        if (first, second) in ORDER_PAIRS:
            path = (np.roll(values, frames // 2, axis=0) for values in path)
        else:
            path = (values[::-1] for values in path)
    return Trajectory(*(np.array(values) for values in path))
