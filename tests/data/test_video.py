import gc
import os
import pickle
import re
import struct
from fractions import Fraction
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

from keras_videorel.data import video, video_times
from keras_videorel.data.video import VideoError
from tests.videos import LOSSLESS, moving_square, write_audio, write_live, write_video

PIXELS = moving_square()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", PIXELS, **LOSSLESS)


def _read(path, size=None):
    reader = video.iter_frames(path, size)
    timestamps, frames = zip(*reader, strict=True)
    return np.array(timestamps), np.stack(frames), reader


def test_frames_and_timestamps(clip):
    timestamps, frames, reader = _read(clip)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, PIXELS)
    np.testing.assert_allclose(timestamps, np.arange(8) / 25)
    assert (reader.frames, reader.frame_rate, reader.note) == (8, 25.0, None)


def _needs(codec):
    try:
        av.Codec(codec, "w")
    except ValueError:
        pytest.skip(f"PyAV comes without {codec} here")


def _differences(frames, pixels):
    """Mean difference of each frame."""
    return np.abs(frames.astype(int) - pixels).mean((1, 2, 3))


HEVC = {"crf": "8", "x265-params": "log-level=none"}


@pytest.mark.parametrize(
    ("name", "codec", "options", "pix_fmt"),
    [
        ("clip.mp4", "libx264", {"crf": "8"}, "yuv420p"),
        ("clip.mov", "libx264", {"crf": "8", "bf": "2"}, "yuv420p"),
        ("clip.ts", "libx264", {"crf": "8", "bf": "3"}, "yuv420p"),
        ("ten_bits.mp4", "libx264", {"crf": "8", "bf": "3"}, "yuv420p10le"),
        ("half_chroma.mp4", "libx264", {"crf": "8"}, "yuv422p"),
        ("ten_bits_full_chroma.mkv", "libx264", {"crf": "8"}, "yuv444p10le"),
        ("interlaced.mp4", "libx264", {"crf": "8", "flags": "+ilme+ildct"}, "yuv420p"),
        ("full_range.mp4", "libx264", {"crf": "8"}, "yuvj420p"),
        ("clip.avi", "mpeg4", {"qscale": "1", "flags": "+qscale"}, "yuv420p"),
        ("bframes.avi", "mpeg4", {"qscale": "1", "flags": "+qscale", "bf": "2"}, "yuv420p"),
        ("clip.flv", "flv", {"qscale": "1", "flags": "+qscale"}, "yuv420p"),
        ("clip.wmv", "wmv2", {"qscale": "1", "flags": "+qscale"}, "yuv420p"),
        ("divx3.avi", "msmpeg4v3", {"qscale": "1", "flags": "+qscale"}, "yuv420p"),
        ("clip.webm", "libvpx", {"crf": "4", "b": "4M"}, "yuv420p"),
        ("vp9.webm", "libvpx-vp9", {"crf": "4", "b": "4M"}, "yuv420p"),
        ("av1.mkv", "libsvtav1", {"crf": "8", "svtav1-params": "enable-dlf=0"}, "yuv420p"),
        ("hevc.mp4", "libx265", HEVC, "yuv420p"),
        ("hevc.mkv", "libx265", HEVC, "yuv420p10le"),
        ("clip.mpg", "mpeg1video", {"qscale": "1", "flags": "+qscale"}, "yuv420p"),
        ("clip.m2ts", "mpeg2video", {"qscale": "1", "flags": "+qscale", "bf": "2"}, "yuv422p"),
        ("fields.mpg", "mpeg2video", {"qscale": "1", "flags": "+qscale+ilme+ildct"}, "yuv420p"),
        ("photos.avi", "mjpeg", {"qscale": "1", "flags": "+qscale"}, "yuvj420p"),
        ("photos.mov", "mjpeg", {"qscale": "1", "flags": "+qscale"}, "yuvj444p"),
        ("prores.mov", "prores_ks", {}, "yuv422p10le"),
        ("raw.avi", "rawvideo", {}, "bgr24"),
        ("huffman.avi", "huffyuv", {}, "rgb24"),
        ("archive.mkv", "ffv1", {}, "yuv420p"),
        # Streams without a container: no times, no count.
        ("clip.h264", "libx264", {"crf": "8", "bf": "3"}, "yuv420p"),
        ("clip.m2v", "mpeg2video", {"qscale": "1", "flags": "+qscale", "bf": "2"}, "yuv420p"),
        ("clip.mjpeg", "mjpeg", {"qscale": "1", "flags": "+qscale"}, "yuvj420p"),
    ],
)
def test_containers_and_codecs(tmp_path, capfd, name, codec, options, pix_fmt):
    _needs(codec)
    write_video(tmp_path / name, PIXELS, codec=codec, options=options, pix_fmt=pix_fmt)
    timestamps, frames, reader = _read(tmp_path / name)
    # Chroma is stored at half the resolution, which blurs the edges of the square. Frames in
    # another order would differ by 3 or more.
    assert _differences(frames, PIXELS).max() < 2.9
    assert np.abs(frames[:, 12:16, :, 0].astype(int) - PIXELS[:, 12:16, :, 0]).max() < 60
    np.testing.assert_allclose(np.diff(timestamps), 1 / 25, atol=1e-3)
    assert reader.note is None


@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le", "gray16le"])
def test_grey(tmp_path, pix_fmt):
    _needs("ffv1")
    grey = np.repeat(PIXELS[..., :1], 3, axis=-1)
    write_video(tmp_path / "grey.mkv", grey, codec="ffv1", pix_fmt=pix_fmt)
    _, frames, _ = _read(tmp_path / "grey.mkv")
    assert _differences(frames, grey).max() <= 1


@pytest.mark.parametrize("size", [(145, 175), (1, 1), (1, 64), (64, 1), (3, 5), (2, 300)])
@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("clip.mp4", "libx264", "yuv444p"),
        ("clip.avi", "mpeg4", "yuv420p"),
        ("raw.avi", "rawvideo", "bgr24"),
    ],
)
def test_odd_sizes(tmp_path, name, codec, pix_fmt, size):
    pixels = np.full((3, *size, 3), (200, 60, 20), np.uint8)
    path = write_video(tmp_path / name, pixels, codec=codec, pix_fmt=pix_fmt)
    for wanted in (None, (20, 30), (7, 1), 11):
        _, frames, _ = _read(path, wanted)
        shape = video.keep_aspect(*size, wanted) if wanted == 11 else wanted or size
        assert frames.shape == (3, *shape, 3)
        assert np.abs(frames.astype(int) - (200, 60, 20)).max() <= 6


