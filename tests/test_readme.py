"""The README's Python, run as written."""

import os
import re
import shutil

import numpy as np
import pytest

from tests.videos import moving_square, write_video


def blocks(root):
    return re.findall(r"^ *```python\n(.*?)^ *```", (root / "README.md").read_text(), re.M | re.S)


def run(root, word):
    (code,) = [block for block in blocks(root) if word in block]
    indent = re.match(r" *", code).group()
    names = {}
    exec(compile(re.sub(f"^{indent}", "", code, flags=re.M), "README.md", "exec"), names)
    return names


def test_a_relational_lstm_in_ones_own_model_learns(root):
    model = run(root, "RelationalLSTMCell")["model"]
    model.optimizer.build(model.trainable_variables)  # else its step is traced twice
    rng = np.random.default_rng(0)
    videos = rng.normal(size=(2, 8, 96, 96, 3)).astype("float32")
    losses = model.fit(videos, np.arange(2), batch_size=2, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert model(videos).shape == (2, 10)


def test_the_network_of_the_paper(root):
    names = run(root, "RelationalLSTMResNet(classes")
    assert names["temporal"].input_shape == (None, 8, 224, 224, 20)


def test_a_smart_block_in_ones_own_model(root):
    names = run(root, "SMART(64)")
    assert names["model"].output_shape == (None, 10)
    assert names["features"].output_shape == (None, 512)


def test_a_config_of_ones_own(root):
    config = run(root, "def get_config")["get_config"]()
    assert config.data.path == "shards/mine" and config.train.epochs == 40
    assert config.data.crop_size / 64 == 7 / 8  # of the shorter side of the shards before it


@pytest.mark.slow
def test_from_videos_to_labels_in_a_notebook(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for split, count in (("train", 8), ("test", 2)):
        for label, step in (("left", -1), ("right", 1)):
            folder = tmp_path / "videos" / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                frames = moving_square(36 + i, 56, 56)
                write_video(folder / f"{i}.mp4", frames[::step])
    shutil.copy("videos/test/left/1.mp4", "a.mp4")
    shutil.copy("videos/test/right/1.mp4", "b.mp4")
    names = run(root, "ClipSpec")
    assert names["train"].class_names == ["left", "right"]
    assert int(names["train"].cardinality()) == 4 and int(names["test"].cardinality()) == 1
    assert set(os.listdir("saved_models/mine")) >= {"saved_model.pb", "model_int8.tflite"}
    assert "top1" in capsys.readouterr().out


def test_every_block_is_run(root):
    assert len(blocks(root)) == 5
