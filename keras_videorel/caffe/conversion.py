"""Copy the weights of a `.caffemodel` to a Keras network with the same graph."""

import itertools
from typing import NamedTuple

import keras
import numpy as np

from keras_videorel.caffe.network import NETWORKS, CaffeResNet18
from keras_videorel.caffe.reader import read_layers
from keras_videorel.checks import check_choice
from keras_videorel.layers import SquarePooling

FIRST = ("conv1", "conv1_t")  # layers that read frames, which are BGR in Caffe


class Conversion(NamedTuple):
    """The result of `convert`.

    Attributes:
        model: The `keras.Model` from clips to scores before the softmax.
        rows: One row of text per layer of the file: `(layer in the file, shapes of its blobs,
            layer in the model, weights in the model)`.
    """

    model: keras.Model
    rows: list

    def __str__(self):
        rows = [("in the file", "blobs", "in the model", "as"), *self.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )


class _Step(NamedTuple):
    """A layer of the file with weights, and the layer of the model that takes them.

    Attributes:
        name: Name of the layer in the file.
        reads: The layers with weights that its input comes from, with the non-linearities between
            them, such as `"ReLU(conv1_bn)"`.
        target: The layer of the model.
    """

    name: str
    reads: tuple
    target: keras.layers.Layer


def convert(path, network="artnet_d", classes=400, width=64):
    """Convert a `.caffemodel` of ARTNet's authors to a Keras network, a `CaffeResNet18`.

    The network takes RGB frames minus their mean (123, 117, 104). The Caffe networks take BGR, so
    the channels of the first kernels are reversed. In the file, convolutions have a bias, and a
    batch normalization follows each, directly or after a sum. The conversion subtracts the bias
    from the running mean, which gives the same function, also in training.

    The file must have exactly the weights of the model, and its layers must be connected as in
    the published graph.

    Args:
        path: A local `.caffemodel`.
        network: `"artnet_d"`, `"artnet_s"` or `"c3d"`.
        classes: Number of classes in the file.
        width: Channels of conv1.

    Returns:
        A `Conversion`: the model, and a table of all copied weights.

    Raises:
        OSError: If the file does not exist.
        ValueError: If the file cannot be read, or does not hold this network.
    """
    check_choice("network", network, NETWORKS)
    layers = read_layers(path)
    model = CaffeResNet18(network, classes=classes, width=width, classifier_activation=None)
    # The classifier of a fine-tuned network may have any name.
    classifiers = [layer.name for layer in layers if layer.type == "InnerProduct" and layer.blobs]
    steps = _steps(model, classifiers[0] if len(classifiers) == 1 else "fc8")
    blobs = _blobs(layers, steps, network)
    steps = {step.name: step for step in steps}
    return Conversion(model, [_assign(steps[name], blobs) for name in blobs])


def _steps(model, classifier):
    """Return the expected layers of the file that have weights, from the graph of the model.

    A `SquarePooling` is four layers: the convolution, the pooling, and a normalization for each.
    """
    steps, made_of, numbers = [], {}, itertools.count(1)
    for layer in model.layers[1:]:
        x = keras.tree.flatten(layer.input)
        reads = tuple(part for tensor in x for part in made_of.get(id(tensor), ("data",)))
        name = layer.name
        if isinstance(layer, SquarePooling):
            pooling = f"pooling{next(numbers)}"
            steps += [
                _Step(name, reads, layer.convolution),
                _Step(f"{name}_bn", (name,), layer.hidden_normalization),
                _Step(pooling, (f"Power({name}_bn)",), layer),
                _Step(f"{pooling}_bn", (pooling,), layer.code_normalization),
            ]
            made = (f"ReLU({pooling}_bn)",)
        elif layer.weights:
            name = classifier if name == "predictions" else name
            steps.append(_Step(name, reads, layer))
            made = (name,)
        elif isinstance(layer, keras.layers.ReLU):
            made = tuple(f"ReLU({part})" for part in reads)
        else:
            made = tuple(sorted(reads)) if isinstance(layer, keras.layers.Add) else reads
        made_of[id(layer.output)] = made
    return steps


def _blobs(layers, steps, network):
    """Check that the file holds the network, and return its blobs by layer."""
    found = [layer.name for layer in layers if layer.blobs]
    wanted = {step.name: step.reads for step in steps}
    complaints = [
        f"{what} {', '.join(names[:4])}{f' and {len(names) - 4} more' if names[4:] else ''}"
        for what, names in (
            ("no weights for", [name for name in wanted if name not in found]),
            ("no place for", [name for name in found if name not in wanted]),
            ("twice", [name for i, name in enumerate(found) if name in found[:i]]),
        )
        if names
    ]
    if not complaints:
        reads = _what_layers_read(layers)
        complaints = [
            f"layer {name} reads {_listed(reads[name])} where that reads {_listed(wanted[name])}"
            for name in wanted
            if reads[name] != wanted[name]
        ][:1]
    if complaints:
        raise ValueError(
            f"`path` must be a .caffemodel of {network} as its authors published it. "
            f"Received: {'; '.join(complaints)}"
        )
    return {layer.name: layer.blobs for layer in layers if layer.blobs}


