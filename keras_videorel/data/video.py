"""Decode the frames of videos with PyAV, one at a time.

Frames look as in a player: upright, with square pixels, and deinterlaced if they are flagged as
interlaced. The frame count and duration in the container's header are not trusted.
"""

import collections
import itertools
import math
import operator
import os
from fractions import Fraction

import av
import numpy as np

from keras_videorel.data.losses import Losses
from keras_videorel.data.video_files import VideoError, check_pixels, open_file, open_stream
from keras_videorel.data.video_times import (
    MIN_STEP,
    Clock,
    check_segment,
    longest_step,
    typical_step,
)

STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "rtp")
_DEFAULT_RATE = 25.0  # for raw streams that carry neither timestamps nor a frame rate
# Rates outside this range come from the container's clock or from damage. The minimum is 1 a day.
_MIN_RATE, _MAX_RATE = 1 / 86_400, 1e3
# Packets that are read to find the frame rate (of files and of live streams), and bytes at most.
_AHEAD, _LIVE_AHEAD, _AHEAD_BYTES = 64, 8, 1 << 24
_SIGN = 1000  # packets between calls of `on_drop`
_SEEK_EARLIER = (0, 1, 4, 16, 64)  # seconds; if all fail, decoding starts at the beginning
# Container formats of raw streams. They store no times, so FFmpeg counts them.
_COUNTS_TIMES = (av.format.Flags.generic_index | av.format.Flags.no_timestamps).value
_UPRIGHT = (False, 1, 1)


