"""The cell of a relational LSTM."""

import keras
from keras import ops

from keras_videorel.checks import check_integer
from keras_videorel.ops.relation import attend, project

GATES = 4  # i, f, g, o: input, forget, candidate, output, in the order of keras.layers.LSTM


@keras.saving.register_keras_serializable(package="keras_videorel")
class RelationalLSTMCell(keras.layers.LSTMCell):
    """Cell of a relational LSTM (Sec. 3, Eq. 3), for `keras.layers.RNN`.

    The state of this LSTM cell is a feature map. Generalized non-local operations `r` over its
    positions replace the matrix products of an LSTM:

        i_t = sigmoid(r_ix(X_t, X_t) + r_ih(X_t, H_{t-1}))
        f_t = sigmoid(r_fx(X_t, X_t) + r_fh(X_t, H_{t-1}))
        o_t = sigmoid(r_ox(X_t, X_t) + r_oh(X_t, H_{t-1}))
        g_t = tanh(r_gx(X_t, X_t) + r_gh(X_t, H_{t-1}))
        C_t = f_t * C_{t-1} + i_t * g_t
        H_t = o_t * tanh(C_t)

    with `r(X, Y)_i = sum_j softmax_j(theta(x_i)^T phi(y_j)) g(y_j)` (Eq. 2 and 4); see
    `keras_videorel.ops.nonlocal_operation`. With one position, it is a `keras.layers.LSTMCell`.
    `keras_videorel.layers.RelationalLSTM` has the same weights, but takes and returns feature
    maps.

    `keras.layers.RNN` takes masks `(batch, time)`. `keras.layers.Masking` only makes such masks
    from flat features. For feature maps, use `RelationalLSTM`, or put
    `keras.layers.Reshape((T, -1))` before `Masking`.

    Each of the eight relations has its own embeddings. A weight holds the embeddings of four
    relations; its axis of size 4 is the gate, in the order i, f, g, o. With C input channels, u
    units and embedding dimension d:

    | weight    | shape     | symbol                            | applies to         |
    |-----------|-----------|-----------------------------------|--------------------|
    | `theta_x` | (C, 4, d) | W_theta of r_ix, r_fx, r_gx, r_ox | x_i of X_t         |
    | `phi_x`   | (C, 4, d) | W_phi of the same relations       | x_j of X_t         |
    | `g_x`     | (C, 4, u) | W_g of the same relations         | x_j of X_t         |
    | `theta_h` | (C, 4, d) | W_theta of r_ih, r_fh, r_gh, r_oh | x_i of X_t         |
    | `phi_h`   | (u, 4, d) | W_phi of the same relations       | h_j of H_{t-1}     |
    | `g_h`     | (u, 4, u) | W_g of the same relations         | h_j of H_{t-1}     |
    | `bias`    | (4, u)    | not in Eq. 3                      | gates (`use_bias`) |

    The paper leaves some choices open. The defaults are d = u, zero initial states (Sec. 4), and,
    as in the equations, no scale and no bias.

    Args:
        units: Channels u of the hidden state; C / 2 in the paper.
        spatial_shape: `(height, width)` of the feature maps.
        embedding_dim: Size d of the embeddings; `units` by default.
        activation: Activation of the candidate and of the cell state.
        recurrent_activation: Activation of the gates.
        use_bias: Whether gates have a bias; not in Eq. 3.
        kernel_initializer: Initializer of the projections of the input: `theta_x`, `phi_x`,
            `g_x`, `theta_h`. It is called for each gate, so that Glorot initializers use the fan
            of one projection.
        recurrent_initializer: Initializer of the projections of the state: `phi_h`, `g_h`.
        bias_initializer: Initializer of the bias.
        unit_forget_bias: Whether the bias of the forget gate starts at 1.
        kernel_regularizer: Regularizer of the projections of the input.
        recurrent_regularizer: Regularizer of the projections of the state.
        bias_regularizer: Regularizer of the bias.
        kernel_constraint: Constraint of the projections of the input.
        recurrent_constraint: Constraint of the projections of the state.
        bias_constraint: Constraint of the bias.
        dropout: Dropout rate of the input features. All steps share one dropout mask.
        recurrent_dropout: Dropout rate of the hidden state.
        seed: Seed of dropout.
        use_scale: Whether to divide exponents by sqrt(d); Eq. 4 does not.
        **kwargs: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Feature maps of one step, or, with rank 3, the result of `project_inputs`.
        states: Hidden state and cell state, `[H_{t-1}, C_{t-1}]`.
        training: Whether to apply dropout.

    Input shape:
        `(batch, height, width, channels)` or flat `(batch, height * width * channels)`; states
        `(batch, height * width * units)`.

    Output shape:
        `(batch, height * width * units)`, and states of the same shape. `keras.layers.RNN`
        requires states of rank 2.

    Raises:
        ValueError: If an argument is out of range, or the input does not fit `spatial_shape`.

    Example:

    >>> features = keras.Input((8, 7, 7, 1280))  # 8 steps
    >>> cell = RelationalLSTMCell(256, spatial_shape=(7, 7))
    >>> y = keras.layers.RNN(cell)(features)
    >>> y = keras.layers.Reshape((7, 7, 256))(y)

    References:
        [Relational Long Short-Term Memory for Video Action Recognition](
        https://arxiv.org/abs/1811.07059), Sec. 3.
    """

    def __init__(
        self,
        units,
        spatial_shape,
        embedding_dim=None,
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=False,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="glorot_uniform",
        bias_initializer="zeros",
        unit_forget_bias=False,
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        dropout=0.0,
        recurrent_dropout=0.0,
        seed=None,
        use_scale=False,
        **kwargs,
    ):
        # keras.layers.LSTMCell handles these arguments, their config and the dropout mask. This
        # class replaces the states, the weights and the step.
        super().__init__(
            check_integer("units", units, 1),
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            **kwargs,
        )
        self.dropout_mask_count = None  # one mask, which the four gates share
        self.embedding_dim = check_integer(
            "embedding_dim", self.units if embedding_dim is None else embedding_dim, 1
        )
        self.use_scale = use_scale
        self.set_spatial_shape(spatial_shape)

    def set_spatial_shape(self, spatial_shape):
        """Set the size of the feature maps, on which no weight depends."""
        if not isinstance(spatial_shape, (tuple, list)) or len(spatial_shape) != 2:
            raise ValueError(
                "`spatial_shape` must be the (height, width) of the feature maps. "
                f"Received: spatial_shape={spatial_shape!r}"
            )
        self.spatial_shape = tuple(check_integer("spatial_shape", s, 1) for s in spatial_shape)
        self.positions = self.spatial_shape[0] * self.spatial_shape[1]
        self.output_size = self.positions * self.units
        self.state_size = [self.output_size, self.output_size]

    def build(self, input_shape):
        channels = self._channels(input_shape)
        u, d = self.units, self.embedding_dim
        self.theta_x = self._add_projection("theta_x", channels, d)
        self.phi_x = self._add_projection("phi_x", channels, d)
        self.g_x = self._add_projection("g_x", channels, u)
        self.theta_h = self._add_projection("theta_h", channels, d)
        self.phi_h = self._add_projection("phi_h", u, d, recurrent=True)
        self.g_h = self._add_projection("g_h", u, u, recurrent=True)
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(GATES, u),
                name="bias",
                initializer=self._initial_bias,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.built = True

    def call(self, inputs, states, training=False):
        h_tm1, c_tm1 = states
        if len(inputs.shape) != 3:
            if training and self.dropout > 0:
                inputs = inputs * self.get_dropout_mask(inputs)
            inputs = self.project_inputs(self._at_positions(inputs))
        # inputs: (batch, positions, 4 * (units + embedding_dim))
        x_terms, queries = ops.split(inputs, [GATES * self.units], axis=-1)
        x_terms = ops.reshape(x_terms, (-1, self.positions, GATES, self.units))
        queries = ops.reshape(queries, (-1, self.positions, GATES, self.embedding_dim))

        if training and self.recurrent_dropout > 0:
            h_tm1 = h_tm1 * self.get_recurrent_dropout_mask(h_tm1)
        h_tm1 = ops.reshape(h_tm1, (-1, self.positions, self.units))
        h_terms, _ = self.relate_state(queries, h_tm1)
        gates = x_terms + h_terms  # (batch, positions, 4, units)
        i, f, g, o = (
            ops.reshape(gates[:, :, gate], (-1, self.output_size)) for gate in range(GATES)
        )
        i, f, o = (self.recurrent_activation(gate) for gate in (i, f, o))
        c = f * c_tm1 + i * self.activation(g)
        h = o * self.activation(c)
        return h, [h, c]

    def project_inputs(self, x):
        """Compute the terms of a step that do not depend on the state.

        These are `r(X_t, X_t)` with the bias, and `theta(X_t)` of the relations with `H_{t-1}`.

        Args:
            x: `(..., positions, channels)`; the leading axes may be batch and time.

        Returns:
            `(..., positions, 4 * (units + embedding_dim))`.
        """
        x_terms, _ = self.relate_inputs(x)
        if self.bias is not None:
            x_terms = x_terms + self.bias
        queries = project(x, self.theta_h)
        leading = tuple(ops.shape(x)[:-1])
        return ops.concatenate(
            [ops.reshape(t, (*leading, GATES * t.shape[-1])) for t in (x_terms, queries)], axis=-1
        )

    def relate_inputs(self, x):
        """Compute `r(X_t, X_t)` of the four gates for `x`, `(..., positions, channels)`.

        Returns:
            `(Z, omega)`: `(..., positions, 4, units)` and `(..., 4, positions, positions)`.
        """
        return attend(
            project(x, self.theta_x),
            project(x, self.phi_x),
            project(x, self.g_x),
            use_scale=self.use_scale,
        )

    def relate_state(self, queries, h):
        """Compute `r(X_t, H_{t-1})` of the four gates; returns `(Z, omega)` as `relate_inputs`.

        `queries` are `theta(X_t)`, `(batch, positions, 4, embedding_dim)`, and `h` is `H_{t-1}`,
        `(batch, positions, units)`.
        """
        return attend(
            queries, project(h, self.phi_h), project(h, self.g_h), use_scale=self.use_scale
        )

    def attention_maps(self, x, h):
        """Return the weights of `r(X_t, X_t)` and of `r(X_t, H_{t-1})`.

        Both are `(batch, 4, positions, positions)`. `x` is `X_t`, `(batch, positions, channels)`,
        and `h` is the flat `H_{t-1}`.
        """
        h = ops.reshape(h, (-1, self.positions, self.units))
        of_state = self.relate_state(project(x, self.theta_h), h)
        return self.relate_inputs(x)[1], of_state[1]

    def _add_projection(self, name, rows, columns, recurrent=False):
        kind = "recurrent" if recurrent else "kernel"
        initializer = getattr(self, f"{kind}_initializer")
        place = len(self.weights)

        def initialize(shape, dtype=None):
            # Each gate is initialized alone, with the fan of one projection. The gates are stored
            # as one weight, so that one product computes all of them.
            gates = [_reseeded(initializer, GATES * place + gate) for gate in range(GATES)]
            return ops.stack([gate((rows, columns), dtype=dtype) for gate in gates], axis=1)

        return self.add_weight(
            shape=(rows, GATES, columns),
            name=name,
            initializer=initialize,
            regularizer=getattr(self, f"{kind}_regularizer"),
            constraint=getattr(self, f"{kind}_constraint"),
        )

    def _initial_bias(self, shape, dtype=None):
        i, f, g, o = ops.unstack(self.bias_initializer(shape, dtype=dtype))
        return ops.stack([i, ops.ones_like(f) if self.unit_forget_bias else f, g, o])

    def _channels(self, input_shape):
        """Return the channels of feature maps or of flat features."""
        sizes = tuple(input_shape[1:])
        if len(sizes) == len(self.spatial_shape) + 1 and sizes[:-1] == self.spatial_shape:
            return sizes[-1]
        if len(sizes) == 1 and sizes[0] is not None and sizes[0] % self.positions == 0:
            return sizes[0] // self.positions
        spatial = ", ".join(map(str, self.spatial_shape))
        raise ValueError(
            f"inputs of a step must be of shape (batch, {spatial}, channels), or flat, (batch, "
            f"{self.positions} * channels), for spatial_shape={self.spatial_shape}. "
            f"Received: shape {tuple(input_shape)}"
        )

    def _at_positions(self, inputs):
        """Reshape to `(batch, positions, channels)`."""
        return ops.reshape(inputs, (-1, self.positions, self._channels(inputs.shape)))

    def get_config(self):
        return {
            **super().get_config(),
            "spatial_shape": self.spatial_shape,
            "embedding_dim": self.embedding_dim,
            "use_scale": self.use_scale,
        }


def _reseeded(initializer, place):
    """Return an initializer with another seed for each place.

    Unless its seed is a generator, a Keras initializer returns the same numbers in every call.
    """
    if not isinstance(getattr(initializer, "seed", None), int):
        return initializer
    config = initializer.get_config()
    if config["seed"] is not None:
        config["seed"] += place
    return initializer.__class__.from_config(config)
