"""Tell which files are videos, and read folders of pictures (one per frame) as videos."""

import os
import re
import unicodedata

import av
import numpy as np

from keras_videorel import files
from keras_videorel.checks import check_number
from keras_videorel.data import video
from keras_videorel.data.manifest import INVISIBLE
from keras_videorel.data.video_files import VideoError, open_file
from keras_videorel.data.video_times import MIN_STEP

FRAME_RATE = 12.0  # frame rate of Jester and Something-Something
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
# Matroska, MPEG (two kinds), Windows Media, Flash, Ogg.
_CONTAINERS = (b"\x1a\x45\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3", b"0&\xb2u", b"FLV\1", b"OggS")
# Formats of FFmpeg that are not videos: pictures, and texts drawn as in a terminal.
_STILL = re.compile(r"image2|.*_pipe|ico|tty|bin|xbin|adf|idf")


def natural(name):
    """Sort key for names. Whole numbers come first. In other names, digits sort as numbers."""
    if re.fullmatch(r"[+-]?[0-9]+", name):
        return (0, int(name), name)
    parts = re.split(r"([0-9]+)", name)
    return (1, [int(part) if i % 2 else part for i, part in enumerate(parts)], name)


def normalized(name):
    """A name for comparisons, without invisible characters and in NFC (macOS uses NFD)."""
    return unicodedata.normalize("NFC", INVISIBLE.sub("", name))


def library():
    """Name and version of the decoding library."""
    version = ".".join(map(str, av.library_versions["libavcodec"]))
    return f"PyAV {av.__version__}, libavcodec {version}"


def check_rate(frame_rate):
    """Return `frame_rate` as a float. Raise a `ValueError` if it is not pictures per second."""
    return float(check_number("frame_rate", frame_rate, above=0, max_value=1000))


def begins_like_a_video(path):
    """Whether the first bytes of a file are those of a video container."""
    if not files.is_remote(path) and not os.path.isfile(path):  # reading a pipe would block
        return False
    try:
        head = files.read_bytes(path, 16)
    except OSError:
        return False
    if head[4:8] == b"ftyp":
        return head[8:12] not in (b"avif", b"heic", b"heix", b"mif1")
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    return head.startswith(_CONTAINERS)


def why_no_video(path):
    """A short reason why a file is not a video, or None for a video. No frame is decoded."""
    try:
        container, _ = open_file(os.fsdecode(path))
    except VideoError as error:
        return error.reason
    with container:
        if _STILL.fullmatch(container.format.name):
            return f"a picture or a text, not a video ({container.format.name})"
    return None


class PictureReader:
    """Iterator over the pictures of a folder in natural order, like `video.FrameReader`.

    Arguments are as for `video.iter_frames`, plus `frame_rate` in pictures per second. Raises a
    `VideoError` if the folder has no pictures or fewer than half of them decode.
    """

    def __init__(self, path, size=None, frame_rate=FRAME_RATE, start=None, end=None):
        self.path = os.fsdecode(path)
        self.frame_rate = frame_rate
        self.frames = 0
        self.note = self.on_drop = None
        self._size = video.check_size(size)
        segment = video.check_segment(start, end)
        try:
            names = files.entries(self.path)[1]
        except OSError as error:
            raise VideoError(self.path, str(error)) from None
        names = sorted((name for name in names if _is_picture(name)), key=natural)
        if not names:
            raise VideoError(self.path, "a folder without pictures")
        # `MIN_STEP` absorbs rounding: at 12 pictures per second, picture 36 is at 3 s.
        times = ((i / frame_rate, name) for i, name in enumerate(names))
        self._names = [
            (time, name) for time, name in times if segment.start <= time + MIN_STEP < segment.end
        ]
        if not self._names:
            reason = "no picture between {:g} s and {:g} s; there are {}"
            raise VideoError(self.path, reason.format(*segment, len(names)))
        self._early_end = segment.early_end(self._names[-1][0], len(names) / frame_rate)
        self._decoded = self._decode()

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._decoded)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._decoded.close()

    def _decode(self):
        import cv2

        reformatter = av.video.reformatter.VideoReformatter()
        for time, name in self._names:
            try:
                data = np.frombuffer(files.read_bytes(os.path.join(self.path, name)), np.uint8)
                pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
            except (OSError, cv2.error):
                pixels = None
            if pixels is None:
                continue
            if not isinstance(self._size, tuple):
                size = pixels.shape[:2]
                self._size = size if self._size is None else video.keep_aspect(*size, self._size)
            self.frames += 1
            picture = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            yield time, video.to_rgb(picture, self._size, reformatter)
        total = len(self._names)
        lost = None if self.frames == total else f"{self.frames} of {total} pictures decoded"
        if self.frames < total / 2:
            raise VideoError(self.path, lost)
        self.note = "; ".join(filter(None, [lost, self._early_end])) or None


def _is_picture(name):
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")
