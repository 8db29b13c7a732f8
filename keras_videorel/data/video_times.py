"""When the frames of a video are shown: times that run on, whatever its file says."""

import numpy as np

SHORTEST_STEP = 1e-6  # seconds from a frame to the next: records count in microseconds
_LONGEST_STEP = 3600.0  # seconds; damaged files jump, and so do clocks that are set anew
_MOST_STEPS = 10  # that make up a longer one, in recordings of a frame an hour or less
_HICCUP = 1.0  # seconds that times may be off without being another clock's
_MOST_HICCUPS = 2
_LATEST_START = 1e10  # seconds; live streams count from 1970


def typical_step(times):
    """Seconds from a frame to the next, as most steps of a video have it.

    Pauses do not count, and times that are rounded, such as WebM's to milliseconds, are averaged.

    Args:
        times: Of frames, in seconds, in any order.

    Returns:
        A float, or None if there are not two different times.
    """
    steps = np.diff(np.unique(np.asarray(times, float)))
    steps = np.sort(steps[steps >= SHORTEST_STEP])
    if len(steps) == 0:
        return None
    median = steps[(len(steps) - 1) // 2]
    # Steps of 2 and 3 fields belong together, those of twice the rate do not.
    return float(steps[(0.6 * median < steps) & (steps < 1.55 * median)].mean())


def longest_step(step):
    """The longest step in seconds that is no jump, in a video of some typical step."""
    return max(_LONGEST_STEP, _MOST_STEPS * step)


class Clock:
    """Times of the frames of a video, increasing.

    Where the times of a file jump, such as those of two recordings in one file, they go on after a
    typical step, and from there with the file's own steps.

    Args:
        step: Typical seconds from a frame to the next.
    """

    def __init__(self, step):
        self._step, self._longest = step, longest_step(step)
        self._last = None
        self._shift, self._before = 0.0, None  # what is added to the file's times; until the jump
        self._hiccups = 0

    def __call__(self, stated):
        """Time of the next frame.

        Args:
            stated: Its time in seconds as the file has it, or None.
        """
        if self._last is None:
            known = stated is not None and abs(stated) <= _LATEST_START
            self._last = stated if known else 0.0
        else:
            self._last = self._next(stated)
        return self._last

    def _next(self, stated):
        made_up = self._last + self._step
        if stated is None:
            return made_up
        # A single frame may be off: then the one after it goes on where the file was.
        before, self._before = self._before, None
        for shift in (before, self._shift):
            if shift is None:
                continue
            if SHORTEST_STEP <= stated + shift - self._last <= self._longest:
                self._shift, self._hiccups = shift, 0
                return stated + shift
        self._hiccups += 1
        jumps = abs(stated + self._shift - self._last) > _HICCUP
        if jumps or self._hiccups > _MOST_HICCUPS:
            self._before, self._shift, self._hiccups = self._shift, made_up - stated, 0
        return made_up
