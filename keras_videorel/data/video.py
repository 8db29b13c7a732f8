"""Frames of video files, decoded with PyAV one at a time.

Frames come out as a player shows them: turned upright by the display matrix of the file, with
square pixels, and deinterlaced where they are flagged as interlaced. What a container declares (its
number of frames, its duration) is not relied on.
"""

import collections
import itertools
import math
import numbers
import operator
import os
import stat
from fractions import Fraction

import av
import numpy as np

from keras_videorel.data.losses import Losses
from keras_videorel.data.video_times import SHORTEST_STEP, Clock, longest_step, typical_step

_IDENTITY = ((1, 0), (0, 1))
_DEFAULT_RATE = 25.0  # for raw streams that carry neither timestamps nor a frame rate
# Beyond, it is the clock of the container, or damage. Slowest is a frame a day.
_LEAST_RATE, _MOST_RATE = 1 / 86_400, 1e3
# Packets that tell the frame rate, of files and of live streams, and their bytes.
_AHEAD, _LIVE_AHEAD, _AHEAD_BYTES = 64, 8, 1 << 24
_SIGN = 1000  # packets from one sign of life to the next
_SEEK_EARLIER = (0, 1, 4, 16, 64)  # seconds; then from the beginning
# Flags of container formats: those of raw streams.
_COUNTS_TIMES = (av.format.Flags.generic_index | av.format.Flags.no_timestamps).value
STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "rtp")
_STREAM_PROTOCOLS = "http,https,tcp,tls,udp,rtp,srtp,rtsp,rtmp,rtmps,hls,crypto,httpproxy"
_MAX_PIXELS = 1 << 26  # a frame of 8192 x 8192: what declares more would eat up the memory


class VideoError(ValueError):
    """A file that gives no frames.

    Attributes:
        path: The file.
        reason: Why, in a few words.
    """

    def __init__(self, path, reason):
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self):
        return f"{self.path}: {self.reason}"


