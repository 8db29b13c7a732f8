"""Pictures of a run, as PNG files."""

import contextlib
import csv
import math

import matplotlib
import numpy as np

from keras_videorel.files import atomic_write

matplotlib.use("Agg")
from matplotlib import pyplot as plt

plt.rcParams["text.parse_math"] = False  # names of classes may hold dollar signs


def save_curves(log, path):
    """Loss and accuracy over the epochs, from the CSV log of `fit`."""
    columns = read_log(log)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    panels = ((left, "loss", "cross entropy + L2", 1), (right, "top1", "top-1 accuracy (%)", 100))
    for axes, key, title, factor in panels:
        for prefix, label in (("", "training"), ("val_", "test, one view")):
            points = columns.get(prefix + key, [])
            epochs = [epoch for epoch, _ in points]
            values = [factor * value for _, value in points]
            axes.plot(epochs, values, marker="o", markersize=3, label=label if points else None)
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[1]:
            axes.legend()
    right.set_ylim(0, 100)
    if max((value for _, value in columns.get("val_loss", [])), default=0) > 100:
        left.set_yscale("log")
    _save(figure, path)


def read_log(path):
    """Columns of the CSV log of `fit`.

    Args:
        path: The file. Rows that a kill cut short and fields that are no numbers are left out.

    Returns:
        A dict from names to lists of `(epoch, value)`, epochs counted from 1.
    """
    columns = {}
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        for row in csv.DictReader(file):
            numbers = {}
            for name, text in row.items():
                with contextlib.suppress(TypeError, ValueError):
                    numbers[name] = float(text)
            epoch = numbers.pop("epoch", None)
            if epoch is not None and math.isfinite(epoch):
                for name, number in numbers.items():
                    columns.setdefault(name, []).append((int(epoch) + 1, number))
    return columns


def save_confusion(counts, labels, path):
    """A confusion matrix: rows are the true classes, columns the predicted ones.

    Args:
        counts: Integers `(classes, classes)`.
        labels: Names of the classes.
        path: Where to write the PNG.
    """
    counts = np.asarray(counts)
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(4.0, 0.32 * len(labels) + 2.5), 36.0)  # hundreds of classes: 4,400 pixels
    figure, axes = plt.subplots(figsize=(side + 0.8, side), layout="constrained")
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(image, ax=axes, label="% of the class's clips", shrink=0.7)
    size = 8 if len(labels) <= 60 else min(4.0, 1600 / len(labels))
    ticks = range(len(labels))
    names = _as_text(labels)
    axes.set_xticks(ticks, names, rotation=90, fontsize=size)
    axes.set_yticks(ticks, names, fontsize=size)
    axes.set(xlabel="predicted", ylabel="true")
    if len(labels) <= 30:
        for row, column in zip(*np.nonzero(counts), strict=True):
            dark = percent[row, column] > 50
            axes.text(
                column, row, counts[row, column], ha="center", va="center", fontsize=7,
                color="white" if dark else "black",
            )  # fmt: skip
    _save(figure, path)


def save_class_accuracy(shares, labels, path):
    """Bars of the classes' accuracies, from top to bottom.

    Args:
        shares: Fractions `(classes,)`.
        labels: Names of the classes.
        path: Where to write the PNG.
    """
    height = min(max(2.0, 0.2 * len(labels) + 1), 60.0)
    figure, axes = plt.subplots(figsize=(8, height), layout="constrained")
    places = np.arange(len(labels))
    axes.barh(places, 100 * np.asarray(shares))
    size = min(8, 560 * height / 10 / max(len(labels), 1))
    axes.set_yticks(places, _as_text(labels), fontsize=size)
    axes.set(xlim=(0, 100), ylim=(len(labels) - 0.4, -0.6), xlabel="top-1 accuracy (%)")
    axes.grid(axis="x", alpha=0.3)
    _save(figure, path)


def save_gains(labels, before, after, names, path):
    """Pairs of bars of classes under two models, as Fig. 3 of Relational LSTM shows them.

    Args:
        labels: Names of the classes, from top to bottom.
        before: Accuracies under the first model, fractions `(classes,)`.
        after: Accuracies under the second.
        names: Names of the two models.
        path: Where to write the PNG.
    """
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(labels) + 1.2), layout="constrained")
    places = np.arange(len(labels))
    for shift, shares, name in zip((-0.2, 0.2), (before, after), _as_text(names), strict=True):
        axes.barh(places + shift, 100 * np.asarray(shares), height=0.38, label=name)
    axes.set_yticks(places, _as_text(labels))
    axes.set(xlim=(0, 100), ylim=(len(labels) - 0.4, -0.6), xlabel="top-1 accuracy (%)")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper right", ncols=2)
    _save(figure, path)


def _as_text(names):
    """Names that matplotlib can draw: names of files and folders need not be text."""
    return [str(name).encode("utf-8", "replace").decode() for name in names]


def _save(figure, path):
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)
