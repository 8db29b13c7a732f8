"""Turn videos into JPEG frames in a separate process, so that a bad file cannot end a run.

If the decoding library crashes or hangs, at most one clip is lost. The process decodes many files.
It imports neither TensorFlow nor the caller's main module, so it starts quickly.
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

MAX_CLIP_BYTES = 1_900_000_000  # a record is a protocol buffer, which holds at most 2 GiB
_MAX_JPEG_SIDE = 65_500  # limit of libjpeg
_MEMORY_LIMIT = 6 << 30  # 8K video needs 1.6 GiB, and 3.0 GiB with DIS flow
_MAX_WAIT = 1e6  # seconds; the system call does not take more
_BATCH = 16  # frames per message; single frames would be a tenth slower
_START_LIMIT = 300  # seconds; an idle machine needs a quarter of a second

# The program of the process. It finds modules in the same places as this process.
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
    """The encoded frames of a video."""

    jpegs: list  # bytes of each frame
    flow: list | None  # bytes of the flow from each frame to the next
    timestamps: list  # seconds, increasing
    height: int
    width: int
    frame_rate: float  # frames per second, computed from the timestamps
    note: str | None  # a text about lost frames, if any


class Closed(Exception):
    """The decoder was closed."""


class Decoder:
    """Context manager that decodes videos in a separate process.

    Each thread needs its own decoder. Only `close` may be called from any thread.

    Args:
        settings: A `Settings`.
        time_limit: Seconds without frames after which the decoder gives up a file. The process
            sends 16 frames at a time, or single frames if it computes flow.

    Attributes:
        starts: How often the process was started. It starts again after each file that ended it.
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
        """Decode a video or a segment of it, and encode its frames as an `EncodedClip`.

        After a crash or the time limit, the frames so far are used. The note then says so.

        Args:
            path: A video file or a folder of pictures.
            on_frame: Optional function, called with the number of frames so far.
            start: Beginning of the segment. `start` and `end` are as for `video.iter_frames`.

        Raises:
            video.VideoError: If the file or segment has no usable frames.
            OSError: If the process does not start, or was killed twice (for example because the
                system is short of memory).
            Closed: If the decoder was closed before or during the call.
        """
        path, segment = os.fsdecode(path), video.check_segment(start, end)
        for _ in range(2):
            rate, frames, ending, content = self._attempt((path, *segment), on_frame)
            if self._closed:
                raise Closed
            # If an earlier file caused the crash, a fresh process does not crash again.
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
        """Process ID, or None if the process does not run."""
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
        """`(rate, frames, ending, content)`. The last two are the message after the frames."""
        rate, frames, kind = None, [], None
        try:
            self._start()
            with contextlib.suppress(OSError):  # `_receive` notices a process that died
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
                    # Otherwise OpenBLAS reserves memory for a thread per core, which are not used.
                    env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                    start_new_session=True,  # the parent takes Ctrl-C and ends this process
                )
        with contextlib.suppress(OSError):
            self._connection.send(sys.path)
            self._connection.send(tuple(self.settings))
        ready, *status = self._receive(_START_LIMIT)  # sent after its imports
        if ready != "ready" and not self._closed:
            raise OSError(f"the decoder did not start ({ready} {status})")

    def _stop(self):
        """End the process and return its exit status. The next file starts a fresh process."""
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
    """Receive `(path, start, end)` and send the messages of that file, forever."""
    settings = Settings(*connection.recv())
    encode = _frame_encoder(settings)
    size = _BATCH if settings.flow == "none" else 1
    _limit_memory()
    orders = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, orders), daemon=True).start()
    connection.send(("ready",))
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # messages of the libraries about damaged files
    gc.freeze()  # otherwise each collection spends most of its time on the modules
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
        except Exception as error:  # the libraries may raise anything for a damaged file
            reason = " ".join(str(error).split())
            ending = ("rejected", f"cannot be decoded: {type(error).__name__}: {reason}")
        connection.send(ending)
        gc.collect()  # frees pictures that side data keeps (PyAV 17 and 18), up to 100 MB each


def _reader(path, settings, start, end):
    if os.path.isdir(path):
        return pictures.PictureReader(path, settings.size, settings.frame_rate, start, end)
    return video.iter_frames(path, settings.size, start=start, end=end)


def _listen(connection, orders):
    """Receive even while a file is decoded, so that this process ends when the parent does."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            orders.put(connection.recv())
    os._exit(1)


def _limit_memory():
    """Limit the memory that a file with a false size can take."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_LIMIT, _MEMORY_LIMIT))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass  # the system has no limits, or a lower one already
    # If memory still runs short, the system should end this process first.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _frame_encoder(settings):
    """A function that yields `(timestamp, size, jpeg, flow)` of each frame of a reader."""
    import cv2

    cv2.setNumThreads(1)  # each core has its own process
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