class FrameReader:
    """Iterator over `(timestamp, frame)` of a video. `iter_frames` makes it.

    Attributes:
        frames: Number of frames returned so far.
        frame_rate: Frames per second. If the first timestamps contradict the declared rate, as in
            browser recordings, the timestamps give the rate.
        duration: Declared duration of the pictures in seconds. None if the file declares none, as
            for live streams and browser recordings.
        is_live: Whether the video is a live stream, which does not wait for its reader.
        note: Set after the last frame: a text about lost frames, or None.
        on_drop: Optional function without arguments. It is called after each decoded frame that
            lies before `start`, and regularly while the reader searches for `start`.
    """

    def __init__(self, path, size=None, threads=1, start=None, end=None, time_limit=None):
        self.path = os.fsdecode(path)
        self.frames = 0
        self.note = self.on_drop = None
        self._segment = check_segment(start, end)
        self._rotation = self._orientation = None
        self._size = check_size(size)
        self._threads, self._time_limit = threads, time_limit  # None for a file
        # A reformatter is fast only if the size stays the same.
        self._reformatters = collections.defaultdict(av.video.reformatter.VideoReformatter)
        self._begin()
        self.frame_rate = self._find_rate()
        self.duration = self._losses.duration()
        self.is_live = time_limit is not None and self.duration is None
        self._pictures = self._decode()

    def __iter__(self):
        return self

    def __next__(self):
        return self.skip(), self.frame(self._size)

    def skip(self):
        """Decode the next frame without converting it to RGB, and return its timestamp."""
        timestamp, self._newest = next(self._pictures)
        return timestamp

    def frame(self, size=None):
        """The newest frame in another size (as for `iter_frames`), without decoding it again."""
        return self._convert(self._newest, self._scaled(size))

    def close(self):
        """Close the file. This also happens after the last frame."""
        self._pictures.close()
        self._container.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _begin(self):
        """Open the file at its beginning."""
        if self._time_limit is None:
            self._container, self._stream = open_file(self.path)
        else:
            self._container, self._stream = open_stream(self.path, self._time_limit)
        self._stream.codec_context.thread_count = self._threads
        self._losses = Losses(self._container, self._stream)
        self._packets = self._demux()

    def _find_rate(self):
        """Frames per second, from the declared rate and the first timestamps."""
        rates = [float(r) for r in (self._stream.average_rate, self._stream.guessed_rate) if r]
        rates = [rate for rate in rates if _MIN_RATE <= rate <= _MAX_RATE]
        likely = [rate for rate in rates if 1 <= rate <= 120]
        live = self._time_limit is not None
        if live and likely:  # do not wait for the first packets
            return likely[0]
        ahead, size = [], 0
        for packet in itertools.islice(self._packets, _LIVE_AHEAD if live else _AHEAD):
            ahead.append(packet)
            if packet is None or (size := size + packet.size) > _AHEAD_BYTES:
                break
        self._packets = itertools.chain(ahead, self._packets)
        times = [self._stated_time(packet) for packet in ahead if packet is not None]
        known = [time for time in times if time is not None]
        # If only some frames have times, the steps between them span several frames.
        step = typical_step(known) if len(known) > 0.9 * len(times) else None
        if step is not None and _MIN_RATE <= 1 / step <= _MAX_RATE:
            rates = [rate for rate in rates if 0.97 <= rate * step <= 1.03] + [1 / step]
        return next(iter(rates), _DEFAULT_RATE)

    def _decode(self):
        """Yield `(timestamp, av.VideoFrame)` for each frame of the segment."""
        start, end = self._segment
        try:
            pictures = self._timed(self._all())
            opening = next(pictures, None)
            if opening is None:
                raise VideoError(self.path, "no frame could be decoded")
            first = last = opening[0]
            self._settle_size(opening[1])
            pictures = itertools.chain([opening], pictures)
            if start > 0:
                pictures = self._from(*opening)
            for last, picture in _deinterlaced(pictures, self._threads):
                # A frame at 0.12 s may have the floating-point time 1.52 - 1.40.
                seconds = last - first + MIN_STEP
                if seconds >= end:
                    break
                if seconds >= start:
                    self.frames += 1
                    yield last, picture
                elif self.on_drop is not None:
                    self.on_drop()
            last -= first
            step, whole = 1 / self.frame_rate, self._segment.is_whole
            if reason := self._losses.mostly_damaged(step, whole):
                raise VideoError(self.path, reason)
            if self.frames == 0:
                reason = f"no frame between {start:g} s and {end:g} s"
                if last < start:
                    reason = f"no frame from {start:g} s on; the last one is at {last:.2f} s"
                raise VideoError(self.path, reason)
            notes = [
                self._losses.note(self.frames, step, whole),
                self._segment.early_end(last, last + max(step, self._losses.last_stays)),
            ]
            self.note = "; ".join(filter(None, notes)) or None
        finally:
            self._container.close()

    def _all(self):
        """Yield all pictures from here on. Skip packets that do not decode."""
        for packet in self._packets:
            try:
                pictures = self._stream.codec_context.decode(packet)
            except av.error.FFmpegError:
                self._losses.add_picture(None, None)
                continue
            for picture in pictures:
                self._losses.add_picture(picture, self._stated_time(picture))
                yield picture
        self._losses.at_end = True

    def _demux(self):
        """Yield the packets, then None, for which the decoder returns its remaining pictures."""
        try:
            # Packets of other streams tell whether the file continues after the last picture.
            for packet in self._container.demux():
                if packet.size == 0 and packet.dts is None:
                    continue  # the end of a stream
                self._losses.add_packet(packet, self._stated_time(packet))
                # The decoder treats an empty packet as the end of the stream.
                if packet.size and packet.stream_index == self._stream.index:
                    yield packet
        except av.error.FFmpegError:
            self._losses.breaks_off = True
        except IndexError:
            # PyAV 17 and 18 raise this at the end: https://github.com/PyAV-Org/PyAV/issues/692
            pass
        yield None

    def _from(self, first, opening):
        """Timed pictures, from a key frame before the segment or from the beginning of the file."""
        # Deinterlacing needs the previous picture, too.
        start = first + self._segment.start - 2 / self.frame_rate
        if self._stated_time(opening) == first and self._is_steady(first + self._segment.end):
            # Demuxers seek by decoding times, which are earlier than display times.
            for earlier in _SEEK_EARLIER:
                if start - earlier <= first:
                    break
                pictures = self._sought(start - earlier)
                found = next(pictures, None)
                if found is not None and found[0] <= start:
                    return itertools.chain([found], pictures)
        self._container.close()
        self._begin()
        return self._timed(self._all())

    def _sought(self, time):
        """Yield timed pictures from the last key frame before `time`, if there is one."""
        self._losses.restart()
        self._packets = self._demux()
        try:
            self._container.seek(math.floor(time / self._stream.time_base), stream=self._stream)
        except (av.error.FFmpegError, OverflowError):
            return
        # Pictures before the key frame need frames that were not decoded.
        pictures = itertools.dropwhile(lambda picture: not picture.key_frame, self._all())
        key = next(pictures, None)
        if key is not None and self._stated_time(key) is not None:
            yield from self._timed(itertools.chain([key], pictures))

    def _is_steady(self, until):
        """Whether the times of the file run without a jump up to `until`, so that seeking works."""
        kind, tick = self._container.format, self._stream.time_base
        # MPEG program streams store only some times. FFmpeg counts the others.
        if kind.flags & _COUNTS_TIMES or kind.name == "mpeg":
            return False
        if kind.name == "avi":
            return True
        longest = longest_step(1 / self.frame_rate)
        if "mp4" in kind.name:
            times = [float(entry.timestamp * tick) for entry in self._stream.index_entries]
            return all(b - a <= longest for a, b in itertools.pairwise(times))
        # Reading packets is much faster than decoding. The loop also covers the packets that were
        # read before, because demuxers remember where they found key frames.
        last = None
        for index, packet in enumerate(self._packets):
            if self.on_drop is not None and index % _SIGN == _SIGN - 1:
                self.on_drop()
            if packet is None or packet.dts is None:
                continue
            time = float(packet.dts * tick)
            if last is not None and not 0 <= time - last <= longest:
                return False
            if time > until and index >= _AHEAD:
                break
            last = time
        return True

    def _timed(self, pictures):
        """Yield `(timestamp, picture)`."""
        clock = Clock(1 / self.frame_rate)
        for picture in pictures:
            yield clock(self._stated_time(picture)), picture

    def _stated_time(self, item):
        """Time in seconds that the file stores for a picture or packet, or None."""
        # AVI stores only the decoding order. FFmpeg would invent presentation times.
        ticks = item.dts if self._container.format.name == "avi" else item.pts
        # The last pictures lack a time base (PyAV 18.1). Packets of other streams have their own.
        tick = item.time_base if isinstance(item, av.Packet) else self._stream.time_base
        return None if ticks is None or not tick else float(ticks * tick)

    def _convert(self, picture, size):
        """Convert a picture to upright uint8 RGB of `size`."""
        transposed, row_step, column_step = orientation = self._orientation_of(picture)
        try:
            pixels = to_rgb(picture, size[::-1] if transposed else size, self._reformatters[size])
        except (av.error.FFmpegError, MemoryError) as error:
            raise VideoError(self.path, f"a frame cannot be converted to RGB: {error}") from None
        if orientation == _UPRIGHT:
            return pixels
        if transposed:
            pixels = pixels.transpose(1, 0, 2)
        return np.ascontiguousarray(pixels[::row_step, ::column_step])

    def _orientation_of(self, picture):
        # Reading side data keeps a picture alive until garbage collection (PyAV 17 and 18). Read it
        # only when the rotation changes.
        if picture.rotation != self._rotation:
            self._rotation, self._orientation = picture.rotation, _orientation(picture)
        return self._orientation

    def _settle_size(self, picture):
        """Take the size of the first frame for all frames, even if the video changes its size."""
        aspect = float(self._stream.sample_aspect_ratio or 1)
        width = max(1, round(picture.width * aspect)) if 0.1 <= aspect <= 10 else picture.width
        transposed = self._orientation_of(picture)[0]
        self._own_size = (width, picture.height) if transposed else (picture.height, width)
        self._size = self._scaled(self._size)

    def _scaled(self, size):
        """`(height, width)` for a `size` argument of `iter_frames`."""
        if isinstance(size, tuple):
            return size
        size = self._own_size if size is None else keep_aspect(*self._own_size, size)
        check_pixels(self.path, *size)
        return size


