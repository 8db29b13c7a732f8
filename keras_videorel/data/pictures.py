"""Videos that are folders of pictures, one a frame, and what is a video at all."""

import os
import re
import unicodedata

import av
import numpy as np

from keras_videorel import files
from keras_videorel.class_names import INVISIBLE
from keras_videorel.data import video
from keras_videorel.data.video_files import open_file
from keras_videorel.data.video_times import MIN_STEP

FRAME_RATE = 12.0  # of Jester's and Something-Something's frames
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")
# Matroska, MPEG, Windows Media, Flash, Ogg.
_CONTAINERS = (
    b"\x1a\x45\xdf\xa3",
    b"\0\0\1\xba",
    b"\0\0\1\xb3",
    b"\x30\x26\xb2\x75",
    b"FLV\1",
    b"OggS",
)
# FFmpeg reads these as videos: pictures, and text as a terminal would show it.
_STILL = re.compile(r"image2|.*_pipe|ico|tty|bin|xbin|adf|idf")


def natural(name):
    """Sorting key: whole numbers first, as numbers; in other names, each run of digits as one."""
    if re.fullmatch(r"[+-]?[0-9]+", name):
        return (0, int(name), name)
    parts = re.split(r"([0-9]+)", name)
    return (1, [int(part) if i % 2 else part for i, part in enumerate(parts)], name)


def normalized(name):
    """A name in the one spelling in which names are compared.

    It is NFC, since macOS splits letters up, and without characters that nobody sees.
    """
    return unicodedata.normalize("NFC", INVISIBLE.sub("", name))


def library():
    """Name and version of the library that decodes videos."""
    version = ".".join(map(str, av.library_versions["libavcodec"]))
    return f"PyAV {av.__version__}, libavcodec {version}"


def check_rate(frame_rate):
    """`frame_rate`, which must be a number of pictures per second.

    Raises:
        ValueError: If `frame_rate` is not above 0 and at most 1000.
    """
    if not 0 < frame_rate <= 1000:
        raise ValueError(
            f"`frame_rate` must be more than 0 and at most 1000. Received: {frame_rate!r}"
        )
    return float(frame_rate)


def begins_like_a_video(path):
    """Whether the first bytes of a file are those of a container of videos, whatever its name."""
    if not files.is_remote(path) and not os.path.isfile(path):  # a pipe would keep us waiting
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
    """The reason why a file is not a video, in a few words; None for a video.

    The container is opened and a video stream looked for; no frame is decoded.
    """
    try:
        container, _ = open_file(os.fsdecode(path))
    except video.VideoError as error:
        return error.reason
    with container:
        if _STILL.fullmatch(container.format.name):
            return f"a picture or a text, not a video ({container.format.name})"
    return None


class PictureReader:
    """Iterator over the pictures of a folder, in natural order, like `video.FrameReader`.

    Args:
        path: The folder.
        size: As for `video.iter_frames`; all frames get the size of the first one.
        frame_rate: Pictures per second.
        start: Where to begin, in seconds; None for the first picture.
        end: Pictures before this time come out; None for all.

    Attributes:
        frame_rate: Frames per second.
        frames: Number of frames that came out so far.
        note: After the last frame: what was lost, or None.

    Raises:
        video.VideoError: If the folder holds no pictures.
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
            raise video.VideoError(self.path, str(error)) from None
        names = sorted((name for name in names if _is_picture(name)), key=natural)
        if not names:
            raise video.VideoError(self.path, "a folder without pictures")
        # Times are floats: picture 36 of 12 a second lies at 3 s.
        times = ((i / frame_rate, name) for i, name in enumerate(names))
        self._names = [
            (time, name) for time, name in times if segment.start <= time + MIN_STEP < segment.end
        ]
        if not self._names:
            reason = "no picture between {:g} s and {:g} s; there are {}"
            raise video.VideoError(self.path, reason.format(*segment, len(names)))
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

        converter = av.video.reformatter.VideoReformatter()
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
            if pixels.shape[:2] == self._size:
                yield time, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
                continue
            height, width = self._size
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="bgr24")
            frame = converter.reformat(
                frame, width, height, format="rgb24", interpolation="BICUBIC", threads=1
            )
            yield time, frame.to_ndarray()
        total = len(self._names)
        lost = None if self.frames == total else f"{self.frames} of {total} pictures decoded"
        if self.frames < total / 2:
            raise video.VideoError(self.path, lost)
        self.note = "; ".join(filter(None, [lost, self._early_end])) or None


def _is_picture(name):
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")