def test_every_column_is_written(tmp_path):
    # Vector code likes widths of 8, 16 or 32 pixels, and some forgets what is left over.
    pixels = np.full((1, 48, 64, 3), (200, 60, 20), np.uint8)
    path = write_video(tmp_path / "flat.mp4", pixels)
    for width in range(1, 80):
        for _, frame in video.iter_frames(path, (48, width)):
            assert np.abs(frame.astype(int) - (200, 60, 20)).max() <= 4, width


def _write_at(path, milliseconds, codec="libx264", pix_fmt="yuv420p", **options):
    """A video of frames at given times."""
    with av.open(str(path), "w", options=options) as container:
        settings = {"crf": "8", "bf": "2"} if codec == "libx264" else {}
        stream = container.add_stream(codec, options=settings)
        stream.height, stream.width, stream.pix_fmt = 48, 64, pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        for pixels, time in zip(moving_square(len(milliseconds)), milliseconds, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov", "clip.mkv"])
def test_variable_frame_rate(tmp_path, name):
    times = [0, 10, 15, 100, 500, 540, 1740, 1741, 1900]
    timestamps, frames, reader = _read(_write_at(tmp_path / name, times))
    np.testing.assert_allclose(1000 * timestamps, times, atol=0.6)
    assert _differences(frames, moving_square(9)).max() < 2
    assert reader.note is None


def test_a_late_start(tmp_path):
    path = _write_at(tmp_path / "late.mp4", [90_000 + 40 * i for i in range(8)])
    timestamps, frames, reader = _read(path)
    np.testing.assert_allclose(timestamps, 90 + np.arange(8) / 25)
    assert (len(frames), reader.note) == (8, None)


def test_an_edit_list(tmp_path):
    """Frames that an edit list hides come not out, and are not missed."""
    path = _write_at(tmp_path / "clip.mp4", range(-480, 720, 40), avoid_negative_ts="disabled")
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 30
    timestamps, frames, reader = _read(path)
    shown = moving_square(30)[-len(frames) :]
    assert 17 <= len(frames) <= 18  # the edge falls between two frames
    assert _differences(frames, shown).max() < 2
    np.testing.assert_allclose(np.diff(timestamps), 1 / 25)
    assert reader.note is None


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        ([0, 4, 8], [0, 0.04, 0.08]),
        ([-8, -4, 0], [-0.08, -0.04, 0]),
        ([None, None, 8], [0, 0.04, 0.08]),
        ([4, 4, 8, 12], [0.04, 0.08, 0.12, 0.16]),  # the first twice: one step of 1 / 25 s
        ([8, 4, 12, 20], [0.08, 0.12, 0.16, 0.2]),
        ([0, 4, 1 << 62, 12], [0, 0.04, 0.08, 0.12]),
        ([1 << 62, 4, 8], [0, 0.04, 0.08]),
        ([-(1 << 62), 4], [0, 0.04]),
        ([100 * 1_700_000_000, 100 * 1_700_000_000 + 4], [1.7e9, 1.7e9 + 0.04]),  # a live stream
    ],
)
def test_timestamps_increase_whatever_the_file_says(clip, ticks, expected):
    with video.iter_frames(clip) as reader:
        reader._stream = SimpleNamespace(time_base=Fraction(1, 100))
        pictures = [SimpleNamespace(pts=tick) for tick in ticks]
        times = [time for time, _ in reader._timed(pictures)]
    np.testing.assert_allclose(times, expected)


@pytest.mark.parametrize("rate", [Fraction(90_000), Fraction(1, 100_000)])
def test_frame_rates_that_are_none(tmp_path, rate):
    path = write_video(tmp_path / "clip.avi", PIXELS, fps=rate, codec="mjpeg", pix_fmt="yuvj420p")
    assert 1e-3 <= video.iter_frames(path).frame_rate <= 1e3
    timestamps, frames, _ = _read(path)
    assert len(frames) == 8 and (np.diff(timestamps) > 0).all()


def test_resizing(tmp_path):
    # Left half red, right half blue: the edge stays in the middle, the colours are kept.
    pixels = np.zeros((2, 40, 80, 3), np.uint8)
    pixels[:, :, :40, 0], pixels[:, :, 40:, 2] = 200, 100
    path = write_video(tmp_path / "halves.mp4", pixels, **LOSSLESS)
    for size, shape in (((30, 20), (30, 20)), (10, (10, 20)), (60, (60, 120))):
        _, frames, _ = _read(path, size)
        assert frames.shape == (2, *shape, 3)
        quarter = shape[1] // 4
        assert np.abs(frames[:, :, :quarter].astype(int) - (200, 0, 0)).max() <= 2
        assert np.abs(frames[:, :, -quarter:].astype(int) - (0, 0, 100)).max() <= 2


def test_keep_aspect():
    assert video.keep_aspect(240, 320, 256) == (256, 341)
    assert video.keep_aspect(1920, 1080, 256) == (455, 256)
    assert video.keep_aspect(240, 240, 7) == (7, 7)


# A display matrix (a, b, u, c, d, v, x, y, w) shows the pixel (x, y) at (a x + c y, b x + d y).
ONE, W = 1 << 16, 1 << 30


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([0, ONE, 0, -ONE, 0, 0, 0, 0, W], lambda p: np.rot90(p, -1, (1, 2))),  # clockwise
        ([0, -ONE, 0, ONE, 0, 0, 0, 0, W], lambda p: np.rot90(p, 1, (1, 2))),
        ([-ONE, 0, 0, 0, -ONE, 0, 0, 0, W], lambda p: np.rot90(p, 2, (1, 2))),
        ([-ONE, 0, 0, 0, ONE, 0, 0, 0, W], lambda p: p[:, :, ::-1]),  # mirrored
        ([0, ONE, 0, ONE, 0, 0, 0, 0, W], lambda p: p.transpose(0, 2, 1, 3)),
    ],
)
def test_display_matrix(tmp_path, matrix, expected):
    path = write_video(tmp_path / "turned.mp4", PIXELS, **LOSSLESS, turn=matrix)
    upright = expected(PIXELS)
    np.testing.assert_array_equal(_read(path)[1], upright)
    height, width = upright.shape[1:3]
    np.testing.assert_array_equal(_read(path, (height, width))[1], upright)


def test_pixels_that_are_not_square(tmp_path):
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = 2
        for frame in PIXELS:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    assert _read(path)[1].shape == (8, 48, 128, 3)


