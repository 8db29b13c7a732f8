"""The relation branch of ARTNet: square-pooling."""

import keras
import numpy as np
from keras import ops

from keras_videorel.checks import check_choice, check_integer, check_number
from keras_videorel.layers.progressive_batch_normalization import ProgressiveBatchNormalization
from keras_videorel.layers.symmetric_conv import SymmetricConv3D


@keras.saving.register_keras_serializable(package="keras_videorel")
class SquarePooling(keras.layers.Layer):
    """Appearance-independent relation between frames (ARTNet, Sec. 3.1-3.2, Fig. 2b).

    A 3D convolution, batch normalization and a square compute the hidden units
    `U = BN(W * V)^2`. Each transformation code pools a group of adjacent hidden units with a
    fixed weight, `z_k = 0.5 * sum(u_j for j in group k)`. Batch normalization and ReLU follow.
    The square turns sums over frames into products between frames (the energy model of Sec. 3.1),
    so `z` depends more on the change between frames than on their content. In a new
    layer, a clip `V` and its negative `-V` have the same codes.

    Args:
        filters: Number of hidden units, C_t, which is the number of kernels of the 3D
            convolution. The layer returns `filters // group_size` codes.
        kernel_size: Integer or 3 integers, `(time, height, width)`.
        strides: Integer or 3 integers, `(time, height, width)`.
        padding: `"same"` (symmetric, output size `ceil(n / stride)`) or `"valid"`.
        group_size: Hidden units per code; 2 in the paper. Must divide `filters`.
        pooling_weight: Fixed weight of each hidden unit in its code; 0.5 in the paper.
        hidden_limit: Bound on the response before the square: `BN(W * V)` is clipped to
            `[-hidden_limit, hidden_limit]`. `None` is the unit of the paper. Stacked squares
            raise large responses to the power of 2, 4, 8, ..., and the bound prevents this.
        activation: Activation of the codes.
        momentum: Momentum of the moving statistics in batch normalization.
        epsilon: Added to variances in batch normalization.
        progressive: Whether to use `ProgressiveBatchNormalization`, which needs a `momentum`
            such as 0.999.
        kernel_initializer: Initializer of the convolution kernel.
        kernel_regularizer: Regularizer of the convolution kernel.
        kernel_constraint: Constraint of the convolution kernel.
        **kwargs: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Clips or feature maps. Time, height and width may be unknown.
        training: Whether batch normalization uses the statistics of the batch.

    Input shape:
        `(batch, time, height, width, channels)`.

    Output shape:
        `(batch, time', height', width', filters // group_size)`.

    Raises:
        ValueError: If an argument is out of range, or the input does not have rank 5.

    Example:

    >>> clips = keras.random.normal((2, 16, 56, 56, 3))
    >>> SquarePooling(64, kernel_size=(3, 7, 7), strides=2)(clips).shape
    (2, 8, 28, 28, 32)

    References:
        [Appearance-and-Relation Networks for Video Classification](
        https://arxiv.org/abs/1711.09125), Sec. 3.1, Sec. 3.2.
    """

    def __init__(
        self,
        filters,
        kernel_size=(3, 3, 3),
        strides=(1, 1, 1),
        padding="same",
        group_size=2,
        pooling_weight=0.5,
        hidden_limit=None,
        activation="relu",
        momentum=0.9,
        epsilon=1e-5,
        progressive=False,
        kernel_initializer="lecun_uniform",
        kernel_regularizer=None,
        kernel_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = check_integer("filters", filters, 1)
        self.kernel_size = time_height_width("kernel_size", kernel_size)
        self.strides = time_height_width("strides", strides)
        self.padding = check_choice("padding", str(padding).lower(), ("same", "valid"))
        self.group_size = check_integer("group_size", group_size, 1)
        if self.filters % self.group_size:
            raise ValueError(
                "`filters` must be divisible by `group_size`, so that every code pools a whole "
                f"group of hidden units. Received: filters={filters}, group_size={group_size}"
            )
        if hidden_limit is not None:
            check_number("hidden_limit", hidden_limit, above=0)
        self.pooling_weight = pooling_weight
        self.hidden_limit = hidden_limit
        self.activation = keras.activations.get(activation)
        self.momentum = momentum
        self.epsilon = epsilon
        self.progressive = progressive
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.input_spec = keras.layers.InputSpec(ndim=5)

        self.convolution = SymmetricConv3D(
            self.filters,
            self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            use_bias=False,
            kernel_initializer=self.kernel_initializer,
            kernel_regularizer=self.kernel_regularizer,
            kernel_constraint=self.kernel_constraint,
            dtype=self.dtype_policy,
            name="convolution",
        )
        normalization = (
            ProgressiveBatchNormalization if progressive else keras.layers.BatchNormalization
        )
        self.hidden_normalization = normalization(
            momentum=momentum,
            epsilon=epsilon,
            dtype=self.dtype_policy,
            name="hidden_normalization",
        )
        # Squares exceed the range of float16 and the precision of bfloat16. From the square to
        # the normalized code, the layer computes in the dtype of its variables.
        self.code_normalization = normalization(
            momentum=momentum,
            epsilon=epsilon,
            dtype=self.variable_dtype,
            name="code_normalization",
        )

    def build(self, input_shape):
        self.convolution.build(input_shape)
        hidden_shape = self.convolution.compute_output_shape(input_shape)
        self.hidden_normalization.build(hidden_shape)
        codes = self.filters // self.group_size
        self.code_normalization.build((*hidden_shape[:-1], codes))
        # The pooling is a product with a constant matrix. On a CPU, this is faster than a sum over
        # a reshaped axis.
        self._pooling = self.pooling_weight * np.repeat(np.eye(codes), self.group_size, axis=0)

    def call(self, inputs, training=None):
        u = self.hidden_normalization(self.convolution(inputs), training=training)
        u = ops.cast(u, self.variable_dtype)
        if self.hidden_limit is not None:
            u = ops.clip(u, -self.hidden_limit, self.hidden_limit)
        z = ops.matmul(ops.square(u), ops.cast(self._pooling, u.dtype))
        z = self.activation(self.code_normalization(z, training=training))
        return ops.cast(z, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        hidden_shape = self.convolution.compute_output_shape(input_shape)
        return (*hidden_shape[:-1], self.filters // self.group_size)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "group_size": self.group_size,
            "pooling_weight": self.pooling_weight,
            "hidden_limit": self.hidden_limit,
            "activation": keras.activations.serialize(self.activation),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "progressive": self.progressive,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }


def time_height_width(name, value):
    """Return 3 positive integers `(time, height, width)` from one or 3 integers."""
    values = value if isinstance(value, (tuple, list)) else (value,) * 3
    if len(values) != 3:
        raise ValueError(
            f"`{name}` must be an integer or 3, (time, height, width). Received: {value!r}"
        )
    return tuple(check_integer(name, size, 1) for size in values)
