"""Keras layers of the two papers; they import Keras alone and run on each of its backends."""

from keras_videorel.layers.smart import SMART
from keras_videorel.layers.square_pooling import SquarePooling
from keras_videorel.layers.symmetric_conv import SymmetricConv3D

__all__ = ["SMART", "SquarePooling", "SymmetricConv3D"]
