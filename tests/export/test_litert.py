import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from keras_videorel.export import export_litert
from keras_videorel.models import ARTNetResNet18, RelationalLSTMResNet
from tests.export.networks import SMALL, samples_of, with_statistics

CLASSIFIER = {**SMALL, "width": 8, "classifier_activation": "softmax"}


@pytest.fixture(scope="module")
def artnet():
    """ARTNet (d), its samples, and its probabilities and logits for them."""
    keras.utils.set_random_seed(0)
    model = with_statistics(ARTNetResNet18("d", **CLASSIFIER))
    samples = samples_of(model, 12)
    probabilities = np.concatenate([model.predict_on_batch(x) for x in samples])
    # Up to a constant logits are the logarithms.
    return model, samples, probabilities


@pytest.fixture(scope="module")
def relational():
    """A two-branch network and its samples."""
    keras.utils.set_random_seed(0)
    model = with_statistics(
        RelationalLSTMResNet(
            backbone="artnet_resnet18_s", weights=None, segments=3, **{**CLASSIFIER, "width": 4}
        )
    )
    return model, samples_of(model, 4)


def run(path, samples):
    interpreter = Interpreter(model_path=str(path))
    runner = interpreter.get_signature_runner()
    outputs = [runner(inputs=x) for x in samples]
    return {name: np.concatenate([o[name] for o in outputs]) for name in outputs[0]}


def centered(logits):
    return logits - logits.mean(axis=-1, keepdims=True)


# Largest error of the logits relative to their spread: 8 bits in seven squares are coarse.
@pytest.mark.parametrize(
    ("precision", "size", "error"),
    [("fp32", 1, 1e-5), ("fp16", 0.5, 0.01), ("dynamic", 0.25, 0.05), ("int8", 0.25, 0.15)],
)
def test_precisions(artnet, tmp_path, precision, size, error):
    model, samples, probabilities = artnet
    path = tmp_path / "model.tflite"
    figures = export_litert(model, path, precision, samples, min_agreement=0)
    outputs = run(path, samples)
    expected = centered(np.log(probabilities))
    received = centered(outputs["logits"])
    assert np.abs(received - expected).max() < error * expected.std()
    softmax = np.exp(outputs["logits"]) / np.exp(outputs["logits"]).sum(-1, keepdims=True)
    np.testing.assert_allclose(outputs["probabilities"], softmax, atol=1e-5)

    same = expected.argmax(-1) == received.argmax(-1)
    assert figures["agreement"] == same.mean()
    assert figures["bytes"] == path.stat().st_size
    assert not {"CONV_3D", "SQUARE"} & set(figures["operators"])
    weights = 4 * sum(np.prod(w.shape) for w in model.weights)
    assert figures["bytes"] < size * weights + 150_000  # and the graph


def test_int8_computes_in_8_bits(artnet, tmp_path):
    """All of it but the way in and out, and one convolution."""
    model, samples, _ = artnet
    path = tmp_path / "model.tflite"
    export_litert(model, path, "int8", samples[:2], min_agreement=0)
    interpreter = Interpreter(model_path=str(path))
    tensors = interpreter.get_tensor_details()
    floats = [t["name"] for t in tensors if t["dtype"] == np.float32]
    # The way in and out with the logits' layer, and the first appearance convolution, which the
    # converter leaves in float.
    assert len(floats) <= 12, floats
    of_logits = [t for t in tensors if t["shape"].tolist() == [CLASSIFIER["classes"], 64]]
    assert [t["dtype"] for t in of_logits] == [np.float32]


def test_attention_is_in_float_in_8_bits(relational, tmp_path):
    """Where the projections and convolutions around it are in 8 bits."""
    model, samples = relational
    path = tmp_path / "model.tflite"
    export_litert(model, path, "int8", samples, min_agreement=0)
    interpreter = Interpreter(model_path=str(path))
    dtypes = {t["index"]: t["dtype"] for t in interpreter.get_tensor_details()}
    found = {}
    for operator in interpreter._get_ops_details():
        found.setdefault(operator["op_name"], []).append(dtypes[operator["outputs"][0]])
    assert set(found["BATCH_MATMUL"] + found["SOFTMAX"]) == {np.float32}
    assert found["CONV_2D"].count(np.int8) >= len(found["CONV_2D"]) - 1
    assert found["FULLY_CONNECTED"].count(np.int8) == len(found["FULLY_CONNECTED"]) - 1


