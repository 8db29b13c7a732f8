"""One request: a video that somebody sent, checked and labelled."""

import os
from typing import NamedTuple

import numpy as np

from keras_videorel.data import video
from keras_videorel.prediction import overlay

_MOST_RATE = 240  # frames per second, of slow motion; more in a second are no video
_MOST_PIXELS = 4096 * 2304  # of a frame
_DRAWN_SIDE = 480  # pixels of the shorter side that are drawn at most: more takes long
COLOURS = tuple("#{:02x}{:02x}{:02x}".format(*colour) for colour in overlay.COLOURS)
_TOLERANCE = 0.5  # seconds: "a minute" is rarely 60.0


class Limits(NamedTuple):
    """What is taken.

    Attributes:
        seconds: Longest video.
        megabytes: Largest file, in millions of bytes.
    """

    seconds: float = 60.0
    megabytes: float = 100.0

    @property
    def bytes(self):
        return int(self.megabytes * 1e6)


class Refused(ValueError):
    """A video that is not labelled; the message is for whoever sent it."""


class Curve(NamedTuple):
    """The course of a class, from the beginning to the end of a video.

    Attributes:
        label: Name of the class.
        colour: Its colour on the annotated video, `"#rrggbb"`.
        seconds: Times, `(points,)`.
        probabilities: Of the class at these times.
    """

    label: str
    colour: str
    seconds: np.ndarray
    probabilities: np.ndarray


class Answer(NamedTuple):
    """What a model says of a video.

    Attributes:
        best: `(label, probability)` of the whole video, best first.
        curves: `Curve`s of the classes that lead for the longest, in order.
        seconds: How long the video is.
        video: File with labels, their course, and relation maps where the model has them.
    """

    best: list
    curves: list
    seconds: float
    video: str


def check(path, limits):
    """Refuse a video beyond the limits, decoding no more of it than they allow.

    What a file declares is believed if it is too long, and else its frames are counted.

    Args:
        path: The file.
        limits: `Limits`.

    Raises:
        Refused: If it is too large or too long, or no video that can be decoded. The message has
            no path in it.
    """
    if not os.path.exists(path):
        raise Refused("The video is no longer here. Please upload it again.")
    size = os.path.getsize(path)
    if size > limits.bytes:
        raise Refused(
            f"This file has {size / 1e6:.0f} MB; at most {limits.megabytes:g} MB are taken here. "
            "A shorter or smaller video will do."
        )
    try:
        with video.iter_frames(path, threads=0) as reader:
            _check_frames(reader, limits)
    except video.VideoError as error:
        raise Refused(f"This file cannot be read as a video: {error.reason}.") from error


def _check_frames(reader, limits):
    longest = limits.seconds + _TOLERANCE
    advice = f"at most {limits.seconds:g} s are labelled here. Please cut it."
    if reader.duration is not None and reader.duration > longest:
        raise Refused(f"This video lasts {reader.duration:.0f} s; {advice}")
    first, frame = next(reader)
    if frame.shape[0] * frame.shape[1] > _MOST_PIXELS:
        height, width = frame.shape[:2]
        raise Refused(f"The pictures of this video are too large: {width} x {height} pixels.")
    time = first
    while time is not None:
        if time - first > longest or reader.frames > longest * _MOST_RATE:
            raise Refused(f"This video is too long; {advice}")
        time = _skip(reader)


def _skip(reader):
    try:
        return reader.skip()
    except StopIteration:
        return None


def label(predictor, path, output, *, top=5, report=None):
    """Label a video: as a whole, over time, and as a picture of both.

    Args:
        predictor: A `Predictor`.
        path: The video file, of which `check` had nothing to say.
        output: The MP4 to write.
        top: Number of classes.
        report: Called with the share that is done, 0 to 1, and what is being done.

    Returns:
        An `Answer`.

    Raises:
        ValueError: If the file is no video that can be decoded.
    """
    report = (lambda share, doing: None) if report is None else report
    report(0.05, "Labelling the video")
    prediction = predictor(path, top)
    seconds, probabilities = [], []

    def recorded():
        for window in predictor.windows(path):
            report(0.2, f"Labelling over time: {window.end:.0f} s")
            seconds.append((window.start, window.end))
            probabilities.append(window.probabilities)
            yield window

    def drawn(frames):
        report(0.5 + 0.5 * frames / prediction.frames, "Drawing")

    with video.iter_frames(path) as reader:
        side = min(next(reader)[1].shape[:2])
    overlay.write(
        predictor, path, output, windows=recorded(), size=min(side, _DRAWN_SIDE), on_frame=drawn
    )
    best = list(zip(prediction.labels, prediction.probabilities, strict=True))
    curves = _curves(predictor.labels, np.array(seconds), np.stack(probabilities))
    return Answer(best, curves, seconds[-1][1], output)


def _curves(labels, spans, probabilities):
    """Courses of the leading classes, through the middles of windows."""
    middles = spans.mean(axis=1)
    # Level before the first middle and after the last: one window is a line, not a point.
    seconds = np.concatenate([[spans[0, 0]], middles, [spans[-1, 1]]])
    courses = np.concatenate([probabilities[:1], probabilities, probabilities[-1:]])
    return [
        Curve(labels[index], colour, seconds, courses[:, index])
        for index, colour in zip(overlay.colours(probabilities), COLOURS, strict=False)
    ]
