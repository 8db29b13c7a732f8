"""Labels of video files, of the whole and over time."""

import collections
import math
import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_videorel.checks import check_integer
from keras_videorel.clip_spec import ClipSpec
from keras_videorel.data import flow, sampling, video, video_times
from keras_videorel.prediction import exported

# Seconds of video that snippets of segments are spread over; clips of UCF-101 and HMDB-51 have
# 7 and 3.
SEGMENTS_WINDOW = 3.0
_MOST_HOP = 0.5  # seconds
_MOST_FRAMES = 1024  # held at least, of windows whose frames come faster than the rate


class Prediction(NamedTuple):
    """What a model says of a video.

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


class Window(NamedTuple):
    """What a model says of a part of a video.

    Attributes:
        start: When it begins, in seconds after the first frame of the video.
        end: When it ends.
        probabilities: Of all classes, float32 `(classes,)`.
        relations: Of a model with a relational LSTM the weights of r(X_t, H_{t-1}), float32
            `(T, 4, positions, positions)`: of each snippet and gate (i, f, g, o), how much each
            position of X_t (rows) takes from each of H_{t-1} (columns). Otherwise None.
        times: When each frame that the model saw is shown, in seconds, `(sampled,)`.
    """

    start: float
    end: float
    probabilities: np.ndarray
    relations: np.ndarray | None
    times: np.ndarray


class Predictor:
    """An exported model, ready for videos. Calls from several threads are safe.

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
        ValueError: If it is one of an older version, or `precision` is none of these.
        OSError: If a LiteRT file needs an interpreter that is not installed.
    """

    def __init__(self, path, precision=None):
        self._model, self.settings, self.precision = exported.load(path, precision)
        self.labels = self._model.labels
        self.has_relations = self._model.has_relations
        self.clip = ClipSpec.from_json(self.settings)
        self.stream, self.frame_size = self.clip.stream, self.clip.frame_size

    def __call__(self, path, top=5):
        """Label one video.

        The file is decoded twice, once to count its frames and once for those that are needed,
        so memory does not grow with its length. For a model of optical flow, that of these frames
        is estimated on the way (DIS).

        Args:
            path: A video file.
            top: Number of classes to return.

        Returns:
            A `Prediction`.

        Raises:
            ValueError: If the file is no video that can be decoded, or `top` is less than 1.
        """
        check_integer("top", top, 1)
        frames = video.count_frames(path, threads=0)
        indices = sampling.distinct_samples(frames, self.settings["clips"], self.clip).numpy()
        clips = self._read(path, indices, frames)
        # Clip by clip: what `serving_default` does for a whole video, in bounded memory.
        logits = [self._model.score(clip[None])[0] for clip in clips]
        best = self.best(_softmax(np.mean(logits, axis=0)), top)
        return Prediction(os.fspath(path), *map(list, zip(*best, strict=True)), frames)

    def best(self, probabilities, top=5):
        """The most probable classes, best first: a list of `(label, probability)`."""
        best = np.argsort(-probabilities, kind="stable")[: check_integer("top", top, 1)]
        return [(self.labels[i], float(probabilities[i])) for i in best]

    def whole(self, path, relations=True):
        """One sample of a whole video, with what the model relates: a `Window`.

        It is the clip in the middle, or a snippet from the middle of each segment.

        Args:
            path: A video file.
            relations: Whether to compute relation maps, where the model has them.

        Returns:
            `(window, frames)`: frames are those that the model saw, uint8 RGB `(sampled, height,
            width, 3)` in the size of the video.

        Raises:
            ValueError: If the file is no video that can be decoded.
        """
        with video.iter_frames(path, threads=0) as reader:
            times, rate = [], reader.frame_rate
            while (time := _next_time(reader)) is not None:
                times.append(time)
        times = np.subtract(times, times[0])
        indices = sampling.uniform_samples(len(times), 1, self.clip).numpy()
        logits, maps = self._evaluate(self._read(path, indices, len(times)), relations)
        window = Window(
            0.0, _end(times, rate), _softmax(logits[0]), maps, times[indices[0]].astype(float)
        )
        return window, video.read_frames(path, indices[0], threads=0)

    def windows(self, source, window=None, hop=None, relations=True):
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

        Raises:
            ValueError: If the file is no video that can be decoded, `window` or `hop` is not more
                than 0 and finite, or `window` is given for a model of clips.
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

    def window(self, times, frames, frame_rate=25.0, relations=True):
        """Label some frames in a row, as one sample.

        Args:
            times: Their times in seconds.
            frames: Sequence of uint8 arrays `(height, width, 3)`, RGB.
            frame_rate: Frames per second, for the end of the last of one or two.
            relations: Whether to compute relation maps, where the model has them.

        Returns:
            A `Window`.
        """
        indices = sampling.uniform_samples(len(frames), 1, self.clip).numpy()[0].tolist()
        pictures = [frames[i] for i in indices]
        if self.stream == "flow":
            pictures = _flow_of(frames, indices)
        logits, maps = self._evaluate(np.stack(pictures)[np.newaxis], relations)
        seen = np.array([times[i] for i in indices], float)
        end = _end(times, frame_rate)
        return Window(float(times[0]), end, _softmax(logits[0]), maps, seen)

    def window_frames(self, frame_rate, window=None):
        """Frames of a window of a video of some frames per second, if it keeps that rate."""
        span = (self.clip.frames - 1) * self.clip.frame_stride + 1
        if not self.clip.segments:
            return span
        seconds = SEGMENTS_WINDOW if window is None else window
        return max(round(seconds * frame_rate), self.clip.segments, span)

    def default_hop(self, frame_rate, window=None):
        """Seconds from one window to the next, where the caller does not say."""
        return min(self.window_frames(frame_rate, window) / frame_rate / 2, _MOST_HOP)

    def check_window(self, window, hop):
        """Refuse what `windows` cannot take.

        Raises:
            ValueError: If `window` or `hop` is not more than 0, or `window` is given for a model of
                clips.
        """
        for name, value in (("window", window), ("hop", hop)):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(
                    f"`{name}` must be a finite number of seconds above 0. Received: {value!r}"
                )
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

    def _read(self, path, indices, frames):
        """Samples of a file of some frames, uint8 `(*indices.shape, height, width, channels)`."""
        if self.stream == "flow":
            images = _read_flow(path, indices.ravel(), self.frame_size, frames)
        else:
            images = video.read_frames(path, indices.ravel(), self.frame_size, threads=0)
        return images.reshape(*indices.shape, *images.shape[1:])


class NewestFrames:
    """The newest frames of a source: as many as a window takes.

    A clip is a number of frames. A window of segments is a time: cameras deliver fewer frames than
    they declare when it gets dark, and browsers record what comes.

    Args:
        predictor: A `Predictor`.
        frame_rate: Frames per second of the source.
        window: As for `Predictor.windows`.
        most: Number of frames to hold, whatever their times; by default twice a window's.
    """

    def __init__(self, predictor, frame_rate, window, most=None):
        self._length = predictor.window_frames(frame_rate, window)
        self._step = 1 / frame_rate
        self._span = (self._length - 1) * self._step if predictor.clip.segments else None
        self._most = max(2 * self._length, _MOST_FRAMES) if most is None else most
        self._rows = collections.deque()

    def add(self, time, *row):
        """Add a frame and forget the oldest ones that a window goes without.

        Args:
            time: Its time in seconds.
            *row: What belongs to it.
        """
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
        return lasts >= self._span or count >= self._most

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


def _end(times, frame_rate):
    """When the last of some frames ends."""
    # Two frames may have a pause between them.
    step = video_times.typical_step(times) if len(times) > 2 else None
    return float(times[-1] + (step or 1 / frame_rate))


def _next_time(reader):
    try:
        return reader.skip()
    except StopIteration:
        return None


def _flow_of(frames, indices):
    """Flow from some frames to the next, as levels; the last repeats the field before it."""
    starts = [min(index, max(len(frames) - 2, 0)) for index in indices]
    levels, estimate = {}, flow.estimator("dis")
    for start in set(starts):
        if len(frames) == 1:
            levels[start] = flow.no_flow(frames[0].shape[:2])
        else:
            pair = flow.grey(frames[start]), flow.grey(frames[start + 1])
            levels[start] = flow.to_levels(estimate(*pair))
    return [levels[start] for start in starts]


def _read_flow(path, indices, size, num_frames):
    """Flow from some frames of a video to the next, as levels; of no others it is estimated.

    Returns:
        A uint8 array `(len(indices), height, width, 2)`.
    """
    # The last frame repeats the field of the one before, as in shards.
    starts = np.minimum(indices, max(num_frames - 2, 0)).tolist()
    wanted, levels, picture = set(starts), {}, None
    estimate = flow.estimator("dis")
    with video.iter_frames(path, size, threads=0) as reader:
        for index in range(min(max(wanted) + 2, num_frames)):
            if wanted.isdisjoint((index - 1, index)):
                reader.skip()
                continue
            next_picture = flow.grey(next(reader)[1])
            if index - 1 in wanted:
                levels[index - 1] = flow.to_levels(estimate(picture, next_picture))
            picture = next_picture
    if num_frames == 1:
        levels[0] = flow.no_flow(picture.shape)
    return np.stack([levels[start] for start in starts])
