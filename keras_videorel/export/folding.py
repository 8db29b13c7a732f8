"""Networks for inference: batch normalization and time folded away.

A network is rebuilt for one sample of known size, with the same values in and out:

- a 3D convolution is one 2D convolution: the frames that a kernel reaches, side by side as channels,
  and time as a part of the batch. Runtimes have fast kernels for 2D, and quantize them;
- batch normalization is part of the kernel and the bias of the convolution before it;
- dropout is gone, and recurrent layers are unrolled.
"""

from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

from keras_videorel.layers import (
    SMART,
    ProgressiveBatchNormalization,
    RelationalLSTM,
    SquarePooling,
    SymmetricConv3D,
)


def fold(model):
    """A network for inference on one sample, exact but for rounding.

    Args:
        model: A functional or `Sequential` Keras model of known input sizes; models inside it are
            folded, too. Layers that are not known here are copied as they are.

    Returns:
        A functional `keras.Model` of batch size 1 and float32, which shares nothing with `model`
        and whose weights are constants where they were folded.

    Raises:
        ValueError: If the model is no functional or Sequential one, or a size is unknown.
    """
    if not _is_graph(model):
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
    """A 2D convolution of frames, before it is applied.

    Attributes:
        x: `(batch * time, height, width, channels)`, padded already where that is not "same".
        kernel: `(height, width, channels, filters)`, or `(height, width, channels, multiplier)`
            of a depthwise one.
        bias: `(filters,)`.
        options: Strides, padding and dilation rate.
        depthwise: Whether each channel has kernels of its own.
        shape: Of the output, of rank 4 or 5.
    """

    x: keras.KerasTensor
    kernel: np.ndarray
    bias: np.ndarray
    options: dict
    depthwise: bool
    shape: tuple

    def then(self, scale, shift=0.0):
        """This convolution with its output times `scale` plus `shift`, by channel."""
        scale = np.broadcast_to(scale, self.bias.shape)
        of_kernel = scale.reshape(self.kernel.shape[2:]) if self.depthwise else scale
        return self._replace(kernel=self.kernel * of_kernel, bias=self.bias * scale + shift)


