"""Consensus of the segments of a video."""

import keras
from keras import ops

CONSENSUS = {"average": ops.mean, "max": ops.max}


@keras.saving.register_keras_serializable(package="keras_videorel")
class SegmentConsensus(keras.layers.Layer):
    """Consensus of a video's segments: of their scores in a temporal segment network, of their
    features in the local branch of the relational LSTM network (Sec. 4).

    Args:
        consensus: `"average"`, as in both papers, or `"max"`.
        **kwargs: `name`, `dtype`.

    Call arguments:
        inputs: Scores or features of each segment, scores before the softmax.

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
        if consensus not in CONSENSUS:
            raise ValueError(
                f"`consensus` must be one of {', '.join(map(repr, CONSENSUS))}. "
                f"Received: consensus={consensus!r}"
            )
        self.consensus = consensus
        self.input_spec = keras.layers.InputSpec(min_ndim=3)

    def call(self, inputs):
        return CONSENSUS[self.consensus](inputs, axis=1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *input_shape[2:])

    def get_config(self):
        return {**super().get_config(), "consensus": self.consensus}
