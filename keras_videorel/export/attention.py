"""The attention maps of a relational LSTM as an output of its network."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import ops

from keras_videorel.layers import RelationalLSTM, UnfoldSegments


def relational_lstm_of(model: keras.Model) -> RelationalLSTM | None:
    """The first relational LSTM of a functional model, if there is one."""
    return next((layer for layer in model.layers if isinstance(layer, RelationalLSTM)), None)


def feature_map_sizes(model: keras.Model) -> dict:
    """The feature map of a model's relational LSTM, a dict that is empty if there is none.

    `spatial_shape` is `[rows, columns]`; a network of clips has `feature_times` maps of
    `rows / feature_times` rows below each other, earliest first.
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
        # (batch * T, [times,] height, width, channels), folded below each other for the layer.
        if type(operation).__name__ == "Reshape" and operation.output is features:
            *leading, height, width, _ = operation.input.shape[1:]
            if leading and (leading[0] * height, width) == (rows, columns):
                times = leading[0]
    return {"spatial_shape": [rows, columns], "feature_times": times}


def with_attention_maps(model: keras.Model) -> Callable:
    """A function from samples to the model's output and the weights of r(X_t, H_{t-1}) (Eq. 2, 3).

    The weights are float32 `(batch, T, 4, positions, positions)`: for each step t and gate (i, f,
    g, o) a row for each position of X_t, which sums to 1 over the positions of H_{t-1}.
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
