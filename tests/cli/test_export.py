"""The export command, on runs whose weights are random: what is compared, measured and refused."""

import re
import sys

import keras
import numpy as np
import pytest

from keras_videorel import cli
from keras_videorel.data.manifest import Manifest
from keras_videorel.export import saved_model, streaming
from keras_videorel.files import read_json
from keras_videorel.models import TemporalSegmentNetwork
from keras_videorel.runs import exporter, workdir
from keras_videorel.runs.config import base
from tests.shards import two_classes
from tests.videos import write_video

LABELS = ["right", "left"]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """A function that exports a run of snippets and returns the status and what it printed."""
    two_classes(tmp_path / "shards")
    keras.utils.set_random_seed(0)
    image = keras.Input((24, 24, 3))
    x = keras.layers.AveragePooling2D(4)(image)
    scores = keras.layers.Dense(2)(keras.layers.Flatten()(x))
    model = TemporalSegmentNetwork(
        keras.Model(image, scores), segments=3, classifier_activation=None
    )
    config = base()
    config.data.update({"path": str(tmp_path / "shards"), "segments": 3, "frames": 1})
    config.data.update({"crop_size": 24, "crop_scales": (1.0,), "std": 127.5})
    info = Manifest(str(tmp_path / "shards"), LABELS, (28, 36), {})
    workdir.open_run(str(tmp_path / "run"), config, info)
    monkeypatch.setattr(exporter, "load_model", lambda *_: (model, 1))

    def export(*words):
        folders = f"--workdir={tmp_path / 'run'}", f"--output={tmp_path / 'm'}"
        status = cli.run("export", [*folders, *words])
        return status, capsys.readouterr()

    return export


def test_every_file_is_compared_and_measured(run, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="the interpreter of LiteRT is not installed")
    older = "--least_agreement=0.9"  # now --min_agreement
    status, printed = run("--formats=saved_model,stream", "--samples=5", older)
    assert status == 0, printed.err
    formats = read_json(tmp_path / "m" / "export.json")["formats"]
    assert set(formats) == {"saved_model.pb", "stream"}
    for file, figures in formats.items():
        assert figures["samples"] == 5 and figures["agreement"] == 1
        assert 0 <= figures["max_error"] < 1e-4 and figures["bytes"] > 1000
        assert re.search(rf"{file} +{figures['bytes']} ", printed.out)
    card = (tmp_path / "m" / "README.md").read_text()
    assert "stream/" in card and "| data | shards |" in card and "1608.00859" in card


@pytest.mark.parametrize("bad", ["saved_model", "stream"])
def test_formats_that_are_good_stay(bad, run, tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_litert", reason="the interpreter of LiteRT is not installed")
    module = {"saved_model": saved_model, "stream": streaming}[bad]
    right = module.scorer
    monkeypatch.setattr(module, "scorer", lambda path: lambda x: -right(path)(x))
    status, printed = run("--formats=saved_model,stream,tflite", "--samples=5")
    assert status == 1
    assert printed.err.splitlines()[-1].startswith(f"videorel export: error: no {bad}: ")
    assert "on 0.000 of 5 samples (95% interval 0.000 to 0.43" in printed.err
    good = {"saved_model": "saved_model.pb", "stream": "stream", "tflite": "model_fp32.tflite"}
    absent = good.pop(bad)
    assert set(read_json(tmp_path / "m" / "export.json")["formats"]) == set(good.values())
    assert all((tmp_path / "m" / file).exists() for file in good.values())
    assert not (tmp_path / "m" / absent).exists()
    assert (tmp_path / "m" / "variables").exists() == (bad != "saved_model")
    status, printed = run(f"--formats={bad}", "--samples=5", f"--output={tmp_path / 'n'}")
    assert status == 1 and not (tmp_path / "n").exists()


@pytest.mark.parametrize(
    ("name", "module", "library"),
    [("tflite_int8", "ai_edge_litert", "ai-edge-litert"), ("stream", "ai_edge_litert", "ai-edge"),
     ("onnx", "tf2onnx", "tf2onnx"), ("onnx", "onnxruntime", "onnxruntime")],
)  # fmt: skip
def test_what_is_missing_is_said_before_any_work(name, module, library, run, monkeypatch):
    for of_onnx in ("tf2onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, of_onnx, sys)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(exporter, "load_model", None)  # calling it would fail
    status, printed = run(f"--formats=saved_model,{name}")
    assert status == 2 and len(printed.err.splitlines()) == 1
    assert "pip install" in printed.err and f"'{library}" in printed.err


@pytest.mark.parametrize("gone", [False, True])
def test_int8(run, tmp_path, gone):
    """Ranges come from training clips, or from videos where the shards are gone."""
    pytest.importorskip("ai_edge_litert", reason="the interpreter of LiteRT is not installed")
    words = ["--formats=tflite_int8", "--samples=4", "--calibration_samples=4"]
    if gone:
        pixels = np.random.default_rng(0).integers(0, 256, (9, 32, 40, 3), np.uint8)
        words += ["--config.data.path=nowhere"]
        words += [f"--calibration_videos={write_video(tmp_path / 'a.mp4', pixels)}"]
    status, printed = run(*words)
    assert status == 0, printed.err
    assert list(read_json(tmp_path / "m" / "export.json")["formats"]) == ["model_int8.tflite"]
    assert (tmp_path / "m" / "model_int8.tflite").stat().st_size > 1000


def test_shards_that_are_gone(run, tmp_path):
    gone = "--config.data.path=nowhere"
    status, printed = run("--formats=tflite_int8", gone)
    assert status == 2 and len(printed.err.splitlines()) == 1
    assert "tflite_int8 needs clips" in printed.err and "--calibration_videos" in printed.err
    assert not (tmp_path / "m").exists()
    status, printed = run(gone)  # the SavedModel needs none
    assert status == 0 and "not compared with the model on clips: no shards there" in printed.out
