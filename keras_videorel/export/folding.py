"""Rebuild a network for inference on one sample of known size, with the same inputs and outputs.

- A 3D convolution becomes 2D convolutions: the frames under a kernel are stacked as channels, and
  time joins the batch. Runtimes have fast kernels for 2D convolutions and can quantize them.
- Batch normalization becomes part of the kernel and bias of the convolution before it.
- Dropout is removed, and recurrent layers are unrolled, also inside wrappers.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

from keras_videorel.layers import (
    SMART,
    ProgressiveBatchNormalization,
    SquarePooling,
    SymmetricConv3D,
)


def fold(model: keras.Model) -> keras.Model:
    """Rebuild a network for inference on one sample. Outputs are equal up to rounding.

    Args:
        model: A functional or `Sequential` Keras model with known input sizes. Models inside it
            are folded, too. Layers of other classes than `HANDLERS` lists are copied unchanged.

    Returns:
        A functional `keras.Model` of batch size 1 in float32 that shares nothing with `model`.
        Folded weights are constants.
    """
    if not is_graph(model):
        raise ValueError(
            f"`model` must be a built functional or Sequential Keras model. Received: {model!r}"
        )
    shapes = [tuple(x.shape[1:]) for x in model.inputs]
    if any(None in shape for shape in shapes):
        raise ValueError(
            "`model` must have known input sizes; build it with a full `input_shape`. "
            f"Received: input_shape={model.input_shape}"
        )
    return _Folding().rebuild(model, batch_size=1)


class _Convolution(NamedTuple):
    """The 2D convolutions that replace a convolution, before they are applied."""

    parts: tuple  # (frames, kernel) per run of output frames; padded unless padding is "same"
    bias: np.ndarray  # (filters,)
    options: dict  # strides, padding and dilation rate of the 2D convolutions
    depthwise: bool
    shape: tuple  # of the output, rank 4 or 5

    def then(self, scale, shift=0.0):
        """Return the convolution whose output is `scale * output + shift`, by channel."""
        scale = np.broadcast_to(scale, self.bias.shape)
        parts = tuple(
            (x, kernel * (scale.reshape(kernel.shape[2:]) if self.depthwise else scale))
            for x, kernel in self.parts
        )
        return self._replace(parts=parts, bias=self.bias * scale + shift)


class _Folding:
    """Rebuilds a model layer by layer and remembers which convolution made a tensor.

    Tensors keep the shapes of the original model. A normalization or activation after a
    convolution replaces that convolution by a new one on the same input.
    """

    def __init__(self):
        self._convolutions = {}  # from the id of an output to its convolution
        self._frames = {}  # from tensor id to the values as (batch * time, height, width, channels)
        self._kept = []  # keeps the tensors alive, so that Python does not reuse their ids

    def rebuild(self, model, batch_size):
        # A plain model of the same layers, because `clone_model` would also copy a compilation.
        ends = model.inputs[0], model.outputs[0]  # a Sequential model has no nested structure
        if not isinstance(model, keras.Sequential):
            ends = model.input, model.output
        graph = keras.Model(*ends, name=model.name)
        inputs = keras.tree.map_structure(
            lambda x: keras.Input(batch_shape=(batch_size, *x.shape[1:]), name=x.name), graph.input
        )
        return keras.models.clone_model(
            graph, inputs, clone_function=lambda layer: layer, call_function=self._call
        )

    def _call(self, layer, *args, **kwargs):
        tensors = keras.tree.flatten(args)
        # Keras passes masks on only if the layers themselves are called.
        special = any(getattr(x, "_keras_mask", None) is not None for x in tensors)
        special |= any(v is not None for name, v in kwargs.items() if name != "training")
        special |= getattr(layer, "data_format", "channels_last") != "channels_last"
        if not special and is_graph(layer):
            return _Folding().rebuild(layer, tensors[0].shape[0])(*args)
        result = NotImplemented
        if not special and type(layer) in HANDLERS:
            result = HANDLERS[type(layer)](self, layer, *args)
        return _copy_of(layer)(*args, **kwargs) if result is NotImplemented else result

    def _as_frames(self, x):
        """Return `x` as `(batch * time, height, width, channels)`."""
        if len(x.shape) == 4:
            return x
        return self._frames.get(id(x), ops.reshape(x, (-1, *x.shape[2:])))

    def _from_frames(self, frames, shape):
        if len(shape) == 4:
            return frames
        x = ops.reshape(frames, shape)
        self._frames[id(x)] = frames
        self._kept.append(x)
        return x

    def _apply(self, convolution, activation=None):
        """Apply a convolution, and remember it for its output."""
        apply = ops.depthwise_conv if convolution.depthwise else ops.conv
        outputs = []
        for x, kernel in convolution.parts:
            y = apply(x, np.float32(kernel), data_format="channels_last", **convolution.options)
            if np.any(convolution.bias):
                y = ops.add(y, np.float32(convolution.bias))
            outputs.append(y if activation is None else activation(y))
        if len(outputs) == 1:
            (y,) = outputs
        else:
            batch, _, height, width, filters = convolution.shape
            of_time = [ops.reshape(y, (batch, -1, height * width, filters)) for y in outputs]
            y = ops.reshape(ops.concatenate(of_time, axis=1), (-1, height, width, filters))
        y = self._from_frames(y, convolution.shape)
        if activation is None:
            self._convolutions[id(y)] = convolution
            self._kept.append(y)
        return y

    def _activate(self, x, activation):
        if activation is keras.activations.linear:
            return x
        if id(x) in self._convolutions:  # one activation per part: runtimes fuse those
            return self._apply(self._convolutions[id(x)], activation)
        return self._from_frames(activation(self._as_frames(x)), x.shape)

    def _convolve(self, layer, x):
        """Fold a 2D, 3D or depthwise convolution."""
        depthwise = isinstance(layer, layers.DepthwiseConv2D)
        if not depthwise and layer.groups > 1:
            return NotImplemented
        kernel = _array(layer.kernel)
        filters = int(np.prod(kernel.shape[-2:])) if depthwise else kernel.shape[-1]
        bias = _array(layer.bias) if layer.use_bias else np.zeros(filters)

        axes = [
            _Axis(*of_axis, layer.padding, isinstance(layer, SymmetricConv3D))
            for of_axis in zip(
                x.shape[1:-1], layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
            )
        ]
        *time, height, width = axes
        same = all(axis.pads == axis.same_pads for axis in (height, width))
        pads = None if same else [(0, 0), height.pads, width.pads, (0, 0)]
        parts = _frames_of_kernels(self._as_frames(x), x.shape, kernel, *time)
        if pads is not None and any(height.pads + width.pads):
            parts = [(ops.pad(windows, pads), part) for windows, part in parts]
        options = {
            "strides": layer.strides[-2:],
            "padding": "same" if same else "valid",
            "dilation_rate": layer.dilation_rate[-2:],
        }
        shape = (x.shape[0], *(axis.count for axis in axes), filters)
        y = self._apply(_Convolution(tuple(parts), bias, options, depthwise, shape))
        return self._activate(y, layer.activation)

    def _normalize(self, layer, x):
        if layer.axis not in (-1, len(x.shape) - 1):
            return NotImplemented
        scale, shift = _scale_and_shift(layer)
        if id(x) in self._convolutions:
            return self._apply(self._convolutions[id(x)].then(scale, shift))
        if len(x.shape) not in (4, 5):
            return ops.add(ops.multiply(x, np.float32(scale)), np.float32(shift))
        # A depthwise convolution is one operation, and its weights are quantized by channel.
        kernel = np.ones((1, 1, x.shape[-1], 1))
        identity = _Convolution(
            ((self._as_frames(x), kernel),), np.zeros(x.shape[-1]), {}, True, tuple(x.shape)
        )
        return self._apply(identity.then(scale, shift))

    def _square_pooling(self, layer, x):
        hidden = self._normalize(layer.hidden_normalization, self._convolve(layer.convolution, x))
        hidden = self._convolutions[id(hidden)]
        if layer.hidden_limit is None:
            limit, bounded = 1.0, None
        else:
            # LiteRT fuses clipping to [-1, 1] into the convolution.
            limit, bounded = layer.hidden_limit, _between_minus_one_and_one
        u = self._as_frames(self._apply(hidden.then(1 / limit), bounded))
        pooling = limit**2 * layer._pooling[None, None]  # (1, 1, hidden units, codes)
        codes = pooling.shape[-1]
        shape = (*hidden.shape[:-1], codes)
        z = _Convolution(((ops.multiply(u, u), pooling),), np.zeros(codes), {}, False, shape)
        z = self._apply(z.then(*_scale_and_shift(layer.code_normalization)))
        return self._activate(z, layer.activation)

    def _smart(self, layer, x):
        f = self._convolve(layer.appearance, layer._middle_frames(x))
        f = self._activate(self._normalize(layer.appearance_normalization, f), layer.activation)
        z = self._square_pooling(layer.relation, x)
        both = ops.concatenate([self._as_frames(f), self._as_frames(z)], axis=-1)
        both = self._from_frames(both, (*f.shape[:-1], both.shape[-1]))
        h = self._normalize(layer.reduction_normalization, self._convolve(layer.reduction, both))
        return self._activate(h, layer.final_activation)

    def _activation(self, layer, x):
        return self._activate(x, _copy_of(layer)) if len(x.shape) in (4, 5) else NotImplemented

    def _add(self, layer, inputs):
        shapes = {tuple(x.shape) for x in inputs}
        if len(shapes) > 1 or len(inputs[0].shape) != 5:
            return NotImplemented
        y = _copy_of(layer)([self._as_frames(x) for x in inputs])
        return self._from_frames(y, inputs[0].shape)

    def _average_frames(self, layer, x):
        """Fold average pooling over frames alone, as in the networks of 2D convolutions."""
        if layer.pool_size[1:] != (1, 1) or layer.strides[1:] != (1, 1):
            return NotImplemented
        batch, time, height, width, channels = x.shape
        y = ops.reshape(self._as_frames(x), (batch, time, height * width, channels))
        sizes = ((size[0], 1) for size in (layer.pool_size, layer.strides))
        y = ops.average_pool(y, *sizes, layer.padding, "channels_last")
        shape = (batch, y.shape[1], height, width, channels)
        return self._from_frames(ops.reshape(y, (-1, *shape[2:])), shape)

    def _global_pooling(self, layer, x):
        reduce = ops.max if isinstance(layer, layers.GlobalMaxPooling3D) else ops.mean
        batch, *_, width, channels = x.shape
        # Runtimes know pooling of rank 4.
        y = reduce(ops.reshape(self._as_frames(x), (batch, -1, width, channels)), axis=(1, 2))
        return ops.reshape(y, (batch, 1, 1, 1, channels)) if layer.keepdims else y

    def _distribute(self, layer, x):
        """Fold `TimeDistributed`: time joins the batch."""
        y = self._call(layer.layer, ops.reshape(x, (-1, *x.shape[2:])))
        return ops.reshape(y, (*x.shape[:2], *y.shape[1:]))


HANDLERS = {
    layers.Conv2D: _Folding._convolve,
    layers.DepthwiseConv2D: _Folding._convolve,
    layers.Conv3D: _Folding._convolve,
    SymmetricConv3D: _Folding._convolve,
    layers.BatchNormalization: _Folding._normalize,
    ProgressiveBatchNormalization: _Folding._normalize,
    SquarePooling: _Folding._square_pooling,
    SMART: _Folding._smart,
    layers.Activation: _Folding._activation,
    layers.ReLU: _Folding._activation,
    layers.Add: _Folding._add,
    layers.Dropout: lambda folding, layer, x: x,
    layers.AveragePooling3D: _Folding._average_frames,
    layers.GlobalAveragePooling3D: _Folding._global_pooling,
    layers.GlobalMaxPooling3D: _Folding._global_pooling,
    layers.TimeDistributed: _Folding._distribute,
}  # by exact class, because a subclass may compute something else


def is_graph(layer: keras.Layer) -> bool:
    """Return whether a layer is a functional model or a built Sequential model."""
    if isinstance(layer, keras.Sequential):
        return layer.built
    return isinstance(layer, keras.Model) and hasattr(layer, "operations")


class _Axis:
    """A kernel along one axis: `count` output positions, `pads` before and after."""

    def __init__(self, size, kernel_size, stride, rate, padding, symmetric=False):
        self.size, self.stride = size, stride
        self._steps = range(0, (kernel_size - 1) * rate + 1, rate)
        reach = self._steps[-1]
        total = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
        self.same_pads = self.pads = (total // 2, total - total // 2)
        if padding == "valid":
            self.pads = (0, 0)
        elif symmetric:
            self.pads = (reach // 2, reach - reach // 2)
        self.count = (size + sum(self.pads) - reach - 1) // stride + 1

    def runs(self):
        """Group consecutive output positions whose kernels reach outside the axis equally far.

        Yields `(first, steps, count)`: where the first kernel begins (negative in the padding), the
        offsets from there that lie on the axis, and the number of output positions.
        """
        firsts = range(-self.pads[0], -self.pads[0] + self.count * self.stride, self.stride)
        seen = [tuple(s for s in self._steps if 0 <= first + s < self.size) for first in firsts]
        for steps, run in itertools.groupby(zip(firsts, seen, strict=True), key=lambda x: x[1]):
            run = [first for first, _ in run]
            yield run[0], steps, len(run)

    def taps(self, steps):
        """Return the indices of steps in the kernel."""
        return [self._steps.index(step) for step in steps]


def _frames_of_kernels(frames, shape, kernel, time=None):
    """Return `(frames stacked as channels, 2D kernel)` for each run of output frames."""
    if time is None:
        return [(frames, kernel)]
    parts = []
    for first, steps, count in time.runs():
        windows = [_every(frames, shape, first + step, time.stride, count) for step in steps]
        x = ops.concatenate(windows, axis=-1) if len(windows) > 1 else windows[0]
        k = kernel[time.taps(steps)].transpose(1, 2, 0, 3, 4)
        parts.append((x, k.reshape(*k.shape[:2], -1, k.shape[-1])))
    return parts


def _every(frames, shape, first, stride, count):
    """Return frames `first`, `first + stride`, ..., `(batch * count, height, width, channels)`."""
    batch, time, height, width, channels = shape
    if count == time:
        return frames
    if count == 1:
        stride = 1
    pixels = height * width
    if time % stride == 0:
        # Runtimes have no fast kernel for slices with a stride. LiteRT also leaves most
        # convolutions right after a slice in float, but not after a reshape.
        x = ops.reshape(frames, (batch, time // stride, stride * pixels, channels))
        row, place = divmod(first, stride)
        x = x[:, row : row + count, place * pixels : (place + 1) * pixels]
    else:
        x = ops.reshape(frames, (batch, time, pixels, channels))
        x = x[:, first : first + (count - 1) * stride + 1 : stride]
    return ops.reshape(x, (batch * count, height, width, channels))


def _between_minus_one_and_one(x):
    return ops.minimum(ops.maximum(x, -1.0), 1.0)


def _array(variable):
    """Return the values of a variable in float64."""
    return ops.convert_to_numpy(variable).astype("float64")


def _scale_and_shift(normalization):
    """Return the factor and the summand of batch normalization in inference, by channel."""
    scale = 1 / np.sqrt(_array(normalization.moving_variance) + normalization.epsilon)
    if normalization.scale:
        scale = scale * _array(normalization.gamma)
    shift = -_array(normalization.moving_mean) * scale
    if normalization.center:
        shift = shift + _array(normalization.beta)
    return scale, shift


def _copy_of(layer):
    """Return a function that calls a float32 copy of a layer or operation."""
    copy = type(layer).from_config(_for_inference(layer.get_config()))

    def call(*args, **kwargs):
        outputs = copy(*args, **kwargs)
        if getattr(layer, "weights", None):
            copy.set_weights(layer.get_weights())
        return outputs

    return call


def _for_inference(config):
    """Return a config with float32 policies and unrolled loops, at any depth."""
    if isinstance(config, (list, tuple)):
        return type(config)(_for_inference(item) for item in config)
    if not isinstance(config, dict):
        return config
    config = {key: _for_inference(value) for key, value in config.items()}
    dtype = config.get("dtype")
    if isinstance(dtype, dict):  # a serialized policy
        dtype = dtype.get("config", {}).get("name")
    if isinstance(dtype, str) and "float" in dtype:
        config["dtype"] = "float32"
    if config.get("unroll") is False:
        config["unroll"] = True
    if config.get("stateful") is True:
        raise ValueError(
            "a file takes each sample from the initial state: layers must have stateful=False. "
            f"Received: {config.get('name')} with stateful=True"
        )
    return config
