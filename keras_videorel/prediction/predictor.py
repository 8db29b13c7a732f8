"""Labels of video files, of the whole and over time."""

from __future__ import annotations

import collections
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import tensorflow as tf

from keras_videorel.checks import check_integer, check_number
from keras_videorel.clip_spec import ClipSpec
from keras_videorel.data import flow, sampling, video, video_times
from keras_videorel.prediction import exported

# Seconds of video that the snippets of a window are spread over. Clips of UCF-101 and HMDB-51 last
# 7 and 3 seconds.
SEGMENTS_WINDOW = 3.0
_MAX_HOP = 0.5  # seconds
_MAX_FRAMES = 1024  # of a window whose frames come faster than the frame rate says


class Prediction(NamedTuple):
    """What a model says about a video.

    Attributes:
        path: The video file.
        labels: Names of the most probable classes, best first.
        probabilities: Their probabilities.
        frames: Number of frames that decoded.
    """

    path: str
    labels: list[str]
    probabilities: list[float]
    frames: int

    def __repr__(self) -> str:
        pairs = zip(self.labels, self.probabilities, strict=True)
        shares = ", ".join(f"{label} {share:.1%}" for label, share in pairs)
        return f"Prediction({self.path!r}, {self.frames} frames: {shares})"


class Window(NamedTuple):
    """What a model says about a part of a video.

    Attributes:
        start: When it begins, in seconds after the first frame of the video.
        end: When it ends.
        probabilities: Of all classes, float32 `(classes,)`.
        attention_maps: The weights of r(X_t, H_{t-1}) of a model with a relational LSTM, float32
            `(T, 4, positions, positions)`: for each snippet and gate (i, f, g, o), how much each
            position of X_t (rows) takes from each of H_{t-1} (columns). Otherwise `None`.
        times: When each frame that the model saw is shown, in seconds, `(sampled,)`.
    """

    start: float
    end: float
    probabilities: np.ndarray
    attention_maps: np.ndarray | None
    times: np.ndarray

    @property
    def relations(self) -> np.ndarray | None:
        """Older name of `attention_maps`."""
        return self.attention_maps


class Sample(NamedTuple):
    """The sample in the middle of a video."""

    attention_maps: np.ndarray | None  # as of a `Window`
    times: np.ndarray  # of its frames, seconds, (sampled,)
    frames: np.ndarray  # uint8 RGB (sampled, height, width, 3), in the size of the video


