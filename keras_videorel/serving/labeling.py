"""Check one uploaded video and label it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from keras_videorel.data import video
from keras_videorel.prediction import Predictor, overlay

_MAX_FRAME_RATE = 240  # of slow motion
_MAX_PIXELS = 4096 * 2304  # of a frame
_DRAWN_SIDE = 480  # shorter side of the annotated video: drawing larger frames takes long
_TOLERANCE = 0.5  # seconds: a video of a minute is rarely of exactly 60.0 s
COLORS = tuple("#{:02x}{:02x}{:02x}".format(*color) for color in overlay.COLORS)


class Limits(NamedTuple):
    """The longest video in seconds, and the largest file in millions of bytes."""

    seconds: float = 60.0
    megabytes: float = 100.0

    @property
    def bytes(self) -> int:
        return int(self.megabytes * 1e6)


class Refused(ValueError):
    """A video that is not labeled. The message is for whoever sent it: it names no path."""


class Answer(NamedTuple):
    """What a model says about a video.

    Attributes:
        best: Dict from the most probable labels of the whole video to their probabilities.
        seconds: Times, from the beginning of the video to its end.
        curves: Dict from the classes that lead for the longest to their probabilities at these
            times. The first class has the first of `COLORS` in the annotated video, and so on.
        video: File of the annotated video.
    """

    best: dict[str, float]
    seconds: np.ndarray
    curves: dict[str, np.ndarray]
    video: str


def check(path: str | os.PathLike, limits: Limits) -> int:
    """Refuse a video that is too long or cannot be decoded, and return its number of frames.

    A declared duration that is too long is believed. Otherwise the frames are decoded, no further
    than the limit, because a file may declare anything. Gradio limits the size of uploads.

    Raises:
        Refused: If the video is too long, has too large frames, or cannot be decoded.
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
    """Label a whole video, label it over time, and draw both into an annotated video.

    The file is decoded twice: for the windows, then for the whole video and the drawing.

    Args:
        path: A video file that passed `check`.
        num_frames: What `check` returned.
        output: The MP4 file to write.
        report: Called with the share that is done, 0 to 1, and what is being done.
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
    # A window's probabilities stand at its middle; the first and last reach to the video's ends.
    seconds = np.array([spans[0][0], *np.mean(spans, axis=1), spans[-1][1]])
    curves = np.stack([probabilities[0], *probabilities, probabilities[-1]])
    leading = overlay.colors(np.stack(probabilities))
    return Answer(
        dict(zip(prediction.labels, prediction.probabilities, strict=True)),
        seconds,
        {predictor.labels[index]: curves[:, index] for index in leading},
        output,
    )
