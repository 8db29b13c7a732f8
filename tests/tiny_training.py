"""`videorel train` of a network of a few weights, in a process of its own.

python -m tests.tiny_training OPTIONS --config FILE --workdir DIR ...

OPTIONS is a JSON dict: `weights`, where to save what was trained; `devices`, of the CPU, to mirror
over; `killed_in`, an epoch whose second step ends this process, like a machine that fails.
"""

import json
import os
import signal
import sys

from keras_videorel import cli, tensorflow_import


def tiny_model(config, classes, pretrained=True):
    """A convolution and batch normalization, and dropout as the config says."""
    import keras

    from keras_videorel.runs.config import clip_spec

    clip = keras.Input(clip_spec(config).shape)
    x = keras.layers.Conv3D(4, 3, strides=4, use_bias=False, name="conv")(clip / 128.0)
    x = keras.layers.Activation("relu")(keras.layers.BatchNormalization(momentum=0.9, name="bn")(x))
    x = keras.layers.GlobalAveragePooling3D()(x)
    x = keras.layers.Dropout(config.model.dropout)(x)
    return keras.Model(clip, keras.layers.Dense(classes, name="logits")(x), name="tiny")


def weights(model):
    """All variables but the states of random generators, by their paths."""
    import keras

    return {
        variable.path.replace("/", "."): keras.ops.convert_to_numpy(variable)
        for variable in model.variables
        if "seed_generator" not in variable.path
    }


def main(options, argv):
    tensorflow_import.import_tensorflow()
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_videorel.runs import train as training
    from keras_videorel.training import distribution

    if "devices" in options:
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * options["devices"]
        tf.config.set_logical_device_configuration(cpu, devices)
        names = [f"CPU:{i}" for i in range(options["devices"])]
        distribution.local_gpus = lambda: names
    train, fit = training.train, keras.Model.fit

    def kill(epoch, batch):
        if batch == 1 and state["epoch"] == options.get("killed_in"):
            os.kill(os.getpid(), signal.SIGKILL)

    state = {}
    mortal = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: state.update(epoch=epoch),
        on_train_batch_end=lambda batch, logs: kill(state["epoch"], batch),
    )

    def fit_and_fail(model, *args, callbacks, **kwargs):
        return fit(model, *args, callbacks=[*callbacks, mortal], **kwargs)

    def train_and_save(config, folder):
        model = train(config, folder)
        np.savez(options["weights"], **weights(model))
        return model

    keras.Model.fit, training.train, training.build_model = fit_and_fail, train_and_save, tiny_model
    return cli.run("train", argv)


if __name__ == "__main__":
    cli.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