def test_read_frames(clip):
    np.testing.assert_array_equal(video.read_frames(clip, [5, 0, 5, 2]), PIXELS[[5, 0, 5, 2]])
    assert video.read_frames(clip, np.array([7]), (24, 32)).shape == (1, 24, 32, 3)
    assert video.count_frames(clip) == 8
    with pytest.raises(VideoError, match=r"clip.mp4: 8 frames decode, frame 8 is wanted"):
        video.read_frames(clip, [1, 8])
    for indices in ([], [-1, 2]):
        with pytest.raises(ValueError, match="`indices` must be frame numbers"):
            video.read_frames(clip, indices)


def test_frames_do_not_share_memory(clip):
    reader = video.iter_frames(clip)
    first = next(reader)[1].copy()
    rest = [frame for _, frame in reader]
    np.testing.assert_array_equal(first, PIXELS[0])
    assert len({frame.ctypes.data for frame in rest}) == 7
    assert iter(reader) is reader and next(reader, None) is None


def test_pictures_are_let_go(tmp_path):
    path = write_video(tmp_path / "long.mp4", np.repeat(PIXELS, 10, axis=0))
    gc.collect()
    gc.disable()
    try:
        for _ in video.iter_frames(path):
            pass
        assert sum(isinstance(thing, av.VideoFrame) for thing in gc.get_objects()) < 5
    finally:
        gc.enable()


def test_a_reader_may_be_left_early(clip):
    with video.iter_frames(clip) as reader:
        next(reader)
    assert next(reader, None) is None


@pytest.mark.parametrize("size", [0, (0, 5), (5,), "128x170", (1.5, 2)])
def test_bad_sizes_are_refused(clip, size):
    with pytest.raises(ValueError, match="`size` must be"):
        video.iter_frames(clip, size)


def _no_frames(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()


def _write_subtitles(path):
    path.write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n")


def _write_playlist(path):
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n")


def _write_session(path):
    path.write_text(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    )


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("missing.mp4", lambda path: None, "no such file"),
        ("folder.mp4", lambda path: path.mkdir(), "not a file"),
        ("empty.mp4", lambda path: path.touch(), r"empty file \(0 bytes\)"),
        (
            "text.mp4",
            lambda path: path.write_text("no video\n" * 99),
            "cannot be opened as a video",
        ),
        (
            "noise.avi",
            lambda path: path.write_bytes(np.random.default_rng(0).bytes(9999)),
            "cannot be opened as a video",
        ),
        ("sound.mp4", write_audio, r"no video stream \(only audio\)"),
        ("none.avi", _no_frames, "no frame could be decoded"),
        ("none.mp4", _no_frames, "no video stream"),
        ("loop.mp4", lambda path: path.symlink_to(path), "cannot be read: Too many levels"),
        ("pipe.mp4", os.mkfifo, "not a file"),  # and nobody waits for what comes out
        ("x" * 300, lambda path: None, "cannot be read: File name too long"),
        ("page.mp4", lambda path: path.write_text("<!DOCTYPE html><p>404"), "cannot be opened"),
        ("subtitles.mp4", _write_subtitles, r"no video stream \(only subtitle\)"),
        # What would open another file, or the network.
        ("list.mp4", _write_playlist, "cannot be opened as a video"),
        ("session.mp4", _write_session, "cannot be opened as a video"),
    ],
)
def test_files_without_frames(tmp_path, name, make, reason):
    make(tmp_path / name)
    with pytest.raises(VideoError, match=rf"{name}: {reason}") as caught:
        list(video.iter_frames(tmp_path / name))
    assert caught.value.path == str(tmp_path / name)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(VideoError, match=reason):
        video.count_frames(tmp_path / name)


def test_a_cover_picture_is_no_video(tmp_path):
    sound = write_audio(tmp_path / "sound.mp4")
    cover = write_video(tmp_path / "cover.png", PIXELS[:1], codec="png", pix_fmt="rgb24")
    path = tmp_path / "song.mp4"
    with av.open(str(sound)) as audio, av.open(str(cover)) as image, av.open(str(path), "w") as out:
        tracks = [(c, out.add_stream_from_template(c.streams[0])) for c in (audio, image)]
        tracks[1][1].disposition = av.stream.Disposition.attached_pic.value
        for source, track in tracks:
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = track
                    out.mux(packet)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    with pytest.raises(VideoError, match=r"no video stream \(only audio and a cover picture\)"):
        video.iter_frames(path)


