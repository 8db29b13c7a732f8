"""Channels are last, whatever the user's Keras settings say."""

import keras
import numpy as np
import pytest

from keras_videorel import layers, models
from keras_videorel.caffe import CaffeResNet18
from keras_videorel.layers import swap_batch_normalization
from tests.layers.tensors import array, normal


@pytest.fixture
def channels_first():
    """A function that calls another one as under `image_data_format: channels_first`."""

    def call(function):
        keras.config.set_image_data_format("channels_first")
        try:
            return function()
        finally:
            assert keras.config.image_data_format() == "channels_first"
            keras.config.set_image_data_format("channels_last")

    yield call
    keras.config.set_image_data_format("channels_last")


CLIP = (4, 16, 16, 3)
SMALL = {"input_shape": CLIP, "width": 2, "classes": 3}
SNIPPETS = {"backbone": "artnet_resnet18_s", "weights": None, **SMALL}
NETWORKS = {
    "artnet_d": lambda: models.ARTNetResNet18("d", **SMALL),
    "caffe": lambda: CaffeResNet18(**SMALL),
    "relation": lambda: models.RelationResNet18("s", **SMALL),
    "c2d": lambda: models.C2DResNet18(**SMALL),
    "c3d_34_avg": lambda: models.C3DResNet34(include_top=False, pooling="avg", **SMALL),
    "c3d_max": lambda: models.C3DResNet18(include_top=False, pooling="max", **SMALL),
    "maps": lambda: models.C3DResNet18(include_top=False, **SMALL),
    "snippet": lambda: models.SnippetClassifier(**SNIPPETS),
    "relational_lstm": lambda: models.RelationalLSTMResNet(segments=2, **SNIPPETS),
    "mobilenet": lambda: models.RelationalLSTMResNet(
        backbone="mobilenet_v2", segments=2, weights=None, input_shape=(64, 64, 3), classes=3
    ),
    "tsn": lambda: models.TemporalSegmentNetwork(
        models.ARTNetResNet18("s", classifier_activation=None, **SMALL), 2
    ),
    "smart": lambda: keras.Sequential(
        [keras.Input(CLIP), layers.SMART(4, strides=(1, 2, 2)), layers.SquarePooling(4, (2, 3, 3))]
    ),
    "progressive": lambda: swap_batch_normalization(models.C3DResNet18(**SMALL)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_the_same(name, channels_first, tmp_path):
    """Layers, weights and outputs."""
    keras.utils.set_random_seed(0)
    expected = NETWORKS[name]()
    keras.utils.set_random_seed(0)
    model = channels_first(NETWORKS[name])
    assert model.output_shape == expected.output_shape
    x = normal((2, *expected.input_shape[1:]), 1)
    for a, b in zip(model.weights, expected.weights, strict=True):
        assert a.path.split("/")[-1] == b.path.split("/")[-1]
        np.testing.assert_array_equal(array(a), array(b))
    outputs = array(expected(x))
    np.testing.assert_array_equal(channels_first(lambda: array(model(x))), outputs)
    if name in ("c2d", "smart"):
        model.save(tmp_path / "model.keras")
        loaded = channels_first(lambda: keras.saving.load_model(tmp_path / "model.keras"))
        np.testing.assert_array_equal(array(loaded(x)), outputs)


def test_a_convolution_refuses_channels_first():
    with pytest.raises(ValueError, match=r'`data_format`.*"channels_last".*\'channels_first\''):
        layers.SymmetricConv3D(2, 3, data_format="channels_first")
    with pytest.raises(ValueError, match="data_format"):
        layers.SMART(2, data_format="channels_first")


def test_weights_that_cannot_be_downloaded(monkeypatch):
    address = "https://example.com/resnet_notop.h5"

    def offline(**_):
        raise Exception(f"URL fetch failure on {address}: None -- [Errno -2] Name not known")

    monkeypatch.setattr(keras.applications, "ResNet101V2", offline)
    with pytest.raises(ValueError, match="models, or give its path") as error:
        models.RelationalLSTMResNet()
    assert f"Download {address} elsewhere" in str(error.value)
    assert "\n" not in str(error.value) and "Name not known" in str(error.value)


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "artnet_resnet18_s"])
def test_weights_that_are_not_there(backbone):
    with pytest.raises(ValueError, match=r"`weights`.*Received: weights='gone.h5'"):
        models.SnippetClassifier(backbone=backbone, weights="gone.h5")
