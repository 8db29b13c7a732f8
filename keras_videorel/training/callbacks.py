"""Callbacks for training that can stop at any step and resume with identical results."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops


class TrainingProgress(keras.callbacks.Callback):
    """The epoch, counted from 0, and the steps done in it, for the callbacks after this one.

    When training resumes in the middle of an epoch, only the rest of its `steps` is run. The stored
    values of the metrics' variables, `metrics`, are added to the totals.
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
        if len(self.metrics):  # here, since the first step creates the variables
            for variable, value in zip(self.model.metrics_variables, self.metrics, strict=True):
                variable.assign(variable.numpy() + value)
            self.metrics = ()
        if self.step == self.steps:
            self.model.stop_training = True  # ends only this epoch

    def on_epoch_end(self, epoch, logs=None):
        if self.step == self.steps:
            self.model.stop_training = False
        self.step = 0


class Checkpoints(keras.callbacks.Callback):
    """Calls a function that saves, after each epoch and every few steps.

    Args:
        save: Function of the whole epochs done, the steps done of the next one, and the values of
            the metrics' variables, which are empty after a whole epoch.
        progress: The `TrainingProgress`.
        every: Number of steps between two saves inside an epoch; 0: no saves there.
    """

    def __init__(self, save, progress, every=0):
        super().__init__()
        self.save = save
        self.progress = progress
        self.every = every

    def on_train_batch_end(self, batch, logs=None):
        done = self.progress.step
        if self.every and done % self.every == 0 and done < self.progress.steps:
            # Reading sums them over the workers, so that every worker must read them.
            metrics = [v.numpy() for v in self.model.metrics_variables]
            self.save(self.progress.epoch, done, metrics)

    def on_epoch_end(self, epoch, logs=None):
        self.save(epoch + 1, 0, ())


class StopOnNaN(keras.callbacks.Callback):
    """Raises a `ValueError` if the loss or a weight is not finite, before the weights are saved.

    The loss is not enough. In TensorFlow 2.21, oneDNN's fused `MatMul + BiasAdd + Relu` and some
    poolings turn NaN into a number, but the gradients and the next weights are NaN. A step that
    float16 skips does not change the weights, and training goes on.

    `advice(epoch, step)` returns the end of the message.
    """

    def __init__(self, progress, advice):
        super().__init__()
        self.progress = progress
        self.advice = advice

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
        epoch, step = self.progress.epoch, self.progress.step
        rate = float(self.model.optimizer.learning_rate)
        cause = " (by its gradients)" if np.isfinite(loss) else ""
        raise ValueError(
            f"the loss became {'nan' if cause else loss} at step "
            f"{epoch * self.progress.steps + step} of the run{cause}, "
            f"step {step} of epoch {epoch + 1}, at learning rate {rate:g}: "
            f"{self.advice(epoch, step - 1)}"
        )


class StepSeeds(keras.callbacks.Callback):
    """Makes dropout depend only on seed, epoch and step, so that resumed training repeats it."""

    def __init__(self, seed, progress):
        super().__init__()
        self.seed = seed
        self.progress = progress

    def on_train_batch_begin(self, batch, logs=None):
        # On jax, reading the model's variables brings them up to date, so read them at each step.
        seeds = [v for v in self.model.variables if v.path.endswith("seed_generator_state")]
        for place, variable in enumerate(seeds):
            key = [self.seed, place, self.progress.epoch, self.progress.step]
            variable.assign(np.random.SeedSequence(key).generate_state(2))


class Schedule(keras.callbacks.LearningRateScheduler):
    """Sets the learning rate of each epoch by `optimization.step_schedule` or `plateau_schedule`.

    `losses` holds the validation loss of each epoch done, or without validation the training loss.
    """

    def __init__(self, rate, losses=()):
        super().__init__(lambda epoch, _: rate(epoch, self.losses))
        self.losses = list(losses)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self.losses.append(logs.get("val_loss", logs["loss"]))


class ValidateAverages(keras.callbacks.Callback):
    """Validates with the optimizer's moving averages as weights, and then restores the weights.

    `SwapEMAWeights` of Keras 3.15.1 swaps by sums and differences, which changes the last bits.
    """

    def on_test_begin(self, logs=None):
        variables = self.model.trainable_variables
        self.weights = [v.numpy() for v in variables]
        self.model.optimizer.finalize_variable_values(variables)

    def on_test_end(self, logs=None):
        for variable, weight in zip(self.model.trainable_variables, self.weights, strict=True):
            variable.assign(weight)
        self.weights = []
