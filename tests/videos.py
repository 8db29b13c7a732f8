"""Small real video files for tests."""

import struct
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np

# Without loss: RGB as it is, or 4:4:4 chroma.
LOSSLESS = {"codec": "libx264rgb", "pix_fmt": "rgb24", "options": {"qp": "0"}}

IDENTITY = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def moving_square(frames=8, height=48, width=64, colour=(200, 60, 20), side=12):
    """A square that moves right by 4 pixels per frame, on a background that gets brighter.

    Returns:
        uint8 `(frames, height, width, 3)`.
    """
    pixels = np.empty((frames, height, width, 3), np.uint8)
    for index in range(frames):
        pixels[index] = 20 + 3 * index
        left = 4 * index % (width - side)
        pixels[index, 8 : 8 + side, left : left + side] = colour
    return pixels


def write_video(path, pixels, fps=25, codec="libx264", pix_fmt="yuv420p", options=None, turn=None):
    """Encode frames.

    Args:
        path: File to write; its extension says which container.
        pixels: uint8 `(frames, height, width, 3)`.
        fps: Frames per second.
        codec: Name of the encoder.
        pix_fmt: Pixel format that it gets.
        options: Options of the encoder.
        turn: Display matrix of an MP4: nine integers.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt = pix_fmt
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    if turn is not None:  # few versions of PyAV can write one
        film, track, rest = path.read_bytes().split(_pack(IDENTITY))
        path.write_bytes(film + _pack(IDENTITY) + track + _pack(turn) + rest)
    return path


def _pack(matrix):
    return struct.pack(">9i", *matrix)


def write_audio(path, seconds=0.5):
    """Encode a tone, without any picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = 44_100
    tone = np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * 440 / rate)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_live(path, milliseconds, codec="libvpx"):
    """Encode a WebM as browsers do: as it is recorded, by a clock of milliseconds, without a rate.

    Args:
        path: File to write.
        milliseconds: Times of its frames.
        codec: Name of the encoder.
    """
    pixels = moving_square(50)
    with open(path, "wb") as file:
        forwards = SimpleNamespace(write=file.write)  # no way back
        with av.open(forwards, "w", format="webm", options={"live": "1"}) as container:
            stream = container.add_stream(codec, rate=1000, options={"deadline": "realtime"})
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            for index, time in enumerate(milliseconds):
                frame = av.VideoFrame.from_ndarray(pixels[index % 50], format="rgb24")
                frame.pts, frame.time_base = time, Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return path
