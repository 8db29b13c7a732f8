"""Callbacks of a run: its position, checkpoints, seeds and rates, a stop where the loss is NaN."""

import csv
import os

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_videorel.files import atomic_write
from keras_videorel.runs import workdir


class TrainingProgress(keras.callbacks.Callback):
    """Where a run is, for the callbacks after it: the epoch, and the steps done of it.

    A run that goes on inside an epoch ends that epoch by the steps that were done before, and
    adds what they summed up for its averages.

    Args:
        steps: Steps of an epoch.
        epoch: Number of the epoch to begin with, from 0.
        step: Steps of it that are done.
        metrics: Values of the metrics' variables after them.
    """

    def __init__(self, steps, epoch=0, step=0, metrics=()):
        super().__init__()
        self.steps = steps
        self.epoch = epoch
        self.step = step
        self.metrics = metrics

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if len(self.metrics):  # here, since Keras makes the variables in the first step
            for variable, value in zip(self.model.metrics_variables, self.metrics, strict=True):
                variable.assign(variable.numpy() + value)
            self.metrics = ()
        if self.step == self.steps:
            self.model.stop_training = True  # ends this epoch, and no other

    def on_epoch_end(self, epoch, logs=None):
        self.step = 0
        self.model.stop_training = False


class Checkpoints(keras.callbacks.Callback):
    """Saves weights and optimizer after each epoch; keeps the last two.

    Args:
        folder: The run's folder.
        position: The run's `TrainingProgress`.
        every: Steps after which there is another inside of an epoch; 0 for none.
        write: Whether to write them: one of several workers does.
    """

    def __init__(self, folder, position, every=0, write=True):
        super().__init__()
        self.folder = folder
        self.position = position
        self.every = every
        self.write = write

    def on_train_batch_end(self, batch, logs=None):
        done = self.position.step
        if self.every and done % self.every == 0 and done < self.position.steps:
            self._save(self.position.epoch, done)

    def on_epoch_end(self, epoch, logs=None):
        self._save(epoch + 1)

    def _save(self, epochs, steps=0):
        # Sums over all workers, which all must ask for.
        metrics = [v.numpy() for v in self.model.metrics_variables] if steps else []
        if not self.write:
            return
        workdir.save_checkpoint(self.model, self.folder, epochs, steps, metrics)
        for checkpoint in workdir.checkpoints(self.folder)[2:]:
            os.remove(checkpoint.path)


class StopOnNaN(keras.callbacks.Callback):
    """Stops with a `ValueError` when a step gives no number, before that reaches a checkpoint.

    The loss alone does not tell: in TensorFlow 2.21 oneDNN's fused `MatMul + BiasAdd + Relu` and
    some poolings turn NaN into a number, but the gradients are NaN, and with them the weights. A
    step that float16 skips has gradients that are not finite, and leaves the weights as they were:
    it goes on.

    Args:
        position: The run's `TrainingProgress`.
        clips: Function of an epoch and a step that tells which clips were in that batch.
    """

    def __init__(self, position, clips):
        super().__init__()
        self.position = position
        self.clips = clips

    def on_train_begin(self, logs=None):
        self.weights_finite = self._weights_finite
        if keras.backend.backend() == "tensorflow":
            self.weights_finite = tf.function(self._weights_finite)

    def _weights_finite(self):
        weights = [v for v in self.model.variables if "float" in v.dtype]
        return ops.all(ops.stack([ops.all(ops.isfinite(weight)) for weight in weights]))

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        if np.isfinite(loss) and self.weights_finite():
            return
        epoch, step = self.position.epoch, self.position.step
        rate = float(self.model.optimizer.learning_rate)
        cause = " (by its gradients)" if np.isfinite(loss) else ""
        raise ValueError(
            f"the loss became {'nan' if cause else loss} at step "
            f"{epoch * self.position.steps + step} of the run{cause}, "
            f"step {step} of epoch {epoch + 1}, at learning rate {rate:g}: lower "
            "`config.train.learning_rate`, or clip gradients with "
            "`config.train.gradient_clip_norm`. The checkpoint before it is kept. "
            f"The clips of that batch: {self.clips(epoch, step - 1)}"
        )


class StepSeeds(keras.callbacks.Callback):
    """Makes dropout a function of seed, epoch and step, so that a resumed run repeats it.

    Args:
        seed: The run's seed.
        position: The run's `TrainingProgress`.
    """

    def __init__(self, seed, position):
        super().__init__()
        self.seed = seed
        self.position = position

    def on_train_batch_begin(self, batch, logs=None):
        # Of the model anew each time: on jax that is what brings its variables up to date.
        seeds = [v for v in self.model.variables if v.path.endswith("seed_generator_state")]
        for place, variable in enumerate(seeds):
            key = [self.seed, place, self.position.epoch, self.position.step]
            variable.assign(np.random.SeedSequence(key).generate_state(2))


class Schedule(keras.callbacks.LearningRateScheduler):
    """Sets the rate of each epoch, a function of the epoch and of the losses before it.

    Args:
        rate: Function of an epoch and the validation losses of those before.
        losses: Those of the epochs that are done; where there is no validation, of training.
    """

    def __init__(self, rate, losses=()):
        super().__init__(lambda epoch, _: rate(epoch, self.losses))
        self.losses = list(losses)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self.losses.append(logs.get("val_loss", logs["loss"]))


class ValidateAverages(keras.callbacks.Callback):
    """Validates with the optimizer's moving averages as weights, and puts the weights back.

    To the bit, which `SwapEMAWeights` of Keras 3.15.1 does not: it swaps by sums and differences.
    """

    def on_test_begin(self, logs=None):
        variables = self.model.trainable_variables
        self.weights = [v.numpy() for v in variables]
        self.model.optimizer.finalize_variable_values(variables)

    def on_test_end(self, logs=None):
        for variable, weight in zip(self.model.trainable_variables, self.weights, strict=True):
            variable.assign(weight)
        self.weights = []


def truncate_log(path, first_epoch):
    """Drop the rows of a log that will be written again: those after the checkpoint."""
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    # A kill can tear the last one.
    whole = [row for row in rows if len(row) == len(header) and row[0].isdecimal()]
    kept = [row for row in whole if int(row[0]) < first_epoch]
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows([header, *kept] if kept else [])
