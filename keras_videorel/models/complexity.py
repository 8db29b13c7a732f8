"""Count the parameters and multiply-adds of a model."""

import math

import keras

from keras_videorel.layers import RelationalLSTM

# ARTNet, Table 1, at 16x112x112 and 400 classes: millions of parameters and billions of
# multiply-adds. Our counts of multiply-adds are 3-4% higher; their differences agree.
PAPER = {
    "c3d_resnet18": (33.37, 19.58),
    "artnet_resnet18_s": (33.39, 19.97),
    "artnet_resnet18_d": (35.20, 23.70),
}


def trainable_parameters(model):
    """Count the trainable parameters of a model."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def multiply_adds(model):
    """Count the multiply-adds of the convolutions and dense layers of a model for one clip.

    Args:
        model: A functional `keras.Model`.

    Returns:
        The number of multiply-adds, or `None` for a network of snippets.

    Raises:
        ValueError: If a size of the input is unknown.
    """
    if None in model.input_shape[1:]:
        raise ValueError(
            "`model` must have a known input shape to count multiply-adds. "
            f"Received: input_shape={model.input_shape}"
        )
    if any(isinstance(layer, keras.Model) for layer in model.layers):
        return None
    return sum(layer_multiply_adds(layer) for layer in model.layers)


def layer_multiply_adds(layer):
    """Count the multiply-adds of a layer with its sublayers.

    The count assumes that each kernel of the layer applies at each position of the output. This
    holds for convolutions, dense layers and SMART blocks.
    """
    kernels = [v for v in layer.trainable_variables if v.path.split("/")[-1] == "kernel"]
    positions = math.prod(layer.output.shape[1:-1])
    return positions * sum(math.prod(kernel.shape) for kernel in kernels)


def model_summary(model):
    """Return a text table of layers with output shapes, parameters and multiply-adds.

    Each weight of a relational LSTM has a row. Networks of ARTNet's Table 1 also have a row with
    the figures of the paper.
    """
    total = multiply_adds(model)
    rows = [("layer", "output (time, height, width, channels)", "parameters", "multiply-adds")]
    for layer in model.layers:
        parameters = layer.count_params()
        if not parameters:
            continue
        of_layer = "" if total is None else f"{layer_multiply_adds(layer) / 1e6:,.1f} M"
        rows.append((layer.name, _sizes(layer.output.shape[1:]), f"{parameters:,}", of_layer))
        if isinstance(layer, RelationalLSTM):
            for weight in layer.cell.weights:
                size = math.prod(weight.shape)
                rows.append((f"  {weight.name}", _sizes(weight.shape), f"{size:,}", ""))
    of_model = "" if total is None else f"{total / 1e9:.2f} G"
    rows.append(("total", "trainable", f"{trainable_parameters(model):,}", of_model))
    if model.name in PAPER:
        parameters, madds = PAPER[model.name]
        rows.append(("paper", "Table 1, 400 classes", f"{parameters:.2f} M", f"{madds:.2f} G"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}".rstrip()
        for a, b, c, d in rows
    ]
    rule = "-" * max(map(len, lines))
    tail = 2 if model.name in PAPER else 1
    return "\n".join([lines[0], rule, *lines[1:-tail], rule, *lines[-tail:]])


def _sizes(shape):
    return " x ".join(map(str, shape))
