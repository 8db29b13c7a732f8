"""When the frames of a video are shown: segments in seconds, and times that always increase."""

import math
import numbers
from typing import NamedTuple

import numpy as np

MIN_STEP = 1e-6  # seconds from a frame to the next: records count in microseconds
_MAX_STEP = 3600.0  # seconds; the times of damaged files jump, and so do clocks that are set anew
_MAX_STEPS = 10  # typical steps that are no jump either, for recordings of a frame an hour
_HICCUP = 1.0  # seconds by which single times may be off
_MAX_HICCUPS = 2
_MAX_START = 1e10  # seconds; live streams count from 1970


class Segment(NamedTuple):
    """Part of a video from `start` up to `end`, in seconds after the first frame of the video."""

    start: float
    end: float

    @property
    def is_whole(self):
        return self.start == 0 and self.end == math.inf

    def early_end(self, last, until):
        """A note if more than a tenth of the segment lies behind the end of the video, or None.

        The last frame of the video is at `last` seconds and is shown until `until`.
        """
        if self.end == math.inf or self.end - until <= 0.1 * (self.end - self.start):
            return None
        return f"ends at {last:.2f} s of {self.end:g}"


def check_segment(start, end):
    """The `Segment` from `start` to `end`; None stands for the beginning and for the end.

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
    """Most common step between times in seconds, in any order; None without two different times.

    Pauses do not count. Rounded times, such as WebM's milliseconds, are averaged.
    """
    steps = np.diff(np.unique(np.asarray(times, float)))
    steps = np.sort(steps[steps >= MIN_STEP])
    if len(steps) == 0:
        return None
    median = steps[(len(steps) - 1) // 2]
    # Film on television: steps of 2 and of 3 fields belong together. Twice the rate does not.
    return float(steps[(0.6 * median < steps) & (steps < 1.55 * median)].mean())


def longest_step(step):
    """The longest step in seconds that is no jump, in a video of some typical step."""
    return max(_MAX_STEP, _MAX_STEPS * step)


class Clock:
    """Increasing times of the frames of a video; called with each frame's own time or None.

    Where the times of a file jump, as between two recordings in one file, the next frame follows
    after a typical `step`, and later frames with the file's own steps.
    """

    def __init__(self, step):
        self._step, self._longest = step, longest_step(step)
        self._last = None
        # What is added to the file's times, and what was added before the last jump.
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
        # If a single frame was off, the one after it goes on from the times before.
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
