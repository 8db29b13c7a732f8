"""Add the attention maps of a relational LSTM to the outputs of its network."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import ops

from keras_videorel.layers import RelationalLSTM, UnfoldSegments


def relational_lstm_of(model: keras.Model) -> RelationalLSTM | None:
    """Return the first relational LSTM of a functional model, or `None`."""
    return next((layer for layer in model.layers if isinstance(layer, RelationalLSTM)), None)


def feature_map_sizes(model: keras.Model) -> dict:
    """Return the sizes of the feature map that a model's relational LSTM takes.

    Returns:
        A dict, empty for a model without a relational LSTM. `spatial_shape` is `[rows, columns]`.
        If the snippets are clips, the map holds `feature_times` maps, one below the other,
        earliest first; each has `rows / feature_times` rows. Otherwise `feature_times` is 1.
    """
    layer = relational_lstm_of(model)
    if layer is None:
        return {}
    rows, columns = layer.cell.spatial_shape
    times = 1
    features = layer.input
    for operation in model.operations:
        if isinstance(operation, UnfoldSegments) and operation.output is features:
            features = operation.input[0]
            break
    for operation in model.operations:
        # From (batch * T, [times,] height, width, channels): times stand one below the other.
        if type(operation).__name__ == "Reshape" and operation.output is features:
            *leading, height, width, _ = operation.input.shape[1:]
            if leading and (leading[0] * height, width) == (rows, columns):
                times = leading[0]
    return {"spatial_shape": [rows, columns], "feature_times": times}


def with_attention_maps(model: keras.Model) -> Callable:
    """Return a function from samples to the model's output and its attention maps.

    The attention maps are the weights of r(X_t, H_{t-1}) (Relational LSTM, Eq. 2 and 3), float32
    `(batch, T, 4, positions, positions)`. Each step t and gate (i, f, g, o) has a row for each
    position of X_t. A row sums to 1 over the positions of H_{t-1}.
    """
    layer = relational_lstm_of(model)
    assert layer is not None
    positions = layer.cell.positions
    features = keras.Model(model.input, [model.output, layer.input])

    def call(x):
        output, sequences = features(x, training=False)
        _, omega = layer.attention_maps(sequences, per_gate=True)
        shape = (-1, omega.shape[1], omega.shape[2], positions, positions)
        return output, ops.cast(ops.reshape(omega, shape), "float32")

    return call
