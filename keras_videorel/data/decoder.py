"""Videos to JPEG frames, in a process of their own, so that no file can end a run.

If the decoding library crashes or hangs, it costs one clip at most. The process imports neither
TensorFlow nor the caller's main module. It starts in a fraction of a second, from any thread, and
decodes many files.
"""

import contextlib
import gc
import itertools
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
from typing import NamedTuple

from keras_videorel.checks import check_choice, check_integer, check_number
from keras_videorel.data import pictures, video, video_times

MAX_CLIP_BYTES = 1_900_000_000  # a record, a protocol buffer, ends at 2 GiB
_MAX_JPEG_SIDE = 65_500  # of libjpeg
_MEMORY_LIMIT = 6 << 30  # 8K video takes 1.6 GiB, with DIS flow at that size 3.0
_MAX_WAIT = 1e6  # seconds; longer ones do not fit into a system's call
_BATCH = 16  # frames per message: one at a time would cost a tenth of the speed
_START_LIMIT = 300  # seconds; it takes a quarter of one on an idle machine

# What the process runs; it looks for modules where this process does.
_CODE = """
import sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
sys.path[:] = connection.recv()
from keras_videorel.data import decoder
decoder._serve(connection)
"""


class Settings(NamedTuple):
    """How the frames of a video are stored."""

    size: tuple | int | None  # as for `video.iter_frames`
    jpeg_quality: int  # 1 to 100
    flow: str = "none"  # or one of `flow.METHODS`
    frame_rate: float = pictures.FRAME_RATE  # of folders of pictures


class EncodedClip(NamedTuple):
    """The frames of a video."""

    jpegs: list  # bytes of each frame
    flow: list | None  # bytes of the flow from each frame to the next
    timestamps: list  # seconds, increasing
    height: int
    width: int
    frame_rate: float  # frames per second, going by the timestamps
    note: str | None  # what was lost, such as frames of a damaged part of the file


class Closed(Exception):
    """The decoder was closed."""


