"""Pictures of a run, as PNG files."""

import csv

import matplotlib
import numpy as np

from keras_videorel.files import written_whole

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def save_curves(log, path):
    """Loss and accuracy over the epochs, from the CSV log of `fit`."""
    with open(log, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    epochs = [int(row["epoch"]) + 1 for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    panels = ((left, "loss", "cross entropy + L2", 1), (right, "top1", "top-1 accuracy (%)", 100))
    for axes, key, title, factor in panels:
        for prefix, label in (("", "training"), ("val_", "test, one view")):
            if rows and rows[0].get(prefix + key):
                values = [factor * float(row[prefix + key]) for row in rows]
                axes.plot(epochs, values, marker="o", markersize=3, label=label)
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    right.set_ylim(0, 100)
    if rows and max(float(row["val_loss"] or 0) for row in rows if "val_loss" in row) > 100:
        left.set_yscale("log")
    _save(figure, path)


def save_confusion(counts, labels, path):
    """A confusion matrix: rows are the true classes, columns the predicted ones.

    Args:
        counts: Integers `(classes, classes)`.
        labels: Names of the classes.
        path: Where to write the PNG.
    """
    counts = np.asarray(counts)
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, 0.32 * len(labels) + 2.5)
    figure, axes = plt.subplots(figsize=(side + 0.8, side), layout="constrained")
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(image, ax=axes, label="% of the class's clips", shrink=0.7)
    size = 8 if len(labels) <= 60 else 4
    ticks = range(len(labels))
    axes.set_xticks(ticks, labels, rotation=90, fontsize=size)
    axes.set_yticks(ticks, labels, fontsize=size)
    axes.set(xlabel="predicted", ylabel="true")
    if len(labels) <= 30:
        for row, column in zip(*np.nonzero(counts), strict=True):
            dark = percent[row, column] > 50
            axes.text(
                column, row, counts[row, column], ha="center", va="center", fontsize=7,
                color="white" if dark else "black",
            )  # fmt: skip
    _save(figure, path)


def _save(figure, path):
    with written_whole(path) as beside:
        figure.savefig(beside, dpi=120)
    plt.close(figure)