class FrameReader:
    """Iterator over the frames of a video; `iter_frames` makes one.

    Attributes:
        frames: Number of frames that came out so far.
        frame_rate: Frames per second that the file declares, or what its first timestamps have
            where that is another rate, as for recordings of browsers.
        duration: Seconds that the file declares for its pictures, None where it does not, as live
            streams and recordings of browsers.
        is_live: Whether frames come as they are shown, and wait for nobody.
        note: After the last frame: what was lost, such as frames of a damaged part of the file,
            or None.
        on_drop: Optional function, called after each frame that is decoded before `start`, and now
            and then while `start` is looked for: no frame may come out for long.
    """

    def __init__(self, path, size=None, threads=1, opened=None, start=None, end=None):
        self.path = os.fsdecode(path)
        self.frames = 0
        self.note = self.on_drop = None
        self._start, self._end = check_segment(start, end)
        self._rotation = self._matrix = None
        self._size = check_size(size)
        self._threads = threads
        # One for each size: it remembers its last one.
        self._reformatters = collections.defaultdict(av.video.reformatter.VideoReformatter)
        self._open = _open if opened is None else opened
        self._begin()
        self.frame_rate = self._find_rate(live=opened is not None)
        self.duration = self._losses.duration()
        self.is_live = opened is not None and self.duration is None
        self._pictures = self._decode()

    def __iter__(self):
        return self

    def __next__(self):
        return self.skip(), self.frame(self._size)

    def skip(self):
        """Decode the next frame without converting it to RGB.

        Returns:
            Its timestamp in seconds.

        Raises:
            StopIteration: After the last frame.
        """
        timestamp, self._newest = next(self._pictures)
        return timestamp

    def frame(self, size=None):
        """The newest frame, uint8 RGB of a size as for `iter_frames`: one decode gives several."""
        return self._convert(self._newest, self._scaled(size))

    def close(self):
        """Close the file; this happens on its own after the last frame."""
        self._pictures.close()
        self._container.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _begin(self):
        """Open the file at its beginning."""
        self._container, self._stream = self._open(self.path)
        self._stream.codec_context.thread_count = self._threads
        self._stream.codec_context.options = {"max_pixels": str(_MAX_PIXELS)}
        self._losses = Losses(self._container, self._stream)
        self._packets = self._demux()

    def _find_rate(self, live):
        """Frames per second: the declared rate, unless the first timestamps say otherwise.

        Of a live stream, only where the declared one is unlikely: it would wait for them.
        """
        rates = [float(r) for r in (self._stream.average_rate, self._stream.guessed_rate) if r]
        rates = [rate for rate in rates if _LEAST_RATE <= rate <= _MOST_RATE]
        likely = [rate for rate in rates if 1 <= rate <= 120]
        if live and likely:
            return likely[0]
        ahead, size = [], 0
        for packet in itertools.islice(self._packets, _LIVE_AHEAD if live else _AHEAD):
            ahead.append(packet)
            size += 0 if packet is None else packet.size
            if size > _AHEAD_BYTES:
                break
        self._packets = itertools.chain(ahead, self._packets)
        times = [self._stated_time(packet) for packet in ahead if packet is not None]
        known = [time for time in times if time is not None]
        # Where but some have times, these are farther apart than the frames.
        step = typical_step(known) if len(known) > 0.9 * len(times) else None
        if step is not None and _LEAST_RATE <= 1 / step <= _MOST_RATE:
            rates = [rate for rate in rates if 0.97 <= rate * step <= 1.03] + [1 / step]
        return next(iter(rates), _DEFAULT_RATE)

    def _decode(self):
        """Yield `(timestamp, av.VideoFrame)` of the frames from `start` to `end`."""
        try:
            pictures = self._timed(self._all())
            opening = next(pictures, None)
            if opening is None:
                raise VideoError(self.path, "no frame could be decoded")
            first, picture = opening
            last = first
            self._settle_size(picture)
            pictures = itertools.chain([opening], pictures)
            if self._start > 0:
                pictures = self._from(first, picture)
            for last, picture in _deinterlaced(pictures, self._threads):
                # Times are floats: a frame at 0.12 s may lie at 1.52 - 1.40.
                seconds = last - first + SHORTEST_STEP
                if seconds >= self._end:
                    break
                if seconds < self._start:
                    if self.on_drop is not None:
                        self.on_drop()
                    continue
                self.frames += 1
                yield last, picture
            whole = self._start == 0 and self._end == math.inf
            step = 1 / self.frame_rate
            if reason := self._losses.mostly_damaged(step, whole):
                raise VideoError(self.path, reason)
            shown_until = last - first + max(step, self._losses.last_stays)
            notes = [
                self._losses.note(self.frames, step, whole),
                early_end(last - first, shown_until, self._start, self._end),
            ]
            self.note = "; ".join(filter(None, notes)) or None
        finally:
            self._container.close()
        if self.frames == 0:
            reason = f"no frame between {self._start:g} s and {self._end:g} s"
            if last - first < self._start:
                reason = (
                    f"no frame from {self._start:g} s on; the last one is at {last - first:.2f} s"
                )
            raise VideoError(self.path, reason)

    def _all(self):
        """Yield all pictures from here on; packets that do not decode are skipped."""
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
        """Yield the packets, then None, at which the decoder gives out what it still holds."""
        try:
            # Those of other streams tell whether the file goes on behind the last picture.
            for packet in self._container.demux():
                if packet.size == 0 and packet.dts is None:
                    continue  # the end of a stream
                self._losses.add_packet(packet, self._stated_time(packet))
                # An empty one would mean the end, too.
                if packet.size and packet.stream_index == self._stream.index:
                    yield packet
        except av.error.FFmpegError:
            self._losses.breaks_off = True
        except IndexError:
            pass  # PyAV's own at the end of a file, where streams came up on the way
        yield None

    def _from(self, first, opening):
        """Pictures and their times from a key frame before `start` on, or from the beginning.

        Args:
            first: Time of the first frame.
            opening: The first frame.
        """
        # A picture of fields is made whole with the one before.
        start = first + self._start - 2 / self.frame_rate
        if self._stated_time(opening) == first and self._is_steady(first + self._end):
            # Demuxers look for decoding times, which come before those of display.
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
        """Yield pictures and their times from the key frame nearest before `time`, if there is."""
        self._losses.restart()
        self._packets = self._demux()
        try:
            self._container.seek(math.floor(time / self._stream.time_base), stream=self._stream)
        except (av.error.FFmpegError, OverflowError):
            return
        # What comes before the key frame hangs on frames that were not decoded.
        pictures = itertools.dropwhile(lambda picture: not picture.key_frame, self._all())
        key = next(pictures, None)
        if key is not None and self._stated_time(key) is not None:
            yield from self._timed(itertools.chain([key], pictures))

    def _is_steady(self, until):
        """Whether a file can be sought by its times: up to there they run without a jump."""
        kind, tick = self._container.format, self._stream.time_base
        # Raw streams count their times, and MPEG program streams do so between those they state.
        if kind.flags & _COUNTS_TIMES or kind.name == "mpeg":
            return False
        longest = longest_step(1 / self.frame_rate)
        if kind.name == "avi":
            return True
        if "mp4" in kind.name:
            times = [float(entry.timestamp * tick) for entry in self._stream.index_entries]
            return all(b - a <= longest for a, b in itertools.pairwise(times))
        # The packets tell, at a small part of the time that decoding takes; all that were read by
        # now, since demuxers remember where they found key frames.
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
        """Time of a picture or a packet in seconds as the file has it, or None."""
        # AVI stores the decoding order only; presentation times would be made up.
        ticks = item.dts if self._container.format.name == "avi" else item.pts
        # Pictures that come out last have no time base. Packets of other streams have their own.
        tick = item.time_base if isinstance(item, av.Packet) else self._stream.time_base
        return None if ticks is None or not tick else float(ticks * tick)

    def _convert(self, picture, size):
        """Picture as upright uint8 `(*size, 3)` RGB."""
        matrix = self._turn(picture)
        turned = matrix[0][0] == 0
        try:
            pixels = to_rgb(picture, size[::-1] if turned else size, self._reformatters[size])
        except (av.error.FFmpegError, MemoryError) as error:
            raise VideoError(self.path, f"a frame cannot be converted to RGB: {error}") from None
        if matrix == _IDENTITY:
            return pixels
        # (x, y) goes to (a x + c y, b x + d y), and a mirrored axis runs backwards.
        (a, b), (c, d) = matrix
        if turned:
            pixels = pixels.transpose(1, 0, 2)
        return np.ascontiguousarray(pixels[:: b + d, :: a + c])

    def _turn(self, picture):
        # Side data keeps a picture alive until garbage is collected: it is not read of each.
        if picture.rotation != self._rotation:
            self._rotation, self._matrix = picture.rotation, _display_matrix(picture)
        return self._matrix

    def _settle_size(self, picture):
        """Size of all frames: that of the first one, should the video change it on the way."""
        turned = self._turn(picture)[0][0] == 0
        aspect = self._stream.sample_aspect_ratio
        aspect = float(aspect) if aspect else 1.0
        width = max(1, round(picture.width * aspect)) if 0.1 <= aspect <= 10 else picture.width
        self._own_size = (width, picture.height) if turned else (picture.height, width)
        self._size = self._scaled(self._size)

    def _scaled(self, size):
        """`(height, width)` of frames that get a size as for `iter_frames`."""
        if isinstance(size, tuple):
            return size
        size = self._own_size if size is None else keep_aspect(*self._own_size, size)
        _check_pixels(self.path, *size)
        return size


