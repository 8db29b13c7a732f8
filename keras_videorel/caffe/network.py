"""The networks of the authors' Caffe files, which differ slightly from the paper."""

import itertools

import keras
from keras import layers

from keras_videorel.checks import check_choice
from keras_videorel.layers import SquarePooling, SymmetricConv3D
from keras_videorel.models.video_resnet import (
    ARCHITECTURES,
    INITIALIZER,
    NORMALIZATION,
    SMT,
    STAGES,
    check_arguments,
)

# From the names in configs to the keys of `ARCHITECTURES`.
NETWORKS = {
    "c3d": "c3d_resnet18",
    "artnet_s": "artnet_resnet18_s",
    "artnet_d": "artnet_resnet18_d",
}


def CaffeResNet18(
    network="artnet_d",
    weights=None,
    input_shape=(16, 112, 112, 3),
    classes=400,
    classifier_activation="softmax",
    dropout=0.2,
    width=64,
    name=None,
):
    """A network of the authors' Caffe files, for the weights that `convert` reads.

    Residual units have pre-activation order: their convolutions take the normalized sum, and their
    outputs are added to the sum before normalization. Shortcuts are 3x3x3 convolutions. Stacked
    squares have no bound, so activations explode with random weights. Layers have the names of the
    files. See docs/architecture.md.

    Args:
        network: `"artnet_d"`, `"artnet_s"` or `"c3d"`.
        weights: `None` for random initialization, or the path of a `.weights.h5` or `.keras`
            file of this network.
        input_shape: `(time, height, width, channels)`; the first three may be `None`.
        classes: Number of classes.
        classifier_activation: Activation of the classifier; `None` returns logits.
        dropout: Dropout rate before the classifier.
        width: Channels of conv1.
        name: Name of the model.

    Returns:
        A functional `keras.Model` from clips `(batch, time, height, width, channels)` to
        `(batch, classes)`.

    Raises:
        ValueError: If an argument is out of range.
    """
    architecture = NETWORKS[check_choice("network", network, NETWORKS)]
    check_arguments(weights, input_shape, classes, dropout, width)
    conv1, *residual_stages = ARCHITECTURES[architecture]
    smart_blocks = itertools.count(1)

    def block(x, kind, filters, kernel_size, strides, name):
        """Apply a block up to its last convolution; return the output and that layer's name."""
        if kind != SMT:
            return _convolution(x, filters, kernel_size, strides, name), name
        number = next(smart_blocks)
        f = _convolution(x, filters, (1, *kernel_size[1:]), strides, name)
        z = SquarePooling(
            filters, kernel_size, strides,
            kernel_initializer=INITIALIZER, name=f"{name}_t", **NORMALIZATION,
        )(x)  # fmt: skip
        both = layers.Concatenate(name=f"concat{number}")([_normalized(f, name), z])
        name = f"redu{number}"
        return _convolution(both, filters, 1, 1, name, use_bias=True), name

    clips = keras.Input(input_shape, name="data")
    (_, filters, strides), *stages = STAGES
    total, last = block(clips, conv1, filters * width // 64, (3, 7, 7), strides, "conv1")
    x = _normalized(total, last)
    for number, ((_, filters, strides), (first, second, units)) in enumerate(
        zip(stages, residual_stages, strict=True), start=2
    ):
        filters = filters * width // 64
        for letter in "abcdef"[:units]:
            unit = f"res{number}{letter}"
            step = strides if letter == "a" else (1, 1, 1)
            if step != (1, 1, 1):
                total = _convolution(x, filters, 3, step, f"{unit}_down")
            x, last = block(x, first, filters, (3, 3, 3), step, f"{unit}_1")
            x, _ = block(_normalized(x, last), second, filters, (3, 3, 3), 1, f"{unit}_2")
            total = layers.Add(name=unit)([x, total])
            x = _normalized(total, unit)
    x = layers.GlobalAveragePooling3D("channels_last", name="global_pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(
        classes, activation=classifier_activation, dtype="float32", name="predictions"
    )(x)
    model = keras.Model(clips, x, name=f"{architecture}_caffe" if name is None else name)
    if weights is not None:
        model.load_weights(weights)
    return model


def _convolution(x, filters, kernel_size, strides, name, use_bias=False):
    return SymmetricConv3D(
        filters, kernel_size, strides, padding="same",
        use_bias=use_bias, kernel_initializer=INITIALIZER, name=name,
    )(x)  # fmt: skip


def _normalized(x, name):
    x = layers.BatchNormalization(name=f"{name}_bn", **NORMALIZATION)(x)
    return layers.ReLU(name=f"{name}_relu")(x)
