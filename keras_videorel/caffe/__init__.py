"""Read the Caffe weights that the authors of ARTNet published, without Caffe."""

from keras_videorel.caffe.conversion import Conversion, convert
from keras_videorel.caffe.network import NETWORKS, CaffeResNet18
from keras_videorel.caffe.reader import Layer, read_layers

__all__ = ["NETWORKS", "CaffeResNet18", "Conversion", "Layer", "convert", "read_layers"]
