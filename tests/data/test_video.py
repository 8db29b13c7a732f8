import os
import pickle

import av
import numpy as np
import pytest

from keras_videorel.data import video
from keras_videorel.data.video import VideoError
from tests.videos import LOSSLESS, moving_square, write_audio, write_video

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


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("clip.mp4", "libx264", {"crf": "8"}),
        ("clip.mov", "libx264", {"crf": "8", "bf": "2"}),
        ("clip.avi", "mpeg4", {"qscale": "1", "flags": "+qscale"}),
        ("bframes.avi", "mpeg4", {"qscale": "1", "flags": "+qscale", "bf": "2"}),
        ("clip.webm", "libvpx", {"crf": "4", "b": "4M"}),
        ("clip.mpg", "mpeg1video", {"qscale": "1", "flags": "+qscale"}),
    ],
)
def test_containers_and_codecs(tmp_path, name, codec, options):
    write_video(tmp_path / name, PIXELS, codec=codec, options=options)
    timestamps, frames, _ = _read(tmp_path / name)
    # Chroma is stored at half the resolution, which blurs the edges of the square.
    assert np.abs(frames.astype(int) - PIXELS).mean() < 2.5
    assert np.abs(frames[:, 12:16, :, 0].astype(int) - PIXELS[:, 12:16, :, 0]).max() < 60
    np.testing.assert_allclose(np.diff(timestamps), 1 / 25, atol=1e-3)


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
    assert video.short_side_size(path, 10) == (10, 20)
    assert video.short_side_size(path, 60) == (60, 120)


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
    assert video.short_side_size(path, 24) == video.keep_aspect(height, width, 24)


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
    assert video.short_side_size(path, 24) == (24, 64)


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
            lambda path: path.write_bytes(os.urandom(9999)),
            "cannot be opened as a video",
        ),
        ("sound.mp4", write_audio, r"no video stream \(only audio\)"),
        ("none.avi", _no_frames, "no frame could be decoded"),
        ("none.mp4", _no_frames, "no video stream"),
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
    with pytest.raises(VideoError, match="no video stream"):
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
