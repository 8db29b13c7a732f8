"""A classifier of single snippets, to be trained alone or in a temporal segment network."""

import keras

from keras_videorel.models.backbones import (
    average_pool,
    backbone_network,
    classify,
    known_momentum,
    snippet_shape,
    with_normalization,
)


def SnippetClassifier(
    stream="rgb",
    backbone="resnet101v2",
    weights="imagenet",
    input_shape=None,
    classes=101,
    dropout=0.8,
    classifier_activation="softmax",
    progressive_momentum="auto",
    width=None,
    name=None,
):
    """A backbone with average pooling, dropout and a dense layer, for one snippet.

    `TemporalSegmentNetwork(SnippetClassifier(..., classifier_activation=None), segments)` is the
    TSN baseline of Relational LSTM (Sec. 5.3, Table 1).

    Args:
        stream: `"rgb"` or `"flow"`.
        backbone: As for `RelationalLSTMResNet`.
        weights: As for `RelationalLSTMResNet`.
        input_shape: Shape of a snippet; see `RelationalLSTMResNet`.
        classes: Number of classes.
        dropout: As for `RelationalLSTMResNet`.
        classifier_activation: Activation of the classifier; `None` returns logits.
        progressive_momentum: As for `RelationalLSTMResNet`.
        width: Width of an ARTNet backbone.
        name: Name of the model.

    Returns:
        A functional `keras.Model` from a snippet to `(batch, classes)`.

    Raises:
        ValueError: If an argument is out of range.
    """
    shape = snippet_shape(backbone, stream, input_shape)
    network = backbone_network(backbone, shape, weights, width)
    network = with_normalization(network, known_momentum(progressive_momentum, weights))
    snippets = keras.Input(shape, name="snippet")
    x = average_pool(network(snippets), "avg_pool")
    x = classify(x, classes, dropout, classifier_activation)
    return keras.Model(snippets, x, name=f"{backbone}_{stream}" if name is None else name)
