"""ONNX files, by Keras's own export."""

import numpy as np
import pytest

from keras_videorel import export, models
from keras_videorel.files import read_json
from tests.clips import clip_of


def test_onnx_gives_the_models_scores(tmp_path):
    """Any batch size; the comparison of the export itself, and ours."""
    for package in ("tf2onnx", "onnxruntime"):
        pytest.importorskip(package, reason="the extra [onnx] is not installed")
    import onnxruntime

    model = models.ARTNetResNet18(
        "s", input_shape=(8, 32, 32, 3), classes=3, width=4, classifier_activation=None
    )
    x = np.random.default_rng(0).normal(size=(3, 8, 32, 32, 3)).astype("float32")
    path = tmp_path / "m"
    export.export_model(
        model, str(path), clip_of(model), formats=["onnx"], from_logits=True, verification=[x]
    )
    assert read_json(path / "export.json")["formats"]["model.onnx"]["max_error"] < 1e-4
    session = onnxruntime.InferenceSession(path / "model.onnx")
    (name,) = (entry.name for entry in session.get_inputs())
    for batch in (1, 3):
        found = session.run(None, {name: x[:batch]})[0]
        np.testing.assert_allclose(found, model(x[:batch], training=False), rtol=1e-3, atol=1e-5)
