"""Small networks whose batch normalizations do something."""

import keras
import numpy as np

SMALL = {"classes": 5, "width": 4, "input_shape": (8, 32, 32, 3), "classifier_activation": None}


def with_statistics(model, seed=0):
    """The model with random statistics, signs of scales, and biases."""
    numbers = np.random.default_rng(seed)
    draws = {
        "gamma": lambda shape: numbers.uniform(0.5, 1.5, shape) * numbers.choice([-1, 1], shape),
        "beta": lambda shape: numbers.normal(0, 0.5, shape),
        "moving_mean": lambda shape: numbers.normal(0, 0.5, shape),
        "moving_variance": lambda shape: numbers.uniform(0.3, 2, shape),
        "bias": lambda shape: numbers.normal(0, 0.3, shape),
    }
    for weight in model.weights:
        draw = draws.get(weight.path.rsplit("/", 1)[-1])
        if draw is not None:
            weight.assign(draw(weight.shape))
    return model


def samples_of(model, count, seed=0):
    """Normal noise, a batch of one each."""
    numbers = np.random.default_rng(seed)
    shape = (1, *model.input_shape[1:])
    return [numbers.normal(size=shape).astype("float32") for _ in range(count)]


def relative_error(model, other):
    """Largest difference of two models on a sample, relative to the largest output."""
    (x,) = samples_of(model, 1)
    expected, received = (keras.ops.convert_to_numpy(m(x, training=False)) for m in (model, other))
    assert expected.shape == received.shape
    return np.abs(expected - received).max() / np.abs(expected).max()
