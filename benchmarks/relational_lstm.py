"""RelationalLSTM against what else there is for feature maps over time, at the paper's size.

    python tools/benchmark.py relational_lstm

8 steps of 7x7x2048 to 1024 channels, batch 4: `keras.layers.ConvLSTM2D` with 3x3 kernels, which a
user would pick, and `keras.layers.RNN` over the relational cell, which hoists nothing.
"""

import keras
import numpy as np
from timing import print_ratios, training_and_inference

from keras_videorel.layers import RelationalLSTM, RelationalLSTMCell


def main():
    shape, units = (8, 7, 7, 2048), 1024
    layers = {
        "RelationalLSTM": RelationalLSTM(units),
        "RNN(RelationalLSTMCell)": keras.layers.RNN(RelationalLSTMCell(units, shape[1:3])),
        "ConvLSTM2D 3x3": keras.layers.ConvLSTM2D(units, 3, padding="same"),
    }
    models = {}
    for name, layer in layers.items():
        inputs = keras.Input(shape)
        models[name] = keras.Model(inputs, layer(inputs))
        print(f"{name:34}{models[name].count_params() / 1e6:9.1f} M parameters")
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    training, inference = training_and_inference(models, x)
    print_ratios("inference, times RelationalLSTM", inference, "RelationalLSTM")
    print_ratios("training step, times RelationalLSTM", training, "RelationalLSTM")


if __name__ == "__main__":
    main()
