"""Parameters and multiply-adds of a model, beside the paper's figures."""

import math

import keras

from keras_videorel.layers import RelationalLSTM

# ARTNet, Table 1, at 16x112x112 and 400 classes: millions of parameters, billions of
# multiply-adds as printed. Ours come out 3-4% higher; the differences between the networks agree.
PAPER = {
    "c3d_resnet18": (33.37, 19.58),
    "artnet_resnet18_s": (33.39, 19.97),
    "artnet_resnet18_d": (35.20, 23.70),
}


def trainable_parameters(model):
    """Number of trainable parameters of a model."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def multiply_adds(model):
    """Multiply-adds of the convolutions and dense layers of a functional model, for one clip.

    `None` for a network of snippets, whose parts see a snippet or a video.

    Raises:
        ValueError: If time, height or width of the input is unknown.
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
    """Multiply-adds of one layer of a functional model, its sublayers included.

    All kernels of a layer are taken to act at each position of its output, as those of
    convolutions, dense layers and SMART blocks do.
    """
    kernels = [v for v in layer.trainable_variables if v.path.split("/")[-1] == "kernel"]
    positions = math.prod(layer.output.shape[1:-1])
    return positions * sum(math.prod(kernel.shape) for kernel in kernels)


def model_summary(model):
    """A table of a functional model's layers with outputs, parameters and multiply-adds, as text.

    A network of the paper's Table 1 gets a row of the paper's figures. The weights of a relational
    LSTM have a row each.
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
