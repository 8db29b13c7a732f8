"""Gradient checkpointing changes memory, not what is learned."""

import keras
import numpy as np
import pytest

from keras_videorel.layers import ProgressiveBatchNormalization
from keras_videorel.models import RelationalLSTMResNet, initialize_from
from keras_videorel.models.checkpointed_model import CheckpointedModel, checkpointed


def network(normalization):
    keras.utils.set_random_seed(1)
    inputs = x = keras.Input((8, 8, 3))
    for i in range(4):
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"conv_{i}")(x)
        x = normalization(momentum=0.5, name=f"bn_{i}")(x)
        x = keras.layers.ReLU(name=f"relu_{i}")(x)
    return keras.Model(inputs, x, name="trunk")


def classifier(trunk):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(trunk(inputs))
    return keras.Model(inputs, keras.layers.Dense(3, kernel_initializer="ones")(x))


@pytest.mark.parametrize(
    "normalization", [keras.layers.BatchNormalization, ProgressiveBatchNormalization]
)
def test_weights_and_statistics_are_those_without(normalization, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 8, 8, 3)).astype("float32")
    y = rng.normal(size=(4, 3)).astype("float32")
    trained = []
    for parts in (False, True):
        trunk = network(normalization)
        model = classifier(checkpointed(trunk, ["relu_0", "relu_2"]) if parts else trunk)
        model.compile(keras.optimizers.SGD(0.01), "mse")
        model.fit(x, y, epochs=3, verbose=0)
        trained.append([keras.ops.convert_to_numpy(v) for v in model.weights])
    for without, with_gradient_checkpointing in zip(*trained, strict=True):
        np.testing.assert_allclose(with_gradient_checkpointing, without, rtol=1e-5, atol=1e-6)
    statistics = [v for v in model.weights if v.path.endswith("moving_mean")]
    assert len(statistics) == 4
    assert all(np.abs(keras.ops.convert_to_numpy(v)).max() > 0 for v in statistics)

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    parts = again.layers[1].layers[1:]
    assert [type(part) for part in parts] == [CheckpointedModel] * 3
    np.testing.assert_allclose(
        again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_of_the_two_branch_network():
    arguments = {
        "backbone": "artnet_resnet18_s", "weights": None, "segments": 2, "classes": 3, "width": 2,
        "input_shape": (8, 16, 16, 3), "progressive_momentum": 0.9,
    }  # fmt: skip
    plain = RelationalLSTMResNet(**arguments)
    parts = RelationalLSTMResNet(**arguments, gradient_checkpointing=True)
    trunk = parts.get_layer("artnet_resnet18_s")
    assert [type(part) for part in trunk.layers[1:]] == [CheckpointedModel] * 3
    report = initialize_from(parts, plain)
    assert not report.skipped and parts.count_params() == plain.count_params()
    x = np.random.default_rng(0).normal(size=(2, 2, 8, 16, 16, 3)).astype("float32")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(parts(x)), keras.ops.convert_to_numpy(plain(x)), rtol=1e-5
    )
