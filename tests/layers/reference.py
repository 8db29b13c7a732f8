"""ARTNet's equations in float64 NumPy, written from the paper and from no code of the package."""

import numpy as np


def convolve(v, kernel, strides, padding="same"):
    """3D convolution, channels last, padded by (k - 1) // 2 before and k // 2 after."""
    sizes = kernel.shape[:3]
    if padding == "same":
        v = np.pad(v, [(0, 0), *[((k - 1) // 2, k // 2) for k in sizes], (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(v, sizes, axis=(1, 2, 3))
    windows = windows[:, :: strides[0], :: strides[1], :: strides[2]]
    return np.einsum("bthwcxyz,xyzcf->bthwf", windows, kernel)


def normalize(x, gamma, beta, mean, variance, epsilon):
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def relu(x):
    return np.maximum(x, 0)


def relation(v, kernel, hidden, codes, strides, padding="same", group=2, weight=0.5, eps=1e-5):
    """Sec. 3.2, relation branch: `hidden` and `codes` are (gamma, beta, mean, variance)."""
    u = normalize(convolve(v, kernel, strides, padding), *hidden, eps) ** 2
    z = np.zeros((*u.shape[:-1], u.shape[-1] // group))
    for k in range(z.shape[-1]):
        for j in range(group):
            z[..., k] += weight * u[..., k * group + j]
    return relu(normalize(z, *codes, eps))


def smart(v, w, strides, padding="same", group=2, eps=1e-5):
    """Sec. 3.2, SMART block; `w` maps names of weights to arrays."""
    t = w["relation_kernel"].shape[0]
    frames = v if padding == "same" else v[:, (t - 1) // 2 : v.shape[1] - t // 2]
    f = convolve(frames, w["appearance_kernel"], strides, padding)
    f = relu(normalize(f, *w["appearance"], eps))
    z = relation(v, w["relation_kernel"], w["hidden"], w["codes"], strides, padding, group, eps=eps)
    h = np.concatenate([f, z], -1) @ w["reduction_kernel"][0, 0, 0] + w["reduction_bias"]
    return relu(normalize(h, *w["reduction"], eps))