def to_rgb(picture, size, reformatter):
    """Resize a picture: of files for shards and for predictions, of streams and of cameras alike.

    It is FFmpeg's bicubic filter, which covers the more pixels, the smaller the result.

    Args:
        picture: An `av.VideoFrame`.
        size: `(height, width)`.
        reformatter: An `av.video.reformatter.VideoReformatter`, which is fast for one size.

    Returns:
        A uint8 array `(height, width, 3)`, RGB.
    """
    # Scaled to three planes, frames keep chroma that packed RGB would halve, and take less
    # time; at the same size, packed RGB is the fast one.
    layout = "rgb24" if tuple(size) == (picture.height, picture.width) else "gbrp"
    return reformatter.reformat(
        picture, size[1], size[0], format=layout, interpolation="BICUBIC", threads=1
    ).to_ndarray()  # a thread: there is a process per core


def iter_frames(path, size=None, threads=1, start=None, end=None):
    """Iterate over the frames of a video, or of a segment of it, in bounded memory.

    A damaged part of a file is left out; the iterator's `note` says so after the last frame.

    Args:
        path: A video file.
        size: `(height, width)` to resize to, or an integer: the length of the shorter side, with
            the aspect ratio kept; None for the video's own size.
        threads: Decoding threads; 0 for one per core.
        start: Where the segment begins, in seconds after the first frame of the video; None for
            the beginning. Decoding begins at the nearest key frame before it.
        end: Where the segment ends: frames before this time come out. None for the end.

    Returns:
        A `FrameReader`: an iterator of `(timestamp, frame)`, the time in seconds as the file
        gives it (later than that of the frame before; of a segment, too) and a uint8 array
        `(height, width, 3)`, RGB, upright and with square pixels.

    Raises:
        VideoError: If the file is missing, empty or no video; at the end, if not one frame of it
            decodes, or the segment holds none.
        ValueError: If `start` or `end` is not a time, or `end` is not after `start`.
    """
    return FrameReader(path, size, threads, start=start, end=end)


