"""Unfold the snippets of a video from the batch."""

import keras
from keras import ops

from keras_videorel.layers.time_mask import time_mask


@keras.saving.register_keras_serializable(package="keras_videorel")
class UnfoldSegments(keras.layers.Layer):
    """Unfolds features of snippets from the batch, and restores the mask of the snippets.

    A network that encodes each snippet alone takes the snippets folded into the batch. The mask is
    lost there.

    Args:
        **kwargs: `name`, `dtype`.

    Call arguments:
        inputs: A list of the features `(batch * segments, ...)` and the snippets
            `(batch, segments, ...)` that they were computed from.

    Output shape:
        `(batch, segments, ...)`: the features of the snippets by video.
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
