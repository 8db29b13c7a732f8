import os
import shutil

import numpy as np
import pytest

from keras_videorel.prediction import Predictor
from tests.prediction.conftest import BLUE, RED, colored, folder  # noqa: F401
from tests.videos import LOSSLESS, write_audio, write_video


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A second of red, then a second of blue."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return str(write_video(path, colored((25, RED), (25, BLUE)), **LOSSLESS))


@pytest.fixture(scope="session")
def color_model(folder):  # noqa: F811
    return Predictor(folder)


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory, folder):  # noqa: F811
    """A folder of a good model and one that does not load."""
    path = tmp_path_factory.mktemp("serving") / "saved_models"
    (path / "damaged").mkdir(parents=True)
    (path / "notes").mkdir()
    (path / "colors").symlink_to(folder)
    shutil.copy(os.path.join(folder, "export.json"), path / "damaged")
    (path / "damaged" / "saved_model.pb").write_bytes(b"not a model")
    return str(path)


@pytest.fixture(scope="session")
def bad_videos(tmp_path_factory):
    """Files that are refused, with a word of the reason."""
    path = tmp_path_factory.mktemp("bad")
    (path / "text.mp4").write_text("not a video\n" * 9)
    (path / "empty.mp4").write_bytes(b"")
    long = colored((4 * 25, RED))
    large = np.zeros((1, 3072, 4096, 3), np.uint8)
    return {
        str(path / "text.mp4"): "cannot be read as a video",
        str(path / "empty.mp4"): "empty",
        str(write_audio(path / "song.m4a")): "no video stream (only audio)",
        str(write_video(path / "large.mp4", large)): "too large: 4096 x 3072 pixels",
        str(write_video(path / "long.mp4", long)): "lasts 4 s; at most 3 s",
        # A bare stream declares no duration: its frames are counted.
        str(write_video(path / "bare.h264", long)): "at most 3 s",
    }