def iter_frames(path, size=None, threads=1, start=None, end=None):
    """Iterate over the frames of a video or of a segment of it, in bounded memory.

    Damaged parts of a file are skipped. The `note` of the iterator reports them after the last
    frame.

    Args:
        path: A video file.
        size: `(height, width)` of the frames, or an integer for the length of the shorter side at
            the same aspect ratio. None keeps the size of the video.
        threads: Decoding threads. 0 uses one per core.
        start: Beginning of the segment in seconds after the first frame of the video, or None for
            the first frame. Decoding begins at the last key frame before `start`.
        end: End of the segment in seconds (exclusive), or None for the end of the video.

    Returns:
        A `FrameReader`, an iterator over `(timestamp, frame)`. Timestamps are seconds as stored in
        the file (also for a segment) and strictly increase. A frame is an upright uint8 RGB array
        `(height, width, 3)` with square pixels.

    Raises:
        VideoError: If the file is missing, empty or not a video. After the last frame: if no frame
            of the file or segment decodes, or most frames are damaged.
        ValueError: If `start` or `end` is not a time, or `end` is not after `start`.
    """
    return FrameReader(path, size, threads, start, end)


def iter_stream(url, size=None, time_limit=10.0):
    """Iterate over the frames of a network stream, like `iter_frames`.

    Args:
        url: An address with a scheme of `STREAM_SCHEMES`.
        size: As for `iter_frames`.
        time_limit: Seconds to wait for the connection and for each further part of the video.
    """
    return FrameReader(url, size, time_limit=time_limit)


def is_stream(path):
    """Whether `path` is an address that `iter_stream` can open."""
    scheme, separator, _ = os.fspath(path).partition("://")
    return bool(separator) and scheme.lower() in STREAM_SCHEMES