def iter_stream(url, size=None, time_limit=10.0):
    """Iterate over the frames of a video that comes over the network.

    Args:
        url: An address; its scheme is one of `STREAM_SCHEMES`.
        size: As for `iter_frames`.
        time_limit: Seconds to wait for the connection, and then for each part of the video.

    Returns:
        A `FrameReader`.

    Raises:
        VideoError: As `iter_frames`, or if nothing comes in time.
    """
    return FrameReader(url, size, opened=lambda url: _open_stream(url, time_limit))


def is_stream(path):
    """Whether a path is an address that `iter_stream` takes."""
    scheme, separator, _ = os.fspath(path).partition("://")
    return bool(separator) and scheme.lower() in STREAM_SCHEMES


def read_frames(path, indices, size=None, threads=1, start=None, end=None):
    """Read some frames of a video; only these are kept in memory.

    Args:
        path: A video file.
        indices: Numbers of the frames, counted from 0 over the frames that decode, or over those of
            the segment, in any order.
        size: As for `iter_frames`.
        threads: As for `iter_frames`.
        start: As for `iter_frames`.
        end: As for `iter_frames`.

    Returns:
        A uint8 array `(len(indices), height, width, 3)`.

    Raises:
        VideoError: As `iter_frames`, or if the video has too few frames.
        ValueError: If there are no indices, or negative ones.
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
    """Number of frames of a video, or of a segment of it, that decode.

    Raises:
        VideoError: As `iter_frames`.
    """
    with iter_frames(path, threads=threads, start=start, end=end) as reader:
        try:
            while True:
                reader.skip()
        except StopIteration:
            return reader.frames


def short_side_size(path, short_side):
    """Size of a video scaled to a shorter side of `short_side`.

    Args:
        path: A video file.
        short_side: Length of the shorter side in pixels.

    Returns:
        `(height, width)`.

    Raises:
        VideoError: As `iter_frames`.
    """
    with iter_frames(path, operator.index(short_side)) as reader:
        return next(reader)[1].shape[:2]


def keep_aspect(height, width, short_side):
    """Scale a size so that its shorter side is `short_side`.

    Returns:
        `(height, width)`, integers.
    """
    scale = short_side / min(height, width)
    return max(short_side, round(height * scale)), max(short_side, round(width * scale))


def check_segment(start, end):
    """Check where a segment begins and ends.

    Returns:
        `(start, end)`: seconds, 0 and infinity for None.

    Raises:
        ValueError: If `start` or `end` is not a time, or `end` is not after `start`.
    """
    first, last = 0.0 if start is None else start, math.inf if end is None else end
    for name, value in (("start", first), ("end", last)):
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not value >= 0:
            raise ValueError(f"`{name}` must be seconds of at least 0. Received: {value!r}")
    if not first < last:
        raise ValueError(f"`end` must be after `start`. Received: start={start!r}, end={end!r}")
    return float(first), float(last)


def early_end(last, until, start, end):
    """A note on a segment of which more than a tenth is behind the end of its video, or None.

    Args:
        last: Seconds of its last frame.
        until: Seconds up to which that is shown.
        start: Where the segment begins, in seconds.
        end: Where it ends, or infinity.
    """
    if end == math.inf or end - until <= 0.1 * (end - start):
        return None
    return f"ends at {last:.2f} s of {end:g}"


def check_size(size):
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


def _open(path):
    """Open a file and find its video stream."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise VideoError(path, "no such file") from None
    except (OSError, ValueError) as error:
        raise VideoError(path, f"cannot be read: {getattr(error, 'strerror', error)}") from None
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(path, "not a file")
    if status.st_size == 0:
        raise VideoError(path, "empty file (0 bytes)")
    # Neither a name with a colon nor a playlist leads to the network. (Options of the decoder have
    # no place here: older PyAV crashes over those of streams that it finds later.)
    options = {"protocol_whitelist": "file"}
    try:
        container = av.open("file:" + path, container_options=options, metadata_errors="ignore")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(path, f"cannot be opened as a video: {reason}") from None
    return container, _checked_stream(path, container)


