"""3D convolution with symmetric padding: the values of an explicit pad and convolution."""

import keras
import numpy as np
import pytest

from keras_videorel.layers import SymmetricConv3D
from tests.layers.checks import check_layer


@pytest.mark.parametrize(
    ("size", "kernel", "strides", "arguments"),
    [
        ((8, 9, 10), (3, 7, 7), (2, 2, 2), {}),
        ((7, 9, 10), (3, 3, 3), (2, 2, 2), {}),
        ((8, 9, 10), (1, 3, 3), (1, 2, 2), {}),
        ((8, 9, 10), (2, 3, 4), (3, 1, 2), {"padding": "valid"}),
        ((8, 8, 8), (1, 1, 1), (2, 2, 2), {"use_bias": False}),
        ((8, 9, 10), (3, 3, 3), (1, 1, 1), {}),
        ((4, 5, 6), (3, 3, 3), (2, 2, 2), {"groups": 2}),
    ],
)
def test_is_a_padded_convolution(size, kernel, strides, arguments):
    arguments = {"padding": "same", **arguments}
    layer = SymmetricConv3D(4, kernel, strides, **arguments)
    x = np.random.default_rng(0).normal(size=(2, *size, 6)).astype("float32")
    y = keras.ops.convert_to_numpy(layer(x))
    if layer.padding == "same":
        x = np.pad(x, [(0, 0), *[((k - 1) // 2, k // 2) for k in kernel], (0, 0)])
    w = keras.ops.convert_to_numpy(layer.kernel)
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(1, 2, 3))
    windows = windows[:, :: strides[0], :: strides[1], :: strides[2]]  # (b, t, h, w, c, x, y, z)
    inputs, filters = 6 // layer.groups, 4 // layer.groups
    expected = np.concatenate(
        [
            np.einsum(
                "bthwcxyz,xyzcf->bthwf",
                windows[..., g * inputs : (g + 1) * inputs, :, :, :],
                w[..., g * filters : (g + 1) * filters],
            )
            for g in range(layer.groups)
        ],
        axis=-1,
    )
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_what_every_layer_does(tmp_path):
    arguments = {"filters": 4, "kernel_size": (3, 3, 3), "strides": (2, 2, 2), "padding": "same"}
    check_layer(SymmetricConv3D, arguments, (2, 5, 6, 7, 3), tmp_path)
