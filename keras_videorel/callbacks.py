"""Callbacks of a run: checkpoints, seeds of an epoch, a stop where the loss is no number."""

import csv
import os

import keras
import numpy as np

from keras_videorel import workdir
from keras_videorel.files import written_whole


class Checkpoints(keras.callbacks.Callback):
    """Saves weights and optimizer after each epoch; keeps the last two.

    A checkpoint is one file, written beside and renamed, whose name says how many epochs it is
    worth: a kill at any moment leaves a whole one.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_epoch_end(self, epoch, logs=None):
        with written_whole(workdir.checkpoint_path(self.folder, epoch + 1)) as beside:
            self.model.save_weights(beside)
        for _, path in workdir.checkpoints(self.folder)[2:]:
            os.remove(path)


class StopOnNaN(keras.callbacks.Callback):
    """Stops with a `ValueError` when the loss is no number, before that reaches a checkpoint."""

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            rate = float(self.model.optimizer.learning_rate)
            raise ValueError(
                f"the loss became {loss} at step {batch + 1} of an epoch, at learning rate "
                f"{rate:g}: lower `config.train.learning_rate`, or clip gradients with "
                "`config.train.gradient_clip_norm`. The checkpoint of the epoch before is kept"
            )


class EpochSeeds(keras.callbacks.Callback):
    """Makes dropout a function of seed and epoch, so that a resumed run repeats it."""

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        for place, variable in enumerate(self.model.variables):
            if variable.path.endswith("seed_generator_state"):
                variable.assign([self.seed + place, epoch])


def forget_epochs(path, first_epoch):
    """Drop the rows of a log that will be written again: those after the checkpoint."""
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    whole = [row for row in rows if len(row) == len(header)]  # a kill can tear the last one
    kept = [row for row in whole if int(row[0]) < first_epoch]
    with written_whole(path) as beside, open(beside, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *kept] if kept else [])
