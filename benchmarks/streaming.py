"""A step of a stream against the whole network, and what the state takes.

    python benchmarks/streaming.py

The two-branch network of the relational LSTM on MobileNetV2, 8 snippets of 112x112: what a camera
costs for each snippet if the last 8 are scored anew, and with a state. Also the hundredth step.
"""

import math

import keras
import numpy as np
import tensorflow as tf
from absl import app
from timing import print_ratios, seconds_in_turns

from keras_videorel.export.streaming import step_model
from keras_videorel.models import RelationalLSTMResNet

SEGMENTS = 8


def main(_):
    keras.utils.set_random_seed(0)
    model = RelationalLSTMResNet(
        segments=SEGMENTS, backbone="mobilenet_v2", weights=None, input_shape=(112, 112, 3),
        classifier_activation=None,
    )  # fmt: skip
    step = step_model(model)
    x = np.random.default_rng(0).normal(size=(1, *model.input_shape[1:])).astype("float32")
    whole = tf.function(lambda clip: model(clip, training=False))
    once = tf.function(lambda inputs: step(inputs, training=False))
    zeros = {name: tf.zeros((1, *s.shape[1:])) for name, s in step.input.items()}
    zeros["snippet"] = tf.constant(x[:, 0])
    later = zeros
    for _ in range(99):
        later = {**later, **{k: v for k, v in once(later).items() if k in zeros}}
    seconds = seconds_in_turns(
        {
            f"all {SEGMENTS} snippets": lambda: whole(tf.constant(x)),
            "a step, the first": lambda: once(zeros),
            "a step, the hundredth": lambda: once(later),
        },
        rounds=30,
    )
    print_ratios("for each snippet of a stream", seconds, f"all {SEGMENTS} snippets")
    numbers = sum(math.prod(s.shape[1:]) for name, s in step.input.items() if name != "snippet")
    print(f"the state: {numbers:,} numbers, {4 * numbers / 1024:.0f} KiB")


if __name__ == "__main__":
    app.run(main)
