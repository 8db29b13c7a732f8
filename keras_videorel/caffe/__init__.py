"""The weights that ARTNet's authors published, which are files of Caffe, read without Caffe."""

from keras_videorel.caffe.conversion import NETWORKS, Conversion, convert
from keras_videorel.caffe.reader import Layer, read_layers

__all__ = ["NETWORKS", "Conversion", "Layer", "convert", "read_layers"]
