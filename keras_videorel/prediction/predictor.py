"""Label video files with an exported model, as a whole and over time."""

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

# Seconds of a window of segments. Videos of UCF-101 last 7 seconds, of HMDB-51 3 seconds.
SEGMENTS_WINDOW = 3.0
_MAX_HOP = 0.5  # seconds
_MAX_FRAMES = 1024  # frames of a window that come faster than the declared frame rate


class Prediction(NamedTuple):
    """The most probable classes of a video.

    Attributes:
        path: The video file.
        labels: Names of the classes, most probable first.
        probabilities: Probabilities of these classes.
        frames: Number of frames of the video.
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
    """The probabilities and attention maps of a part of a video.

    Attributes:
        start: Start of the window, in seconds after the first frame of the video.
        end: End of the window, in seconds.
        probabilities: Probabilities of all classes, float32 `(classes,)`.
        attention_maps: Weights of r(X_t, H_{t-1}), float32 `(T, 4, positions, positions)`, if the
            model has a relational LSTM. For each snippet and gate (i, f, g, o), a row holds the
            weights of one position of X_t over the positions of H_{t-1}.
        times: Times of the frames that the model saw, in seconds, `(sampled,)`.
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

    attention_maps: np.ndarray | None  # as in `Window`
    times: np.ndarray  # times of the frames in seconds, (sampled,)
    frames: np.ndarray  # uint8 RGB (sampled, height, width, 3), in the size of the video


class Predictor:
    """Labels videos with an exported model. Several threads may call one predictor.

    Args:
        path: A folder written by `export`, with a SavedModel, LiteRT files, or both.
        precision: File to use: `"saved_model"`, `"fp32"`, `"fp16"`, `"dynamic"` or `"int8"`. By
            default, the first of these files in the folder.

    Attributes:
        labels: Names of the classes, in index order.
        settings: The contents of `export.json`, a dict.
        clip: The `ClipSpec` of the model.
        precision: The file in use.
        frame_size: Size of the frames that the model takes: `(height, width)`, or the length of
            the shorter side.
        has_attention_maps: Whether windows can have attention maps.

    Raises:
        FileNotFoundError: If the folder has no such model.
        ValueError: If an older version exported the model, or `precision` is unknown.
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
        """Label one or several videos.

        Each file is decoded twice, first to count its frames. Memory use does not grow with the
        length of a video. For a model of optical flow, the flow is computed with DIS.

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
            num_frames: Number of frames, as `data.video.count_frames` returns it.
            top: Number of classes to return.
            with_sample: Whether to return the sample in the middle of the video, too.
            on_frame: Called for each frame of the video with its time in seconds after the first
                frame, and the `data.video.FrameReader`. `FrameReader.frame` returns the frame.

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
        # `serving_default` does the same for a whole video. Clip by clip, memory is bounded.
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
        """Return `(label, probability)` of the most probable classes, most probable first."""
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

        For a model of clips, a window is one clip. A model of segments takes one snippet from each
        of T equal parts of the window, and `window` sets the length in seconds. The last window
        ends with the last frame. A video that is shorter than a window is one window.

        Args:
            source: A video file, or an iterator such as `data.video.iter_frames` over frames of
                the size `frame_size`.
            window: Seconds of a window, only for models of segments; 3 by default.
            hop: Seconds from one window to the next, rounded to whole frames. By default half a
                window, but at most half a second.
            attention_maps: Whether to compute attention maps if the model has them.

        Yields:
            A `Window` for each window, in order.
        """
        self.check_window(window, hop)
        if isinstance(source, str | os.PathLike):
            source = video.iter_frames(source, self.frame_size, threads=0)
        with source as reader:
            rate = reader.frame_rate
            hop = self.default_hop(rate, window) if hop is None else hop
            hop = max(round(hop * rate), 1) / rate
            newest = NewestFrames(self, rate, window)
            first = due = None  # times of the first frame and of the end of the next window
            scored = True

            def label():
                times, frames = newest.columns()
                return self.window(times, frames, rate, attention_maps)

            for time, frame in reader:
                first = time if first is None else first
                newest.add(time - first, frame)
                # Times may be rounded, so half a frame is tolerated.
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
            times: Times of the frames in seconds.
            frames: Frames, each uint8 RGB `(height, width, 3)`.
            frame_rate: Sets the end of a window that has only one or two frames.
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
        # With two frames, a pause may lie between them.
        step = video_times.typical_step(times) if len(times) > 2 else None
        end = float(times[-1] + (step or 1 / frame_rate))
        seen = np.array([times[i] for i in indices], float)
        return Window(float(times[0]), end, _softmax(logits[0]), maps, seen)

    def window_frames(self, frame_rate: float, window: float | None = None) -> int:
        """Return the number of frames of a window at a constant frame rate."""
        span = (self.clip.frames - 1) * self.clip.frame_stride + 1
        if not self.clip.segments:
            return span
        seconds = SEGMENTS_WINDOW if window is None else window
        return max(round(seconds * frame_rate), self.clip.segments, span)

    def default_hop(self, frame_rate: float, window: float | None = None) -> float:
        """Return the default seconds from one window to the next."""
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
        """Return the logits of samples, and the attention maps of the first sample or `None`."""
        if attention_maps and self.has_attention_maps:
            logits, maps = self._model.attend(clips)
            return logits, maps[0]
        return self._model.score(clips), None


class NewestFrames:
    """Keeps the newest frames of a source: one window, and at most `max_frames`.

    A clip has a number of frames, but a window of segments has a duration. Frame rates vary:
    cameras deliver fewer frames in the dark, and browsers record at varying rates.
    """

    def __init__(self, predictor, frame_rate, window, max_frames=None):
        self._length = predictor.window_frames(frame_rate, window)
        self._step = 1 / frame_rate
        self._span = (self._length - 1) * self._step if predictor.clip.segments else None
        self._max_frames = max(2 * self._length, _MAX_FRAMES) if max_frames is None else max_frames
        self._rows = collections.deque()

    def add(self, time, *row):
        """Add a frame or its data, and drop the frames that are older than a window."""
        self._rows.append((time, *row))
        while self.is_full(after=1):
            self._rows.popleft()

    def is_full(self, after=0):
        """Return whether the frames, without the oldest `after` frames, fill a window."""
        count = len(self._rows) - after
        if self._span is None or count < 1:
            return count >= self._length
        # Times may be rounded, so half a frame is tolerated.
        lasts = self._rows[-1][0] - self._rows[after][0] + 0.5 * self._step
        return lasts >= self._span or count >= self._max_frames

    def last(self):
        """Return the time of the newest frame, or `None`."""
        return self._rows[-1][0] if self._rows else None

    def columns(self) -> Any:
        """Return tuples of the times and of the data added with them, oldest first.

        If a pause makes the oldest frame older than the window, its time becomes the start of the
        window.
        """
        times, *others = zip(*self._rows, strict=True)
        if self._span is not None and times[0] < times[-1] - self._span - self._step:
            times = (times[-1] - self._span, *times[1:])
        return times, *others


def _softmax(logits):
    return tf.nn.softmax(logits).numpy()


def _take(indices, num_frames, clip, read):
    """Return frames, or the flow from each frame to the next, uint8 `(*indices.shape, h, w, c)`.

    `read` maps sorted frame numbers to an iterable of `(number, frame)`.
    """
    if clip.stream == "rgb":
        found = dict(read(np.unique(indices).tolist()))
    else:
        # The last frame repeats the flow of the frame before it, as in shards.
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

    `look(number, seconds, reader)` is called for every frame of the file. Without `look`, reading
    ends with the last number.
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
