"""Residual networks for clips, from Tables 1 and 2 of ARTNet."""

import os

import keras
from keras import layers

from keras_videorel.checks import check_choice, check_integer, check_number
from keras_videorel.layers import SMART, SquarePooling, SymmetricConv3D

# Table 1. Each row is a stage: name, output channels, stride (time, height, width) of the first
# unit. Stages after conv1 consist of residual units of two 3x3x3 blocks.
STAGES = (
    ("conv1", 64, (2, 2, 2)),  # 7x7x3, to 56x56x8
    ("conv2", 64, (1, 1, 1)),  # 56x56x8
    ("conv3", 128, (2, 2, 2)),  # 28x28x4
    ("conv4", 256, (2, 2, 2)),  # 14x14x2
    ("conv5", 512, (2, 2, 2)),  # 7x7x1
)
# Each row is a network: the block of conv1, then for each stage the two blocks of a residual
# unit and the number of units. The first three networks are in Table 1, the others in Table 2.
C2D, C3D, REL, SMT = "2d", "3d", "relation", "smart"
ARCHITECTURES = {
    #                     conv1  conv2_x        conv3_x        conv4_x        conv5_x
    "c3d_resnet18":      (C3D, (C3D, C3D, 2), (C3D, C3D, 2), (C3D, C3D, 2), (C3D, C3D, 2)),
    "artnet_resnet18_s": (SMT, (C3D, C3D, 2), (C3D, C3D, 2), (C3D, C3D, 2), (C3D, C3D, 2)),
    "artnet_resnet18_d": (SMT, (C3D, SMT, 2), (C3D, SMT, 2), (C3D, SMT, 2), (C3D, C3D, 2)),
    "relation_resnet18_s": (REL, (C3D, C3D, 2), (C3D, C3D, 2), (C3D, C3D, 2), (C3D, C3D, 2)),
    "relation_resnet18_d": (REL, (C3D, REL, 2), (C3D, REL, 2), (C3D, REL, 2), (C3D, C3D, 2)),
    "c3d_resnet34":      (C3D, (C3D, C3D, 3), (C3D, C3D, 4), (C3D, C3D, 6), (C3D, C3D, 3)),
    "c2d_resnet18":      (C2D, (C2D, C2D, 2), (C2D, C2D, 2), (C2D, C2D, 2), (C2D, C2D, 2)),
}  # fmt: skip

NORMALIZATION = {"momentum": 0.9, "epsilon": 1e-5}  # as in the authors' training
INITIALIZER = "lecun_uniform"  # "xavier" in Caffe
# Bound on normalized responses before stacked squares. Without it, a response that is k times too
# large before the first of ARTNet (d)'s seven squares would be k^128 times too large after the
# last. See docs/architecture.md for the choice of the bound.
HIDDEN_LIMIT = 8.0


def ARTNetResNet18(
    variant="d",
    include_top=True,
    weights=None,
    input_shape=(16, 112, 112, 3),
    pooling=None,
    classes=400,
    classifier_activation="softmax",
    dropout=0.2,
    width=64,
    name=None,
):
    """ARTNet-ResNet18 (Sec. 3.3, Table 1).

    Args:
        variant: `"s"` has a SMART block as conv1. `"d"` has seven SMART blocks: conv1, and the
            second convolution of each residual unit of conv2 to conv4.
        include_top: Whether to end with average pooling, dropout and the dense classifier.
        weights: `None` for random initialization, or the path of a `.weights.h5` or `.keras`
            file of this network.
        input_shape: `(time, height, width, channels)`; the first three may be `None`.
        pooling: Output without the top: `None` for feature maps `(batch, time / 16, height / 16,
            width / 16, 8 * width)`, `"avg"` or `"max"` for vectors.
        classes: Number of classes.
        classifier_activation: Activation of the classifier; `None` returns logits.
        dropout: Dropout rate before the classifier.
        width: Channels of conv1 and conv2; 64 in the paper, less for small data. Later stages
            have 2, 4 and 8 times as many.
        name: Name of the model.

    Returns:
        A functional `keras.Model` from clips `(batch, time, height, width, channels)` to
        `(batch, classes)`.

    Raises:
        ValueError: If an argument is out of range.
    """
    architecture = _variant("artnet_resnet18", variant)
    return _video_resnet(
        architecture, include_top, weights, input_shape, pooling, classes,
        classifier_activation, dropout, width, name,
    )  # fmt: skip


