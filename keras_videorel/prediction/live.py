"""Label cameras and streams live, always from their newest frames."""

from __future__ import annotations

import collections
import contextlib
import statistics
import threading
import time as clock
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import av
import cv2
import numpy as np

from keras_videorel.data import video
from keras_videorel.prediction.predictor import NewestFrames, Predictor, Window

_MAX_FRAMES = 1024  # frames held of one source, at any frame rate
_LATENCIES = 10_000  # number of latencies kept for the summary


class LiveWindow(NamedTuple):
    """The scores of the newest frames of a source."""

    source: str  # name of the source
    window: Window  # times are in seconds after the first frame of the source
    latency: float  # seconds from the arrival of the newest frame to the scores
    skipped: int  # number of frames between the previous window and this window


class Summary(NamedTuple):
    """Statistics of a source after its end."""

    source: str
    frames: int
    windows: int
    skipped: int  # number of frames outside all windows
    latencies: list[float]  # in seconds, of the last windows
    error: Exception | None  # the error that ended the source

    def __str__(self) -> str:
        found = f"{self.source}: {self.frames} frames, {self.windows} windows"
        if self.latencies:
            median = statistics.median(self.latencies)
            found += f", latency {1e3 * median:.0f} ms median, {1e3 * max(self.latencies):.0f} most"
        return f"{found}, {self.skipped} frames skipped"


class CameraReader:
    """Reads the frames of a camera, with the interface of `data.video.FrameReader`.

    Args:
        capture: A `cv2.VideoCapture`, or an object with its methods `read`, `get` and `release`.
        size: Size of the resized frames: `(height, width)`, or the length of the shorter side.

    Attributes:
        frame_rate: Frames per second that the camera reports, or 25.
        is_live: Always `True`: frames arrive at their own pace.
    """

    is_live = True

    def __init__(self, capture: Any, size: tuple[int, int] | int):
        self._capture, self._size = capture, size
        self._first: float | None = None
        self._reformatter = av.video.reformatter.VideoReformatter()
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.frame_rate = rate if 0 < rate <= 1000 else 25.0

    def __iter__(self) -> CameraReader:
        return self

    def __next__(self) -> tuple[float, np.ndarray]:
        whole, frame = self._capture.read()
        if not whole:
            raise StopIteration
        now = clock.monotonic()
        self._first = now if self._first is None else self._first
        (height, width), size = frame.shape[:2], self._size
        size = video.keep_aspect(height, width, size) if isinstance(size, int) else size
        picture = av.VideoFrame.from_ndarray(frame, format="bgr24")
        return now - self._first, video.to_rgb(picture, size, self._reformatter)

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()


def open_camera(name: int | str, size: tuple[int, int] | int) -> CameraReader:
    """Open a camera by its number, device or pipeline. Raises an `OSError` if that fails."""
    log = getattr(cv2.utils, "logging", cv2)  # the place depends on the version of OpenCV
    level = log.setLogLevel(0)  # OpenCV warns for each backend that it tries
    try:
        capture = cv2.VideoCapture(int(name) if str(name).isdigit() else str(name))
    finally:
        log.setLogLevel(level)
    if not capture.isOpened():
        raise OSError(f"camera {name} cannot be opened")
    return CameraReader(capture, size)


