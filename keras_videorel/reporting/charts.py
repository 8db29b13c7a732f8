"""Charts of results. Each function draws one matplotlib figure; `save` and `svg` write it."""

import io

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from keras_videorel.files import atomic_write
from keras_videorel.reporting.html import printable
from keras_videorel.text import fonts

CURVES = {  # columns of the log of `fit`, with their titles and the factors of their values
    "loss": ("loss (cross entropy + L2)", 1),
    "top1": ("top-1 accuracy (%)", 100),
    "learning_rate": ("learning rate", 1),
}
SERIES = {"": "training", "val_": "test, one view"}  # by the prefixes of the columns

_STYLE = {
    "font.size": 9,
    "legend.frameon": False,
    "text.parse_math": False,  # names of classes may contain dollar signs
    "svg.fonttype": "none",  # text stays text, in the fonts of the reader's machine
    "svg.hashsalt": "videorel",  # the same chart gives the same file
}
_NAME_LENGTH = 36


@matplotlib.rc_context(_STYLE)
def curves(columns):
    """Loss, accuracy and learning rate over the epochs.

    `columns` maps the columns of the log of `fit` to lists of `(epoch, value)`.
    """
    panels = [key for key in CURVES if columns.get(key)] or ["loss"]
    figure = Figure((3.8 * len(panels), 3.2), layout="constrained")
    for axes, key in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        title, factor = CURVES[key]
        for (prefix, name), style in zip(SERIES.items(), ("-", "--"), strict=True):
            if points := columns.get(prefix + key):
                epochs, values = np.transpose(points)
                values = np.where(np.isfinite(values), factor * values, np.nan)
                axes.plot(epochs, values, style, marker="o", markersize=3, label=name)
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if key == "top1":
            axes.set_ylim(0, 100)
        if key == "learning_rate" or axes.get_ylim()[1] > 100:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
        if len(axes.lines) > 1:
            axes.legend()
    return figure


@matplotlib.rc_context(_STYLE)
def confusion(counts, labels):
    """A confusion matrix: rows are the true classes, columns the predicted ones."""
    counts = np.asarray(counts)
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cell = min(0.3 if len(labels) <= 30 else 0.14, 38 / len(labels))  # inches; at most 4,600 pixels
    size = min(9, 55 * cell)
    margin = 0.0085 * size * max(len(_short(name)) for name in labels) + 0.6
    side = max(cell * len(labels), 1.5) + margin
    figure = Figure((side + 0.9, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100, interpolation="none")
    figure.colorbar(
        image, ax=axes, label="% of the class's clips", aspect=30,
        shrink=min(1, 4 / side), anchor=(0, 1),
    )  # fmt: skip
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set(xlabel="predicted", ylabel="true")
    _set_names(axes.xaxis, labels, size, rotation=90)
    _set_names(axes.yaxis, labels, size)
    if len(labels) <= 30:
        for row, column in zip(*np.nonzero(counts), strict=True):
            axes.text(
                column, row, counts[row, column], ha="center", va="center", fontsize=7,
                color="white" if percent[row, column] > 50 else "black",
            )  # fmt: skip
    else:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(np.arange(9.5, len(labels) - 1, 10), minor=True)
        axes.grid(which="minor", alpha=0.3, linewidth=0.5)
        axes.tick_params(which="minor", length=0)
    return figure


@matplotlib.rc_context(_STYLE)
def class_accuracy(labels, *models, names=()):
    """Horizontal bars with the accuracy of each class, for one or several models.

    Args:
        labels: Names of the classes, from top to bottom.
        *models: For each model the accuracy of each class, as a fraction.
        names: Names of the models, for a legend.
    """
    row = min(0.04 + 0.17 * len(models), 100 / max(len(labels), 1))  # inches
    figure = Figure((7, row * len(labels) + 0.7), layout="constrained")
    axes = figure.add_subplot()
    thickness = 0.8 / len(models)
    for place, shares in enumerate(models):
        shift = thickness * (place - (len(models) - 1) / 2)
        name = printable(names[place]) if names else None
        bars = axes.barh(
            np.arange(len(labels)) + shift, 100 * np.asarray(shares), thickness, label=name
        )
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=min(7, 45 * row))
    _set_names(axes.yaxis, labels, min(9, 45 * row))
    axes.set(xlim=(0, 105), ylim=(len(labels) - 0.4, -0.6), xlabel="top-1 accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)
    if names:
        figure.legend(loc="outside upper right", ncols=2)
    return figure


@matplotlib.rc_context(_STYLE)
def save(figure, path):
    """Write a figure as a PNG file."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)


@matplotlib.rc_context(_STYLE)
def svg(figure):
    """The bytes of a figure as an SVG file without a background."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()


def _short(name):
    """The start and the end of a name that is too long for a chart."""
    name, half = printable(name), _NAME_LENGTH // 2
    return name if len(name) <= _NAME_LENGTH else f"{name[:half]}…{name[1 - half :]}"


def _set_names(axis, names, size, **options):
    names = [_short(name) for name in names]
    families, _ = fonts("".join(names))
    axis.set_ticks(range(len(names)), names, fontsize=size, family=families, **options)
