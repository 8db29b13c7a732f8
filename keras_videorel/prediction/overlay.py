"""A video with its labels, their probabilities over time, and where the model looks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np

from keras_videorel import text as lettering
from keras_videorel.checks import check_integer
from keras_videorel.data import video
from keras_videorel.files import atomic_write
from keras_videorel.prediction import maps
from keras_videorel.prediction.predictor import Predictor, Window

EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv")

_MIN_SIDE = 360  # smaller videos are enlarged: text needs pixels
_MIN_FONT = 14
_SIDE_PER_FONT = 26
# Okabe and Ito's, which most color-blind people tell apart.
COLORS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167), (213, 94, 0), (240, 228, 66),
)  # fmt: skip
_OTHERS = (150, 150, 155)
_WHITE, _GRAY, _DARK, _EMPTY = (255, 255, 255), (190, 190, 195), (22, 22, 26), (58, 58, 64)
_HEAT_OPACITY, _DARKEST_HEAT = 0.75, 100  # of 1, of 255
_CLOCK = 90_000  # ticks per second, of MPEG


def write(
    predictor: Predictor,
    source: str | os.PathLike,
    path: str | os.PathLike,
    *,
    windows: Iterable[Window] | None = None,
    top: int = 3,
    position: tuple[int, int] | None = None,
    gate: str = "mean",
    on_frame: Callable[[int], Any] | None = None,
) -> str | os.PathLike:
    """Write a video with labels, a bar of probabilities over time, and attention maps.

    The most probable classes of the moment stand on the frames. The timeline below stacks the
    probabilities of the leading classes. For a model with a relational LSTM, a heat map over the
    part of the frame that the model sees shows what one position (framed) takes from where.
    Weights up to a uniform one have no color.

    The file is decoded twice: for the windows, unless they are given, and for the frames. The
    result is H.264 without sound, upright, with the times that the frames had. Videos whose shorter
    side is below 360 pixels are enlarged. Returns `path`.

    Args:
        path: The file to write, with one of `EXTENSIONS`.
        windows: Windows of the video, by default those of `predictor.windows`.
        top: Number of classes on the frames.
        position: `(row, column)` of the feature map whose attention is shown; by default, in
            each window, the one that takes the most from a single place.
        gate: One of `maps.GATES`, or `"mean"`.
        on_frame: Called with the number of frames so far.
    """
    windows = predictor.windows(source) if windows is None else windows
    with (
        writer(predictor, source, path, windows, top=top, position=position, gate=gate) as add,
        video.iter_frames(source, threads=0) as reader,
    ):
        first = None
        for time in iter(reader.skip, None):
            first = time if first is None else first
            add(time - first, reader)
            if on_frame is not None:
                on_frame(reader.frames)
    return path


@contextlib.contextmanager
def writer(
    predictor: Predictor,
    source: str | os.PathLike,
    path: str | os.PathLike,
    windows: Iterable[Window],
    *,
    top: int = 3,
    position: tuple[int, int] | None = None,
    gate: str = "mean",
    size: tuple[int, int] | int | None = None,
) -> Iterator[Callable[[float, video.FrameReader], None]]:
    """Write the video of `write`, whose arguments these are, while the caller reads the file.

    Frames are drawn at `size`, as for `data.video.iter_frames`; by default at their own.

    Yields:
        A function that adds a frame, for `Predictor.predict(on_frame=...)`.
    """
    if not os.fspath(path).lower().endswith(EXTENSIONS):
        raise ValueError(f"`path` must end in {', '.join(EXTENSIONS)}. Received: {path!r}")
    if os.path.exists(path) and os.path.samefile(source, path):
        raise ValueError(f"`path` must not be the video itself. Received: {path!r}")
    maps.check_options(predictor, position, gate)
    check_integer("top", top, 1)
    painter = _Painter(predictor, windows, top, position, gate)
    stream: Any = None
    last = -1  # tick

    def add(time, reader):
        nonlocal stream, last
        picture = painter.paint(time, reader.frame(size))
        if stream is None:
            # Nominal: a frame a day is none that a header can hold.
            rate = Fraction(max(reader.frame_rate, 1.0)).limit_denominator(1001)
            options = {"crf": "20", "preset": "veryfast"}
            stream = container.add_stream("libx264", rate=rate, options=options)
            stream.height, stream.width = picture.shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = Fraction(1, _CLOCK)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        last = max(round(time * _CLOCK), last + 1)
        frame.pts, frame.time_base = last, Fraction(1, _CLOCK)
        container.mux(stream.encode(frame))

    with (
        atomic_write(path) as temporary,
        av.open(os.fspath(temporary), "w", options={"movflags": "+faststart"}) as container,
    ):
        yield add
        container.mux(stream.encode())


def colors(probabilities: np.ndarray) -> dict[int, tuple[int, int, int]]:
    """The classes that lead for the longest, and surest, with their `(r, g, b)`.

    At most six, in order, from probabilities `(windows, classes)`.
    """
    led = probabilities * (probabilities == probabilities.max(axis=1, keepdims=True))
    strength = led.sum(axis=0) + 1e-3 * probabilities.sum(axis=0)
    leading = np.argsort(-strength, kind="stable").tolist()
    return dict(zip(leading, COLORS, strict=False))


class _Painter:
    """Paints what a model says over time on frames, which are all of the first one's size."""

    def __init__(self, predictor, windows, top, position, gate):
        self._labels, self._clip, self._gate = predictor.labels, predictor.clip, gate
        self._top = min(top, len(predictor.labels))
        middles, probabilities, self._maps = [], [], []
        largest = 0.0
        for window in windows:
            middles.append((window.start + window.end) / 2)
            probabilities.append(window.probabilities)
            self._end = window.end
            if window.attention_maps is not None:  # an hour of them takes gigabytes
                shown, place = maps.select(
                    window.attention_maps, predictor.settings, position, gate
                )
                steps = window.times.reshape(len(shown), -1).mean(axis=1)
                self._maps.append((steps, shown.astype(np.float16), place))
                largest = max(largest, shown.max())
        self._middles, self._probabilities = np.array(middles), np.stack(probabilities)
        self._full = maps.full_heat(largest)
        self._colors = colors(self._probabilities)
        self._picture = self._shown = None  # size of frames, and which map the cached layers are of

    def _lay_out(self, height, width):
        scale = max(_MIN_SIDE / min(height, width), 1)
        # Even, as H.264 in 4:2:0 needs.
        height, width = self._picture = tuple(2 * round(scale * s / 2) for s in (height, width))
        self._font = max(min(height, width) // _SIDE_PER_FONT, _MIN_FONT)
        self._panel = self._draw_panel(width)
        self._box = maps.seen_box(height, width, self._clip)

    def paint(self, time, frame):
        """A frame with all that belongs on it at a time, uint8 RGB."""
        if self._picture is None:
            self._lay_out(*frame.shape[:2])
        height, width = self._picture
        canvas = np.empty((height + len(self._panel), width, 3), np.uint8)
        picture = canvas[:height]
        if frame.shape[:2] == (height, width):
            picture[:] = frame
        else:
            cv2.resize(frame, (width, height), dst=picture, interpolation=cv2.INTER_CUBIC)
        index = int(np.abs(self._middles - time).argmin())
        captions = self._paint_heat(picture, index, time) if self._maps else []
        self._paint_labels(picture, self._probabilities[index])
        canvas[height:] = self._panel
        self._paint_cursor(canvas[height:], time, captions)
        return canvas

    def _paint_labels(self, picture, probabilities):
        """The most probable classes in the upper left corner, with a bar each."""
        font, (height, width) = self._font, self._picture
        row, gap, margin = round(1.65 * font), max(font // 6, 2), font // 2
        box = min(max(width // 2, 18 * font), width - 2 * margin)
        count = min(self._top, max((height - margin) // (row + gap), 1))
        for place, index in enumerate(np.argsort(-probabilities, kind="stable")[:count].tolist()):
            share, color = float(probabilities[index]), self._colors.get(index, _OTHERS)
            top = margin + place * (row + gap)
            part = picture[top : top + row, margin : margin + box]
            part[:] = part // 4 + np.uint8(8)
            bar = part[:, : round(share * part.shape[1])]
            bar[:] = (bar * 0.3 + 0.7 * 0.72 * np.array(color)).astype(np.uint8)
            percent = lettering.mask(f"{share:.0%}", font, bold=True)
            room = box - percent.shape[1] - 2 * margin
            name = lettering.mask(
                self._labels[index], font, bold=place == 0, max_width=max(room, font)
            )
            inset = (row - name.shape[0]) // 2
            _draw_outlined(part, name, margin // 2, inset)
            _draw_outlined(part, percent, box - percent.shape[1] - margin // 2, inset)

    def _draw_panel(self, width):
        """What stands below the frames and does not change: legend and stacked shares."""
        font = self._font
        margin, line, bar = font // 2, round(1.5 * font), 3 * font
        self._bar = margin + line, margin + line + bar
        self._span = margin, width - margin
        height = 2 * ((2 * margin + 2 * line + bar) // 2)
        panel = np.empty((height, width, 3), np.uint8)
        panel[:] = _DARK
        left = margin
        for index, color in self._colors.items():
            room = width - margin - left - 2 * font
            name = lettering.mask(self._labels[index], font, max_width=14 * font)
            if name.shape[1] > room:
                break
            square = round(0.7 * font)
            above = margin + (line - square) // 2
            panel[above : above + square, left : left + square] = color
            lettering.draw(panel, name, left + font, margin, _WHITE)
            left += 2 * font + name.shape[1]
        first, last = self._span
        times = (np.arange(last - first) + 0.5) / (last - first) * self._end
        chart = panel[slice(*self._bar), first:last]
        chart[:] = _EMPTY
        levels = (np.arange(bar)[::-1, np.newaxis] + 0.5) / bar
        floor = np.zeros(last - first)
        for index, color in self._colors.items():
            share = self._probabilities[:, index]
            ceiling = floor + np.interp(times, self._middles, share)
            chart[(levels >= floor) & (levels < ceiling)] = color
            floor = ceiling
        return panel

    def _paint_cursor(self, panel, time, captions):
        font, (first, last) = self._font, self._span
        reached = min(time / self._end, 1) if self._end else 0
        x = first + round(reached * (last - first - 1))
        half, outer = max(font // 12, 1), max(font // 6, 1)
        rows = slice(self._bar[0] - outer, self._bar[1] + outer)
        future = panel[slice(*self._bar), x:last]
        future[:] = future // 2 + np.uint8(_DARK[0] // 2)
        panel[rows, max(x - half - 1, 0) : x + half + 1] = _DARK
        panel[rows, max(x - half, 0) : x + half] = _WHITE
        top = self._bar[1] + outer
        clock = lettering.mask(f"{_clock(time)} / {_clock(self._end)}", font)
        lettering.draw(panel, clock, first, top, _GRAY)
        room = last - first - clock.shape[1] - font
        for caption in captions:  # the longest that there is room for
            text = lettering.mask(caption, font)
            if text.shape[1] <= room:
                lettering.draw(panel, text, last - text.shape[1], top, _GRAY)
                break

    def _paint_heat(self, picture, index, time):
        """Paint the attention map of a moment; return captions for it, longest first."""
        steps, shown, place = self._maps[index]
        step = int(np.abs(steps - time).argmin())
        top, left, bottom, right = self._box
        part = picture[top:bottom, left:right]
        if self._shown != (index, step):
            self._shown = index, step
            self._heat = _heat_layers(shown[step], self._full, part.shape[:2])
        opacity, light = self._heat
        cv2.multiply(part, opacity, dst=part, dtype=cv2.CV_8U)
        cv2.add(part, light, dst=part)
        rows, columns = shown.shape[1:]
        thick = max(self._font // 8, 1)
        inset = thick // 2 + 1
        x = [left + round((place[1] + side) / columns * (right - left)) for side in (0, 1)]
        y = [top + round((place[0] + side) / rows * (bottom - top)) for side in (0, 1)]
        corners = (x[0] + inset, y[0] + inset), (x[1] - inset - 1, y[1] - inset - 1)
        cv2.rectangle(picture, *corners, (0, 0, 0), thick + 2)
        cv2.rectangle(picture, *corners, _WHITE, thick)
        gates = "mean of gates" if self._gate == "mean" else f"gate {self._gate}"
        whose = "color: where the framed area looks"
        most = f"up to {shown[step].max():.1f} times the average"
        longest = f"{whose}, {gates}, {most}"
        return [longest, f"{whose}, {most}", whose, "where the framed area looks"]


def _heat_layers(shown, full, size):
    """What remains of a picture under a heat map, float32, and the light that comes on top."""
    height, width = size
    smooth = cv2.resize(
        maps.heat(shown.astype(np.float32), full), (width, height), interpolation=cv2.INTER_CUBIC
    )
    smooth = np.clip(smooth, 0, 1)
    # From purple to yellow: black would darken what lies around.
    shades = np.linspace(_DARKEST_HEAT, 255, 256).astype(np.uint8)[:, np.newaxis]
    palette = cv2.applyColorMap(shades, cv2.COLORMAP_INFERNO)[:, 0, ::-1]
    color = palette[np.rint(smooth * 255).astype(np.uint8)]
    opacity = (_HEAT_OPACITY * smooth**0.8)[..., np.newaxis]
    light = np.rint(color * opacity).astype(np.uint8)
    return np.repeat(1 - opacity, 3, axis=-1), light


def _draw_outlined(picture, covered, left, top):
    lettering.draw(picture, covered, left + 1, top + 1, (0, 0, 0))
    lettering.draw(picture, covered, left, top, _WHITE)


def _clock(seconds):
    minutes, tenths = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    front = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{front}:{tenths // 10:02d}.{tenths % 10}"