def RelationResNet18(
    variant="d",
    include_top=True,
    weights=None,
    input_shape=(16, 112, 112, 3),
    pooling=None,
    classes=400,
    classifier_activation="softmax",
    dropout=0.2,
    width=64,
    name=None,
):
    """ARTNet-ResNet18 with relation branches alone instead of SMART blocks (Sec. 4.2, Table 2).

    Each relation branch has twice as many hidden units as in a SMART block, so that its number of
    output channels is the number in Table 1. Arguments are the same as for `ARTNetResNet18`.
    """
    architecture = _variant("relation_resnet18", variant)
    return _video_resnet(
        architecture, include_top, weights, input_shape, pooling, classes,
        classifier_activation, dropout, width, name,
    )  # fmt: skip


def C3DResNet18(
    include_top=True,
    weights=None,
    input_shape=(16, 112, 112, 3),
    pooling=None,
    classes=400,
    classifier_activation="softmax",
    dropout=0.2,
    width=64,
    name=None,
):
    """C3D-ResNet18, the baseline with 3D convolutions (Table 1).

    Arguments are the same as for `ARTNetResNet18`, without `variant`.
    """
    return _video_resnet(
        "c3d_resnet18", include_top, weights, input_shape, pooling, classes,
        classifier_activation, dropout, width, name,
    )  # fmt: skip


def C3DResNet34(
    include_top=True,
    weights=None,
    input_shape=(16, 112, 112, 3),
    pooling=None,
    classes=400,
    classifier_activation="softmax",
    dropout=0.2,
    width=64,
    name=None,
):
    """C3D-ResNet34, the deeper baseline (Table 2), with 3, 4, 6 and 3 residual units per stage.

    Arguments are the same as for `ARTNetResNet18`, without `variant`.
    """
    return _video_resnet(
        "c3d_resnet34", include_top, weights, input_shape, pooling, classes,
        classifier_activation, dropout, width, name,
    )  # fmt: skip


def C2DResNet18(
    include_top=True,
    weights=None,
    input_shape=(16, 112, 112, 3),
    pooling=None,
    classes=400,
    classifier_activation="softmax",
    dropout=0.2,
    width=64,
    name=None,
):
    """C2D-ResNet18, with 2D instead of 3D convolutions (Sec. 4.2, Table 2).

    Where the 3D network has a temporal stride, this network averages pairs of frames. Feature maps
    have the sizes of Table 1, and every frame counts. 2D kernels with a temporal stride would use
    only one of sixteen frames. A clip and its reverse get the same scores. Arguments are the same
    as for `ARTNetResNet18`, without `variant`.
    """
    return _video_resnet(
        "c2d_resnet18", include_top, weights, input_shape, pooling, classes,
        classifier_activation, dropout, width, name,
    )  # fmt: skip


def _variant(family, variant):
    check_choice("variant", variant, ("s", "d"))
    return f"{family}_{variant}"


