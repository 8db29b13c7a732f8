"""Videos with labels: what is on them and where, and what stays as it was."""

from fractions import Fraction

import av
import numpy as np
import pytest

from keras_videorel import text as lettering
from keras_videorel.data import video
from keras_videorel.prediction import Predictor, overlay
from tests.prediction.conftest import BLUE, RED, colored
from tests.videos import LOSSLESS, write_video

SIZE = (280, 360)  # ten times what the model resizes frames to
GRAY = (110, 110, 110)
TURNED = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # upright after a quarter turn


def decode(path):
    with av.open(str(path)) as container:
        assert not container.streams.audio
        stream = container.streams.video[0]
        frames = [(float(f.time), f.to_ndarray(format="rgb24")) for f in container.decode(stream)]
        return stream.codec_context.name, float(stream.average_rate), frames


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two seconds of red, two of blue, at 15 frames a second."""
    pixels = colored((30, RED), (30, BLUE), size=SIZE)
    return write_video(tmp_path_factory.mktemp("overlay") / "source.mp4", pixels, fps=15)


@pytest.fixture(scope="module")
def written(predictor, source, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("overlay") / "out.mp4")
    seen = []
    windows = predictor.windows(source, window=1.0, hop=0.5)
    assert overlay.write(predictor, source, path, windows=windows, on_frame=seen.append) == path
    assert seen == list(range(1, 61))
    return decode(path)


def test_frames_have_their_times(written):
    codec, rate, frames = written
    assert codec == "h264" and rate == pytest.approx(15)
    np.testing.assert_allclose([time for time, _ in frames], np.arange(60) / 15, atol=1e-4)
    # The shorter side of 280 became 360; the timeline lies below.
    height, width, _ = frames[0][1].shape
    assert width == 462 and height > 360 + 50 and height % 2 == 0


def test_the_picture_lies_under_the_labels(written):
    for index, color in ((5, RED), (55, BLUE)):
        picture = written[2][index][1][:360]
        np.testing.assert_allclose(picture[340, 440], color, atol=12)  # outside of what is seen
        box = picture[7:60, 7:200].astype(int)
        assert box.mean() < 0.75 * np.mean(color) + 20 and box.max() > 225  # dark, white letters


def test_heat_where_the_position_looks(predictor, source, written):
    """The lower right position looks at the upper left one, after the first step of a window."""
    top, left, bottom, right = 26, 77, 334, 386  # (2..26, 6..30) of 28x36 at 360x462
    middle_y, middle_x = (top + bottom) // 2, (left + right) // 2
    picture = written[2][50][1].astype(int)
    plain = np.array(BLUE)
    assert np.abs(picture[110:150, 90:150] - plain).mean() > 60
    for y, x in ((280, 120), (110, 330), (340, 20)):
        assert np.abs(picture[y, x] - plain).max() < 15
    # The position itself is framed in white: its right edge, and what is inside.
    edge = picture[middle_y + 30 : bottom - 30, right - 6 : right]
    assert edge.max(axis=1).min() > 200
    assert np.abs(picture[(middle_y + bottom) // 2, (middle_x + right) // 2] - plain).max() < 15
    first = written[2][0][1].astype(int)  # nothing was before
    assert np.abs(first[110:150, 90:150] - RED).mean() < 10


def test_the_timeline(written):
    """Shares of the classes, stacked from the leading one up; the cursor runs to the end."""
    cursors = []
    for _, picture in written[2]:
        panel = picture[360:]
        bright = (panel > 200).all(axis=-1).sum(axis=0)
        cursors.append(int(bright.argmax()))
    np.testing.assert_allclose(cursors, 7 + np.arange(60) / 60 * 447, atol=3)
    chart = written[2][-1][1][360 + 28 : 360 + 28 + 42]
    logits = {name: np.array(color) / 100 for name, color in (("red", RED), ("blue", BLUE))}
    shares = {k: np.exp(v) / np.exp(v).sum() for k, v in logits.items()}
    orange, sky = overlay.COLORS[:2]  # of seven windows blue leads in four
    for column, key in ((20, "red"), (430, "blue")):
        pixels = chart[:, column].astype(int)
        for color, index in ((orange, 2), (sky, 0)):
            found = (np.abs(pixels - color).max(axis=-1) < 40).mean()
            assert found == pytest.approx(shares[key][index], abs=0.08), (key, index)


@pytest.mark.parametrize("size", [(16, 20), (37, 53), (64, 400), (500, 90)])
def test_any_size(predictor, size, tmp_path):
    path = write_video(tmp_path / "odd.mkv", colored((3, GRAY), size=size), **LOSSLESS)
    overlay.write(predictor, path, str(tmp_path / "out.mp4"))
    picture = decode(tmp_path / "out.mp4")[2][-1][1]
    scale = max(360 / min(size), 1)
    assert picture.shape[1] == 2 * round(scale * size[1] / 2)
    bottom = 2 * round(scale * size[0] / 2)
    np.testing.assert_allclose(picture[bottom - 8, -4], GRAY, atol=25)
    assert picture[bottom + 6, 3].max() < 60  # the panel


def test_turned_upright(predictor, tmp_path):
    """Frames that the file wants turned: red is on the right, not below."""
    pixels = colored((4, BLUE), size=(360, 480))
    pixels[:, 180:] = RED
    path = write_video(tmp_path / "turned.mp4", pixels, turn=TURNED)
    upright = next(video.iter_frames(path))[1]
    overlay.write(predictor, path, str(tmp_path / "out.mp4"), gate="o")  # uniform: no heat
    picture = decode(tmp_path / "out.mp4")[2][0][1]
    assert upright.shape == (480, 360, 3) and picture.shape[1] == 360
    for y, x in ((470, 10), (470, 350), (120, 350)):
        np.testing.assert_allclose(picture[y, x].astype(int), upright[y, x], atol=12)


def test_variable_frame_rate(predictor, tmp_path):
    """Frames keep their own times."""
    times = [0, 40, 80, 200, 240, 1000, 1040]  # ms
    path = tmp_path / "vfr.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 36, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time in times:
            frame = av.VideoFrame.from_ndarray(np.full((36, 48, 3), 90, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    overlay.write(predictor, path, str(tmp_path / "out.mp4"))
    _, _, frames = decode(tmp_path / "out.mp4")
    np.testing.assert_allclose([time for time, _ in frames], np.array(times) / 1000, atol=2e-3)


def test_errors(predictor, source, tmp_path):
    with pytest.raises(ValueError, match=r"`top` must be an integer of at least 1. Received: 0"):
        overlay.write(predictor, source, "out.mp4", top=0)
    with pytest.raises(ValueError, match=r"`path` must end in .mp4, .*Received: 'out.gif'"):
        overlay.write(predictor, source, "out.gif")
    before = source.read_bytes()
    with pytest.raises(ValueError, match="`path` must not be the video itself"):
        overlay.write(predictor, source, str(source))
    with pytest.raises(ValueError, match=r"`position` must be a row below 2"):
        overlay.write(predictor, source, str(tmp_path / "out.mp4"), position=(2, 0))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"broken.mp4: cannot be opened"):
        overlay.write(predictor, tmp_path / "broken.mp4", str(tmp_path / "out.mp4"))
    assert source.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["broken.mp4"]


def test_a_model_without_attention_maps(folder, source, tmp_path, monkeypatch):
    plain = Predictor(folder)
    monkeypatch.setattr(plain, "has_attention_maps", False)
    overlay.write(plain, source, str(tmp_path / "out.mp4"))
    picture = decode(tmp_path / "out.mp4")[2][25][1].astype(int)
    assert np.abs(picture[100:350, 20:] - RED).max() < 20  # no heat, no frame
    with pytest.raises(ValueError, match="`position` and `gate` are for models with a relational"):
        overlay.write(plain, source, str(tmp_path / "out.mp4"), gate="i")


def test_lettering():
    """Letters of several scripts differ, long lines lose their middle, the unknown has a number."""
    lines = [lettering.mask(text, 20) for text in ("naïve", "Прыжок", "Ελλάδα ✓")]
    assert all(line.shape[0] == 30 and line.max() > 200 for line in lines)
    assert len({line.shape[1] for line in lines}) == 3
    long = lettering.mask("a long name " * 9, 20, max_width=120)
    assert 90 < long.shape[1] <= 120 and long[:, -12:].any()
    assert lettering.drawable("a\U0001f980", {"a"}) == "a\\U0001f980"
    picture = np.zeros((40, 50, 3), np.uint8)
    lettering.draw(picture, np.full((30, 30), 255, np.uint8), -10, 20, (1, 2, 3))
    assert (picture[20:, :20] == (1, 2, 3)).all() and picture.sum() == 20 * 20 * 6


def test_the_caption_of_the_map_is_in_words(predictor, source, tmp_path, monkeypatch):
    asked, mask = [], lettering.mask
    monkeypatch.setattr(lettering, "mask", lambda *a, **k: asked.append(a[0]) or mask(*a, **k))
    windows = predictor.windows(source, window=1.0, hop=0.5)
    overlay.write(predictor, source, tmp_path / "out.mp4", windows=windows)
    captions = {text for text in asked if "framed" in text}
    assert "color: where the framed area looks" in captions
    assert mask("where the framed area looks", 14).shape[1] < 210  # beside the clock, at 360 pixels