def test_a_broken_file_gives_what_decodes(tmp_path):
    pixels = moving_square(60, 96, 128)
    whole = write_video(tmp_path / "whole.avi", pixels, codec="mpeg4", options={"g": "5"})
    data = whole.read_bytes()
    half = tmp_path / "half.avi"
    half.write_bytes(data[: len(data) // 2])
    _, frames, reader = _read(half)
    assert 10 < len(frames) < 50
    assert np.abs(frames[:10].astype(int) - pixels[:10]).mean() < 8
    assert f"{len(frames)} of 60 frames decoded" in reader.note
    assert video.count_frames(half) == len(frames)

    # A hole in the middle costs some frames; those behind it come out.
    hole = tmp_path / "hole.avi"
    middle = len(data) // 2
    hole.write_bytes(data[:middle] + bytes(3000) + data[middle + 3000 :])
    _, frames, reader = _read(hole)
    assert 30 < len(frames) <= 60
    assert np.abs(frames[-1].astype(int) - pixels[-1]).mean() < 8
    assert "frames decoded" in reader.note


@pytest.mark.parametrize(("name", "codec"), [("clip.mkv", "libx264"), ("clip.webm", "libvpx")])
def test_a_file_that_breaks_off_where_no_count_is_declared(tmp_path, name, codec):
    data = write_video(tmp_path / name, moving_square(60, 96, 128), codec=codec).read_bytes()
    assert _read(tmp_path / name)[2].note is None
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    _, frames, reader = _read(tmp_path / name)
    assert 0 < len(frames) < 54
    assert f"{len(frames)} frames decoded, {len(frames) / 25:.1f} of 2.4 seconds" in reader.note


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("live.webm", "libvpx", {"live": "1"}),
        ("live.mkv", "libx264", {"live": "1"}),
        ("pieces.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    ],
)
def test_files_written_as_they_were_recorded(tmp_path, name, codec, options):
    """No count of frames, no index, no duration where nothing could be filled in later."""
    pixels = moving_square(40)
    with open(tmp_path / name, "wb") as file:
        forwards = SimpleNamespace(write=file.write)  # no way back
        kind = {"mkv": "matroska"}.get(name[-3:], name.split(".")[-1])
        with av.open(forwards, "w", format=kind, options=options) as container:
            stream = container.add_stream(codec, rate=25, options={"crf": "8", "g": "5"})
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            for frame in pixels:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    timestamps, frames, reader = _read(tmp_path / name)
    assert (len(frames), reader.note) == (40, None)
    np.testing.assert_allclose(np.diff(timestamps), 1 / 25, atol=1e-3)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    _, frames, _ = _read(tmp_path / name)
    assert 5 < len(frames) < 40
    assert _differences(frames, pixels[: len(frames)]).max() < 6


def test_a_file_that_lies_about_its_count(tmp_path):
    path = write_video(tmp_path / "clip.mp4", moving_square(30), options={"bf": "0"})
    data = path.read_bytes()
    sizes = data.index(b"stsz")  # then version, common size, count, sizes
    assert struct.unpack_from(">I", data, sizes + 12) == (30,)
    path.write_bytes(data[: sizes + 12] + struct.pack(">I", 12) + data[sizes + 16 :])
    _, frames, reader = _read(path)
    assert len(frames) == 12 and "12 of" in reader.note
    # An AVI declares any number of frames; its index has 8.
    path = write_video(tmp_path / "clip.avi", PIXELS, codec="mpeg4")
    data = bytearray(path.read_bytes())
    header = data.index(b"strh")
    assert struct.unpack_from("<I", data, header + 40) == (8,)
    for count in (0, 5, 1000, 0x7FFFFFFF, 0xFFFFFFFF):
        struct.pack_into("<I", data, header + 40, count)
        path.write_bytes(data)
        _, frames, reader = _read(path)
        assert (len(frames), reader.note) == (8, None)


def test_a_header_that_would_eat_up_the_memory(tmp_path):
    _needs("prores_ks")
    # Which one depends on how far FFmpeg reads to tell what is in a file.
    reason = "frames of 20000x30000 are too large|no frame could be decoded"
    path = write_video(tmp_path / "clip.mov", PIXELS, codec="prores_ks", pix_fmt="yuv422p10le")
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack(">HH", 64, 48), struct.pack(">HH", 30_000, 20_000)))
    with pytest.raises(VideoError, match=reason):
        _read(path)
    path = write_video(tmp_path / "clip.avi", PIXELS, codec="huffyuv", pix_fmt="rgb24")
    data = bytearray(path.read_bytes())
    struct.pack_into("<ii", data, data.index(b"strf") + 12, 30_000, 20_000)
    path.write_bytes(data)
    with pytest.raises(VideoError, match=reason):
        _read(path)
    # Or a frame of one row, which its shorter side would blow up.
    path = write_video(
        tmp_path / "row.avi", np.zeros((1, 1, 4096, 3), np.uint8), codec="rawvideo", pix_fmt="bgr24"
    )
    with pytest.raises(VideoError, match="frames of 256x1048576 are too large"):
        _read(path, 256)


def test_an_empty_packet_is_not_the_end(tmp_path):
    path = write_video(tmp_path / "clip.avi", PIXELS, codec="mpeg4")
    data = path.read_bytes()
    head, *frames = data[: data.rindex(b"idx1")].split(b"00dc")
    path.write_bytes(head + b"00dc\0\0\0\0".join(b"00dc" + frame for frame in frames))
    timestamps, frames, reader = _read(path)
    assert (len(frames), reader.note) == (8, None)
    np.testing.assert_allclose(np.diff(timestamps), 2 / 25)