def read_frames(path, indices, size=None, threads=1, start=None, end=None):
    """Read some frames of a video as a uint8 array `(len(indices), height, width, 3)`.

    Arguments and errors are as for `iter_frames`, with these additions:

    Args:
        indices: Frame numbers in any order, counted from 0 over the frames of the segment that
            decode. Only these frames are kept in memory.

    Raises:
        VideoError: If the video has too few frames.
        ValueError: If `indices` is empty or holds a negative number.
    """
    indices = [operator.index(index) for index in indices]
    if not indices or min(indices) < 0:
        raise ValueError(f"`indices` must be frame numbers of at least 0. Received: {indices}")
    wanted, found = set(indices), {}
    with iter_frames(path, size, threads, start, end) as reader:
        try:
            for index in range(max(indices) + 1):
                if index in wanted:
                    found[index] = next(reader)[1]
                else:
                    reader.skip()
        except StopIteration:
            reason = f"{reader.frames} frames decode, frame {max(indices)} is wanted"
            raise VideoError(reader.path, reason) from None
    return np.stack([found[index] for index in indices])


def count_frames(path, threads=1, start=None, end=None):
    """Number of frames that `iter_frames` returns for a video or a segment of it."""
    with iter_frames(path, threads=threads, start=start, end=end) as reader:
        try:
            while True:
                reader.skip()
        except StopIteration:
            return reader.frames


def keep_aspect(height, width, short_side):
    """`(height, width)` scaled so that the shorter side is `short_side`."""
    scale = short_side / min(height, width)
    return max(short_side, round(height * scale)), max(short_side, round(width * scale))


def check_size(size):
    """Return a `size` argument of `iter_frames` as integers. Raise a `ValueError` if invalid."""
    if size is None:
        return None
    try:
        if np.ndim(size) == 0:
            checked = operator.index(size)
        else:
            height, width = size
            checked = operator.index(height), operator.index(width)
        if np.min(checked) < 1:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(
            "`size` must be (height, width), the length of the shorter side, or None. "
            f"Received: {size!r}"
        ) from None
    return checked


def to_rgb(picture, size, reformatter):
    """Resize an `av.VideoFrame` to `(height, width)` as uint8 RGB.

    FFmpeg's bicubic filter widens when a frame shrinks, so it does not alias. `reformatter` is an
    `av.video.reformatter.VideoReformatter`. It is fast only if the size stays the same.
    """
    # With FFmpeg 8, scaling to planar RGB is faster and keeps the chroma that packed RGB halves.
    # Without scaling, packed RGB is faster. One thread suffices: each core has its own process.
    layout = "rgb24" if tuple(size) == (picture.height, picture.width) else "gbrp"
    height, width = size
    return reformatter.reformat(
        picture, width, height, format=layout, interpolation="BICUBIC", threads=1
    ).to_ndarray()


def _deinterlaced(pictures, threads):
    """Yield each `(time, picture)`, deinterlaced if the picture is flagged as interlaced."""
    graph, layout, waiting = None, None, collections.deque()
    for time, picture in pictures:
        if layout != (layout := (picture.format.name, picture.width, picture.height)):
            yield from _filtered(graph, None, waiting)
            graph = None
        if graph is None and picture.interlaced_frame:
            graph = _deinterlacer(picture, threads)
        waiting.append((time, picture))
        yield from _filtered(graph, picture, waiting)
    yield from _filtered(graph, None, waiting)


def _filtered(graph, picture, waiting):
    """Push a picture (None at the end) and yield the finished pictures with their waiting times."""
    if graph is not None:
        try:
            graph.push(picture)
            while waiting:
                whole = graph.pull()
                yield waiting.popleft()[0], whole
        except (BlockingIOError, EOFError):  # the filter needs the next picture first
            pass
    if graph is None or picture is None:
        yield from waiting
        waiting.clear()


def _deinterlacer(picture, threads):
    """Make a filter for pictures like this one. It makes one frame from the two fields of each."""
    graph = av.filter.Graph()
    graph.threads = threads
    try:
        graph.link_nodes(
            graph.add_buffer(
                width=picture.width,
                height=picture.height,
                format=picture.format,
                time_base=picture.time_base or Fraction(1, 1000),
            ),
            graph.add("bwdif", "mode=send_frame:deint=interlaced"),
            graph.add("buffersink"),
        ).configure()
    except (av.error.FFmpegError, ValueError):  # pictures of a few pixels
        return None
    return graph


def _orientation(picture):
    """How to turn a picture upright: `(transposed, row_step, column_step)`, steps of 1 or -1."""
    # The display matrix shows the pixel (x, y) at (a x + c y, b x + d y).
    try:
        data = picture.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV up to 18.1 does not know some kinds of side data, such as Exif
        turn = math.radians(picture.rotation)  # counterclockwise
        a, b, c, d = math.cos(turn), -math.sin(turn), math.sin(turn), math.cos(turn)
    else:
        if data is None:
            return _UPRIGHT
        a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    if a == b == 0 or c == d == 0:
        return _UPRIGHT
    transposed = abs(a) < abs(b)
    rows, columns = (b, c) if transposed else (d, a)
    return transposed, -1 if rows < 0 else 1, -1 if columns < 0 else 1
