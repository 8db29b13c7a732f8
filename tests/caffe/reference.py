"""The networks of ARTNet's authors as their prototxt files list them, and Caffe's layers in NumPy.

Written from those files and from what Caffe's layers compute, in Caffe's layout (batch, channels,
time, height, width), and from no code of the package. Layers are small tuples; every number that
the prototxt gives (kernels, strides, pads, groups, biases) is in them.
"""

from typing import NamedTuple

import numpy as np

from tests.caffe import encoder


class Op(NamedTuple):
    """A layer: name, type, bottoms, top, shapes of its blobs, and settings."""

    name: str
    type: str
    bottoms: tuple
    top: str
    shapes: tuple = ()
    settings: dict | None = None


def graph(network, width=64, classes=400):
    """The layers of a network in the order of its prototxt.

    `c3d` and `artnet_d` are the published ones; `artnet_s`, of which no prototxt was published,
    is `artnet_d` with plain convolutions in the residual units.
    """
    ops = [Op("data", "VideoData", (), "data")]
    smart_blocks = 0

    def convolution(name, bottom, channels, filters, kernel, stride, bias, group=1):
        shapes = ((filters, channels // group, *kernel),) + ((filters,),) * bias
        settings = {"stride": stride, "pad": tuple(k // 2 for k in kernel), "group": group}
        ops.append(Op(name, "Convolution", (bottom,), name, shapes, settings))
        return name

    def bn(bottom, channels, name=None):
        name = name or f"{bottom}_bn"
        ops.append(Op(name, "BN", (bottom,), name, ((1, channels),) * 4))
        return name

    def relu(top):
        ops.append(Op(f"{top}_relu", "ReLU", (top,), top))  # in place
        return top

    def smart(name, bottom, channels, filters, kernel, stride, bias):
        nonlocal smart_blocks
        smart_blocks += 1
        n = smart_blocks
        flat = (1, *kernel[1:])
        appearance = bn(convolution(name, bottom, channels, filters, flat, stride, bias), filters)
        t = convolution(f"{name}_t", bottom, channels, filters, kernel, stride, bias)
        t = bn(t, filters)
        ops.append(Op(f"energy{n}", "Power", (t,), f"energy{n}"))
        one = (1, 1, 1)
        pooled = convolution(
            f"pooling{n}", f"energy{n}", filters, filters // 2, one, 1, False, group=filters // 2
        )
        pooled = bn(pooled, filters // 2)
        ops.append(Op(f"concat{n}", "Concat", (appearance, pooled), f"concat{n}"))
        both = relu(f"concat{n}")
        return convolution(f"redu{n}", both, filters * 3 // 2, filters, one, 1, bias)

    three, seven = (3, 3, 3), (3, 7, 7)
    plain = network == "c3d"
    stem = convolution if plain else smart
    total = stem("conv1", "data", 3, width, seven, 2, plain)
    x, channels = relu(bn(total, width)), width
    for stage in (2, 3, 4, 5):
        filters = width * 2 ** (stage - 2)
        bias = plain or stage > 2
        second = smart if network == "artnet_d" and stage < 5 else convolution
        for letter in "ab":
            name = f"res{stage}{letter}"
            stride = 2 if letter == "a" and stage > 2 else 1
            inner = convolution(f"{name}_1", x, channels, filters, three, stride, bias)
            inner = relu(bn(inner, filters))
            term = second(f"{name}_2", inner, filters, filters, three, 1, bias)
            if stride == 2:
                total = convolution(f"{name}_down", x, channels, filters, three, 2, bias)
            ops.append(Op(name, "Eltwise", (term, total), name))
            total, channels = name, filters
            x = relu(bn(name, filters))
    ops.append(Op("global_pool", "Pooling", (x,), "global_pool", (), {"kernel": (1, 7, 7)}))
    ops.append(Op("global_pool_reshape", "Reshape", ("global_pool",), "global_pool_reshape"))
    ops.append(Op("dropout", "Dropout", ("global_pool_reshape",), "global_pool_reshape"))
    shapes = ((classes, channels), (classes,))
    ops.append(Op("fc8", "InnerProduct", ("global_pool_reshape",), "fc-action", shapes))
    return ops


def random_blobs(ops, seed=0):
    """Float32 weights by layer; statistics as they come, see `run`."""
    rng = np.random.default_rng(seed)
    blobs = {}
    for op in ops:
        arrays = []
        for i, shape in enumerate(op.shapes):
            if op.type == "BN":
                values = rng.uniform(0.5, 1.5, shape) if i in (0, 3) else rng.normal(size=shape)
            elif op.name.startswith("pooling"):
                values = np.full(shape, 0.5)
            else:
                values = rng.normal(size=shape) * np.prod(op.shapes[0][1:]) ** -0.5
            arrays.append(values.astype("float32"))
        if arrays:
            blobs[op.name] = arrays
    return blobs


def run(ops, blobs, data, settle=False):
    """Scores of clips (batch, channels, time, height, width), in float64.

    With `settle` the statistics of the batch normalizations become, in place, near those of the
    clips, as training would leave them: activations then keep their size through seven squares.
    """
    rng = np.random.default_rng(1)
    tops = {"data": data.astype("float64")}
    for op in ops[1:]:
        inputs = [tops[bottom] for bottom in op.bottoms]
        x = inputs[0]
        if op.type == "BN" and settle:
            mean, variance = blobs[op.name][2:]
            mean[...] = x.mean(axis=(0, 2, 3, 4)) * rng.uniform(0.8, 1.25, mean.shape)
            variance[...] = x.var(axis=(0, 2, 3, 4)) * rng.uniform(0.8, 1.25, mean.shape)
        weights = [array.astype("float64") for array in blobs.get(op.name, ())]
        if op.type == "Convolution":
            x = convolve(x, *weights, **op.settings)
        elif op.type == "BN":
            slope, shift, mean, variance = (w.reshape(1, -1, 1, 1, 1) for w in weights)
            x = slope * (x - mean) / np.sqrt(variance + 1e-5) + shift
        elif op.type == "ReLU":
            x = np.maximum(x, 0)
        elif op.type == "Power":
            x = x**2
        elif op.type == "Concat":
            x = np.concatenate(inputs, axis=1)
        elif op.type == "Eltwise":
            x = inputs[0] + inputs[1]
        elif op.type == "Pooling":
            assert x.shape[2:] == op.settings["kernel"], "one window, AVE"
            x = x.mean(axis=(2, 3, 4), keepdims=True)
        elif op.type == "Reshape":
            x = x.reshape(len(x), -1)
        elif op.type == "InnerProduct":
            x = x @ weights[0].T + weights[1]
        else:
            assert op.type == "Dropout"
        tops[op.top] = x
    return x


def convolve(x, kernel, bias=None, *, stride, pad, group):
    """Caffe's convolution: zeros on both sides, channels in groups; an offset at a time."""
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pad)])
    sizes = [(n - k) // stride + 1 for n, k in zip(x.shape[2:], kernel.shape[2:], strict=True)]
    groups = []
    for kernels, maps in zip(np.split(kernel, group), np.split(x, group, axis=1), strict=True):
        out = np.zeros((len(x), len(kernels), *sizes))
        for offset in np.ndindex(*kernel.shape[2:]):
            window = tuple(
                slice(o, o + (n - 1) * stride + 1, stride)
                for o, n in zip(offset, sizes, strict=True)
            )
            out += np.einsum("oc,ncthw->nothw", kernels[(..., *offset)], maps[(..., *window)])
        groups.append(out)
    out = np.concatenate(groups, axis=1)
    return out if bias is None else out + bias.reshape(1, -1, 1, 1, 1)


def encode(ops, blobs, style="packed"):
    """The `.caffemodel` of a network, as bytes."""
    return encoder.net(
        encoder.layer(op.name, op.type, op.bottoms, (op.top,), blobs.get(op.name, ()), style)
        for op in ops
    )
