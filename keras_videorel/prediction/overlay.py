"""Draw labels, probabilities over time and attention maps on a video."""

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

_MIN_SIDE = 360  # smaller videos are enlarged, because text needs pixels
_MIN_FONT = 14
_SIDE_PER_FONT = 26
# The palette of Okabe and Ito, which most color-blind people can tell apart.
COLORS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167), (213, 94, 0), (240, 228, 66),
)  # fmt: skip
_OTHERS = (150, 150, 155)
_WHITE, _GRAY, _DARK, _EMPTY = (255, 255, 255), (190, 190, 195), (22, 22, 26), (58, 58, 64)
_HEAT_OPACITY, _DARKEST_HEAT = 0.75, 100  # in [0, 1] and [0, 255]
_CLOCK = 90_000  # ticks per second in MPEG


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
    """Write a video with labels, a timeline of probabilities, and attention maps.

    The frames show the most probable classes at each moment. The timeline below stacks the
    probabilities of the leading classes. For a model with a relational LSTM, a heat map covers the
    part of the frame that the model sees. It shows how much one position (framed) takes from each
    position of the state before. Weights that are at most uniform have no color.

    The file is decoded once for the windows, unless they are given, and once for the frames. The
    result is H.264 without sound, upright, with the original frame times. Videos with a shorter
    side below 360 pixels are enlarged.

    Args:
        source: The video file to label.
        path: The file to write, with one of `EXTENSIONS`.
        windows: Windows of the video, by default `predictor.windows(source)`.
        top: Number of classes on the frames.
        position: `(row, column)` of the framed position on the feature map. By default, each
            window shows the position that has the largest single weight.
        gate: One of `maps.GATES`, or `"mean"`.
        on_frame: Called with the number of frames written so far.

    Returns:
        `path`.

    Raises:
        ValueError: If an argument is out of range, or the video cannot be decoded.
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
    """Write the video of `write` while the caller reads the file.

    Args:
        size: Size of the drawn frames, as for `data.video.iter_frames`. The other arguments are
            the same as for `write`.

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
            # The rate is nominal. The header cannot hold rates such as one frame a day.
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
    """Return the colors `(r, g, b)` of up to six classes, from probabilities `(windows, classes)`.

    Classes are ordered by the sum of their probabilities over the windows that they lead.
    """
    led = probabilities * (probabilities == probabilities.max(axis=1, keepdims=True))
    strength = led.sum(axis=0) + 1e-3 * probabilities.sum(axis=0)
    leading = np.argsort(-strength, kind="stable").tolist()
    return dict(zip(leading, COLORS, strict=False))


class _Painter:
    """Paints labels, timeline and heat maps on frames of one size."""

    def __init__(self, predictor, windows, top, position, gate):
        self._labels, self._clip, self._gate = predictor.labels, predictor.clip, gate
        self._top = min(top, len(predictor.labels))
        middles, probabilities, self._maps = [], [], []
        largest = 0.0
        for window in windows:
            middles.append((window.start + window.end) / 2)
            probabilities.append(window.probabilities)
            self._end = window.end
            if window.attention_maps is not None:  # all maps of an hour would take gigabytes
                shown, place = maps.select(
                    window.attention_maps, predictor.settings, position, gate
                )
                steps = window.times.reshape(len(shown), -1).mean(axis=1)
                self._maps.append((steps, shown.astype(np.float16), place))
                largest = max(largest, shown.max())
        self._middles, self._probabilities = np.array(middles), np.stack(probabilities)
        self._full = maps.full_heat(largest)
        self._colors = colors(self._probabilities)
        self._picture = self._shown = None  # size of frames; (window, step) of the cached heat map

    def _lay_out(self, height, width):
        scale = max(_MIN_SIDE / min(height, width), 1)
        # H.264 in 4:2:0 needs even sizes.
        height, width = self._picture = tuple(2 * round(scale * s / 2) for s in (height, width))
        self._font = max(min(height, width) // _SIDE_PER_FONT, _MIN_FONT)
        self._panel = self._draw_panel(width)
        self._box = maps.seen_box(height, width, self._clip)

    def paint(self, time, frame):
        """Return the painted frame of a time in seconds, uint8 RGB."""
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
        """Paint the most probable classes with bars in the upper left corner."""
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
        """Draw the constant part below the frames: legend and stacked probabilities."""
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
        for caption in captions:  # the longest caption that fits
            text = lettering.mask(caption, font)
            if text.shape[1] <= room:
                lettering.draw(panel, text, last - text.shape[1], top, _GRAY)
                break

    def _paint_heat(self, picture, index, time):
        """Paint the attention map of a moment, and return its captions, longest first."""
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
    """Return the share of the image that stays visible, float32, and the color to add."""
    height, width = size
    smooth = cv2.resize(
        maps.heat(shown.astype(np.float32), full), (width, height), interpolation=cv2.INTER_CUBIC
    )
    smooth = np.clip(smooth, 0, 1)
    # From purple to yellow, without the black that would darken the image.
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