@pytest.mark.parametrize(
    ("extension", "codec", "lost"),
    [("h264", "libx264", 0), ("ts", "libx264", 0), ("mjpeg", "mjpeg", 0), ("m2v", "mpeg2video", 1)],
)
def test_a_size_that_changes_on_the_way(tmp_path, extension, codec, lost):
    """All frames get the size of the first; recordings of a call or of a screen are like this."""
    parts = []
    for height, width in ((96, 128), (64, 48)):
        pixels = np.zeros((10, height, width, 3), np.uint8)
        pixels[:, : height // 2] = 200
        path = tmp_path / f"{height}.{extension}"
        pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        parts.append(write_video(path, pixels, codec=codec, pix_fmt=pix_fmt).read_bytes())
    path = tmp_path / f"clip.{extension}"
    path.write_bytes(b"".join(parts))
    for size, shape in ((None, (96, 128)), (48, (48, 64)), ((30, 20), (30, 20))):
        timestamps, frames, _ = _read(path, size)
        assert frames.shape == (20 - lost, *shape, 3)
        assert (np.diff(timestamps) > 0).all()
        for frame in frames:
            assert np.abs(frame[: shape[0] // 3].astype(int) - 200).max() < 9
            assert frame[-(shape[0] // 3) :].max() < 9


def _write_two(path, codecs):
    with av.open(str(path), "w") as container:
        streams = [container.add_stream(codec, rate=25) for codec in codecs]
        for index, stream in enumerate(streams):
            stream.height, stream.width, stream.pix_fmt = 48, 64 + 16 * index, "yuv420p"
        for _ in range(8):
            for index, stream in enumerate(streams):
                frame = np.full((48, 64 + 16 * index, 3), 50 + 100 * index, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode())
    return path


def test_several_video_streams(tmp_path):
    path = _write_two(tmp_path / "two.mkv", ["mpeg4", "libx264"])
    _, frames, reader = _read(path)
    assert len(frames) == 8 and reader.note is None
    assert np.abs(frames.astype(int) - frames[0, 0, 0]).max() < 3  # one of them, all the way
    # One that has a decoder is taken before one that has none.
    data = path.read_bytes()
    for codec, level in ((b"V_MPEG4/ISO/AVC", 50), (b"V_MPEG4/ISO/ASP", 150)):
        path.write_bytes(data.replace(codec, b"V_UNKNOWN______"))
        assert np.abs(_read(path)[1].astype(int) - level).max() < 3
    path.write_bytes(data.replace(b"V_MPEG4", b"V_UNKNO"))
    with pytest.raises(VideoError, match="no decoder for its video format"):
        video.iter_frames(path)


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tiff"])
def test_a_still_image_named_as_a_video(tmp_path, kind):
    path = tmp_path / "clip.mp4"
    path.write_bytes(cv2.imencode(f".{kind}", PIXELS[0][..., ::-1])[1].tobytes())
    timestamps, frames, reader = _read(path)
    assert timestamps.tolist() == [0] and reader.note is None
    assert _differences(frames, PIXELS[:1]) < 3


class _Exif:
    """A picture that PyAV cannot tell the side data of."""

    def __init__(self, rotation):
        self.rotation = rotation

    @property
    def side_data(self):
        raise ValueError("31 is not a valid Type")


def test_side_data_that_pyav_does_not_know(tmp_path):
    path = tmp_path / "turned.mp4"
    for matrix in (
        [0, ONE, 0, -ONE, 0],
        [0, -ONE, 0, ONE, 0],
        [-ONE, 0, 0, 0, -ONE],
        [ONE, 0, 0, 0, ONE],
    ):
        write_video(path, PIXELS, **LOSSLESS, turn=[*matrix, 0, 0, 0, W])
        with av.open(str(path)) as container:
            picture = next(container.decode(video=0))
        assert video._orientation(_Exif(picture.rotation)) == video._orientation(picture)


@pytest.mark.parametrize(
    "name",
    ["-i.mp4", "a:b.mp4", "http:x.mp4", "pipe:0.mp4", "%03d.mp4", " .mp4", "a\nb.mp4", "日本"],
)
def test_names_that_mean_something_elsewhere(tmp_path, clip, monkeypatch, name):
    (tmp_path / name).write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert video.count_frames(name) == video.count_frames(os.fsencode(name)) == 8


def test_links(tmp_path, clip):
    (tmp_path / "link.mp4").symlink_to(clip)
    assert video.count_frames(tmp_path / "link.mp4") == 8
    with pytest.raises(VideoError, match="cannot be read: embedded null"):
        video.iter_frames("a\0b.mp4")
    with pytest.raises(VideoError, match="no such file"):
        video.iter_frames(clip / "clip.mp4")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read(tmp_path, clip):
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "clip.mp4").chmod(0)
    with pytest.raises(VideoError, match="cannot be opened as a video: Permission denied"):
        video.iter_frames(tmp_path / "clip.mp4")


def test_names_and_metadata_that_are_no_text(tmp_path):
    path = tmp_path / "clip.avi"
    write_video(path, PIXELS, codec="mpeg4")
    with av.open(str(path)) as source, av.open(str(tmp_path / "tagged.avi"), "w") as out:
        out.metadata["title"] = "xxxxxxxx"
        track = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = track
                out.mux(packet)
    tagged = (tmp_path / "tagged.avi").read_bytes()
    assert b"xxxxxxxx" in tagged
    strange = os.fsencode(tmp_path) + b"/a:b \xff.avi"
    try:
        with open(strange, "wb") as file:
            file.write(tagged.replace(b"xxxxxxxx", b"\xff\xfe\xfd\x80xxxx"))
    except OSError:
        pytest.skip("this file system wants names in UTF-8")
    assert video.count_frames(os.fsdecode(strange)) == 8


@pytest.mark.real_clips
def test_real_clips(real_clips):
    expected = {
        "ucf101/SoccerJuggling/v_SoccerJuggling_g23_c01.avi": (240, 240, 320),
        "hmdb51/wave/TrumanShow_wave_f_nm_np1_fr_med_26.avi": (48, 240, 432),
        "kinetics/R6llTwEh07w.mp4": (303, 256, 340),
    }
    for name, (count, height, width) in expected.items():
        timestamps, frames, reader = _read(real_clips / name)
        assert frames.shape == (count, height, width, 3)
        np.testing.assert_allclose(np.diff(timestamps), 1 / reader.frame_rate, atol=1e-4)
        assert reader.note is None
        with av.open(str(real_clips / name)) as container:
            first = next(container.decode(video=0)).to_ndarray(format="rgb24")
        np.testing.assert_allclose(frames[0].astype(int), first, atol=4)


@pytest.mark.real_clips
def test_real_rotation_tag(real_clips):
    path = real_clips / "edge" / "video_90.mov"
    _, frames, _ = _read(path)
    assert frames.shape == (3, 568, 320, 3)
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
        assert picture.rotation == -90  # degrees counterclockwise
        stored = picture.to_ndarray(format="rgb24")
    np.testing.assert_allclose(frames[0].astype(int), np.rot90(stored, -1), atol=4)


@pytest.mark.real_clips
def test_real_corrupted_file(real_clips):
    _, frames, reader = _read(real_clips / "edge" / "corrupted.mp4")
    assert frames.shape[1:] == (720, 1280, 3) and 28 <= len(frames) <= 50
    assert "damaged" in reader.note and f"{len(frames)} of 50 frames decoded" in reader.note


# --- Segments -------------------------------------------------------------------------------


def _restarting(path, count=60, **options):
    """A transport stream whose clock begins again in the middle."""
    half = moving_square(count // 2)
    options = {"codec": "libx264", "options": {"bf": "2", "g": "12"}, **options}
    parts = [write_video(path.with_name(f"{i}.ts"), half, **options) for i in range(2)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


SEGMENT_KINDS = [
    ("clip.mp4", "libx264", {"bf": "3", "g": "12"}),
    ("open.mp4", "libx264", {"bf": "3", "g": "12", "x264-params": "open-gop=1"}),
    ("clip.mkv", "libx264", {"bf": "3", "g": "12"}),
    ("clip.avi", "mpeg4", {"bf": "2", "g": "12"}),
    ("h264.avi", "libx264", {"bf": "2", "g": "12"}),
    ("clip.webm", "libvpx", {"g": "12"}),
    ("vp9.webm", "libvpx-vp9", {"g": "12"}),
    ("clip.ts", "libx264", {"bf": "3", "g": "12"}),
    ("clip.mpg", "mpeg2video", {"bf": "2", "g": "12"}),
    ("old.mpg", "mpeg1video", {}),
    ("mpeg2.ts", "mpeg2video", {"bf": "2"}),
    ("clip.flv", "flv", {"g": "12"}),
    ("clip.wmv", "wmv2", {"g": "12"}),
    ("clip.h264", "libx264", {"bf": "2", "g": "12"}),
    ("one_key.mp4", "libx264", {"bf": "2", "g": "999", "sc_threshold": "0"}),
]


@pytest.mark.parametrize(("name", "codec", "options"), SEGMENT_KINDS)
def test_segments(tmp_path, name, codec, options):
    """Frames and times of a segment are those that the whole video has there."""
    path = write_video(tmp_path / name, moving_square(60), codec=codec, options=options)
    segments = [(0, 0.5), (0.7, 1.4), (1, None), (1.4, 1.41), (2.2, 9), (None, 0.05), (0.65, 0.71)]
    _check_segments(path, segments)


def _check_segments(path, segments):
    timestamps, frames, _ = _read(path)
    seconds = timestamps - timestamps[0] + 1e-6
    for start, end in segments:
        inside = (seconds >= (start or 0)) & (seconds < (np.inf if end is None else end))
        reader = video.iter_frames(path, start=start, end=end)
        found, pictures = zip(*reader, strict=True)
        np.testing.assert_array_equal(found, timestamps[inside])
        np.testing.assert_array_equal(np.stack(pictures), frames[inside])
        assert reader.frames == inside.sum()
        last = (timestamps - timestamps[0])[-1]
        ends = end is not None and end - last > 0.5
        assert reader.note == (f"ends at {last:.2f} s of {end:g}" if ends else None)
        assert video.count_frames(path, start=start, end=end) == inside.sum()
    last = int(inside.sum()) - 1
    found = video.read_frames(path, [last, 0], start=start, end=end)
    np.testing.assert_array_equal(found, frames[inside][[last, 0]])
    with pytest.raises(VideoError, match=f"{last + 1} frames decode, frame {last + 1} is wanted"):
        video.read_frames(path, [last + 1], start=start, end=end)


def test_segments_where_times_jump(tmp_path):
    """No file is sought by times that do not run on."""
    _check_segments(_restarting(tmp_path / "clip.ts"), [(0.6, 1.0), (1.12, 1.6), (2, 2.2)])
    for name, codec in (("two.mkv", "libx264"), ("two.webm", "libvpx")):
        data = write_video(tmp_path / name, moving_square(30), codec=codec).read_bytes()
        (tmp_path / name).write_bytes(data + data)
        _check_segments(tmp_path / name, [(0.6, 1.0), (1.12, 1.6), (2, None)])
    milliseconds = [50 * i + (7_200_000 if i >= 20 else 0) for i in range(40)]
    for name in ("clip.mp4", "clip.mkv"):
        path = _write_at(tmp_path / name, milliseconds)
        end = _read(path)[0][-1]
        _check_segments(path, [(0.5, 0.9), (end - 0.5, None)])


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.ts", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx")],
)
def test_a_segment_is_sought(tmp_path, name, codec):
    """Frames far before a segment are not decoded."""
    pixels = np.tile(moving_square(70), (3, 1, 1, 1))
    path = write_video(tmp_path / name, pixels, codec=codec, options={"bf": "2", "g": "12"}, fps=10)
    with video.iter_frames(path, start=20.0) as reader:
        dropped = []
        reader.on_drop = lambda: dropped.append(reader.frames)
        assert len(list(reader)) == 10
    assert len(dropped) < 60


def test_a_segment_has_the_size_of_the_video(tmp_path):
    parts = []
    for height, width in ((96, 128), (64, 48)):
        pixels = np.full((25, height, width, 3), 90, np.uint8)
        path = write_video(tmp_path / f"{height}.h264", pixels, options={"g": "5"})
        parts.append(path.read_bytes())
    (tmp_path / "clip.h264").write_bytes(b"".join(parts))
    frames = [frame for _, frame in video.iter_frames(tmp_path / "clip.h264", start=1.5)]
    assert frames[0].shape == (96, 128, 3)


def test_segments_that_are_none(clip):
    with pytest.raises(VideoError, match=r"no frame from 5 s on; the last one is at 0.28 s"):
        list(video.iter_frames(clip, start=5))
    with pytest.raises(VideoError, match=r"clip.mp4: no frame between 0.05 s and 0.06 s$"):
        video.count_frames(clip, start=0.05, end=0.06)
    for start, end, message in (
        (-1, None, "`start` must be seconds of at least 0. Received: -1"),
        (float("nan"), None, "`start` must be seconds"),
        (float("inf"), None, "`end` must be after `start`"),
        ("1", None, "`start` must be seconds of at least 0. Received: '1'"),
        (None, True, "`end` must be seconds"),
        (2, 2, "`end` must be after `start`. Received: start=2, end=2"),
        (None, 0, "`end` must be after `start`. Received: start=None, end=0"),
    ):
        with pytest.raises(ValueError, match=message):
            video.iter_frames(clip, start=start, end=end)


@pytest.mark.real_clips
def test_segments_of_real_clips(real_clips):
    for name in (
        "ucf101/SoccerJuggling/v_SoccerJuggling_g23_c01.avi",
        "hmdb51/wave/TrumanShow_wave_f_nm_np1_fr_med_26.avi",
    ):
        _check_segments(real_clips / name, [(0.5, 1.25), (1.2, None)])


# --- Rates and times ------------------------------------------------------------------------


def _browser_times(seconds=12, rate=30, seed=0):
    """Milliseconds of the frames that a browser records: now and then one comes late, or not."""
    rng = np.random.default_rng(seed)
    times = np.arange(0, 1000 * seconds, 1000 / rate) + rng.uniform(-4, 4, seconds * rate)
    kept = rng.uniform(size=len(times)) > 0.05
    return np.round(np.maximum(times, 0))[kept | (np.arange(len(times)) < 2)].astype(int).tolist()


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
@pytest.mark.parametrize("rate", [15, 30])
def test_the_rate_of_a_browser_recording(tmp_path, codec, rate):
    times = _browser_times(4, rate)
    path = write_live(tmp_path / "clip.webm", times, codec)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 1000
    timestamps, _, reader = _read(path)
    assert reader.frame_rate == pytest.approx(rate, rel=0.06)
    np.testing.assert_allclose(1000 * timestamps, times)
    assert reader.note is None


@pytest.mark.parametrize(
    ("times", "step"),
    [
        ([0.0, 0.033, 0.067, 0.1, 0.133, 0.167, 0.2], 1 / 30),
        ([0.2, 0.0, 0.1, 7200.0, 7200.1, 7200.2], 0.1),
        ([0.0, 30.0, 60.0], 30.0),
        ([*np.arange(50) / 25, *(2 + np.arange(50) / 50)], 0.04),  # two recordings in one file
        ([*np.arange(50) / 25, *(2 + np.arange(52) / 50)], 0.02),
        (np.cumsum([0, *[1 / 30, 1 / 20] * 20]), 1 / 24),  # fields of film, 2 and 3 in turn
        ([3.0, 3.0], None),
        ([5.0], None),
        ([], None),
    ],
)
def test_typical_step(times, step):
    found = video_times.typical_step(times)
    assert found is None if step is None else found == pytest.approx(step)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_times_after_a_pause(tmp_path, name):
    """After two hours the file's own steps go on, of whatever length."""
    steps = np.array([40] * 20 + [7_200_000] + [40, 80, 40, 20, 40, 1000, 40, 40])
    path = _write_at(tmp_path / name, np.cumsum([0, *steps]).tolist())
    timestamps, _, reader = _read(path)
    found = 1000 * np.diff(timestamps)
    np.testing.assert_allclose(np.delete(found, 20), np.delete(steps, 20), atol=0.6)
    assert 30 < found[20] < 50  # the pause: a typical step
    assert reader.frame_rate == pytest.approx(25, rel=0.05) and reader.note is None


@pytest.mark.parametrize("rate", [25, 10])
def test_times_of_two_recordings_in_one_file(tmp_path, rate):
    timestamps, frames, reader = _read(_restarting(tmp_path / "clip.ts", fps=rate))
    assert len(frames) == 60 and reader.note is None
    np.testing.assert_allclose(np.diff(timestamps), 1 / rate, atol=1e-4)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
@pytest.mark.parametrize("step", [30, 1800, 7200, 20_000])
def test_time_lapses(tmp_path, name, step):
    path = _write_at(tmp_path / name, [1000 * step * i for i in range(12)])
    timestamps, _, reader = _read(path)
    np.testing.assert_allclose(timestamps, step * np.arange(12.0))
    assert reader.frame_rate == pytest.approx(1 / step, rel=0.1)
    assert reader.note is None


# --- Losses ---------------------------------------------------------------------------------


def _with_sound(path, frames, seconds, codec="libx264", last=None):
    """A video whose sound lasts some time, or whose last frame does, in seconds."""
    sound = {"webm": "libopus", "avi": "mp3", "flv": "mp3"}.get(path.suffix[1:], "aac")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        track = container.add_stream(sound, rate=48_000, layout="mono") if seconds else None
        packets = []
        for pixels in moving_square(frames):
            packets += stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24"))
        packets += stream.encode()
        if last is not None:
            packets[-1].duration = round(last / packets[-1].time_base)
        silence = np.zeros((1, 960), np.float32)
        for index in range(round(50 * seconds)):
            frame = av.AudioFrame.from_ndarray(silence, "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, 960 * index, Fraction(1, 48_000)
            packets += track.encode(frame)
        if track is not None:
            packets += track.encode()
        container.mux(packets)
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("clip.mp4", "libx264"),
        ("clip.mov", "libx264"),
        ("clip.mkv", "libx264"),
        ("clip.webm", "libvpx"),
        ("clip.avi", "mpeg4"),
        ("clip.flv", "flv"),
        ("clip.ts", "libx264"),
        ("clip.wmv", "wmv2"),
    ],
)
def test_sound_that_lasts_longer_is_no_loss(tmp_path, name, codec):
    _, frames, reader = _read(_with_sound(tmp_path / name, 20, 4, codec))
    assert (len(frames), reader.note) == (20, None)
    if codec not in ("flv", "wmv2"):  # which declare one duration for both
        assert reader.duration == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.webm", "libvpx")])
def test_a_last_frame_that_stays_is_no_loss(tmp_path, name, codec):
    _, frames, reader = _read(_with_sound(tmp_path / name, 20, 0, codec, last=9))
    assert (len(frames), reader.note) == (20, None)


def _with_index_first(path):
    fast = path.with_name("fast.mp4")
    with (
        av.open(str(path)) as source,
        av.open(str(fast), "w", options={"movflags": "faststart"}) as out,
    ):
        tracks = [out.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = tracks[packet.stream_index]
                out.mux(packet)
    return fast


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264")])
def test_pictures_that_end_early_are_a_loss(tmp_path, name, codec):
    path = _with_sound(tmp_path / name, 50, 2, codec)
    if name == "a.mp4":  # its index first, so that half of it can be opened
        path = _with_index_first(path)
    data = path.read_bytes()
    path.write_bytes(data[: 3 * len(data) // 5])
    _, frames, reader = _read(path)
    assert 0 < len(frames) < 45
    assert f"{len(frames)} " in reader.note and "decoded" in reader.note


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_file_that_is_mostly_damaged_is_rejected(tmp_path, share):
    """Each frame is a key frame of its own, and the share of them does not decode."""
    path = write_video(tmp_path / "clip.avi", moving_square(60), codec="mjpeg", pix_fmt="yuvj420p")
    head, *frames = path.read_bytes().split(b"00dc")
    bad = round(60 * share)
    frames[1 : bad + 1] = [frame[:4] + bytes(len(frame) - 4) for frame in frames[1 : bad + 1]]
    path.write_bytes(b"00dc".join([head, *frames]))
    if share > 0.5:
        with pytest.raises(VideoError, match=rf"clip.avi: {bad} of 60 frames are damaged"):
            video.count_frames(path)
    else:
        _, frames, reader = _read(path)
        assert len(frames) == 60 - bad
        assert reader.note == f"{bad} damaged frames; {60 - bad} of 60 frames decoded"


# --- Interlaced video -----------------------------------------------------------------------


def _spoil(path, first=4000, period=400, length=60):
    """Overwrite a piece in every so many bytes."""
    data, random = bytearray(path.read_bytes()), np.random.default_rng(0)
    if path.suffix == ".mp4":  # its index comes first
        first = data.index(b"mdat") + 200
    for start in range(first, len(data) - 500, period):
        data[start : start + length] = random.bytes(length)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("clip.mkv", "libx264"),
        ("clip.mkv", "mpeg4"),
        ("clip.webm", "libvpx"),
        ("clip.wmv", "wmv2"),
        ("clip.mp4", "libx265"),
        ("clip.mkv", "libx265"),  # nothing of which is flagged
    ],
)
def test_a_file_that_lost_most_frames_is_rejected(tmp_path, name, codec):
    """Packets that are lost leave holes, as those do that give no picture."""
    _needs(codec)
    options = HEVC | {"x265-params": "log-level=none:keyint=30"} if codec == "libx265" else {}
    pixels = np.tile(moving_square(60, 96, 128), (4, 1, 1, 1))
    path = write_video(tmp_path / name, pixels, codec=codec, options=options)
    if name == "clip.mp4":
        path = _with_index_first(path)
    _spoil(path)
    with pytest.raises(VideoError, match=r"only \d+ of \d+ frames are undamaged") as error:
        video.count_frames(path)
    good, expected = map(int, re.findall(r"\d+", error.value.reason))
    assert good < 100 and 2 * good < expected <= 241


def test_a_file_of_which_little_can_be_read(tmp_path):
    """Its length is declared, and a few damaged frames stand where the others were."""
    pixels = np.tile(moving_square(60, 96, 128), (4, 1, 1, 1))
    path = write_video(tmp_path / "clip.flv", pixels, codec="flv")
    _spoil(path, period=800)
    with pytest.raises(VideoError, match=r"damaged frames; \d+ frames decoded, 1.\d of 9.6 sec"):
        video.count_frames(path)


def test_a_segment_before_a_hole_is_whole(tmp_path):
    """Where nothing of it is damaged, what lies behind does not count."""
    path = write_video(tmp_path / "clip.mkv", moving_square(60), codec="mjpeg", pix_fmt="yuvj420p")
    data = path.read_bytes()
    start, length = len(data) // 2, len(data) // 3
    path.write_bytes(data[:start] + bytes(length) + data[start + length :])
    with video.iter_frames(path, start=0.2, end=1.08) as reader:
        assert len(list(reader)) == 22
    assert reader.note is None


def test_streams_that_damage_makes_up(tmp_path):
    pixels = np.tile(PIXELS, (60, 1, 1, 1))
    path = write_video(tmp_path / "clip.flv", pixels, codec="flv", options={"g": "12"})
    with av.open(str(path)) as container:
        tag = [packet.pos for packet in container.demux()][400]
    data = bytearray(path.read_bytes())
    assert data[tag] == 9  # pictures
    data[tag] = 8  # sound
    path.write_bytes(data)
    assert video.count_frames(path) == 479


def test_frames_lost_in_the_middle_are_told(tmp_path):
    path = write_video(tmp_path / "clip.mkv", moving_square(60), codec="mjpeg", pix_fmt="yuvj420p")
    data = path.read_bytes()
    start, length = len(data) // 2, len(data) // 4
    path.write_bytes(data[:start] + bytes(length) + data[start + length :])
    _, frames, reader = _read(path)
    assert 40 <= len(frames) <= 48
    assert f"{len(frames)} of 60 frames decoded" in reader.note


@pytest.mark.parametrize("damaged", [0, 1])
def test_pauses_are_no_loss(tmp_path, damaged):
    """Not even where a frame is damaged."""
    milliseconds = [40 * i + (8000 if i >= 20 else 0) for i in range(30)]
    path = _write_at(tmp_path / "clip.mkv", milliseconds, codec="mjpeg", pix_fmt="yuvj420p")
    data = path.read_bytes()
    if damaged:
        start = data.index(b"\xff\xd8\xff", len(data) // 2)
        end = data.index(b"\xff\xd9", start)
        path.write_bytes(data[:start] + bytes(end - start) + data[end:])
    _, frames, reader = _read(path)
    assert len(frames) == 30 - damaged
    assert reader.note == ("1 damaged frame; 29 of 30 frames decoded" if damaged else None)


def test_what_is_attached_is_no_loss(tmp_path):
    if not hasattr(av.container.OutputContainer, "add_attachment"):
        pytest.skip("this PyAV attaches nothing")
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.add_attachment("letters.ttf", "font/ttf", bytes(100_000))
        for index, pixels in enumerate(moving_square(30)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = index + index // 2
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    _, frames, reader = _read(tmp_path / "clip.mkv")
    assert (len(frames), reader.note) == (30, None)


@pytest.mark.parametrize(
    ("start", "end", "note"),
    [(0.1, 0.33, None), (0.0, 0.35, None), (0.2, 0.5, "ends at 0.28 s of 0.5"), (0.2, None, None)],
)
def test_a_segment_that_runs_past_the_end(clip, start, end, note):
    with video.iter_frames(clip, start=start, end=end) as reader:
        assert len(list(reader)) > 2
    assert reader.note == note


def _fields(count=12, height=96, width=128):
    """Pictures at the times of the fields: a square that moves 3 pixels each."""
    pixels = np.full((2 * count, height, width, 3), 40, np.uint8)
    for index in range(2 * count):
        pixels[index, 16:64, 3 * index : 3 * index + 32] = 220
    return pixels


def _woven(pictures):
    """Frames whose even rows are of a picture, and whose odd rows of the next one."""
    frames = pictures[::2].copy()
    frames[:, 1::2] = pictures[1::2, 1::2]
    return frames


INTERLACED = [
    ("clip.mpg", "mpeg2video", {"flags": "+ilme+ildct+qscale", "qscale": "1"}),
    ("clip.mp4", "libx264", {"flags": "+ilme+ildct", "x264-params": "tff=1", "crf": "4"}),
    ("clip.ts", "libx264", {"flags": "+ilme+ildct", "x264-params": "tff=1", "bf": "2", "crf": "4"}),
]


@pytest.mark.parametrize(("name", "codec", "options"), INTERLACED)
def test_interlaced_video_is_deinterlaced(tmp_path, name, codec, options):
    pictures = _fields()
    path = write_video(tmp_path / name, _woven(pictures), codec=codec, options=options)
    timestamps, frames, reader = _read(path)
    assert (len(frames), reader.note) == (12, None)
    np.testing.assert_allclose(np.diff(timestamps), 1 / 25, atol=1e-4)
    # The picture of the first field, which is the lower one here, and nothing of the other.
    assert _differences(frames, pictures[1::2])[1:-1].max() < 1.5
    assert _differences(frames, pictures[::2]).min() > 4
    assert video.count_frames(path) == 12
    _check_segments(path, [(0.16, 0.36), (0.2, None)])


def test_only_flagged_frames_are_deinterlaced(tmp_path):
    _, codec, options = INTERLACED[-1]
    woven = _woven(_fields())
    plain = {"bf": "2", "crf": "4"}
    path = write_video(tmp_path / "plain.ts", woven, codec=codec, options=plain)
    _, combed, _ = _read(path)
    assert _differences(combed, woven).max() < 2
    flagged = write_video(tmp_path / "flagged.ts", woven, codec=codec, options=options)
    both = tmp_path / "both.ts"
    both.write_bytes(path.read_bytes() + flagged.read_bytes() + path.read_bytes())
    _, frames, _ = _read(both)
    assert len(frames) == 36
    np.testing.assert_array_equal(frames[:12], combed)
    np.testing.assert_array_equal(frames[24:], combed)
    assert (_differences(frames[12:24], woven) > 2).all()


def test_tiny_interlaced_frames(tmp_path):
    """The filter takes none of two rows."""
    path = tmp_path / "clip.mpg"
    write_video(path, np.full((4, 2, 16, 3), 90, np.uint8), codec="mpeg2video",
                options={"flags": "+ilme+ildct"})  # fmt: skip
    assert video.count_frames(path) == 4
