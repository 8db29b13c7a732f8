"""Labels of video files, of the whole and over time."""

import collections
import math
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_videorel.checks import check_integer, check_number
from keras_videorel.clip_spec import ClipSpec
from keras_videorel.data import flow, sampling, video, video_times
from keras_videorel.prediction import exported

# Seconds of video that snippets of segments are spread over; clips of UCF-101 and HMDB-51 have
# 7 and 3.
SEGMENTS_WINDOW = 3.0
_MAX_HOP = 0.5  # seconds
_MAX_FRAMES = 1024  # held at least, of windows whose frames come faster than the rate


class Prediction(NamedTuple):
    """What a model says about a video.

    Attributes:
        path: The video file.
        labels: Names of the most probable classes, best first.
        probabilities: Their probabilities.
        frames: Number of frames that decoded.
    """

    path: str
    labels: list
    probabilities: list
    frames: int

    def __repr__(self):
        pairs = zip(self.labels, self.probabilities, strict=True)
        shares = ", ".join(f"{label} {share:.1%}" for label, share in pairs)
        return f"Prediction({self.path!r}, {self.frames} frames: {shares})"


class Window(NamedTuple):
    """What a model says about a part of a video.

    Attributes:
        start: When it begins, in seconds after the first frame of the video.
        end: When it ends.
        probabilities: Of all classes, float32 `(classes,)`.
        relations: The weights of r(X_t, H_{t-1}) of a model with a relational LSTM, float32
            `(T, 4, positions, positions)`: for each snippet and gate (i, f, g, o), how much each
            position of X_t (rows) takes from each of H_{t-1} (columns). Otherwise None.
        times: When each frame that the model saw is shown, in seconds, `(sampled,)`.
    """

    start: float
    end: float
    probabilities: np.ndarray
    relations: np.ndarray | None
    times: np.ndarray