class Decoder:
    """Decodes videos in a process of its own; a context manager.

    Each thread needs its own decoder; only `close` may be called from any thread.

    Args:
        settings: A `Settings`.
        time_limit: Seconds without frames after which a file is given up. They come 16 at a time,
            or, with their flow, one by one.

    Attributes:
        starts: How often the process was started: once, plus once for each that ended over a file.
    """

    def __init__(self, settings, time_limit=60):
        size, jpeg_quality, flow, frame_rate = Settings(*settings)
        self.settings = Settings(
            video.check_size(size),
            check_integer("jpeg_quality", jpeg_quality, 1, 100),
            check_choice("flow", flow, _flow_methods(flow)),
            pictures.check_rate(frame_rate),
        )
        self.time_limit = check_number("time_limit", time_limit, above=0)
        self.starts = 0
        self._process = self._connection = None
        self._closed = False
        self._starting = threading.Lock()

    def encode(self, path, on_frame=None, start=None, end=None):
        """Decode a video, or a segment of it, and encode its frames as an `EncodedClip`.

        Frames before a crash or the time limit are used; the note says so.

        Args:
            path: A video file, or a folder of pictures.
            on_frame: Called with the number of frames so far, as they come in.
            start: Beginning of the segment, as for `video.iter_frames`.
            end: End of the segment, as for `video.iter_frames`.

        Raises:
            video.VideoError: If the file, or the segment, gives nothing.
            OSError: If the process cannot be started, or was killed twice, as by a system that is
                short of memory.
            Closed: If the decoder is closed, or gets closed meanwhile.
        """
        path, segment = os.fsdecode(path), video.check_segment(start, end)
        for _ in range(2):
            rate, frames, ending, content = self._attempt((path, *segment), on_frame)
            if self._closed:
                raise Closed
            # A crash that an earlier file caused does not come again in a fresh process.
            if ending != "died":
                break
        if ending == "rejected":
            raise video.VideoError(path, *content)
        if ending == "end":
            note = content[0]
        else:
            note = self._failure(path, ending, *content)
            if not frames:
                raise video.VideoError(path, note)
            note += f"; {len(frames)} {'frame' if len(frames) == 1 else 'frames'} decoded"
        timestamps, sizes, jpegs, flow = map(list, zip(*frames, strict=True))
        if step := video_times.typical_step(timestamps):  # containers often declare another rate
            rate = 1 / step
        flow = None if self.settings.flow == "none" else flow
        return EncodedClip(jpegs, flow, timestamps, *sizes[0], rate, note)

    @property
    def process_id(self):
        """Number of the process, or None before and after it runs."""
        return None if self._process is None else self._process.pid

    def close(self):
        """End the process, and with it an `encode` of another thread."""
        with self._starting:
            self._closed, process = True, self._process
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _attempt(self, order, on_frame):
        """`(rate, frames, ending, content)`: the last two are the message after the frames."""
        rate, frames, kind = None, [], None
        try:
            self._start()
            with contextlib.suppress(OSError):  # it died since the last file: seen below
                self._connection.send(order)
            while True:
                kind, *content = self._receive(self.time_limit)
                if kind != "frames":
                    return rate, frames, kind, content
                rate, batch = content
                frames += batch
                if batch and on_frame is not None:
                    on_frame(len(frames))
        finally:
            if kind not in ("end", "rejected"):
                self._stop()

    def _receive(self, time_limit):
        """The next message, or `("stalled",)`, or `("died", exit status)`."""
        try:
            if self._connection.poll(min(time_limit, _MAX_WAIT)):
                return self._connection.recv()
        except (EOFError, OSError):
            return "died", self._stop()
        return ("stalled",)

    def _failure(self, path, ending, status=None):
        if ending == "stalled":
            return f"no frame in {self.time_limit:g} s"
        if status >= 0:
            return f"the decoder ended (exit status {status})"
        name = signal.Signals(-status).name
        if name == "SIGKILL":
            raise OSError(f"{path}: the decoder was killed twice; memory may be short")
        return f"the decoder crashed ({name})"

    def _start(self):
        with self._starting:
            if self._closed:
                raise Closed
            if self._process is not None:
                return
            self.starts += 1
            self._connection, theirs = multiprocessing.Pipe()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _CODE, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    # OpenBLAS would take memory for a thread per core, which nothing here uses.
                    env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                    start_new_session=True,  # the parent takes Ctrl-C and ends this process
                )
        with contextlib.suppress(OSError):
            self._connection.send(sys.path)
            self._connection.send(tuple(self.settings))
        ready, *status = self._receive(_START_LIMIT)  # its modules are imported
        if ready != "ready" and not self._closed:
            raise OSError(f"the decoder did not start ({ready} {status})")

    def _stop(self):
        """End the process and return its exit status; the next file gets a fresh one."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        self._connection.close()
        return process.wait()


def _flow_methods(method):
    if method == "none":
        return ("none",)
    from keras_videorel.data import flow

    return ("none", *flow.METHODS)


# --- The process ----------------------------------------------------------------------------


def _serve(connection):
    """Send the messages of each file that is ordered by `(path, start, end)`, forever."""
    settings = Settings(*connection.recv())
    encode = _frame_encoder(settings)
    size = _BATCH if settings.flow == "none" else 1
    _limit_memory()
    orders = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, orders), daemon=True).start()
    connection.send(("ready",))
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # messages of the libraries about damaged files
    gc.freeze()  # the modules, which would take most of the time of each collection
    while True:
        path, start, end = orders.get()
        try:
            with _reader(path, settings, start, end) as reader:
                # A sign of life, for the time limit.
                reader.on_drop = lambda: connection.send(("frames", reader.frame_rate, []))
                frames = encode(reader)
                while batch := list(itertools.islice(frames, size)):
                    connection.send(("frames", reader.frame_rate, batch))
            ending = ("end", reader.note)
        except video.VideoError as error:
            ending = ("rejected", error.reason)
        except MemoryError:
            ending = ("rejected", f"takes more than {_MEMORY_LIMIT >> 30} GiB of memory")
        except Exception as error:  # of the libraries, on files that were not foreseen
            reason = " ".join(str(error).split())
            ending = ("rejected", f"cannot be decoded: {type(error).__name__}: {reason}")
        connection.send(ending)
        gc.collect()  # pictures that side data kept (PyAV 17 and 18), up to 100 MB each


def _reader(path, settings, start, end):
    if os.path.isdir(path):
        return pictures.PictureReader(path, settings.size, settings.frame_rate, start, end)
    return video.iter_frames(path, settings.size, start=start, end=end)


def _listen(connection, orders):
    """Take orders even while a file is decoded, to end with the parent."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            orders.put(connection.recv())
    os._exit(1)


def _limit_memory():
    """Limit the memory that a file with a wrong size can take."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_LIMIT, _MEMORY_LIMIT))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass  # a system without limits, or with a lower limit already
    # If memory still runs short, the system shall end this process.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _frame_encoder(settings):
    """A function from a `video.FrameReader` to `(timestamp, size, jpeg, flow)` of its frames."""
    import cv2

    cv2.setNumThreads(1)  # there is a process per core
    quality = [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality]
    if settings.flow != "none":
        from keras_videorel.data import flow

    def encode(reader):
        timestamps, length = [], 0

        def frames():
            for timestamp, frame in reader:
                timestamps.append(timestamp)
                yield frame

        if settings.flow == "none":
            pairs = ((frame, None) for frame in frames())
        else:
            pairs = flow.with_flow(frames(), settings.flow)
        for index, (frame, levels) in enumerate(pairs):
            height, width, _ = frame.shape
            if max(height, width) > _MAX_JPEG_SIDE:
                reason = f"frames of {height}x{width} cannot be JPEGs"
                raise video.VideoError(reader.path, reason)
            bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
            jpeg = cv2.imencode(".jpg", bgr, quality)[1].tobytes()
            field = None if levels is None else flow.encode_jpeg(levels, settings.jpeg_quality)
            length += len(jpeg) + len(field or b"")
            if length > MAX_CLIP_BYTES:
                reason = (
                    f"too long for a record: {index + 1} frames exceed 1.9 GB; store smaller "
                    "frames (--short_side) or list parts of it (start and end of --dataset csv)"
                )
                raise video.VideoError(reader.path, reason)
            yield timestamps[index], (height, width), jpeg, field

    return encode
