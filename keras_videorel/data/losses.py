"""Find out which frames of a video are missing or damaged, by comparing them with its file."""

import collections
import math

import av

# Share of the declared frames that is enough. Headers are slightly wrong, and edit lists hide some.
_WHOLE = 0.9
_LONGEST_HOLE = 10.0  # seconds; a longer hole may be a pause or the joint of two recordings
_FEW = 2  # damaged frames; a file that was cut off has a damaged last frame
_EMPTY = 16  # bytes; a packet this small may only repeat the last picture
_HEAD, _PACKET_HEAD = 2048, 24  # bytes of the file's header and of each packet's, at most


class Losses:
    """Counts the packets and pictures of a file, to find out whether frames are missing.

    A longer sound track, a long last picture and a wrong frame count in an AVI are not losses.

    Args:
        container: An `av` container that has not been read yet.
        stream: Its video stream.

    Attributes:
        breaks_off: Whether reading ended with an error.
        at_end: Whether the decoder returned all pictures.
        last_stays: Seconds that the last picture is shown, or 0 if unknown.
    """

    def __init__(self, container, stream):
        self._container, self._stream = container, stream
        name = container.format.name
        # The index of an AVI is more reliable than its frame count.
        self._indexed = len(stream.index_entries) if name == "avi" else 0
        # With an index of the packets' places, the demuxer does not miss packets.
        self._finds_all = self._indexed > 0 or ("mp4" in name and stream.frames)
        self._in_matroska = "matroska" in name
        self.restart()

    def restart(self):
        """Reset the counts, for reading from another place."""
        self.breaks_off = self.at_end = False
        self._damaged = self._tried = self._corrupt = self._bytes = 0
        self.last_stays = 0.0
        # The newest step is kept apart, because a segment ends before it.
        self._steps, self._newest, self._last = collections.Counter(), None, None
        self._fields = False
        self._file, self._packets, self._shown, self._pictures = (_Extent() for _ in range(4))

    def add_packet(self, packet, time):
        """Count a packet of any stream. `time` is in seconds or None."""
        duration = float((packet.duration or 0) * packet.time_base) if packet.time_base else 0.0
        self._file.add(time, duration)
        self._bytes += packet.size
        if packet.stream_index == self._stream.index:
            if time is not None and time + duration > self._packets.high:
                self.last_stays = duration
            self._packets.add(time, duration)
            if not packet.is_discard and packet.size > _EMPTY:
                self._shown.add(time)

    def add_picture(self, picture, time):
        """Count a decoded picture. `picture` is None for a packet that does not decode."""
        self._tried += 1
        self._damaged += picture is None or picture.is_corrupt
        if picture is None:
            return
        self._pictures.add(time)
        self._corrupt += picture.is_corrupt
        self._fields |= picture.interlaced_frame
        if time is not None:
            if self._newest is not None:
                self._steps[self._newest] += 1
            if self._last is not None:
                self._newest = round(min(time - self._last, _LONGEST_HOLE), 3)
            self._last = time

    def duration(self):
        """Declared seconds of the video stream, or of the whole file, or None."""
        return self._own_duration() or self._whole_duration() or None

    def mostly_damaged(self, step, whole=True):
        """A short text if most frames are damaged or lost, else None. Arguments: see `note`."""
        if 2 * self._damaged > self._tried:
            return f"{self._damaged} of {self._tried} frames are damaged"
        good, expected = self._pictures.count - self._corrupt, self._expected(step, whole)
        if 2 * good < expected:
            return f"only {good} of {expected} frames are undamaged"
        if whole and self._damaged > _FEW and self._is_short(step, 0.5):
            return f"mostly damaged: {self.note(self._pictures.count, step)}"
        if whole and self._unread() > 0.5 and expected > self._pictures.count:
            return f"{self._unread():.0%} of the file cannot be read"
        return None

    def note(self, frames, step, whole=True):
        """A short text about the lost frames, or None.

        Args:
            frames: Number of frames that were decoded.
            step: Typical seconds between frames.
            whole: Whether the frames are from the whole video, not from a segment.
        """
        found = ["the file breaks off"] if self.breaks_off else []
        if self._damaged:
            found.append(f"{self._damaged} damaged {'frame' if self._damaged == 1 else 'frames'}")
        declared, missing = 0, False
        if whole:
            expected = self._expected(step, whole)
            lost = frames < _WHOLE * expected
            missing = lost or self._is_short(step)
            declared = self._stream.frames if self._index_is_short() else self._indexed
            if lost or (found and not missing):
                declared = max(declared, expected)
        if not (found or missing):
            return None
        if frames < declared:
            found.append(f"{frames} of {declared} frames decoded")
        elif missing:
            seconds, duration = self._believed().span, self._whole_duration()
            found.append(f"{frames} frames decoded, {seconds:.1f} of {duration:.1f} seconds")
        else:
            found.append(f"{frames} frames decoded")
        return "; ".join(found)

    def _expected(self, step, whole):
        """Number of pictures that the video had, estimated from the holes in their times."""
        # A hole alone may be a pause, so holes count only if there are other signs of damage.
        found, shown = self._pictures.count, self._shown.count // (2 if self._fields else 1)
        damaged = self._damaged > 0 or self.breaks_off
        unread = whole and self._unread() > 1 - _WHOLE and (damaged or self._in_matroska)
        if not (damaged or unread or (self.at_end and found < _WHOLE * shown)):
            return found
        steps = self._steps + collections.Counter([self._newest] if self.at_end else [])
        lost = sum(
            count * (round(hole / step) - 1)
            for hole, count in steps.items()
            if hole is not None and 1.5 * step < hole < _LONGEST_HOLE
        )
        # Longer holes count only if packets show how much is missing.
        if unread or self._finds_all:
            lost += steps[_LONGEST_HOLE] * round(_LONGEST_HOLE / step)
        if self.at_end:
            ends = max(0.0, self._shown.span - self._pictures.span)
            lost += min(round(ends / step), max(0, shown - found))
        # Damage creates false times, and pictures out of order count some holes twice.
        longest, duration = self._shown.span, self._whole_duration()
        if duration:
            longest = min(longest, duration)
            if self._damaged > _FEW and self._shown.span > 2 * duration and not self._finds_all:
                lost = round(longest / step)  # the times are not credible
            if unread:
                behind = max(0.0, duration - self._believed().high)
                longest, lost = longest + behind, lost + round(behind / step)
        expected = min(found + lost, round(longest / step) + 1)
        loses_packets = unread
        if not (whole and self._in_matroska):
            loses_packets |= self._damaged > _FEW and not self._finds_all
        return max(found, expected if loses_packets else min(expected, shown))

    def _unread(self):
        """Share of the bytes of a Matroska or ASF file outside all packets, hence damaged."""
        size = self._container.size  # 0 or less for a network stream
        if size <= 0 or not (self._in_matroska or self._container.format.name == "asf"):
            return 0.0
        read = self._bytes + _HEAD + _PACKET_HEAD * self._file.count
        for stream in self._container.streams:
            if stream.type == "attachment":
                read += len(stream.data or b"")
        return max(0.0, 1 - read / size)

    def _index_is_short(self):
        """Whether the file lacks an index of all frames."""
        return self._indexed < self._packets.count

    def _is_short(self, step, share=_WHOLE):
        """Whether less than this share of the pictures was decoded."""
        shown, pictures, packets = self._shown, self._pictures, self._packets
        # Packets of a single field and empty packets are not losses.
        if pictures.count < share * shown.count and pictures.span < share * shown.span:
            return True
        if packets.count < share * self._indexed:
            return True
        if not self._index_is_short() or 0 < self._stream.frames <= packets.count:
            return False
        own, duration = self._own_duration(), self._whole_duration()
        if not own and duration <= 0:
            return packets.count < share * self._stream.frames
        if own and packets.span + step >= share * own:
            return False
        # In Matroska the duration counts from zero, in other formats from the first frame.
        file = self._believed()
        return file.high + step - min(file.low, 0.0) < share * duration

    def _believed(self):
        """The extent of all packets, or of the video packets if the others have false times."""
        return self._file if self._file.span <= 2 * self._whole_duration() else self._packets

    def _whole_duration(self):
        """Declared seconds of the longest stream of the file, or 0."""
        return max(self._container.duration or 0, 0) / av.time_base

    def _own_duration(self):
        """Declared seconds of the video stream, or None."""
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
    """Counts items and tracks the time from the first to the last."""

    def __init__(self):
        self.count, self.low, self.high = 0, math.inf, -math.inf

    def add(self, time, duration=0.0):
        self.count += 1
        if time is not None:
            self.low, self.high = min(self.low, time), max(self.high, time + duration)

    @property
    def span(self):
        return max(self.high - self.low, 0.0)