class _Folding:
    """Rebuilds a model, layer by layer, and knows how its tensors came to be.

    Tensors always have the shape of the original's. A convolution of one whose making is known
    goes back to what it was made from: what is stepped over is part of no output, and is gone
    from the new model.
    """

    def __init__(self):
        self._convolutions = {}  # by the id of the tensor that one gave
        self._frames = {}  # the same values as (batch * time, height, width, channels)
        self._kept = []  # an id is that of a tensor as long as the tensor is there

    def rebuild(self, model, batch_size):
        # A plain model of the same layers, as `clone_model` would also copy a compilation.
        graph = keras.Model(model.input, model.output, name=model.name)
        inputs = keras.tree.map_structure(
            lambda x: keras.Input(batch_shape=(batch_size, *x.shape[1:]), name=x.name), graph.input
        )
        return keras.models.clone_model(
            graph, inputs, clone_function=lambda layer: layer, call_function=self._call
        )

    def _call(self, layer, *args, **kwargs):
        if _is_graph(layer):
            return _Folding().rebuild(layer, args[0].shape[0])(*args)
        handler = HANDLERS.get(type(layer))
        result = NotImplemented if handler is None else handler(self, layer, *args)
        if result is NotImplemented:
            result = _copy_of(layer)(*args, **kwargs)
        return result

    # What makes and what takes apart tensors of rank 5.

    def _as_frames(self, x):
        """`(batch * time, height, width, channels)`."""
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

    # Layers.

    def _apply(self, convolution):
        """The tensor that a convolution gives, which remembers it."""
        apply = ops.depthwise_conv if convolution.depthwise else ops.conv
        kernel, bias = (np.float32(a) for a in (convolution.kernel, convolution.bias))
        y = apply(convolution.x, kernel, **convolution.options)
        if np.any(bias):
            y = ops.add(y, bias)
        y = self._from_frames(y, convolution.shape)
        self._convolutions[id(y)] = convolution
        self._kept.append(y)
        return y

    def _activate(self, x, activation):
        if activation is keras.activations.linear:
            return x
        return self._from_frames(activation(self._as_frames(x)), x.shape)

    def _convolve(self, layer, x):
        """Any convolution of 2 or 3 dimensions."""
        if layer.data_format != "channels_last":
            return NotImplemented
        depthwise = isinstance(layer, layers.DepthwiseConv2D)
        if not depthwise and layer.groups > 1:
            return NotImplemented
        kernel = keras.ops.convert_to_numpy(layer.kernel).astype("float64")
        filters = int(np.prod(kernel.shape[-2:])) if depthwise else kernel.shape[-1]
        bias = np.zeros(filters)
        if layer.use_bias:
            bias = keras.ops.convert_to_numpy(layer.bias).astype("float64")

        symmetric = isinstance(layer, SymmetricConv3D)
        reaches = [
            (size - 1) * rate
            for size, rate in zip(layer.kernel_size, layer.dilation_rate, strict=True)
        ]
        pads = [
            _pads(layer.padding, size, reach, stride, symmetric)
            for size, reach, stride in zip(x.shape[1:-1], reaches, layer.strides, strict=True)
        ]
        sizes = [
            (size + sum(pad) - reach - 1) // stride + 1
            for size, pad, reach, stride in zip(
                x.shape[1:-1], pads, reaches, layer.strides, strict=True
            )
        ]
        frames = self._as_frames(x)
        if len(x.shape) == 5:
            time, height, width, channels, _ = kernel.shape
            kernel = kernel.transpose(1, 2, 0, 3, 4)
            kernel = kernel.reshape(height, width, time * channels, filters)
            steps = range(0, reaches[0] + 1, layer.dilation_rate[0])
            windows = _frames_at(frames, x.shape, pads[0], steps, layer.strides[0], sizes[0])
            frames = ops.concatenate(windows, axis=-1) if len(windows) > 1 else windows[0]
        same = pads[-2:] == [
            _pads("same", size, reach, stride)
            for size, reach, stride in zip(
                x.shape[-3:-1], reaches[-2:], layer.strides[-2:], strict=True
            )
        ]
        if any(map(any, pads[-2:])) and not same:
            frames = ops.pad(frames, [(0, 0), *pads[-2:], (0, 0)])
        y = self._apply(
            _Convolution(
                frames,
                kernel,
                bias,
                {
                    "strides": layer.strides[-2:],
                    "padding": "same" if same else "valid",
                    "dilation_rate": layer.dilation_rate[-2:],
                },
                depthwise,
                (x.shape[0], *sizes, filters),
            )
        )
        return self._activate(y, layer.activation)

    def _normalize(self, layer, x):
        if layer.axis not in (-1, len(x.shape) - 1):
            return NotImplemented
        scale, shift = _scale_and_shift(layer)
        if id(x) in self._convolutions:
            return self._apply(self._convolutions[id(x)].then(scale, shift))
        if len(x.shape) not in (4, 5):
            return ops.add(ops.multiply(x, np.float32(scale)), np.float32(shift))
        # One operation, whose weights are quantized by channel.
        kernel = np.ones((1, 1, x.shape[-1], 1))
        identity = _Convolution(
            self._as_frames(x), kernel, np.zeros(x.shape[-1]), {}, True, tuple(x.shape)
        )
        return self._apply(identity.then(scale, shift))

    def _square_pooling(self, layer, x):
        hidden = self._normalize(layer.hidden_normalization, self._convolve(layer.convolution, x))
        hidden = self._convolutions[id(hidden)]
        limit = 1.0 if layer.hidden_limit is None else layer.hidden_limit
        frames = self._as_frames(self._apply(hidden.then(1 / limit)))
        if layer.hidden_limit is not None:
            # Bounds of -1 and 1 are an activation that a convolution can have in LiteRT.
            frames = ops.minimum(ops.maximum(frames, -1.0), 1.0)
        pooling = limit**2 * layer._pooling[None, None]  # (1, 1, hidden units, codes)
        codes = pooling.shape[-1]
        z = self._apply(
            _Convolution(
                ops.multiply(frames, frames),
                pooling,
                np.zeros(codes),
                {},
                False,
                (*hidden.shape[:-1], codes),
            ).then(*_scale_and_shift(layer.code_normalization))
        )
        return self._activate(z, layer.activation)

    def _smart(self, layer, x):
        f = self._convolve(layer.appearance, layer._middle_frames(x))
        f = self._activate(self._normalize(layer.appearance_normalization, f), layer.activation)
        z = self._square_pooling(layer.relation, x)
        both = ops.concatenate([self._as_frames(f), self._as_frames(z)], axis=-1)
        both = self._from_frames(both, (*f.shape[:-1], both.shape[-1]))
        h = self._convolve(layer.reduction, both)
        if layer.final_normalization:
            h = self._normalize(layer.reduction_normalization, h)
        return self._activate(h, layer.final_activation)

    def _elementwise(self, layer, x):
        """A layer that does not look at the shape."""
        inputs = x if isinstance(x, list) else [x]
        shapes = {tuple(i.shape) for i in inputs}
        if len(shapes) > 1 or len(inputs[0].shape) != 5:
            return NotImplemented
        copy = _copy_of(layer)
        frames = [self._as_frames(i) for i in inputs]
        y = copy(frames if isinstance(x, list) else frames[0])
        return self._from_frames(y, inputs[0].shape)

    def _drop(self, layer, x):
        return x

    def _average_frames(self, layer, x):
        """Average pooling over frames alone, as in the networks of 2D convolutions."""
        size, stride = layer.pool_size[0], layer.strides[0]
        over_time = layer.pool_size[1:] == layer.strides[1:] == (1, 1)
        if not over_time or layer.data_format != "channels_last":
            return NotImplemented
        before, after = pads = _pads(layer.padding, x.shape[1], size - 1, stride)
        frames = (x.shape[1] + sum(pads) - size) // stride + 1
        windows = _frames_at(self._as_frames(x), x.shape, pads, range(size), stride, frames)
        counted = np.pad(np.ones(x.shape[1]), (before, after))  # what is padded does not count
        counts = [counted[i * stride : i * stride + size].sum() for i in range(frames)]
        shares = 1 / np.tile(counts, x.shape[0])
        y = sum(windows[1:], start=windows[0])
        y = ops.multiply(y, np.float32(shares)[:, None, None, None])
        return self._from_frames(y, (x.shape[0], frames, *x.shape[2:]))

    def _global_average(self, layer, x):
        return self._over_all_positions(ops.mean, layer, x)

    def _global_maximum(self, layer, x):
        return self._over_all_positions(ops.max, layer, x)

    def _over_all_positions(self, reduce, layer, x):
        if layer.data_format != "channels_last":
            return NotImplemented
        batch, *_, width, channels = x.shape
        # From what is at hand without another step, and of rank 4, as runtimes know it.
        y = reduce(ops.reshape(self._as_frames(x), (batch, -1, width, channels)), axis=(1, 2))
        return ops.reshape(y, (batch, 1, 1, 1, channels)) if layer.keepdims else y

    def _recur(self, layer, x, *states):
        config = {**layer.get_config(), "unroll": True}
        return _copy_of(layer, config)(x, *states)


