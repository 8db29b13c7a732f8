"""What is missing of a video, or damaged: what comes out of a file against what it declares."""

import math

import av

_WHOLE = 0.9  # of what is declared: containers are off by a few frames, and edit lists hide some


class Losses:
    """Counts what comes out of a file.

    The sound may last longer than the pictures, the last picture may stay, and AVI files declare
    any number of frames: none of these is a loss.

    Args:
        container: An `av` container, of which nothing was read yet.
        stream: Its video stream.

    Attributes:
        breaks_off: Whether reading ended with an error.
    """

    def __init__(self, container, stream):
        self._container, self._stream = container, stream
        # Of an AVI, the index is right where its count of frames is not.
        self._indexed = len(stream.index_entries) if container.format.name == "avi" else 0
        self.restart()

    def restart(self):
        """Forget what was counted: reading goes on elsewhere."""
        self.breaks_off = False
        self._damaged = self._tried = 0
        self._file, self._packets, self._shown, self._pictures = (_Extent() for _ in range(4))

    def add_packet(self, packet, time):
        """Count a packet of any stream.

        Args:
            packet: An `av.Packet`.
            time: When it is shown, in seconds, or None.
        """
        duration = float((packet.duration or 0) * packet.time_base) if packet.time_base else 0.0
        self._file.add(time, duration)
        if packet.stream_index == self._stream.index:
            self._packets.add(time, duration)
            if not packet.is_discard:
                self._shown.add(time)

    def add_picture(self, picture, time):
        """Count a decoded picture; None for a packet that does not decode."""
        self._tried += 1
        if picture is not None:
            self._pictures.add(time)
        if picture is None or picture.is_corrupt:
            self._damaged += 1

    def duration(self):
        """Seconds that the file declares for its pictures, or else for all it holds, or None."""
        return self._own_duration() or self._whole_duration() or None

    def mostly_damaged(self):
        """A few words if most frames are damaged, else None."""
        if 2 * self._damaged <= self._tried:
            return None
        return f"{self._damaged} of {self._tried} frames are damaged"

    def note(self, frames, step, whole=True):
        """What was lost, in a few words, or None.

        Args:
            frames: Number of frames that came out.
            step: Typical seconds from a frame to the next.
            whole: Whether these are all of the video, not only a segment.
        """
        found = ["the file breaks off"] if self.breaks_off else []
        if self._damaged:
            found.append(f"{self._damaged} damaged {'frame' if self._damaged == 1 else 'frames'}")
        missing = whole and self._is_short(step)
        declared = (
            (self._stream.frames if self._index_is_short() else self._indexed) if whole else 0
        )
        if frames < declared and (found or missing):
            found.append(f"{frames} of {declared} frames decoded")
        elif missing:
            seconds, duration = self._file.span, self._whole_duration()
            found.append(f"{frames} frames decoded, {seconds:.1f} of {duration:.1f} seconds")
        elif found:
            found.append(f"{frames} frames decoded")
        return "; ".join(found) or None

    def _index_is_short(self):
        """Whether the index of the file, if it has one, is not of all frames."""
        return self._indexed < self._packets.count

    def _is_short(self, step):
        """Whether a good part of the pictures did not come out."""
        shown, pictures = self._shown, self._pictures
        # Packets of half a frame, or of none, are no loss.
        if pictures.count < _WHOLE * shown.count and pictures.span < _WHOLE * shown.span:
            return True
        if self._packets.count < _WHOLE * self._indexed:
            return True
        if not self._index_is_short() or 0 < self._stream.frames <= self._packets.count:
            return False
        own, duration = self._own_duration(), self._whole_duration()
        if not own and duration <= 0:
            return self._packets.count < _WHOLE * self._stream.frames
        if own and self._packets.span + step >= _WHOLE * own:
            return False
        # Matroska counts from zero, others from the first frame.
        low, high = self._file.low, self._file.high + step
        return high - (low if low > duration else min(low, 0.0)) < _WHOLE * duration

    def _whole_duration(self):
        """Seconds that the file declares for the longest of what it holds, or 0."""
        return max(self._container.duration or 0, 0) / av.time_base

    def _own_duration(self):
        """Seconds that the file declares for the pictures alone, or None."""
        if self._indexed:
            last = self._stream.index_entries[self._indexed - 1]
            return float((last.timestamp + 1) * self._stream.time_base)
        if self._stream.duration and self._stream.duration > 0 and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        hours, _, rest = self._stream.metadata.get("DURATION", "").partition(":")  # Matroska
        minutes, _, seconds = rest.partition(":")
        try:
            return 3600 * float(hours) + 60 * float(minutes) + float(seconds)
        except ValueError:
            return None


class _Extent:
    """How many of something there are, and the time that they take."""

    def __init__(self):
        self.count, self.low, self.high = 0, math.inf, -math.inf

    def add(self, time, duration=0.0):
        self.count += 1
        if time is not None:
            self.low, self.high = min(self.low, time), max(self.high, time + duration)

    @property
    def span(self):
        return max(self.high - self.low, 0.0)
