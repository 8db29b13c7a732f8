"""Strided 3D convolutions as 2D ones of stacked frames, against Keras's own.

    python tools/benchmark.py strided_convolution

The first convolution of ARTNet at the width and size of the demo, with its gradients.
"""

import keras
import numpy as np
from timing import print_ratios, training_and_inference

from keras_videorel.layers import SymmetricConv3D


def main():
    shape, arguments = (16, 48, 48, 3), {"strides": 2, "padding": "same", "use_bias": False}
    models = {}
    for name, layer in {
        "SymmetricConv3D": SymmetricConv3D(16, (3, 7, 7), **arguments),
        "keras.layers.Conv3D": keras.layers.Conv3D(16, (3, 7, 7), **arguments),
    }.items():
        inputs = keras.Input(shape)
        models[name] = keras.Model(inputs, layer(inputs))
    x = np.random.default_rng(0).normal(size=(8, *shape)).astype("float32")
    training, inference = training_and_inference(models, x)
    print_ratios("inference, times SymmetricConv3D", inference, "SymmetricConv3D")
    print_ratios("training step, times SymmetricConv3D", training, "SymmetricConv3D")


if __name__ == "__main__":
    main()