def watch(
    predictor: Predictor,
    sources: dict[str, Callable[[], Any]],
    *,
    window: float | None = None,
    hop: float | None = None,
    stop: threading.Event | None = None,
    on_end: Callable[[Summary], Any] | None = None,
) -> Iterator[LiveWindow]:
    """Label live sources until they end.

    One thread per source reads frames and keeps the newest. Whenever the model is free, it scores
    the newest window of the next source. A slow model therefore skips frames and does not fall
    behind. Recordings are read at the speed at which they play.

    Args:
        sources: Dict from names to functions. Each opens a `data.video.FrameReader` or a
            `CameraReader`, with frames of the size `predictor.frame_size`.
        window: As for `Predictor.windows`.
        hop: Minimum seconds between windows of a source, by default as for `Predictor.windows`.
        stop: Labeling ends when this event is set.
        on_end: Called with the `Summary` of each source at its end.

    Yields:
        A `LiveWindow` for each window.
    """
    predictor.check_window(window, hop)
    stop = threading.Event() if stop is None else stop
    size = predictor.frame_size
    still = np.zeros((*((size, size) if isinstance(size, int) else size), 3), np.uint8)
    predictor.window([0.0], [still], attention_maps=False)  # warm-up: the first call is slow
    news = threading.Condition()
    feeds = [
        _Feed(name, opened, predictor, window, hop, news, stop) for name, opened in sources.items()
    ]
    try:
        for feed in feeds:
            feed.start()
        waiting = list(feeds)
        while waiting:
            with news:
                news.wait_for(
                    lambda: stop.is_set() or any(f.is_due() or f.ended for f in waiting), 0.2
                )
            for feed in list(waiting):
                if feed.is_due() and not stop.is_set():
                    yield feed.label()
                elif feed.ended or stop.is_set():
                    waiting.remove(feed)
                    if on_end is not None:
                        on_end(feed.summary())
    finally:
        stop.set()
        for feed in feeds:
            feed.join(timeout=2)


class _Feed(threading.Thread):
    """Reads a source and keeps its newest frames."""

    def __init__(self, name, opened, predictor, window, hop, news, stop):
        super().__init__(name=f"feed {name}", daemon=True)
        self.source, self.ended, self.error = name, False, None
        self._opened, self._predictor, self._seconds, self._hop = opened, predictor, window, hop
        self._news, self._stop_event = news, stop
        self._newest = self._rate = None  # the newest times, arrivals and frames
        self._frames = self._seen = self._skipped = self._windows = 0
        self._last = None  # time of the newest frame in the last window
        self._latencies = collections.deque(maxlen=_LATENCIES)

    def run(self):
        try:
            with contextlib.closing(self._opened()) as reader:
                self._read(reader)
        except Exception as error:  # goes into the summary; other sources continue
            self.error = error
        finally:
            with self._news:
                self.ended = True
                self._news.notify_all()

    def _read(self, reader):
        rate = self._rate = reader.frame_rate
        if self._hop is None:
            self._hop = self._predictor.default_hop(rate, self._seconds)
        self._newest = NewestFrames(self._predictor, rate, self._seconds, _MAX_FRAMES)
        first = began = None
        for time, frame in reader:
            now = clock.monotonic()
            if first is None:
                first, began = time, now
            if not reader.is_live and self._stop_event.wait(max(began + time - first - now, 0)):
                return
            with self._news:
                self._frames += 1
                self._newest.add(time - first, clock.monotonic(), frame)
                self._news.notify_all()
            if self._stop_event.is_set():
                return

    def is_due(self):
        """Return whether a window is ready to be labeled."""
        with self._news:
            newest = None if self._newest is None else self._newest.last()
            if newest is None or newest == self._last:
                return False
            if self.ended:
                return True
            if self._last is None:
                return self._newest.is_full()
            return newest - self._last >= self._hop - 0.5 / self._rate

    def label(self):
        """Label the newest window."""
        with self._news:
            times, arrivals, frames = self._newest.columns()
            skipped = max(self._frames - self._seen - len(frames), 0)
            self._seen, self._last = self._frames, times[-1]
        window = self._predictor.window(times, frames, self._rate, attention_maps=False)
        latency = clock.monotonic() - arrivals[-1]
        self._windows += 1
        self._skipped += skipped
        self._latencies.append(latency)
        return LiveWindow(self.source, window, latency, skipped)

    def summary(self):
        with self._news:
            return Summary(
                self.source, self._frames, self._windows, self._skipped, list(self._latencies),
                self.error,
            )  # fmt: skip
