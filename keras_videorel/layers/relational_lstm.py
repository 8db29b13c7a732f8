"""A relational LSTM over feature maps."""

import keras
from keras import ops

from keras_videorel.layers.relational_lstm_cell import RelationalLSTMCell
from keras_videorel.layers.time_mask import time_mask

OF_THE_CELL = {"spatial_shape", "name", "trainable", "dtype"}  # config of the cell alone


@keras.saving.register_keras_serializable(package="keras_videorel")
class RelationalLSTM(keras.layers.RNN):
    """Relational LSTM over a sequence of feature maps (Sec. 3, Eq. 3).

    The layer computes the same as `keras.layers.RNN(RelationalLSTMCell(...))` and has the same
    weights (see `RelationalLSTMCell`), but takes and returns feature maps. Before the loop over
    time, it computes `r(X_t, X_t)` and `theta(X_t)` for all steps at once. The loop only computes
    the terms that depend on `H_{t-1}`.

    Args:
        units: Channels of the hidden state; half of the input channels in the paper.
        embedding_dim: Size of the embeddings; `units` by default.
        return_sequences: Whether to return the hidden states of all steps or of the last step.
        return_state: Whether to return the last hidden state and cell state as well.
        stateful: Whether the last states of a batch are the initial states of the next batch.
        go_backwards: Whether to process the steps in reverse order.
        unroll: Whether to unroll the loop, which LiteRT requires.
        **kwargs: Other arguments of `RelationalLSTMCell` (activations, `use_bias`,
            initializers, regularizers, constraints, `dropout`, `recurrent_dropout`, `seed`,
            `use_scale`); `zero_output_for_mask` as for `keras.layers.RNN`; `name`, `dtype`,
            `trainable`.

    Call arguments:
        sequences: Feature maps of all steps.
        initial_state: `[H_0, C_0]`, zeros by default: feature maps `(batch, height, width,
            units)`, or flat.
        mask: Boolean `(batch, time)`. The states do not change in a step with `False`. With more
            axes, as from `keras.layers.Masking` on feature maps, a step is masked if all its values
            are `False`.
        training: Whether to apply dropout.

    Input shape:
        `(batch, time, height, width, channels)`; height and width must be known.

    Output shape:
        `(batch, height, width, units)`, or `(batch, time, height, width, units)` with
        `return_sequences=True`. With `return_state=True`, a tuple of the output and two states
        `(batch, height, width, units)`.

    Raises:
        ValueError: If an argument is out of range, or the input is not a sequence of feature maps.

    Example:

    >>> features = keras.Input((8, 7, 7, 2048))
    >>> y = RelationalLSTM(1024)(features)
    >>> y.shape
    (None, 7, 7, 1024)

    References:
        [Relational Long Short-Term Memory for Video Action Recognition](
        https://arxiv.org/abs/1811.07059), Sec. 3.
    """

    def __init__(
        self,
        units,
        embedding_dim=None,
        return_sequences=False,
        return_state=False,
        stateful=False,
        go_backwards=False,
        unroll=False,
        **kwargs,
    ):
        of_the_layer = {
            key: kwargs.pop(key)
            for key in ("name", "trainable", "activity_regularizer", "zero_output_for_mask")
            if key in kwargs
        }
        # `build` sets the size of the feature maps.
        cell = RelationalLSTMCell(
            units, spatial_shape=(1, 1), embedding_dim=embedding_dim, name="cell", **kwargs
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            stateful=stateful,
            go_backwards=go_backwards,
            unroll=unroll,
            dtype=cell.dtype_policy,
            **of_the_layer,
        )

    def build(self, sequences_shape, initial_state_shape=None):
        if len(sequences_shape) != 5 or None in sequences_shape[2:]:
            raise ValueError(
                "`sequences` must be of shape (batch, time, height, width, channels) with known "
                f"height, width and channels. Received: shape {tuple(sequences_shape)}"
            )
        self.cell.set_spatial_shape(tuple(sequences_shape[2:4]))
        self.state_size = list(self.cell.state_size)
        super().build(sequences_shape)
        self.input_spec = keras.layers.InputSpec(
            ndim=5, axes={axis: sequences_shape[axis] for axis in (2, 3, 4)}
        )

    def call(self, sequences, initial_state=None, mask=None, training=False, sequences_mask=None):
        # Keras 3.15.1 passes the mask of the layer before as `mask`. With an initial state, it
        # passes the mask as `sequences_mask`, which its own recurrent layers do not take.
        mask = time_mask(sequences_mask if mask is None else mask)
        if initial_state is not None:
            initial_state = [ops.reshape(s, (-1, self.cell.output_size)) for s in initial_state]
        outputs = super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        if not self.return_state:
            return self._as_maps(outputs)
        return tuple(self._as_maps(output) for output in outputs)

    def compute_mask(self, sequences, mask):
        return super().compute_mask(sequences, time_mask(keras.tree.flatten(mask)[0]))

    def inner_loop(self, sequences, initial_state, mask, training=False):
        if training and self.cell.dropout > 0:
            # All steps share one dropout mask.
            sequences = sequences * self.cell.get_dropout_mask(sequences[:, 0])[:, None]
        terms = self.cell.project_inputs(self._at_positions(sequences))
        return super().inner_loop(terms, initial_state, mask, training)

    def get_initial_state(self, batch_size):
        """Return flat zeros. The layer must be built, so that the size of maps is known."""
        if not self.cell.built:
            raise ValueError(f"{self.name!r} must be built before its initial state has a size")
        return super().get_initial_state(batch_size)

    def attention_maps(self, sequences, initial_state=None, per_gate=False):
        """Return the attention maps, which are the weights of `r(X_t, X_t)` and `r(X_t, H_{t-1})`.

        Args:
            sequences: Feature maps `(batch, time, height, width, channels)` with a known number
                of steps.
            initial_state: As for a call.
            per_gate: Whether to return the weights of each gate (i, f, g, o) or their mean.

        Returns:
            Two tensors `(batch, time, height, width, height, width)`, or `(batch, time, 4,
            height, width, height, width)` with `per_gate=True`. For each step and each position
            of X_t, the first holds weights over the positions of X_t, and the second over the
            positions of H_{t-1}. The weights sum to 1. Steps are in the order of `sequences`, also
            with `go_backwards=True`.
        """
        sequences = ops.convert_to_tensor(sequences, dtype=self.compute_dtype)
        if not self.built:
            self.build(sequences.shape)
        states = initial_state
        if states is None:
            states = self.get_initial_state(batch_size=ops.shape(sequences)[0])
        states = [ops.reshape(s, (-1, self.cell.output_size)) for s in states]
        steps = ops.unstack(self._at_positions(sequences), axis=1)
        maps = []
        for x in reversed(steps) if self.go_backwards else steps:
            maps.append(self.cell.attention_maps(x, states[0]))
            _, states = self.cell(self.cell.project_inputs(x), states)
        if self.go_backwards:
            maps.reverse()
        height, width = self.cell.spatial_shape
        results = []
        for weights in zip(*maps, strict=True):  # (batch, 4, positions, positions) of each step
            weights = ops.stack(weights, axis=1)
            gates = weights.shape[2:3] if per_gate else ()
            weights = weights if per_gate else ops.mean(weights, axis=2)
            shape = (-1, len(steps), *gates, height, width, height, width)
            results.append(ops.reshape(weights, shape))
        return tuple(results)

    def _at_positions(self, sequences):
        """Reshape to `(batch, time, positions, channels)`."""
        time, channels = ops.shape(sequences)[1], sequences.shape[-1]
        return ops.reshape(sequences, (-1, time, self.cell.positions, channels))

    def _as_maps(self, x):
        """Reshape flat features to `(batch, [time,] height, width, units)`."""
        time = (ops.shape(x)[1],) if len(x.shape) == 3 else ()
        return ops.reshape(x, (-1, *time, *self.cell.spatial_shape, self.cell.units))

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        batch, time, height, width = sequences_shape[:4]
        state = (batch, height, width, self.cell.units)
        output = (batch, time, *state[1:]) if self.return_sequences else state
        return (output, state, state) if self.return_state else output

    def get_config(self):
        config = super().get_config()
        del config["cell"]
        cell = self.cell.get_config()
        return {**{k: v for k, v in cell.items() if k not in OF_THE_CELL}, **config}

    @classmethod
    def from_config(cls, config):
        return cls(**config)  # `from_config` of keras.layers.RNN expects a cell
