"""The two-branch network of Relational LSTM (Sec. 4, Fig. 2)."""

import math

import keras
from keras import layers, ops

from keras_videorel.checks import check_integer
from keras_videorel.layers import (
    ProgressiveBatchNormalization,
    RelationalLSTM,
    SegmentConsensus,
    UnfoldSegments,
)
from keras_videorel.models.backbones import (
    BACKBONES,
    average_pool,
    backbone_network,
    classify,
    fresh_copy,
    known_momentum,
    snippet_shape,
    split_backbone,
    with_gradient_checkpointing,
    with_normalization,
)
from keras_videorel.models.temporal_segment_network import fold_segments

BRANCHES = ("local", "nonlocal")


def RelationalLSTMResNet(
    stream="rgb",
    segments=8,
    branches=BRANCHES,
    backbone="resnet101v2",
    weights="imagenet",
    input_shape=None,
    classes=101,
    dropout=0.8,
    classifier_activation="softmax",
    units=None,
    embedding_dim=None,
    progressive_momentum="auto",
    gradient_checkpointing=False,
    width=None,
    name=None,
):
    """The two-branch network of Relational LSTM for one stream (Sec. 4, Fig. 2).

    A backbone encodes the snippet of each segment up to conv5_2. The result is `X_t` with `C`
    channels.

    - Local branch: conv5_3 of each snippet, average over space, average over the snippets.
    - Non-local branch: batch normalization; relational LSTM with `C / 2` channels; then, for its
      last hidden state, a 1x1 convolution to `C` channels, a second conv5_3 with its own weights,
      and the average over space.

    Dropout and one dense layer follow on the concatenated branches. Snippets that are masked in
    the input (`keras.layers.Masking`) do not count. The inputs must be normalized for the
    backbone, with `preprocess_input` of `keras.applications.resnet_v2` or `mobilenet_v2`. In a
    config, that is mean 127.5 and standard deviation 127.5.

    Args:
        stream: `"rgb"` (spatial stream) or `"flow"` (temporal stream of 10 flow fields with x and
            y, which are 20 channels).
        segments: Number T of snippets; 8 in the paper.
        branches: `("local", "nonlocal")`, or only one of them as in Tables 1 and 3.
        backbone: `"resnet101v2"` as in the paper, `"resnet50v2"`, `"mobilenet_v2"` for small
            machines, or `"artnet_resnet18_s"` or `"artnet_resnet18_d"`, where snippets are clips.
        weights: Weights of conv1 to conv5_2 and of the local conv5_3: `"imagenet"` (downloaded),
            `None` for random initialization, or the path of a weights file of the backbone without
            its top. For flow, the first convolution is initialized across modalities. To start
            from another trained model, see `models.initialize_from`.
        input_shape: Shape of a snippet, `(height, width, channels)`, or `(time, height, width,
            channels)` for ARTNet; or the shape of all snippets, with the segments first. By default
            224x224 with 3 or 20 channels, and for ARTNet 16x112x112 with 3 or 2 channels.
        classes: Number of classes.
        dropout: Dropout rate before the classifier; in the paper 0.8 for the spatial stream and
            0.7 for the temporal stream.
        classifier_activation: Activation of the classifier; `None` returns logits.
        units: Channels of the relational LSTM; by default half of the channels of conv5_2.
        embedding_dim: Size of the embeddings of the relational LSTM; `units` by default.
        progressive_momentum: Momentum of `ProgressiveBatchNormalization` (Sec. 5.2), 0.999 or
            0.9995 in the paper. `None` keeps ordinary batch normalization. `"auto"` is 0.999 with
            trained weights and `None` without, because progressive normalization needs trained
            statistics.
        gradient_checkpointing: Whether to compute the activations of conv1 to conv5_2 again for
            the gradients. This saves memory and costs time. The gradients are the same.
        width: Width of an ARTNet backbone; 64 by default.
        name: Name of the model.

    Returns:
        A functional `keras.Model` from snippets `(batch, segments, height, width, channels)`, or
        `(batch, segments, time, height, width, channels)`, to `(batch, classes)`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> model = RelationalLSTMResNet(classes=51)
    >>> model.input_shape
    (None, 8, 224, 224, 3)

    References:
        [Relational Long Short-Term Memory for Video Action Recognition](
        https://arxiv.org/abs/1811.07059), Sec. 4.
    """
    segments = check_integer("segments", segments, 1)
    branches = _known_branches(branches)
    if input_shape is not None and backbone in BACKBONES:
        input_shape = _without_segments(tuple(input_shape), segments, backbone)
    shape = snippet_shape(backbone, stream, input_shape)
    momentum = known_momentum(progressive_momentum, weights)

    network = backbone_network(backbone, shape, weights, width)
    trunk, local = split_backbone(network, BACKBONES[backbone].cut, backbone)
    trunk = with_normalization(trunk, momentum)
    if gradient_checkpointing:
        trunk = with_gradient_checkpointing(trunk, backbone)

    snippets = keras.Input((segments, *shape), name="snippets")
    x = trunk(fold_segments(snippets))  # (batch * segments, [time,] height, width, channels)
    features = []
    if "local" in branches:
        y = with_normalization(local, momentum)(x)
        y = UnfoldSegments(name="local_by_video")([average_pool(y, "local_pool"), snippets])
        features.append(SegmentConsensus(name="local_consensus")(y))
    if "nonlocal" in branches:
        *sizes, channels = x.shape[1:]
        y = _batch_normalization(momentum, name="nonlocal_bn")(x)
        # Times are stacked along the height. Non-local operations do not depend on the order.
        y = ops.reshape(y, (-1, math.prod(sizes[:-1]), sizes[-1], channels))
        y = UnfoldSegments(name="nonlocal_by_video")([y, snippets])
        units = channels // 2 if units is None else units
        y = RelationalLSTM(units, embedding_dim, name="relational_lstm")(y)
        y = layers.Conv2D(channels, 1, data_format="channels_last", name="nonlocal_conv")(y)
        own = with_normalization(fresh_copy(local, "nonlocal"), momentum)
        y = own(ops.reshape(y, (-1, *sizes, channels)))
        features.append(average_pool(y, "nonlocal_pool"))
    y = layers.Concatenate(name="concatenate")(features) if len(features) > 1 else features[0]
    y = classify(y, classes, dropout, classifier_activation)
    name = f"relational_lstm_{backbone}_{stream}" if name is None else name
    return keras.Model(snippets, y, name=name)


def _known_branches(branches):
    branches = (branches,) if isinstance(branches, str) else tuple(branches)
    if not branches or set(branches) - set(BRANCHES) or len(set(branches)) < len(branches):
        raise ValueError(
            '`branches` must be ("local", "nonlocal"), ("local",) or ("nonlocal",). '
            f"Received: branches={branches!r}"
        )
    return branches


def _without_segments(shape, segments, backbone):
    """Return the shape of a snippet from the shape of all snippets."""
    if len(shape) != len(BACKBONES[backbone].snippet_shape) + 2:
        return shape
    if shape[0] not in (None, segments):
        raise ValueError(
            f"`input_shape` must begin with the {segments} segments. Received: "
            f"input_shape={shape}, segments={segments}"
        )
    return shape[1:]


def _batch_normalization(momentum, name):
    if momentum is None:
        return layers.BatchNormalization(name=name)
    return ProgressiveBatchNormalization(momentum=momentum, name=name)