class Predictor:
    """An exported model that labels videos. Calls from several threads are safe.

    Args:
        path: A folder written by `export`: a SavedModel, LiteRT files, or both, with
            `export.json`.
        precision: Which of them: `"saved_model"`, `"fp32"`, `"fp16"`, `"dynamic"` or `"int8"`.
            By default the first of these that is there.

    Attributes:
        labels: Names of the classes, in index order.
        settings: What `export.json` says, a dict.
        clip: The `ClipSpec` in it.
        precision: Which file is used.
        has_attention_maps: Whether windows carry attention maps.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If an older version exported it, or `precision` is none of these.
        ImportError: If a LiteRT file needs an interpreter that is not installed.

    Example:
        >>> predictor = keras_videorel.Predictor("saved_models/mine")
        >>> predictor("a.mp4", top=2)
        Prediction('a.mp4', 100 frames: wave 93.1%, jump 4.2%)
    """

    def __init__(self, path: str | os.PathLike, precision: str | None = None):
        self._model, self.settings, self.precision = exported.load(path, precision)
        self.labels: list[str] = self._model.labels
        self.has_attention_maps: bool = self._model.has_attention_maps
        self.clip = ClipSpec.from_json(self.settings)
        self.frame_size = cast(tuple[int, int] | int, self.clip.frame_size)

    @property
    def has_relations(self) -> bool:
        """Older name of `has_attention_maps`."""
        return self.has_attention_maps

    def __call__(self, paths: Any, top: int = 5) -> Any:
        """Label one video, or several.

        A file is decoded twice, first to count its frames, so memory does not grow with its
        length. For a model of optical flow, flow is estimated on the way (DIS).

        Args:
            paths: A video file, or a list of them.
            top: Number of classes to return.

        Returns:
            A `Prediction`, or a list of them.

        Raises:
            ValueError: If a file is not a video that can be decoded, or `top` is less than 1.
        """
        if not isinstance(paths, str | os.PathLike):
            return [self(path, top) for path in paths]
        check_integer("top", top, 1)
        return self.predict(paths, video.count_frames(paths, threads=0), top)[0]

    def predict(
        self,
        path: str | os.PathLike,
        num_frames: int,
        top: int = 5,
        *,
        with_sample: bool = False,
        on_frame: Callable[[float, video.FrameReader], Any] | None = None,
    ) -> tuple[Prediction, Sample | None]:
        """Label a video of `num_frames` frames in one pass.

        Args:
            path: A video file.
            num_frames: Number of frames that decode.
            top: As for a call.
            with_sample: Whether to return the sample in the middle, too.
            on_frame: Called with the time of each frame of the video, in seconds after the first,
                and the `data.video.FrameReader`, whose `frame` gives the frame in any size.

        Returns:
            A `Prediction`, and a `Sample` or `None`.
        """
        check_integer("top", top, 1)
        indices = sampling.distinct_samples(num_frames, self.settings["clips"], self.clip).numpy()
        count = len(indices)
        (middle,) = sampling.uniform_samples(num_frames, 1, self.clip).numpy()
        seen = {}

        def look(index, time, reader):
            if with_sample and index in middle:
                seen[index] = time, reader.frame()
            if on_frame is not None:
                on_frame(time, reader)

        if with_sample:
            indices = np.concatenate([indices, middle[np.newaxis]])
        looks = look if with_sample or on_frame is not None else None
        clips = _take(
            indices, num_frames, self.clip, lambda i: _read(path, i, self.frame_size, looks)
        )
        # Clip by clip: what `serving_default` does for a whole video, in bounded memory.
        logits = [self._model.score(clip[np.newaxis])[0] for clip in clips[:count]]
        best = self.best(_softmax(np.mean(logits, axis=0)), top)
        labels, probabilities = map(list, zip(*best, strict=True))
        found = Prediction(os.fspath(path), labels, probabilities, num_frames)
        if not with_sample:
            return found, None
        attention_maps = self._evaluate(clips[-1:], attention_maps=True)[1]
        times, frames = zip(*(seen[index] for index in middle.tolist()), strict=True)
        return found, Sample(attention_maps, np.array(times), np.stack(frames))

    def best(self, probabilities: np.ndarray, top: int = 5) -> list[tuple[str, float]]:
        """The most probable classes, best first: a list of `(label, probability)`."""
        best = np.argsort(-probabilities, kind="stable")[: check_integer("top", top, 1)]
        return [(self.labels[i], float(probabilities[i])) for i in best]

    def windows(
        self,
        source: str | os.PathLike | Any,
        window: float | None = None,
        hop: float | None = None,
        attention_maps: bool = True,
    ) -> Iterator[Window]:
        """Label a video over time, in one pass and in bounded memory.

        A window of a model of clips is as long as its clip. A model of segments takes a snippet
        from each of T equal parts of the window, whose length in seconds does not change with the
        frame rate. The last window ends with the last frame. A video that is shorter than a window
        is one window.

        Args:
            source: A video file, or an iterator like `data.video.iter_frames`, of frames of the
                size `frame_size`.
            window: Seconds that a window of segments lasts, 3 by default.
            hop: Seconds from one window to the next, rounded to whole frames; by default half a
                window, and at most half a second.
            attention_maps: Whether to compute attention maps, where the model has them.

        Yields:
            `Window`s, in order.
        """
        self.check_window(window, hop)
        if isinstance(source, str | os.PathLike):
            source = video.iter_frames(source, self.frame_size, threads=0)
        with source as reader:
            rate = reader.frame_rate
            hop = self.default_hop(rate, window) if hop is None else hop
            hop = max(round(hop * rate), 1) / rate
            newest = NewestFrames(self, rate, window)
            first = due = None  # time of the first frame, and of the next window's end
            scored = True

            def label():
                times, frames = newest.columns()
                return self.window(times, frames, rate, attention_maps)

            for time, frame in reader:
                first = time if first is None else first
                newest.add(time - first, frame)
                # Half a frame for times that are rounded.
                scored = newest.is_full() if due is None else time - first >= due - 0.5 / rate
                if scored:
                    yield label()
                    due = time - first + hop if due is None else due + hop
                    due += max(math.ceil((time - first - due) / hop), 0) * hop
            if not scored:
                yield label()

    def window(self, times, frames, frame_rate: float = 25.0, attention_maps=True) -> Window:
        """Label consecutive frames as one sample.

        Args:
            times: Their times in seconds.
            frames: uint8 RGB `(height, width, 3)` each.
            frame_rate: Tells when a window of one or two frames ends.
            attention_maps: As for `windows`.
        """
        (indices,) = sampling.uniform_samples(len(frames), 1, self.clip).numpy()
        clips = _take(
            indices[np.newaxis],
            len(frames),
            self.clip,
            lambda found: ((i, frames[i]) for i in found),
        )
        logits, maps = self._evaluate(clips, attention_maps)
        # Two frames may have a pause between them.
        step = video_times.typical_step(times) if len(times) > 2 else None
        end = float(times[-1] + (step or 1 / frame_rate))
        seen = np.array([times[i] for i in indices], float)
        return Window(float(times[0]), end, _softmax(logits[0]), maps, seen)

    def window_frames(self, frame_rate: float, window: float | None = None) -> int:
        """Frames of a window of a video that keeps its frame rate."""
        span = (self.clip.frames - 1) * self.clip.frame_stride + 1
        if not self.clip.segments:
            return span
        seconds = SEGMENTS_WINDOW if window is None else window
        return max(round(seconds * frame_rate), self.clip.segments, span)

    def default_hop(self, frame_rate: float, window: float | None = None) -> float:
        """Seconds from one window to the next, where the caller does not say."""
        return min(self.window_frames(frame_rate, window) / frame_rate / 2, _MAX_HOP)

    def check_window(self, window: float | None, hop: float | None) -> None:
        """Raise a `ValueError` for arguments that `windows` cannot take."""
        for name, value in (("window", window), ("hop", hop)):
            if value is not None:
                check_number(name, value, above=0)
        if window is not None and not self.clip.segments:
            raise ValueError(
                "`window` is for models of segments; this one's window is its clip of "
                f"{self.window_frames(25.0)} frames. Received: window={window!r}"
            )

    def _evaluate(self, clips, attention_maps):
        """Logits of samples, and the attention maps of the first, or `None`."""
        if attention_maps and self.has_attention_maps:
            logits, maps = self._model.attend(clips)
            return logits, maps[0]
        return self._model.score(clips), None