HANDLERS = {
    layers.Conv2D: _Folding._convolve,
    layers.DepthwiseConv2D: _Folding._convolve,
    layers.Conv3D: _Folding._convolve,
    SymmetricConv3D: _Folding._convolve,
    layers.BatchNormalization: _Folding._normalize,
    ProgressiveBatchNormalization: _Folding._normalize,
    SquarePooling: _Folding._square_pooling,
    SMART: _Folding._smart,
    layers.Activation: _Folding._elementwise,
    layers.ReLU: _Folding._elementwise,
    layers.Add: _Folding._elementwise,
    layers.Dropout: _Folding._drop,
    layers.AveragePooling3D: _Folding._average_frames,
    layers.GlobalAveragePooling3D: _Folding._global_average,
    layers.GlobalMaxPooling3D: _Folding._global_maximum,
    layers.SimpleRNN: _Folding._recur,
    layers.GRU: _Folding._recur,
    layers.LSTM: _Folding._recur,
    layers.ConvLSTM2D: _Folding._recur,
    layers.RNN: _Folding._recur,
    RelationalLSTM: _Folding._recur,
}  # by the exact class, as a subclass may compute something else


def _is_graph(layer):
    """Whether a layer is a functional or Sequential model."""
    return isinstance(layer, keras.Model) and layer.built and hasattr(layer, "operations")


