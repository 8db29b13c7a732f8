"""Video files and network streams: opened with PyAV, and which of their streams is the video."""

import os
import stat

import av

_STREAM_PROTOCOLS = "http,https,tcp,tls,udp,rtp,srtp,rtsp,rtmp,rtmps,hls,crypto,httpproxy"
_MAX_PIXELS = 1 << 26  # a frame of 8192 x 8192; a file that declares more would fill the memory


class VideoError(ValueError):
    """A video gives no frames.

    Attributes:
        path: The file.
        reason: Why, in a few words.
    """

    def __init__(self, path, reason):
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self):
        return f"{self.path}: {self.reason}"


def open_file(path):
    """Open a file, and nothing else: no folder, no pipe, and nothing over the network.

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
    # Neither a name with a colon nor a playlist leads to the network.
    return _open(path, "file:" + path, {"protocol_whitelist": "file"})


def open_stream(url, time_limit):
    """Open an address; as `open_file`, but for the files of this machine.

    Raises:
        VideoError: If the address gives no video, or nothing within `time_limit` seconds.
    """
    # A playlist there may lead to other addresses, but never to files of this machine.
    options = {"protocol_whitelist": _STREAM_PROTOCOLS}
    if url.lower().startswith("rtsp"):
        options["rtsp_transport"] = "tcp"  # packets lost by UDP show as torn pictures
    return _open(url, url, options, time_limit)


def _open(path, name, options, time_limit=None):
    try:
        # `options=`, for decoders, crashes PyAV 17.0.1 where a stream comes up on the way
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
    # Cover pictures of music files count as video streams, too.
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
    """Refuse frames that are too large."""
    if height * width > _MAX_PIXELS:
        raise VideoError(path, f"frames of {height}x{width} are too large")
