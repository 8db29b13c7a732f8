"""The weights that ARTNet's authors published, which are files of Caffe, read without Caffe."""

from keras_videorel.caffe.conversion import Conversion, convert
from keras_videorel.caffe.network import NETWORKS, CaffeResNet18
from keras_videorel.caffe.reader import Layer, read_layers

__all__ = ["NETWORKS", "CaffeResNet18", "Conversion", "Layer", "convert", "read_layers"]
