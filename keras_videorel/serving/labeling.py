"""Check one uploaded video and label it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from keras_videorel.data import video
from keras_videorel.prediction import Predictor, overlay

_MAX_FRAME_RATE = 240  # for slow motion
_MAX_PIXELS = 4096 * 2304  # of one frame
_DRAWN_SIDE = 480  # shorter side of the annotated video; larger frames take long to draw
_TOLERANCE = 0.5  # in seconds: a video of a minute rarely lasts exactly 60.0 s
COLORS = tuple("#{:02x}{:02x}{:02x}".format(*color) for color in overlay.COLORS)


class Limits(NamedTuple):
    """Maximum duration of a video in seconds, and maximum file size in millions of bytes."""

    seconds: float = 60.0
    megabytes: float = 100.0

    @property
    def bytes(self) -> int:
        return int(self.megabytes * 1e6)


class Refused(ValueError):
    """A video is refused. The message is shown to the user and does not name a path."""


class Answer(NamedTuple):
    """Labels, curves and annotated video of a video.

    Attributes:
        best: Dict from the most probable labels of the whole video to their probabilities.
        seconds: Times of the curves, from the start of the video to its end.
        curves: Dict from the leading classes to their probabilities at these times, in the order
            of their `COLORS` in the annotated video.
        video: Path of the annotated video.
    """

    best: dict[str, float]
    seconds: np.ndarray
    curves: dict[str, np.ndarray]
    video: str


def check(path: str | os.PathLike, limits: Limits) -> int:
    """Check the length and the frames of a video, and return its number of frames.

    If the declared duration is within the limit, frames are decoded up to the limit, because the
    duration may be wrong. Gradio limits the size of uploads.

    Raises:
        Refused: If the video is too long, its frames are too large, or it cannot be decoded.
    """
    longest = limits.seconds + _TOLERANCE
    advice = f"at most {limits.seconds:g} s are labeled here. Please cut it."
    try:
        with video.iter_frames(path, threads=0) as reader:
            if reader.duration is not None and reader.duration > longest:
                raise Refused(f"This video lasts {reader.duration:.0f} s; {advice}")
            first, frame = next(reader)
            height, width = frame.shape[:2]
            if height * width > _MAX_PIXELS:
                raise Refused(f"The frames of this video are too large: {width} x {height} pixels.")
            for time in iter(reader.skip, None):
                if time - first > longest or reader.frames > longest * _MAX_FRAME_RATE:
                    raise Refused(f"This video is too long; {advice}")
            return reader.frames
    except video.VideoError as error:
        raise Refused(f"This file cannot be read as a video: {error.reason}.") from error


def label(
    predictor: Predictor,
    path: str | os.PathLike,
    num_frames: int,
    output: str,
    *,
    top: int = 5,
    report: Callable[[float, str], Any] = lambda share, doing: None,
) -> Answer:
    """Label a video as a whole and over time, and write an annotated video.

    The file is decoded once for the windows, and once for the whole video and the drawing.

    Args:
        path: A video file that passed `check`.
        num_frames: The result of `check`.
        output: The MP4 file to write.
        report: Called with the progress, from 0 to 1, and a description of the current step.
    """
    spans, probabilities = [], []

    def recorded():
        for window in predictor.windows(path):
            report(0.1, f"Labeling over time: {window.end:.0f} s")
            spans.append((window.start, window.end))
            probabilities.append(window.probabilities)
            yield window

    with overlay.writer(predictor, path, output, recorded(), size=_DRAWN_SIDE) as add:

        def draw(time, reader):
            add(time, reader)
            report(0.5 + 0.5 * reader.frames / num_frames, "Labeling the video")

        prediction, _ = predictor.predict(path, num_frames, top, on_frame=draw)
    # Probabilities are plotted at the middle of their window. The first and last values extend to
    # the ends of the video.
    seconds = np.array([spans[0][0], *np.mean(spans, axis=1), spans[-1][1]])
    curves = np.stack([probabilities[0], *probabilities, probabilities[-1]])
    leading = overlay.colors(np.stack(probabilities))
    return Answer(
        dict(zip(prediction.labels, prediction.probabilities, strict=True)),
        seconds,
        {predictor.labels[index]: curves[:, index] for index in leading},
        output,
    )