def _open_stream(url, time_limit):
    """Open an address and find its video stream."""
    # What is found there leads to the network again, never to files of this machine.
    options = {"protocol_whitelist": _STREAM_PROTOCOLS}
    if url.lower().startswith("rtsp"):
        options["rtsp_transport"] = "tcp"  # packets lost by UDP show as torn pictures
    try:
        container = av.open(
            url, container_options=options, timeout=time_limit, metadata_errors="ignore"
        )
    except av.error.ExitError:
        raise VideoError(url, f"nothing came within {time_limit:g} s") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(url, f"cannot be opened as a video: {reason}") from None
    return container, _checked_stream(url, container)


def _checked_stream(path, container):
    try:
        stream = _video_stream(path, container)
        _check_pixels(path, stream.codec_context.height, stream.codec_context.width)
    except VideoError:
        container.close()
        raise
    return stream


def _video_stream(path, container):
    # Cover pictures of music files count as video streams, too.
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams} - {"video"})
        kinds += ["a cover picture"] if container.streams.video else []
        found = " and ".join(filter(None, [", ".join(kinds[:-1]), *kinds[-1:]]))
        raise VideoError(path, f"no video stream (only {found})" if found else "no video stream")
    best = container.streams.best("video")
    streams.sort(key=lambda stream: stream != best)
    for stream in streams:
        if stream.codec_context is not None:
            return stream
    raise VideoError(path, "no decoder for its video format")


def _check_pixels(path, height, width):
    if height * width > _MAX_PIXELS:
        raise VideoError(path, f"frames of {height}x{width} are too large")


def _deinterlaced(pictures, threads):
    """Pictures with their times; of those that are flagged as interlaced, whole ones.

    Args:
        pictures: Iterable of `(time, av.VideoFrame)`.
        threads: Threads of the filter; 0 for one per core.

    Yields:
        `(time, av.VideoFrame)`, as many.
    """
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
    """Yield what a filter gives out for a picture, or for the end, with the times that wait."""
    if graph is not None:
        try:
            graph.push(picture)
            while waiting:
                whole = graph.pull()
                yield waiting.popleft()[0], whole
        except (BlockingIOError, EOFError):  # it wants the next one first
            pass
    if graph is None or picture is None:
        yield from waiting
        waiting.clear()


def _deinterlacer(picture, threads):
    """A filter for pictures like this one: of each one frame, made from both its fields."""
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


def _display_matrix(picture):
    """How the file wants the picture turned: the nearest matrix of -1, 0 and 1.

    Returns:
        `((a, b), (c, d))`: the picture's (x, y) is shown at (a x + c y, b x + d y).
    """
    try:
        data = picture.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV knows not all kinds of side data, such as Exif
        turn = math.radians(picture.rotation)  # counterclockwise
        a, b, c, d = math.cos(turn), -math.sin(turn), math.sin(turn), math.cos(turn)
    else:
        if data is None:
            return _IDENTITY
        a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    if a == b == 0 or c == d == 0:
        return _IDENTITY
    if abs(a) >= abs(b):
        return ((-1 if a < 0 else 1, 0), (0, -1 if d < 0 else 1))
    return ((0, -1 if b < 0 else 1), (-1 if c < 0 else 1, 0))
