"""Snippets of a video out of the batch again."""

import keras
from keras import ops

from keras_videorel.layers.time_mask import time_mask


@keras.saving.register_keras_serializable(package="keras_videorel")
class UnfoldSegments(keras.layers.Layer):
    """What was made of single snippets, by video again, with the mask that the snippets had.

    A network that sees each snippet alone takes them folded into the batch, which no mask
    survives.

    Args:
        **kwargs: `name`, `dtype`.

    Call arguments:
        inputs: A list: `(batch * segments, ...)`, and the snippets `(batch, segments, ...)` that
            it was made of.

    Output shape:
        `(batch, segments, ...)`, the first with the batch of the second.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        x, snippets = inputs
        return ops.reshape(x, (-1, snippets.shape[1], *x.shape[1:]))

    def compute_mask(self, inputs, mask):
        return None if mask is None else time_mask(mask[1])

    def compute_output_shape(self, input_shape):
        x, snippets = input_shape
        return (*snippets[:2], *x[1:])
