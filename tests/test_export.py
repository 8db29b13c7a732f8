"""The SavedModel: raw frames in, the model's own scores out, without this package."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_videorel import export, models
from keras_videorel.data import sampling

MEAN = (123.0, 117.0, 104.0)
LABELS = ["walk", "run", "jump"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model with logits and random statistics, and its SavedModel."""
    model = models.ARTNetResNet18(
        "d", input_shape=(8, 24, 24, 3), classes=3, width=4, classifier_activation=None
    )
    rng = np.random.default_rng(0)
    x = rng.normal(scale=60, size=(8, 8, 24, 24, 3)).astype("float32")
    for _ in range(30):
        model(x, training=True)  # moving statistics of their own
    path = tmp_path_factory.mktemp("export") / "model"
    export.export_saved_model(
        model, str(path), LABELS, from_logits=True, frame_size=(28, 36), clips=3, mean=MEAN
    )
    return model, path


def expected_logits(model, video):
    """Clips, center crop and mean by hand, for a video whose frames have the right size."""
    indices = sampling.uniform_clips(len(video), min(3, max(len(video) - 7, 1)), 8).numpy()
    clips = video[indices][:, :, 2:26, 6:30].astype("float32") - MEAN
    return model.predict(clips.astype("float32"), verbose=0).mean(axis=0)


@pytest.mark.parametrize("frames", [3, 8, 9, 40])
def test_signature_gives_the_models_scores(exported, frames):
    model, path = exported
    videos = np.random.default_rng(1).integers(0, 256, (2, frames, 28, 36, 3), np.uint8)
    outputs = tf.saved_model.load(str(path)).signatures["serving_default"](
        frames=tf.constant(videos)
    )
    expected = np.stack([expected_logits(model, video) for video in videos])
    np.testing.assert_allclose(outputs["logits"], expected, atol=1e-4)
    np.testing.assert_allclose(outputs["probabilities"], tf.nn.softmax(expected), atol=1e-5)
    assert np.ptp(expected) > 0.01


def test_frames_of_any_size(exported):
    """A smooth scene at twice the size gives nearly the scores of the scene itself."""
    _, path = exported
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    y, x = np.mgrid[0:28, 0:36] / 28
    scene = np.stack(
        [127 + 90 * np.sin(2 * np.pi * (x + 0.1 * t)) * np.cos(np.pi * y) for t in range(8)]
    )
    small = np.repeat(scene[..., None], 3, -1)
    large = tf.image.resize(small, (56, 72), method="bicubic")
    logits = [
        serve(frames=tf.cast(tf.round(v), tf.uint8)[None])["logits"].numpy() for v in (small, large)
    ]
    np.testing.assert_allclose(logits[0], logits[1], atol=0.1)


def test_loads_without_this_package(exported):
    _, path = exported
    code = (
        "import sys, json, numpy as np, tensorflow as tf\n"
        f"model = tf.saved_model.load({str(path)!r})\n"
        "video = np.arange(10 * 30 * 40 * 3).reshape(1, 10, 30, 40, 3).astype(np.uint8)\n"
        "p = model.signatures['serving_default'](frames=tf.constant(video))['probabilities']\n"
        "labels = model.signatures['labels']()['labels']\n"
        "assert 'keras_videorel' not in sys.modules\n"
        "print(json.dumps([p.numpy().tolist(), [l.decode() for l in labels.numpy()]]))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    probabilities, labels = json.loads(out.stdout.splitlines()[-1])
    assert labels == LABELS
    assert sum(probabilities[0]) == pytest.approx(1, abs=1e-5)
    assert (path / "labels.txt").read_text().split() == LABELS


def test_probabilities_come_through(tmp_path):
    """A model that ends with a softmax: its logits are the logarithms, up to a constant."""
    model = models.C3DResNet18(input_shape=(4, 16, 16, 3), classes=3, width=4)
    path = export.export_saved_model(model, str(tmp_path / "m"), frame_size=16, clips=1)
    video = np.random.default_rng(1).integers(0, 256, (1, 4, 16, 16, 3), np.uint8)
    outputs = tf.saved_model.load(path).signatures["serving_default"](frames=tf.constant(video))
    expected = model.predict((video - np.array(MEAN)).astype("float32"), verbose=0)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)


def test_errors(exported, tmp_path):
    model, _ = exported
    with pytest.raises(ValueError, match=r"`labels` must name each of the model's 3.*Received: 2"):
        export.export_saved_model(model, str(tmp_path / "m"), ["a", "b"])
    with pytest.raises(ValueError, match=r"`frame_size` must hold.*24x24.*\(20, 30\)"):
        export.export_saved_model(model, str(tmp_path / "m"), frame_size=(20, 30))
    anywhere = models.C3DResNet18(input_shape=(None, 16, 16, 3), classes=3, width=4)
    with pytest.raises(ValueError, match="`model` must have a known input shape"):
        export.export_saved_model(anywhere, str(tmp_path / "m"))
    assert not list(tmp_path.iterdir())


def test_another_folder_is_not_replaced(exported, tmp_path):
    """`--output saved_models`, the name forgotten, must not cost the models that are there."""
    model, _ = exported
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "weights").write_bytes(b"precious")
    options = {"from_logits": True, "frame_size": (28, 36)}
    for path in (tmp_path, tmp_path / "other" / "weights"):
        with pytest.raises(ValueError, match=r"`path` must be a new folder or an older export"):
            export.export_saved_model(model, str(path), LABELS, **options)
    assert (tmp_path / "other" / "weights").read_bytes() == b"precious"
    path = str(tmp_path / "model")
    for clips in (1, 2):  # an older export is replaced
        export.export_saved_model(model, path, LABELS, clips=clips, **options)
        assert json.loads((tmp_path / "model" / "export.json").read_text())["clips"] == clips