def _what_layers_read(layers):
    """Return for each layer the layers that its input comes from, see `_Step.reads`."""
    made_of, reads = {}, {}
    for layer in layers:
        parts = [part for name in layer.inputs for part in made_of.get(name, ("data",))]
        if layer.type == "Eltwise":
            parts.sort()  # the order does not matter for a sum, but for a concatenation
        reads[layer.name] = tuple(parts)
        if layer.blobs:
            parts = [layer.name]
        elif layer.type in ("ReLU", "Power"):
            parts = [f"{layer.type}({part})" for part in parts]
        elif not layer.inputs:
            parts = ["data"]
        made_of.update(dict.fromkeys(layer.outputs, tuple(parts)))
    return reads


def _listed(names):
    return " and ".join(names) or "nothing"


def _assign(step, blobs):
    """Set the weights of a layer of the model, and return the row of the table."""
    arrays = [_read(step.name, blob) for blob in blobs[step.name]]
    if isinstance(step.target, SquarePooling):
        what = _check_pooling(step, arrays)
    elif isinstance(step.target, keras.layers.BatchNormalization):
        biases = {name: blob for name in step.reads for blob in blobs[name][1:]}
        what = _set_normalization(step, arrays, biases)
    else:
        what = _set_kernel(step, arrays)
    shapes = ", ".join(_sizes(blob.shape) for blob in arrays)
    return step.name, shapes, step.target.path, what


def _check_pooling(step, arrays):
    weight, group = step.target.pooling_weight, step.target.group_size
    (values,) = _shaped(step.name, arrays, [(step.target.filters // group, group, 1, 1, 1)])
    if not np.all(values == weight):
        raise ValueError(
            f"layer {step.name} of `path` must have the fixed weights {weight}. "
            f"Received: {values.min()} to {values.max()}"
        )
    return f"fixed weights {weight}"


def _set_normalization(step, arrays, biases):
    shape = tuple(step.target.gamma.shape)
    scale, shift, mean, variance = _shaped(step.name, arrays, [shape] * 4)
    if np.any(variance < 0):
        raise ValueError(
            f"layer {step.name} of `path` must have variances in its fourth blob. "
            f"Received: {variance.min()}"
        )
    for bias in biases.values():
        mean = mean - bias.reshape(shape)
    step.target.set_weights([scale, shift, mean, variance])
    less = f" less the bias of {_listed(biases)}" if biases else ""
    return f"gamma, beta, mean{less}, variance"


def _set_kernel(step, arrays):
    target, kernel = step.target, tuple(step.target.kernel.shape)
    classifier = isinstance(target, keras.layers.Dense)
    # Caffe's kernels are (out, in, time, height, width), its matrices (out, in).
    shapes = [kernel[:-3:-1] + kernel[:-2], kernel[-1:]]
    values = _shaped(step.name, arrays, shapes if classifier else shapes[: max(1, len(arrays))])
    value = np.moveaxis(values[0], (0, 1), (-1, -2))
    what = f"kernel {_sizes(kernel)}"
    if step.name in FIRST:
        value = value[..., ::-1, :]
        what += ", BGR to RGB"
    target.kernel.assign(value)
    if classifier:
        target.bias.assign(values[1])
        what += ", bias"
    elif target.bias is not None:
        target.bias.assign(np.zeros(kernel[-1:], "float32"))  # subtracted from the next mean
        what += ", bias 0"
    return what


def _shaped(name, arrays, shapes):
    """Reshape blobs to the expected shapes, which may differ in axes of size 1."""

    def long_axes(shape):
        return [size for size in shape if size != 1]

    received = [blob.shape for blob in arrays]
    if [long_axes(shape) for shape in received] != [long_axes(shape) for shape in shapes]:
        raise ValueError(
            f"layer {name} of `path` must have blobs {', '.join(map(_sizes, shapes))}. "
            f"Received: {', '.join(map(_sizes, received))}"
        )
    return [blob.reshape(shape) for blob, shape in zip(arrays, shapes, strict=True)]


def _read(name, blob):
    blob = np.array(blob)  # a copy, because some backends would keep the view of the file
    if not np.isfinite(blob).all():
        raise ValueError(
            f"layer {name} of `path` must have finite weights. Received: NaN or infinity"
        )
    return blob


def _sizes(shape):
    return "x".join(map(str, shape))
