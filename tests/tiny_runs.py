"""A tiny network for tests of training runs, and a run in a process of its own that can be hurt.

python -m tests.tiny_runs '{"kill_at_step": 3}' train --config ... --workdir ...
"""

import json
import os
import resource
import signal
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_videorel.cli import run
from keras_videorel.runs import train as training
from keras_videorel.runs import workdir
from keras_videorel.runs.config import clip_spec
from keras_videorel.training import callbacks


def build_tiny(config, classes, pretrained=True):
    """In place of `training.build_model`: averages, batch normalization, dropout, a classifier."""
    clips = keras.Input(clip_spec(config).shape)
    x = keras.layers.Rescaling(1 / 64)(clips)
    x = keras.layers.AveragePooling3D((2, 6, 6), dtype="float32")(x)  # CPUs have no half of it
    x = keras.layers.Dense(8, activation="relu")(keras.layers.Flatten()(x))
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras.layers.Dropout(0.5)(x)
    logits = keras.layers.Dense(classes, dtype="float32")(x)
    return keras.Model(clips, logits, name="tiny")


def weights(model):
    """All weights of a model but the seeds of dropout."""
    return [keras.ops.convert_to_numpy(v) for v in model.variables if "seed" not in v.path]


def assert_same_checkpoint(one, other):
    """The same arrays, to the bit, in two files."""
    import h5py

    def arrays(path):
        found = {}
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item: (
                    found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
                )
            )
        return found

    first, second = arrays(one), arrays(other)
    assert first.keys() == second.keys() and first
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def kill_at(step=0, save=0):
    """Kill this process before a step of the run, or inside a save, between write and rename."""

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    class KillAtStep(callbacks.StepSeeds):
        steps = 0

        def on_train_batch_begin(self, batch, logs=None):
            super().on_train_batch_begin(batch, logs)
            self.steps += 1
            if self.steps == step:
                die()

    save_weights, saves = keras.Model.save_weights, []

    def save_and_die(model, path, *rest):
        save_weights(model, path, *rest)
        saves.append(path)
        if len(saves) == save:
            os.truncate(path, os.path.getsize(path) // 2)
            die()

    training.StepSeeds = KillAtStep
    keras.Model.save_weights = save_and_die


def main(words):
    options, command, *flags = words
    options = json.loads(options)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    training.build_model = build_tiny
    kill_at(options.get("kill_at_step", 0), options.get("kill_in_save", 0))
    if "file_size" in options:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options["file_size"], -1))
    return run(command, flags)


if __name__ == "__main__":
    assert workdir  # the package under test
    sys.exit(main(sys.argv[1:]))