def test_relational_lstm(relational, tmp_path):
    model, samples = relational
    figures = export_litert(model, tmp_path / "model.tflite", verification=samples)
    assert figures["samples"] == 4 and figures["agreement"] == 1
    assert figures["max_error"] < 1e-5 * figures["largest"]
    assert not {"WHILE", "IF"} & set(figures["operators"])


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Bidirectional(layers.LSTM(4)), (5, 6)),
        (layers.TimeDistributed(layers.LSTM(4)), (3, 5, 6)),
    ],
    ids=["bidirectional", "time_distributed"],
)
def test_recurrent_layers_in_wrappers_in_8_bits(layer, shape, tmp_path):
    model = keras.Sequential([keras.Input(shape), layer, layers.Flatten(), layers.Dense(3)])
    samples = samples_of(model, 8)
    figures = export_litert(model, tmp_path / "a.tflite", "int8", samples, min_agreement=0)
    assert figures["max_error"] < 0.1 * figures["largest"]
    assert "WHILE" not in figures["operators"] and "QUANTIZE" in figures["operators"]


def test_a_stateful_layer_is_refused(tmp_path):
    for layer in (
        layers.LSTM(4, stateful=True),
        layers.Bidirectional(layers.GRU(4, stateful=True)),
    ):
        model = keras.Sequential([keras.Input((5, 6), batch_size=1), layer, layers.Dense(3)])
        with pytest.raises(ValueError, match=r"must have stateful=False. Received: \w+ with"):
            export_litert(model, tmp_path / "a.tflite")


class Looping(layers.Layer):
    """A loop that no config tells of."""

    def __init__(self):
        super().__init__()
        self.lstm = layers.LSTM(4)

    def build(self, input_shape):
        self.lstm.build(input_shape)

    def call(self, inputs):
        return self.lstm(inputs)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 4)

    def get_config(self):
        return {}


def test_a_crash_of_the_calibrator_costs_one_export(tmp_path):
    """It runs in a process of its own, which a loop ends."""
    model = keras.Sequential([keras.Input((5, 6)), Looping(), layers.Dense(3)])
    with pytest.raises(ValueError, match=r'precision="int8"; "dynamic" may do.*SIG') as error:
        export_litert(model, tmp_path / "model.tflite", "int8", samples_of(model, 2))
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == []


def test_other_outputs_and_logits(tmp_path):
    """A model that is no classifier, and one whose logits are said to be such."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="scores")])
    (x,) = samples_of(model, 1)
    expected = model.predict_on_batch(x)
    export_litert(model, tmp_path / "a.tflite")
    outputs = run(tmp_path / "a.tflite", [x])
    assert set(outputs) == {"outputs"}
    np.testing.assert_allclose(outputs["outputs"], expected, rtol=1e-5)
    export_litert(model, tmp_path / "b.tflite", from_logits=True)
    outputs = run(tmp_path / "b.tflite", [x])
    np.testing.assert_allclose(outputs["logits"], expected, rtol=1e-5)
    np.testing.assert_allclose(outputs["probabilities"].sum(), 1, rtol=1e-5)


def test_a_file_that_disagrees_is_not_left(tmp_path):
    """Calibrated on samples that are nothing like the real ones."""
    numbers = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((16,)), layers.Dense(16, use_bias=False)])
    model.set_weights([np.eye(16)])
    real = [numbers.normal(size=(1, 16)).astype("float32") for _ in range(20)]
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match=r"agrees with Keras on 0\.\d+ of 20 samples"):
        export_litert(model, path, "int8", [1e-3 * x for x in real], verification=real)
    assert os.listdir(tmp_path) == []
    assert export_litert(model, path, "int8", real)["agreement"] > 0.97
    assert os.listdir(tmp_path) == ["model.tflite"]


def test_errors(tmp_path):
    path = tmp_path / "model.tflite"
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    with pytest.raises(ValueError, match="`precision` must be one of fp32"):
        export_litert(model, path, "int4")
    with pytest.raises(ValueError, match="`calibration` must give samples"):
        export_litert(model, path, "int8")
    with pytest.raises(ValueError, match="`calibration` must give samples"):
        export_litert(model, path, "int8", [])
    with pytest.raises(ValueError, match=r"`verification` must give samples of shape \(1, 4\)"):
        export_litert(model, path, verification=[np.zeros((2, 4))])
    with pytest.raises(ValueError, match=r"known input sizes.*None"):
        export_litert(ARTNetResNet18(**{**SMALL, "input_shape": (None, 32, 32, 3)}), path)
    linear = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax")])
    with pytest.raises(ValueError, match="layer that can be computed in 8 bits"):
        export_litert(linear, path, "int8", [np.zeros((1, 4))])
    assert os.listdir(tmp_path) == []


def test_without_litert_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['ai_edge_litert'] = None\n"
        "import keras\n"
        "from keras_videorel.export import export_litert\n"
        "model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])\n"
        "try: export_litert(model, 'model.tflite')\n"
        'except ImportError as error: assert "\'ai-edge-litert>=" in str(error)\n'
        "else: raise AssertionError"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
