"""Snippet encoders, split where the branches of a relational LSTM network begin."""

import contextlib
import math
import os
import re
import warnings
from typing import NamedTuple

import keras
from keras import layers

from keras_videorel.checks import check_choice, check_number
from keras_videorel.layers import swap_batch_normalization
from keras_videorel.models.checkpointed_model import checkpointed
from keras_videorel.models.transfer import initialize_from
from keras_videorel.models.video_resnet import ARTNetResNet18

FLOW_FIELDS = 10  # flow fields (x and y) per snippet of the temporal stream, as channels (Sec. 3)


class Backbone(NamedTuple):
    """A backbone and its layer names.

    Attributes:
        network: Function of `input_shape` and `weights` that builds the model of feature maps.
        cut: Name of the last layer that both branches share. The paper calls it conv5_2, and the
            layers after it conv5_3 (Sec. 4).
        units: Regular expression for the last layers of the residual units.
        snippet_shape: Shape of a snippet without the channels.
    """

    network: object
    cut: str
    units: str
    snippet_shape: tuple = (224, 224)


def _artnet(variant):
    def network(input_shape, weights, width=64):
        return ARTNetResNet18(
            variant, include_top=False, weights=weights, input_shape=input_shape, width=width
        )

    return network


def _application(name):
    def network(input_shape, weights):
        constructor = getattr(keras.applications, name)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*usually expects 1 or 3 input channels")
            with _channels_last(), _explained_download(weights):
                return constructor(include_top=False, weights=weights, input_shape=input_shape)

    return network


@contextlib.contextmanager
def _channels_last():
    """Set the global data format, because `keras.applications` has no argument for it."""
    data_format = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(data_format)


@contextlib.contextmanager
def _explained_download(weights):
    try:
        yield
    except Exception as error:
        # Keras 3.15.1 raises a plain Exception if the download fails.
        if weights != "imagenet" or not (type(error) is Exception or isinstance(error, OSError)):
            raise
        address = re.search(r"https?://[^\s:]+", str(error))
        file = os.path.join(os.environ.get("KERAS_HOME", "~/.keras"), "models")
        what = address.group() if address else "the file of weights"
        raise ValueError(
            f'`weights="imagenet"` could not be downloaded ({error}). Download {what} elsewhere '
            f"and put it into {file}, or give its path as `weights`; None is for random weights"
        ) from error


BACKBONES = {
    "resnet50v2": Backbone(_application("ResNet50V2"), "conv5_block2_out", r"conv\d_block\d+_out"),
    "resnet101v2": Backbone(
        _application("ResNet101V2"), "conv5_block2_out", r"conv\d_block\d+_out"
    ),
    "mobilenet_v2": Backbone(_application("MobileNetV2"), "block_15_add", r"block_\d+_add"),
    # With ARTNet, snippets are clips. Both papers name this combination as future work.
    "artnet_resnet18_s": Backbone(_artnet("s"), "conv5_1_relu", r"conv\d_\d_relu", (16, 112, 112)),
    "artnet_resnet18_d": Backbone(_artnet("d"), "conv5_1_relu", r"conv\d_\d_relu", (16, 112, 112)),
}


def snippet_shape(backbone, stream, input_shape=None):
    """Return the checked `input_shape`, or the default one; see `RelationalLSTMResNet`."""
    sizes = BACKBONES[check_choice("backbone", backbone, BACKBONES)].snippet_shape
    check_choice("stream", stream, ("rgb", "flow"))
    if input_shape is None:
        channels = 3 if stream == "rgb" else 2 if len(sizes) == 3 else 2 * FLOW_FIELDS
        return (*sizes, channels)
    if len(input_shape) != len(sizes) + 1 or None in input_shape:
        expected = ("time, " if len(sizes) == 3 else "") + "height, width, channels"
        raise ValueError(
            f"`input_shape` must give the ({expected}) of a snippet for backbone={backbone!r}. "
            f"Received: input_shape={tuple(input_shape)}"
        )
    return tuple(input_shape)


def backbone_network(backbone, shape, weights=None, width=None):
    """Build the network of a backbone, from snippets to feature maps.

    See `RelationalLSTMResNet` for the arguments. If the weights are for another number of
    channels, the first convolution is initialized across modalities, see `initialize_from`.
    """
    clips = len(BACKBONES[backbone].snippet_shape) == 3
    options = {}
    if width is not None:
        if not clips:
            raise ValueError(
                f"`width` must be None for backbone={backbone!r}; it is ARTNet's. "
                f"Received: width={width!r}"
            )
        options["width"] = width
    if weights == "imagenet" and clips:
        raise ValueError(
            f'`weights` must be None or a path for backbone={backbone!r}. Received: "imagenet"'
        )
    if weights not in (None, "imagenet") and "://" not in weights and not os.path.exists(weights):
        raise ValueError(
            '`weights` must be None, "imagenet" or the path of a weights file. '
            f"Received: weights={weights!r}, which does not exist"
        )
    build = BACKBONES[backbone].network
    if weights is None or shape[-1] == 3:
        return build(shape, weights, **options)
    of_rgb = build((*shape[:-1], 3), weights, **options)
    network = build(shape, None, **options)
    initialize_from(network, of_rgb)
    return network


def split_backbone(network, cut, name):
    """Split a backbone into a model `name` up to the layer `cut`, and a model of later layers."""
    middle = network.get_layer(cut).output
    trunk = keras.Model(network.input, middle, name=name)
    return trunk, keras.Model(middle, network.output, name="local")


def with_gradient_checkpointing(trunk, backbone):
    """Split n residual units into about sqrt(n) parts for gradient checkpointing."""
    units = [
        layer.name for layer in trunk.layers if re.fullmatch(BACKBONES[backbone].units, layer.name)
    ]
    parts = round(math.sqrt(len(units)))
    cuts = [units[len(units) * part // parts - 1] for part in range(1, parts)]
    return checkpointed(trunk, cuts)


def fresh_copy(model, prefix):
    """Copy a model with new weights. `prefix` is its name and the prefix of its layers' names."""

    def renamed(layer):
        config = layer.get_config()
        return layer.__class__.from_config({**config, "name": f"{prefix}_{layer.name}"})

    copy = keras.models.clone_model(model, clone_function=renamed)
    copy.name = prefix
    return copy


def with_normalization(model, momentum):
    """Swap batch normalization for the progressive kind, or return the model for `None`."""
    return model if momentum is None else swap_batch_normalization(model, momentum=momentum)


def known_momentum(progressive_momentum, weights):
    """Resolve `"auto"` as the momentum of progressive batch normalization."""
    if progressive_momentum != "auto":
        return progressive_momentum
    return None if weights is None else 0.999


def average_pool(x, name):
    """Average feature maps over all positions."""
    rank = "3D" if len(x.shape) == 5 else "2D"
    pooling = getattr(layers, f"GlobalAveragePooling{rank}")
    return pooling(data_format="channels_last", name=name)(x)


def classify(x, classes, dropout, activation):
    """Apply dropout and the dense classifier."""
    x = layers.Dropout(check_number("dropout", dropout, 0, below=1), name="dropout")(x)
    # Scores are float32 for the softmax and the loss, also with mixed precision.
    return layers.Dense(classes, activation=activation, dtype="float32", name="predictions")(x)
