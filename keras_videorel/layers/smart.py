"""SMART blocks: Simultaneously Modeling Appearance and RelaTion."""

import keras
from keras import ops

from keras_videorel.layers.progressive_batch_normalization import ProgressiveBatchNormalization
from keras_videorel.layers.square_pooling import SquarePooling
from keras_videorel.layers.symmetric_conv import SymmetricConv3D


@keras.saving.register_keras_serializable(package="keras_videorel")
class SMART(keras.layers.Layer):
    """SMART block (ARTNet, Sec. 3.2, Fig. 2c), a replacement for a 3D convolution.

    - Appearance branch: `F = ReLU(BN(W_s * V))`, a k x k convolution of each frame.
    - Relation branch: `Z = SquarePooling(V)`, t x k x k, with half as many channels.
    - Fusion: `H = ReLU(BN(W_f [F, Z] + b_f))`, a 1x1x1 convolution of the concatenation.

    Both branches use the strides of the block, so their outputs have the same size. If a temporal
    stride or `padding="valid"` drops frames, the appearance branch sees the middle frame of each
    relation kernel.

    Args:
        filters: Output channels, C_f. Each branch has as many kernels: C_s = C_t = C_f.
        kernel_size: Integer or 3 integers, `(time, height, width)`.
        strides: Integer or 3 integers, `(time, height, width)`.
        padding: `"same"` (symmetric, output size `ceil(n / stride)`) or `"valid"`.
        group_size: Hidden units that are pooled into a relation code; 2 in the paper. Must
            divide `filters`.
        pooling_weight: Fixed weight of the pooling; 0.5 in the paper.
        hidden_limit: Bound on the relation branch before its square, see `SquarePooling`. `None`
            is the block of the paper.
        activation: Activation of both branches.
        final_activation: Activation of the output. Use `None` for the last block of a residual
            unit.
        momentum: Momentum of the moving statistics in batch normalization.
        epsilon: Added to variances in batch normalization.
        progressive: Whether to use `ProgressiveBatchNormalization`, which needs a `momentum`
            such as 0.999.
        kernel_initializer: Initializer of the three kernels.
        kernel_regularizer: Regularizer of the three kernels.
        kernel_constraint: Constraint of the three kernels.
        **kwargs: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: Clips or feature maps. Time, height and width may be unknown.
        training: Whether batch normalization uses the statistics of the batch.

    Input shape:
        `(batch, time, height, width, channels)`.

    Output shape:
        `(batch, time', height', width', filters)`.

    Raises:
        ValueError: If an argument is out of range, or the input does not have rank 5.

    Example:

    >>> model = keras.Sequential([
    ...     keras.Input((16, 112, 112, 3)),
    ...     SMART(64, kernel_size=(3, 7, 7), strides=2),
    ...     SMART(64),
    ...     keras.layers.GlobalAveragePooling3D(),
    ...     keras.layers.Dense(400, activation="softmax"),
    ... ])

    References:
        [Appearance-and-Relation Networks for Video Classification](
        https://arxiv.org/abs/1711.09125), Sec. 3.2.
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
        final_activation="relu",
        momentum=0.9,
        epsilon=1e-5,
        progressive=False,
        kernel_initializer="lecun_uniform",
        kernel_regularizer=None,
        kernel_constraint=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.relation = SquarePooling(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            group_size=group_size,
            pooling_weight=pooling_weight,
            hidden_limit=hidden_limit,
            activation=activation,
            momentum=momentum,
            epsilon=epsilon,
            progressive=progressive,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            kernel_constraint=kernel_constraint,
            dtype=self.dtype_policy,
            name="relation",
        )
        self.filters = self.relation.filters
        self.kernel_size = self.relation.kernel_size
        self.strides = self.relation.strides
        self.padding = self.relation.padding
        self.group_size = self.relation.group_size
        self.pooling_weight = pooling_weight
        self.hidden_limit = hidden_limit
        self.activation = self.relation.activation
        self.final_activation = keras.activations.get(final_activation)
        self.momentum = momentum
        self.epsilon = epsilon
        self.progressive = progressive
        self.kernel_initializer = self.relation.kernel_initializer
        self.kernel_regularizer = self.relation.kernel_regularizer
        self.kernel_constraint = self.relation.kernel_constraint
        self.input_spec = keras.layers.InputSpec(ndim=5)

        shared = {
            "kernel_initializer": kernel_initializer,
            "kernel_regularizer": kernel_regularizer,
            "kernel_constraint": kernel_constraint,
            "dtype": self.dtype_policy,
        }
        normalization = (
            ProgressiveBatchNormalization if progressive else keras.layers.BatchNormalization
        )
        statistics = {"momentum": momentum, "epsilon": epsilon, "dtype": self.dtype_policy}
        self.appearance = SymmetricConv3D(
            self.filters,
            (1, *self.kernel_size[1:]),
            strides=self.strides,
            padding=self.padding,
            use_bias=False,
            name="appearance",
            **shared,
        )
        self.appearance_normalization = normalization(name="appearance_normalization", **statistics)
        # The batch normalization cancels this bias. The parameter counts of docs/architecture.md
        # include it.
        self.reduction = SymmetricConv3D(self.filters, 1, name="reduction", **shared)
        self.reduction_normalization = normalization(name="reduction_normalization", **statistics)

    def build(self, input_shape):
        self.relation.build(input_shape)
        self.appearance.build(input_shape)
        codes_shape = self.relation.compute_output_shape(input_shape)
        features_shape = (*codes_shape[:-1], self.filters)
        self.appearance_normalization.build(features_shape)
        self.reduction.build((*codes_shape[:-1], self.filters + codes_shape[-1]))
        self.reduction_normalization.build(features_shape)

    def call(self, inputs, training=None):
        f = self.appearance(self._middle_frames(inputs))
        f = self.activation(self.appearance_normalization(f, training=training))
        z = self.relation(inputs, training=training)
        h = self.reduction(ops.concatenate([f, z], axis=-1))
        return self.final_activation(self.reduction_normalization(h, training=training))

    def _middle_frames(self, inputs):
        """Return the frames that can be the middle frame of a relation kernel."""
        if self.padding == "same":
            return inputs
        before = (self.kernel_size[0] - 1) // 2
        after = self.kernel_size[0] - 1 - before
        return inputs[:, before : -after or None]

    def compute_output_shape(self, input_shape):
        return (*self.relation.compute_output_shape(input_shape)[:-1], self.filters)

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
            "final_activation": keras.activations.serialize(self.final_activation),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "progressive": self.progressive,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }

    @classmethod
    def from_config(cls, config):
        # Files of older versions have `final_normalization=True`, which is now always the case.
        return super().from_config({k: v for k, v in config.items() if k != "final_normalization"})
