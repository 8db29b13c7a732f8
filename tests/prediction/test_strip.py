"""Figures for papers: the frames that the model saw, the maps below, the shares as bars."""

import matplotlib.image
import numpy as np
import pytest

from keras_videorel.prediction import Predictor, strip
from tests.prediction.conftest import BLUE, RED, colored
from tests.videos import LOSSLESS, write_video


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("strip") / "clip.mkv"
    return write_video(path, colored((20, RED), (20, BLUE), size=(48, 64)), **LOSSLESS)


def read(path):
    return np.rint(255 * matplotlib.image.imread(path)[..., :3]).astype(int)


def near(picture, color, tolerance=3):
    return (np.abs(picture - color).max(axis=-1) <= tolerance).astype(int)


def test_frames_maps_and_bars(predictor, source, tmp_path):
    path = str(tmp_path / "strip.png")
    assert strip.write(predictor, source, path, top=2) == path
    picture = read(path)
    assert picture.shape[1] == 1400
    # Four frames: two red, two blue, in this order.
    red, blue = near(picture, RED), near(picture, BLUE)
    row = int(red.sum(axis=1).argmax())
    columns = [np.flatnonzero(part[row]) for part in (red, blue)]
    assert columns[0].max() < columns[1].min()
    assert len(columns[0]) == pytest.approx(len(columns[1]), abs=4) and len(columns[0]) > 500
    # Bars, dark gray, are as long as the probabilities.
    bars = near(picture, (89, 89, 89)).sum(axis=1)
    lengths = sorted({int(length) for length in bars[bars > 20]})
    shares = predictor(source, 2).probabilities
    assert lengths[0] / lengths[-1] == pytest.approx(shares[1] / shares[0], abs=0.15)
    # The maps: the first is of one color, in the others the upper left stands out.
    lefts = [int(columns[0][0]) + 310 * i for i in range(4)]
    differences = [int((picture[340, x + 80] - picture[470, x + 80]).sum()) for x in lefts]
    assert abs(differences[0]) < 6 and min(differences[1:]) > 80
    again = str(tmp_path / "again.png")
    strip.write(predictor, source, again, top=2)
    assert np.array_equal(read(again), picture)


def test_formats_and_errors(folder, source, tmp_path, monkeypatch):
    plain = Predictor(folder)
    monkeypatch.setattr(plain, "has_attention_maps", False)
    for name in ("strip.pdf", "strip.svg", "strip.png"):
        strip.write(plain, source, str(tmp_path / name))
    assert (tmp_path / "strip.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (tmp_path / "strip.svg").read_text()
    # A row less than with maps.
    assert read(tmp_path / "strip.png").shape[0] < 500
    with pytest.raises(ValueError, match=r"`path` must end in .png, .pdf, .svg. Received: 'a.gif'"):
        strip.write(plain, source, "a.gif")
    with pytest.raises(ValueError, match="`position` and `gate` are for models with a relational"):
        strip.write(plain, source, "a.png", position=(0, 0))