def _video_resnet(
    architecture,
    include_top,
    weights,
    input_shape,
    pooling,
    classes,
    classifier_activation,
    dropout,
    width,
    name,
):
    check_arguments(weights, input_shape, classes, dropout, width)
    check_choice("pooling", pooling, (None, "avg", "max"))
    conv1, *residual_stages = ARCHITECTURES[architecture]
    stacked = any(second in (REL, SMT) for _, second, _ in residual_stages)
    limit = HIDDEN_LIMIT if stacked else None

    clips = keras.Input(input_shape, name="clips")
    (stage, filters, strides), *stages = STAGES
    x = _block(clips, conv1, filters * width // 64, (3, 7, 7), strides, limit, stage)
    for (stage, filters, strides), (*blocks, units) in zip(stages, residual_stages, strict=True):
        for unit in range(1, units + 1):
            x = _residual_unit(x, blocks, filters * width // 64, strides, limit, f"{stage}_{unit}")
            strides = (1, 1, 1)
    if include_top:
        x = layers.GlobalAveragePooling3D("channels_last", name="avg_pool")(x)
        x = layers.Dropout(dropout, name="dropout")(x)
        # Scores are float32 for the softmax and the loss, also with mixed precision.
        x = layers.Dense(
            classes, activation=classifier_activation, dtype="float32", name="predictions"
        )(x)
    elif pooling == "avg":
        x = layers.GlobalAveragePooling3D("channels_last", name="avg_pool")(x)
    elif pooling == "max":
        x = layers.GlobalMaxPooling3D("channels_last", name="max_pool")(x)
    model = keras.Model(clips, x, name=architecture if name is None else name)
    if weights is not None:
        model.load_weights(weights)
    return model


def _residual_unit(x, blocks, filters, strides, limit, name):
    """Apply two blocks and a shortcut, which is a 1x1x1 convolution if the size changes."""
    first, second = blocks
    shortcut = x
    if strides != (1, 1, 1) or x.shape[-1] != filters:
        shortcut = _convolution(x, first, filters, (1, 1, 1), strides, f"{name}_shortcut")
    x = _block(x, first, filters, (3, 3, 3), strides, limit, f"{name}_1")
    x = _block(x, second, filters, (3, 3, 3), (1, 1, 1), limit, f"{name}_2", activation=None)
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_relu")(x)


def _block(x, kind, filters, kernel_size, strides, limit, name, activation="relu"):
    """Apply a building block of Fig. 2, which ends with batch normalization and `activation`."""
    shared = {"hidden_limit": limit, "kernel_initializer": INITIALIZER, **NORMALIZATION}
    if kind == SMT:
        return SMART(
            filters, kernel_size, strides, final_activation=activation, name=name, **shared
        )(x)
    if kind == REL:
        return SquarePooling(
            2 * filters, kernel_size, strides, activation=activation, name=name, **shared
        )(x)
    x = _convolution(x, kind, filters, kernel_size, strides, f"{name}_conv")
    x = layers.BatchNormalization(name=f"{name}_bn", **NORMALIZATION)(x)
    return x if activation is None else layers.Activation(activation, name=f"{name}_relu")(x)


def _convolution(x, kind, filters, kernel_size, strides, name):
    if kind == C2D:
        kernel_size = (1, *kernel_size[1:])
        if strides[0] > 1:
            window = (strides[0], 1, 1)
            x = layers.AveragePooling3D(
                window, padding="same", data_format="channels_last", name=f"{name}_frames"
            )(x)
            strides = (1, *strides[1:])
    return SymmetricConv3D(
        filters,
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer=INITIALIZER,
        name=name,
    )(x)


def check_arguments(weights, input_shape, classes, dropout, width):
    """Raise a `ValueError` if an argument of a video network is out of range."""
    if weights is not None and not os.path.exists(weights):
        raise ValueError(
            "`weights` must be None or the path of a weights file; there are no pre-trained "
            f"weights to download. Received: weights={weights!r}"
        )
    if len(tuple(input_shape)) != 4 or input_shape[-1] is None:
        raise ValueError(
            "`input_shape` must be (time, height, width, channels) with a known number of "
            f"channels. Received: input_shape={input_shape!r}"
        )
    check_integer("classes", classes, 1)
    check_number("dropout", dropout, 0, below=1)
    if check_integer("width", width, 2) % 2:
        raise ValueError(
            f"`width` must be even, so that relation codes pair hidden units. Received: {width!r}"
        )
