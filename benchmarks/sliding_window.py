"""What overlapping clips of a sliding window have in common, layer by layer.

    python benchmarks/sliding_window.py

Runs the networks of clips on two clips of one video, the second some frames later, and counts the
time steps of each layer whose values are equal in both: those need not be computed again. Kernels
see zeros before the first and after the last frame of a clip, so that a step is equal only where
no layer below has seen them, and where the shift is a multiple of the layer's temporal stride.
Weighted with the multiply-adds of the layers at 16x112x112.
"""

import keras
import numpy as np
from absl import app

from keras_videorel import models
from keras_videorel.models.complexity import layer_multiply_adds

NETWORKS = {
    "C3D-ResNet18": (models.C3DResNet18, {}),
    "ARTNet-ResNet18 (s)": (models.ARTNetResNet18, {"variant": "s"}),
    "ARTNet-ResNet18 (d)": (models.ARTNetResNet18, {"variant": "d"}),
}
FRAMES = 16
SHIFTS = (1, 2, 4, 8)


def equal_steps(model, shift, rng):
    """Dict from layer to the share of its time steps that two clips have in common."""
    video = rng.normal(size=(1, FRAMES + shift, *model.input_shape[2:])).astype("float32")
    layers = [layer for layer in model.layers if layer.weights and len(layer.output.shape) == 5]
    features = keras.Model(model.input, [layer.output for layer in layers])
    first = features(video[:, :FRAMES], training=False)
    second = features(video[:, shift:], training=False)
    shares = {}
    for layer, *pair in zip(layers, first, second, strict=True):
        a, b = map(np.asarray, pair)
        steps = a.shape[1]
        stride = FRAMES // steps
        by = shift // stride
        shares[layer.name] = 0.0
        if shift % stride == 0 and by < steps:
            difference = np.abs(a[:, by:] - b[:, : steps - by]).max(axis=(0, 2, 3, 4))
            shares[layer.name] = np.sum(difference < 1e-5 * np.abs(a).max()) / steps
    return shares


def main(_):
    rng = np.random.default_rng(0)
    print("share of the multiply-adds that are the same in a clip some frames later")
    print(f"{'':22}" + "".join(f"{shift:>10}" for shift in SHIFTS))
    for name, (network, options) in NETWORKS.items():
        keras.utils.set_random_seed(0)
        whole = network(**options)
        costs = {layer.name: layer_multiply_adds(layer) for layer in whole.layers}
        small = network(**options, input_shape=(FRAMES, 32, 32, 3), width=8)
        row = []
        for shift in SHIFTS:
            shares = equal_steps(small, shift, rng)
            row.append(sum(share * costs[key] for key, share in shares.items()))
        total = sum(costs.values())
        print(f"{name:22}" + "".join(f"{value / total:>10.1%}" for value in row))
        for key, share in equal_steps(small, 2, rng).items():
            if share and costs[key]:
                part = costs[key] / total
                print(f"  {key:20}{share:7.0%} of its steps 2 frames later, {part:.1%} of the cost")


if __name__ == "__main__":
    app.run(main)
