"""Segments of videos in seconds, and frame times that always increase."""

import math
import numbers
from typing import NamedTuple

import numpy as np

MIN_STEP = 1e-6  # seconds between frames; records store microseconds
# Damage, or a clock that is set, makes times jump. A step is a jump if it exceeds both bounds.
_MAX_STEP = 3600.0  # seconds
_MAX_STEPS = 10  # typical steps; some recordings have a frame an hour
_HICCUP = 1.0  # seconds by which a single time may be wrong
_MAX_HICCUPS = 2
_MAX_START = 1e10  # seconds; the times of live streams count from 1970


class Segment(NamedTuple):
    """Part of a video from `start` to `end` (exclusive), in seconds after its first frame."""

    start: float
    end: float

    @property
    def is_whole(self):
        return self.start == 0 and self.end == math.inf

    def early_end(self, last, until):
        """A note if more than a tenth of the segment lies after the end of the video, else None.

        The last frame of the video is shown from `last` to `until`.
        """
        if self.end == math.inf or self.end - until <= 0.1 * (self.end - self.start):
            return None
        return f"ends at {last:.2f} s of {self.end:g}"


def check_segment(start, end):
    """The `Segment` from `start` to `end`. None means the beginning or the end of the video.

    Raises:
        ValueError: If `start` or `end` is not a time, or `end` is not after `start`.
    """
    first, last = 0.0 if start is None else start, math.inf if end is None else end
    for name, value in (("start", first), ("end", last)):
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not value >= 0:
            raise ValueError(f"`{name}` must be seconds of at least 0. Received: {value!r}")
    if not first < last:
        raise ValueError(f"`end` must be after `start`. Received: start={start!r}, end={end!r}")
    return Segment(float(first), float(last))


def typical_step(times):
    """Typical step between times in seconds, given in any order. None without two different times.

    Pauses are ignored. Averaging evens out rounded times, such as the milliseconds of WebM.
    """
    steps = np.diff(np.unique(np.asarray(times, float)))
    steps = np.sort(steps[steps >= MIN_STEP])
    if len(steps) == 0:
        return None
    median = steps[(len(steps) - 1) // 2]
    # Film on television alternates steps of 2 and 3 fields, and both count. A double step does not.
    return float(steps[(0.6 * median < steps) & (steps < 1.55 * median)].mean())


def longest_step(step):
    """The longest step in seconds that is not a jump, for a video with this typical step."""
    return max(_MAX_STEP, _MAX_STEPS * step)


class Clock:
    """Turns the stored time of each frame (or None) into times that always increase.

    Where stored times jump, as between two recordings in one file, the clock advances by the
    typical `step`. After the jump it follows the steps of the file again.
    """

    def __init__(self, step):
        self._step, self._longest = step, longest_step(step)
        self._last = None
        # Offset added to the stored times, and the offset before the last jump.
        self._shift, self._before = 0.0, None
        self._hiccups = 0

    def __call__(self, stated):
        if self._last is None:
            known = stated is not None and abs(stated) <= _MAX_START
            self._last = stated if known else 0.0
        else:
            self._last = self._next(stated)
        return self._last

    def _next(self, stated):
        made_up = self._last + self._step
        if stated is None:
            return made_up
        # If only one frame had a wrong time, the previous offset fits the next frame again.
        before, self._before = self._before, None
        for shift in (before, self._shift):
            if shift is None:
                continue
            if MIN_STEP <= stated + shift - self._last <= self._longest:
                self._shift, self._hiccups = shift, 0
                return stated + shift
        self._hiccups += 1
        jumps = abs(stated + self._shift - self._last) > _HICCUP
        if jumps or self._hiccups > _MAX_HICCUPS:
            self._before, self._shift, self._hiccups = self._shift, made_up - stated, 0
        return made_up
