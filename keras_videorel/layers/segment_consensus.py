"""Consensus of the segments of a video."""

import keras
from keras import ops

from keras_videorel.checks import check_choice
from keras_videorel.layers.time_mask import time_mask


@keras.saving.register_keras_serializable(package="keras_videorel")
class SegmentConsensus(keras.layers.Layer):
    """Consensus of a video's segments: of their scores in a temporal segment network, of their
    features in the local branch of the relational LSTM network (Sec. 4).

    Args:
        consensus: `"average"`, as in both papers, or `"max"`.
        **kwargs: `name`, `dtype`.

    Call arguments:
        inputs: Scores or features of each segment, scores before the softmax.
        mask: Boolean `(batch, segments)`; a segment that is `False` does not count. A mask of
            more axes is `False` for a segment where all of it is. A video without any segment
            gets zeros.

    Input shape:
        `(batch, segments, ..., features)`.

    Output shape:
        `(batch, ..., features)`.

    Raises:
        ValueError: If `consensus` is none of these.

    Example:

    >>> scores = keras.Input((8, 101))
    >>> SegmentConsensus()(scores).shape
    (None, 101)

    References:
        [Temporal Segment Networks](https://arxiv.org/abs/1608.00859), Sec. 3.1.
    """

    def __init__(self, consensus="average", **kwargs):
        super().__init__(**kwargs)
        self.consensus = check_choice("consensus", consensus, ("average", "max"))
        self.input_spec = keras.layers.InputSpec(min_ndim=3)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        mask = time_mask(mask)
        # Keras 3.15.1: `max` of an empty batch is an error or of another shape, see also `initial`.
        average = self.consensus == "average" or inputs.shape[0] == 0
        if mask is None and average:
            return ops.mean(inputs, axis=1)
        lowest = -float("inf")
        if mask is None:
            return ops.max(inputs, axis=1, initial=lowest)
        for _ in inputs.shape[2:]:
            mask = ops.expand_dims(mask, axis=-1)
        if not average:
            largest = ops.max(ops.where(mask, inputs, lowest), axis=1, initial=lowest)
            return ops.where(ops.any(mask, axis=1), largest, 0.0)
        # `where`, as what is masked may be no number.
        values = ops.cast(ops.where(mask, inputs, 0.0), "float32")
        count = ops.sum(ops.cast(mask, "float32"), axis=1)
        return ops.cast(ops.sum(values, axis=1) / ops.maximum(count, 1.0), inputs.dtype)

    def compute_mask(self, inputs, mask=None):
        return None  # the segments are gone

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *input_shape[2:])

    def get_config(self):
        return {**super().get_config(), "consensus": self.consensus}
