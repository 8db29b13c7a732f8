"""Consensus over the segments of a video."""

import keras
from keras import ops

from keras_videorel.checks import check_choice
from keras_videorel.layers.time_mask import time_mask


@keras.saving.register_keras_serializable(package="keras_videorel")
class SegmentConsensus(keras.layers.Layer):
    """Consensus over the segments of a video.

    A temporal segment network combines the scores of segments. The local branch of the relational
    LSTM network combines their features (Sec. 4).

    Args:
        consensus: `"average"`, as in both papers, or `"max"`.
        **kwargs: `name`, `dtype`.

    Call arguments:
        inputs: Features or scores of each segment. Scores are taken before the softmax.
        mask: Boolean `(batch, segments)`. Segments with `False` do not count. With more axes, a
            segment is masked if all its values are `False`. If all segments of a video are
            masked, its output is zero.

    Input shape:
        `(batch, segments, ..., features)`.

    Output shape:
        `(batch, ..., features)`.

    Raises:
        ValueError: If `consensus` is unknown.

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
        # In Keras 3.15.1, `max` of an empty batch fails or has a wrong shape. So empty batches take
        # the mean, and `max` gets an `initial` value.
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
        # `where`, because masked values may be NaN.
        values = ops.cast(ops.where(mask, inputs, 0.0), "float32")
        count = ops.sum(ops.cast(mask, "float32"), axis=1)
        return ops.cast(ops.sum(values, axis=1) / ops.maximum(count, 1.0), inputs.dtype)

    def compute_mask(self, inputs, mask=None):
        return None  # the output has no segments

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *input_shape[2:])

    def get_config(self):
        return {**super().get_config(), "consensus": self.consensus}