class Sample(NamedTuple):
    """The sample in the middle of a video, and what the model relates in it."""

    relations: np.ndarray | None  # as of a `Window`
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
        has_relations: Whether windows carry relation maps.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If an older version exported it, or `precision` is none of these.
        OSError: If a LiteRT file needs an interpreter that is not installed.

    Example:
        >>> predictor = keras_videorel.Predictor("saved_models/mine")
        >>> predictor("a.mp4", top=2)
        Prediction('a.mp4', 100 frames: wave 93.1%, jump 4.2%)
    """

    def __init__(self, path: str | os.PathLike, precision: str | None = None):
        self._model, self.settings, self.precision = exported.load(path, precision)
        self.labels = self._model.labels
        self.has_relations = self._model.has_relations
        self.clip = ClipSpec.from_json(self.settings)
        self.stream, self.frame_size = self.clip.stream, self.clip.frame_size

    def __call__(self, paths, top: int = 5) -> Prediction | list[Prediction]:
        """Label one video, or several.

        A file is decoded twice, first to count its frames, so memory does not grow with its
        length. For a model of optical flow, flow is estimated on the way (DIS).

        Args:
            paths: A video file, or a list of them.
            top: Number of classes to return.

        Returns:
            A `Prediction`, or a list of them.

        Raises:
            ValueError: If a file is no video that can be decoded, or `top` is less than 1.
        """
        if isinstance(paths, str | os.PathLike):
            check_integer("top", top, 1)
            return self.predict(paths, video.count_frames(paths, threads=0), top)[0]
        return [self(path, top) for path in paths]

    def predict(self, path, num_frames: int, top: int = 5, *, with_sample=False, on_frame=None):
        """Label a video of `num_frames` frames in one pass.

        Args:
            path: A video file.
            num_frames: Number of frames that decode.
            top: Number of classes to return.
            with_sample: Whether to return the sample in the middle, too.
            on_frame: Called with the time of each frame of the video, in seconds after the first,
                and the `data.video.FrameReader`, whose `frame` gives the frame in any size.

        Returns:
            A `Prediction`, and a `Sample` or None.
        """
        check_integer("top", top, 1)
        indices = sampling.distinct_samples(num_frames, self.settings["clips"], self.clip).numpy()
        (middle,) = sampling.uniform_samples(num_frames, 1, self.clip).numpy()
        seen = {}

        def look(index, time, reader):
            if with_sample and index in middle:
                seen[index] = time, reader.frame()
            if on_frame is not None:
                on_frame(time, reader)

        everything = with_sample or on_frame is not None
        clips = self._take(
            np.concatenate([indices, middle[np.newaxis]]) if with_sample else indices,
            num_frames,
            lambda numbers: _read(path, numbers, self.frame_size, look if everything else None),
        )
        # Clip by clip: what `serving_default` does for a whole video, in bounded memory.
        logits = [self._model.score(clip[np.newaxis])[0] for clip in clips[: len(indices)]]
        best = self.best(_softmax(np.mean(logits, axis=0)), top)
        found = Prediction(os.fspath(path), *map(list, zip(*best, strict=True)), num_frames)
        if not with_sample:
            return found, None
        _, relations = self._evaluate(clips[-1:], relations=True)
        times, frames = zip(*(seen[index] for index in middle.tolist()), strict=True)
        return found, Sample(relations, np.array(times), np.stack(frames))

    def best(self, probabilities: np.ndarray, top: int = 5) -> list[tuple[str, float]]:
        """The most probable classes, best first: a list of `(label, probability)`."""
        best = np.argsort(-probabilities, kind="stable")[: check_integer("top", top, 1)]
        return [(self.labels[i], float(probabilities[i])) for i in best]

    def windows(self, source, window=None, hop=None, relations=True) -> Iterator[Window]:
        """Label a video over time, in one pass and in bounded memory.

        A window of a model of clips is as long as its clip. A model of segments takes a snippet
        from each of T equal parts of the window, which lasts as long whatever the frame rate does
        on the way. The last window ends with the last frame; a video that is shorter than a window
        is one.

        Args:
            source: A video file, or an iterator like `data.video.iter_frames`, of frames of the
                size `frame_size`.
            window: Seconds that a window of segments lasts, 3 by default.
            hop: Seconds from one window to the next, rounded to whole frames; by default half a
                window, and at most half a second.
            relations: Whether to compute relation maps, where the model has them.

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
            for time, frame in reader:
                first = time if first is None else first
                newest.add(time - first, frame)
                scored = False
                # Half a frame for times that are rounded.
                if newest.is_full() if due is None else time - first >= due - 0.5 / rate:
                    yield self.window(*newest.columns(), rate, relations)
                    scored = True
                    due = time - first + hop if due is None else due + hop
                    due += max(math.ceil((time - first - due) / hop), 0) * hop
            if not scored:
                yield self.window(*newest.columns(), rate, relations)

    def window(self, times, frames, frame_rate=25.0, relations=True) -> Window:
        """Label consecutive frames, uint8 RGB `(height, width, 3)`, as one sample.

        `times` are theirs in seconds. `frame_rate` tells the end of one or two frames.
        """
        indices = sampling.uniform_samples(len(frames), 1, self.clip).numpy()
        clips = self._take(indices, len(frames), lambda numbers: ((i, frames[i]) for i in numbers))
        logits, maps = self._evaluate(clips, relations)
        # Two frames may have a pause between them.
        step = video_times.typical_step(times) if len(times) > 2 else None
        end = float(times[-1] + (step or 1 / frame_rate))
        seen = np.array([times[i] for i in indices[0]], float)
        return Window(float(times[0]), end, _softmax(logits[0]), maps, seen)

    def window_frames(self, frame_rate, window=None):
        """Frames of a window of a video that keeps its frame rate."""
        segments = self.clip.segments
        span = (self.clip.frames - 1) * self.clip.frame_stride + 1
        if not segments:
            return span
        seconds = SEGMENTS_WINDOW if window is None else window
        return max(round(seconds * frame_rate), self.clip.segments, span)

    def default_hop(self, frame_rate, window=None):
        """Seconds from one window to the next, where the caller does not say."""
        return min(self.window_frames(frame_rate, window) / frame_rate / 2, _MAX_HOP)

    def check_window(self, window, hop):
        """Raise a `ValueError` for what `windows` cannot take."""
        for name, value in (("window", window), ("hop", hop)):
            if value is not None:
                check_number(name, value, above=0)
        if window is not None and not self.clip.segments:
            raise ValueError(
                "`window` is for models of segments; this one's window is its clip of "
                f"{self.window_frames(25.0)} frames. Received: window={window!r}"
            )

    def _evaluate(self, clips, relations):
        """Logits of samples, and the relations of the first, or None."""
        if relations and self.has_relations:
            logits, maps = self._model.attend(clips)
            return logits, maps[0]
        return self._model.score(clips), None

    def _take(self, indices, num_frames, read):
        """Frames by number, or the flow from each to the next, uint8 `(*indices.shape, h, w, c)`.

        `read` gives an iterable of `(number, frame)` for numbers in order.
        """
        if self.stream == "rgb":
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


class NewestFrames:
    """The newest frames of a source: as many as a window takes, and at most `max_frames`.

    A clip is a number of frames. A window of segments is a time: cameras deliver fewer frames than
    they declare when it gets dark, and browsers record what comes.
    """

    def __init__(self, predictor, frame_rate, window, max_frames=None):
        self._length = predictor.window_frames(frame_rate, window)
        self._step = 1 / frame_rate
        self._span = (self._length - 1) * self._step if predictor.clip.segments else None
        self._max_frames = max(2 * self._length, _MAX_FRAMES) if max_frames is None else max_frames
        self._rows = collections.deque()

    def add(self, time, *row):
        """Add a frame, or what belongs to it, and forget the oldest that a window does without."""
        self._rows.append((time, *row))
        while self.is_full(after=1):
            self._rows.popleft()

    def is_full(self, after=0):
        """Whether the frames, but for the oldest ones, make a window."""
        count = len(self._rows) - after
        if self._span is None or count < 1:
            return count >= self._length
        # Half a frame for times that are rounded.
        lasts = self._rows[-1][0] - self._rows[after][0] + 0.5 * self._step
        return lasts >= self._span or count >= self._max_frames

    def last(self):
        """Time of the newest frame, None if there is none."""
        return self._rows[-1][0] if self._rows else None

    def columns(self):
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


def _read(path, numbers, size, look=None):
    """Yield `(number, frame)` of some frames of a file.

    All frames go by `look(number, seconds, reader)`; without it, the file is read no further than
    the last of `numbers`.
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