def _pads(padding, size, reach, stride, symmetric=False):
    """What is padded before and after an axis of `size`, for a kernel that reaches that far."""
    if padding == "valid":
        return 0, 0
    total = reach
    if not symmetric:
        total = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
    return total // 2, total - total // 2


def _frames_at(frames, shape, pads, offsets, stride, count):
    """For each offset, the frames that a kernel of that stride sees there, as a batch.

    Args:
        frames: `(batch * time, height, width, channels)`.
        shape: `(batch, time, height, width, channels)`.
        pads: Frames of zeros before and after.
        offsets: Of the frames of a kernel.
        stride: Of the kernel, in frames.
        count: Frames that come out.

    Returns:
        A list of tensors `(batch * count, height, width, channels)`.
    """
    batch, time, height, width, channels = shape
    if stride == 1 and not any(pads) and count == time:
        return [frames]
    x = ops.reshape(frames, (batch, time, height * width, channels))
    if any(pads):
        x = ops.pad(x, [(0, 0), pads, (0, 0), (0, 0)])
    reach = (count - 1) * stride + 1
    windows = [x[:, offset : offset + reach : stride] for offset in offsets]
    return [ops.reshape(w, (batch * count, height, width, channels)) for w in windows]


def _scale_and_shift(normalization):
    """What batch normalization multiplies by and adds in inference, by channel."""
    mean, variance = (
        ops.convert_to_numpy(v).astype("float64")
        for v in (normalization.moving_mean, normalization.moving_variance)
    )
    scale = 1 / np.sqrt(variance + normalization.epsilon)
    if normalization.scale:
        scale = scale * ops.convert_to_numpy(normalization.gamma)
    shift = -mean * scale
    if normalization.center:
        shift = shift + ops.convert_to_numpy(normalization.beta)
    return scale, shift


def _copy_of(layer, config=None):
    """A function that calls a layer or operation like this one, with its weights, in float32."""
    config = _in_float32(layer.get_config() if config is None else config)
    copy = type(layer).from_config(config)

    def call(*args, **kwargs):
        outputs = copy(*args, **kwargs)
        if getattr(layer, "weights", None):
            copy.set_weights(layer.get_weights())
        return outputs

    return call


def _in_float32(config):
    """A config whose dtype policies, at any depth, are float32."""
    if isinstance(config, (list, tuple)):
        return type(config)(_in_float32(item) for item in config)
    if not isinstance(config, dict):
        return config
    return {
        key: "float32" if key == "dtype" and _is_float(value) else _in_float32(value)
        for key, value in config.items()
    }


def _is_float(dtype):
    """Whether a dtype in a config is a floating one or a policy of such."""
    name = dtype.get("config", {}).get("name") if isinstance(dtype, dict) else dtype
    return isinstance(name, str) and "float" in name
