"""Keras layers of the two papers. They import only Keras and run on all of its backends."""

from keras_videorel.layers.progressive_batch_normalization import (
    ProgressiveBatchNormalization,
    swap_batch_normalization,
)
from keras_videorel.layers.relational_lstm import RelationalLSTM
from keras_videorel.layers.relational_lstm_cell import RelationalLSTMCell
from keras_videorel.layers.segment_consensus import SegmentConsensus
from keras_videorel.layers.smart import SMART
from keras_videorel.layers.square_pooling import SquarePooling
from keras_videorel.layers.symmetric_conv import SymmetricConv3D
from keras_videorel.layers.unfold_segments import UnfoldSegments

__all__ = [
    "SMART",
    "ProgressiveBatchNormalization",
    "RelationalLSTM",
    "RelationalLSTMCell",
    "SegmentConsensus",
    "SquarePooling",
    "SymmetricConv3D",
    "UnfoldSegments",
    "swap_batch_normalization",
]
