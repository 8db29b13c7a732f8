"""Open video files and network streams with PyAV, and find the video stream in them."""

import os
import stat

import av

_STREAM_PROTOCOLS = "http,https,tcp,tls,udp,rtp,srtp,rtsp,rtmp,rtmps,hls,crypto,httpproxy"
_MAX_PIXELS = 1 << 26  # 8192 x 8192 pixels; larger frames would fill the memory


class VideoError(ValueError):
    """A video that cannot be used. `path` is the file, `reason` a few words."""

    def __init__(self, path, reason):
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self):
        return f"{self.path}: {self.reason}"


def open_file(path):
    """Open a regular file. Never open a folder, a pipe or anything on the network.

    Returns:
        `(container, stream)`: an `av` container and its video stream.

    Raises:
        VideoError: If the file is missing, empty or not a video.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise VideoError(path, "no such file") from None
    except (OSError, ValueError) as error:
        raise VideoError(path, f"cannot be read: {getattr(error, 'strerror', error)}") from None
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(path, "not a file")
    if status.st_size == 0:
        raise VideoError(path, "empty file (0 bytes)")
    # With these settings, a name with a colon and a playlist do not lead to the network.
    return _open(path, "file:" + path, {"protocol_whitelist": "file"})


def open_stream(url, time_limit):
    """Open a network address like `open_file`. Never open a file of this machine.

    Raises:
        VideoError: If the address has no video or sends nothing within `time_limit` seconds.
    """
    # A playlist may lead to other addresses, but never to files of this machine.
    options = {"protocol_whitelist": _STREAM_PROTOCOLS}
    if url.lower().startswith("rtsp"):
        options["rtsp_transport"] = "tcp"  # UDP loses packets, which tears pictures
    return _open(url, url, options, time_limit)


def _open(path, name, options, time_limit=None):
    try:
        # Decoder options in `options=` crash PyAV 17.0.1 if a stream first appears mid-file
        # (https://github.com/PyAV-Org/PyAV/issues/2010).
        container = av.open(
            name, container_options=options, timeout=time_limit, metadata_errors="ignore"
        )
    except av.error.ExitError:
        raise VideoError(path, f"nothing came within {time_limit:g} s") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(path, f"cannot be opened as a video: {reason}") from None
    try:
        stream = _video_stream(path, container)
        stream.codec_context.options = {"max_pixels": str(_MAX_PIXELS)}
        check_pixels(path, stream.codec_context.height, stream.codec_context.width)
    except VideoError:
        container.close()
        raise
    return container, stream


def _video_stream(path, container):
    # FFmpeg also lists the cover pictures of music files as video streams.
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams} - {"video"})
        kinds += ["a cover picture"] if container.streams.video else []
        found = " and ".join(filter(None, [", ".join(kinds[:-1]), *kinds[-1:]]))
        raise VideoError(path, f"no video stream (only {found})" if found else "no video stream")
    best = container.streams.best("video")
    for stream in sorted(streams, key=lambda stream: stream != best):
        if stream.codec_context is not None:
            return stream
    raise VideoError(path, "no decoder for its video format")


def check_pixels(path, height, width):
    """Raise a `VideoError` if frames are too large."""
    if height * width > _MAX_PIXELS:
        raise VideoError(path, f"frames of {height}x{width} are too large")
