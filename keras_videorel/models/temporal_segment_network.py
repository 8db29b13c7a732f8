"""Temporal segment networks: one model for all snippets of a video, and a consensus."""

import keras
from keras import layers, ops

from keras_videorel.checks import check_integer
from keras_videorel.layers import SegmentConsensus, UnfoldSegments


def TemporalSegmentNetwork(
    model, segments=3, consensus="average", classifier_activation="softmax", name=None
):
    """Temporal segment network (TSN): a consensus over the scores of snippets.

    A classifier scores each snippet, and the scores are averaged before the softmax. Both papers
    compare with TSN, and ARTNet is also trained in it (Sec. 3.3). Snippets that are masked in the
    input (`keras.layers.Masking`) do not count.

    Args:
        model: A `keras.Model` from a snippet, `(height, width, channels)` or `(time, height,
            width, channels)`, to scores before any softmax.
        segments: Number of snippets; 3 in TSN, 2 in ARTNet, 8 in Relational LSTM.
        consensus: `"average"` or `"max"`.
        classifier_activation: Activation of the consensus; `None` returns scores.
        name: Name of the network.

    Returns:
        A functional `keras.Model` from `(batch, segments, *snippet)` to `(batch, classes)`.

    Raises:
        ValueError: If an argument is out of range, or the model ends with a softmax.

    Example:

    >>> clips = ARTNetResNet18("d", classes=101, classifier_activation=None)
    >>> network = TemporalSegmentNetwork(clips, segments=2)
    >>> network.input_shape
    (None, 2, 16, 112, 112, 3)

    References:
        [Temporal Segment Networks](https://arxiv.org/abs/1608.00859), Sec. 3.1.
    """
    segments = check_integer("segments", segments, 1)
    if getattr(model.layers[-1], "activation", None) is keras.activations.softmax:
        raise ValueError(
            "`model` must give scores before the softmax, for their consensus: build it with "
            f"classifier_activation=None. Received: {model.name!r}, which ends with a softmax"
        )
    snippets = keras.Input((segments, *model.input_shape[1:]), name="snippets")
    scores = UnfoldSegments(name="by_video")([model(fold_segments(snippets)), snippets])
    scores = SegmentConsensus(consensus, dtype="float32", name="consensus")(scores)
    scores = layers.Activation(classifier_activation, dtype="float32", name="predictions")(scores)
    return keras.Model(snippets, scores, name=f"tsn_{model.name}" if name is None else name)


def fold_segments(x):
    """Reshape `(batch, segments, ...)` to `(batch * segments, ...)`."""
    return ops.reshape(x, (-1, *x.shape[2:]))
