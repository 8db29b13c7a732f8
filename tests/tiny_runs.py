"""A tiny network for tests of training runs, and a run in a process of its own that can be hurt.

python -m tests.tiny_runs OPTIONS

OPTIONS is a JSON dict: `folder` of the run, `shards`, and optionally

dtype_policy, data, train, dropout  values of the config
weights                             file to save the trained weights in
devices                             number of CPU devices to mirror over
kill_at_step, kill_in_save          number of the step to die before, of the save to die in
file_size                           bytes that no file may exceed
"""

import json
import os
import resource
import signal
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_videorel import runs
from keras_videorel.runs.config import base, clip_spec


def tiny_config(shards, dtype_policy="float32", data=(), **train):
    """A config of clips of 8x24x24, whose `model` `build_tiny` takes the rate of dropout from."""
    config = base()
    config.dtype_policy = dtype_policy
    config.model.dropout = 0.5
    data = {"path": str(shards), "frames": 8, "crop_size": 24, **dict(data)}
    for group, values in ((config.data, data), (config.train, train)):
        group.update({k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    return config


def build_tiny(config, classes=2):
    """Averages, batch normalization, dropout, a classifier."""
    clips = keras.Input(clip_spec(config).shape)
    x = keras.layers.Rescaling(1 / 64)(clips)
    x = keras.layers.AveragePooling3D((2, 6, 6), dtype="float32")(x)  # CPUs have no half of it
    x = keras.layers.Dense(8, activation="relu", name="hidden")(keras.layers.Flatten()(x))
    x = keras.layers.BatchNormalization(momentum=0.9, name="bn")(x)
    x = keras.layers.Dropout(config.model.dropout)(x)
    logits = keras.layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(clips, logits, name="tiny")


def train_tiny(config, folder, **options):
    """`runs.train` of it."""
    return runs.train(config, str(folder), model=lambda: build_tiny(config), **options)


def weights(model):
    """All weights of a model but the seeds of dropout, by their paths."""
    return {
        v.path.replace("/", "."): keras.ops.convert_to_numpy(v)
        for v in model.variables
        if "seed" not in v.path
    }


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


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


class KillAtStep(keras.callbacks.Callback):
    """Kills this process before a step of the run."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_begin(self, batch, logs=None):
        self.step -= 1
        if not self.step:
            kill()


def kill_in_save(layer, save):
    """Kill this process when a layer is saved for the nth time: in the middle of the file."""
    save_variables, saves = layer.save_own_variables, []

    def save_and_die(store):
        save_variables(store)
        saves.append(store)
        if len(saves) == save:
            kill()

    layer.save_own_variables = save_and_die


def main(options):
    tf.config.threading.set_intra_op_parallelism_threads(1)
    if "file_size" in options:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options["file_size"], -1))
    config = tiny_config(
        options["shards"],
        options.get("dtype_policy", "float32"),
        options.get("data", ()),
        **options["train"],
    )
    config.model.dropout = options.get("dropout", 0.5)

    def build():
        model = build_tiny(config)
        kill_in_save(model.layers[-1], options.get("kill_in_save"))
        return model

    def train():
        callbacks = [KillAtStep(options.get("kill_at_step", 0))]
        return runs.train(config, options["folder"], model=build, callbacks=callbacks)

    try:
        if "devices" in options:
            names = [f"CPU:{i}" for i in range(options["devices"])]
            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration() for _ in names]
            )
            with tf.distribute.MirroredStrategy(names).scope():
                model = train()
        else:
            model = train()
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    if "weights" in options:
        np.savez(options["weights"], **weights(model))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