class NewestFrames:
    """The newest frames of a source: as many as a window takes, and at most `max_frames`.

    A clip is a number of frames. A window of segments is a time: cameras deliver fewer frames than
    they declare when it gets dark, and browsers record with varying rates.
    """

    def __init__(self, predictor, frame_rate, window, max_frames=None):
        self._length = predictor.window_frames(frame_rate, window)
        self._step = 1 / frame_rate
        self._span = (self._length - 1) * self._step if predictor.clip.segments else None
        self._max_frames = max(2 * self._length, _MAX_FRAMES) if max_frames is None else max_frames
        self._rows = collections.deque()

    def add(self, time, *row):
        """Add a frame, or what belongs to it, and forget frames that no window needs any more."""
        self._rows.append((time, *row))
        while self.is_full(after=1):
            self._rows.popleft()

    def is_full(self, after=0):
        """Whether the frames, without the `after` oldest ones, make a window."""
        count = len(self._rows) - after
        if self._span is None or count < 1:
            return count >= self._length
        # Half a frame for times that are rounded.
        lasts = self._rows[-1][0] - self._rows[after][0] + 0.5 * self._step
        return lasts >= self._span or count >= self._max_frames

    def last(self):
        """Time of the newest frame, or `None`."""
        return self._rows[-1][0] if self._rows else None

    def columns(self) -> Any:
        """Times of the frames, and what was added with them: tuples, oldest first.

        After a pause, the oldest frame has been shown for longer than a window: its time is then
        when the window begins.
        """
        times, *others = zip(*self._rows, strict=True)
        if self._span is not None and times[0] < times[-1] - self._span - self._step:
            times = (times[-1] - self._span, *times[1:])
        return times, *others


def _softmax(logits):
    return tf.nn.softmax(logits).numpy()


def _take(indices, num_frames, clip, read):
    """Frames by number, or the flow from each to the next, uint8 `(*indices.shape, h, w, c)`.

    `read` gives an iterable of `(number, frame)` for numbers in order.
    """
    if clip.stream == "rgb":
        found = dict(read(np.unique(indices).tolist()))
    else:
        # The last frame repeats the flow of the one before, as in shards.
        indices = np.minimum(indices, max(num_frames - 2, 0))
        starts = set(indices.ravel().tolist())
        pairs = sorted(i for i in starts | {i + 1 for i in starts} if i < num_frames)
        estimate, found, before = flow.estimator("dis"), {}, None
        for index, frame in read(pairs):
            gray = flow.gray(frame)
            if index - 1 in starts:
                found[index - 1] = flow.to_levels(estimate(before, gray))
            before = gray
        if num_frames == 1:
            found[0] = flow.no_flow(before.shape)
    images = np.stack([found[index] for index in indices.ravel().tolist()])
    return images.reshape(*indices.shape, *images.shape[1:])


def _read(path, numbers, size, look=None):
    """Yield `(number, frame)` of some frames of a file.

    All frames go by `look(number, seconds, reader)`. Without it, reading ends with the last number.
    """
    wanted, last, first = set(numbers), max(numbers), None
    with video.iter_frames(path, threads=0) as reader:
        for index, time in enumerate(iter(reader.skip, None)):
            first = time if first is None else first
            if look is not None:
                look(index, time - first, reader)
            if index in wanted:
                yield index, reader.frame(size)
            if index == last and look is None:
                return
    if index < last:
        raise video.VideoError(path, f"{index + 1} frames decode, frame {last} is wanted")
