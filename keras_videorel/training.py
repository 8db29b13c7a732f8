"""`model.fit` on shards, from a config: build, resume, train, log."""

import inspect
import os
import sys

import keras
import tensorflow as tf

from keras_videorel import figures, models, workdir
from keras_videorel.callbacks import Checkpoints, EpochSeeds, StopOnNaN, forget_epochs
from keras_videorel.config import MEAN
from keras_videorel.data import pipeline
from keras_videorel.optimization import compile_model, learning_rate


def build_model(config, classes, pretrained=True):
    """The model of a config, giving logits.

    With `config.data.segments`, a model of single snippets is put under a temporal segment
    network; `RelationalLSTMResNet` takes the segments itself.

    Args:
        config: A config as `keras_videorel.config.base` makes it.
        classes: Number of classes.
        pretrained: Whether to load the `weights` that the config names, if it does; a
            checkpoint has its own.

    Returns:
        A `keras.Model` from samples of `pipeline.sample_shape` to logits `(batch, classes)`.

    Raises:
        ValueError: If the config names no model, or arguments that the model does not take.
    """
    arguments = dict(config.model)
    name = arguments.pop("name")
    constructor = getattr(models, name, None)
    if name not in models.__all__ or not name[:1].isupper():
        known = ", ".join(name for name in models.__all__ if name[:1].isupper())
        raise ValueError(f"`config.model.name` must be one of {known}. Received: {name!r}")
    segments = config.data.segments
    data = config.data
    shape = pipeline.sample_shape(segments, data.frames, data.crop_size, data.stream, data.stacked)
    snippet = shape[1:] if segments else shape
    whole = "segments" in inspect.signature(constructor).parameters
    if whole:
        arguments["segments"] = segments
    if "weights" in arguments and not pretrained:
        arguments["weights"] = None
    try:
        model = constructor(
            input_shape=snippet, classes=classes, classifier_activation=None, **arguments
        )
    except TypeError as error:
        raise ValueError(f"`config.model` has an argument that {name} lacks: {error}") from error
    if segments and not whole:
        return models.TemporalSegmentNetwork(model, segments, classifier_activation=None)
    return model


def load_model(folder, config=None):
    """The model of a run with its newest checkpoint.

    Args:
        folder: The run's folder.
        config: The run's config, read from the folder by default.

    Returns:
        `(model, epochs)`: a `keras.Model` giving logits, and how long it was trained.

    Raises:
        FileNotFoundError: If there is no run or no checkpoint.
        ValueError: If the checkpoint is of another model.
    """
    config = workdir.read_config(folder) if config is None else config
    if not workdir.checkpoints(folder):
        raise FileNotFoundError(f"{folder!r} holds no checkpoint yet: train it first")
    model = build_model(config, len(workdir.read_labels(folder)), pretrained=False)
    return model, workdir.load_checkpoint(model, folder)


def train(config, folder):
    """Train the model of a config, or go on where training in that folder stopped.

    Args:
        config: A config as `keras_videorel.config.base` makes it.
        folder: The run's folder, see `keras_videorel.workdir`.

    Returns:
        The trained `keras.Model`, giving logits.

    Raises:
        ValueError, OSError: On bad input, with one line that says what to do.
    """
    info = pipeline.read_info(config.data.path, config.data.split)
    steps = pipeline.steps_per_epoch(info, config.train.batch_size)
    settings = clip_settings(config)
    config.data.mean = settings["mean"]  # so that the run's folder tells it
    validation = None
    if info.clips.get("test"):
        # One view of each test clip watches over training; evaluate takes all of them.
        views = pipeline.evaluation_views(info, clips=1, crops=1, **settings)
        validation = (
            views.map(lambda view, label, path: (view[0], label))
            .batch(config.train.batch_size)
            .prefetch(tf.data.AUTOTUNE)
        )
    keras.utils.set_random_seed(config.seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.dtype_policy)
    try:
        with distribution().scope():
            model = build_model(config, len(info.labels))
            if config.train.initialize_from and not workdir.checkpoints(folder):
                print(initialize(model, config.train.initialize_from))
            compile_model(model, config)
            model.optimizer.build(model.trainable_variables)
            # Bad input has been refused by now, with nothing written.
            workdir.open_run(folder, config, info)
            first_epoch = workdir.load_checkpoint(model, folder)
    finally:
        keras.config.set_dtype_policy(policy)
    if first_epoch:
        print(f"going on after epoch {first_epoch} of {config.train.epochs}")
    if first_epoch >= config.train.epochs:
        return model

    batches = pipeline.training_batches(
        info,
        config.train.batch_size,
        crop_scales=config.data.crop_scales,
        crop_positions=config.data.crop_positions,
        mirror=config.data.mirror,
        shuffle_buffer=config.data.shuffle_buffer,
        seed=config.seed,
        first_epoch=first_epoch,
        deterministic=config.data.deterministic,
        service=config.data.service,
        **settings,
    )
    logs = os.path.join(folder, "logs")
    forget_epochs(os.path.join(logs, "train.csv"), first_epoch)
    model.fit(
        batches,
        epochs=config.train.epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=steps,
        validation_data=validation,
        shuffle=False,  # the pipeline does
        callbacks=[
            keras.callbacks.LearningRateScheduler(lambda epoch: learning_rate(config, epoch)),
            EpochSeeds(config.seed),
            StopOnNaN(),
            keras.callbacks.CSVLogger(os.path.join(logs, "train.csv"), append=True),
            keras.callbacks.TensorBoard(logs, write_graph=False),
            Checkpoints(folder),
        ],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    figures.save_curves(
        os.path.join(logs, "train.csv"), os.path.join(folder, "figures", "curves.png")
    )
    return model


def initialize(model, path):
    """Initialize a model from another run, by the names of its layers (Sec. 5.2 and 5.3).

    Args:
        model: The `keras.Model` to initialize.
        path: The other run's folder, or a `.keras` file.

    Returns:
        A `models.transfer.Transfer`: what was loaded, and what was not and why.

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If it has nothing in common with this one.
    """
    if os.path.isdir(path):
        source, _ = load_model(path)
    elif os.path.isfile(path):
        source = keras.saving.load_model(path)
    else:
        raise FileNotFoundError(
            "`config.train.initialize_from` must be the folder of a run or a .keras file. "
            f"Received: {path!r}"
        )
    return models.initialize_from(model, source)


def clip_settings(config):
    """The settings of a config that training and test samples share.

    Where the stream is flow, the base config's mean, that of RGB, is replaced by that of flow.
    """
    keys = ("stream", "stacked", "segments", "frames", "frame_stride", "crop_size", "mean", "std")
    settings = {key: config.data[key] for key in keys}
    if config.data.stream == "flow" and config.data.mean == MEAN["rgb"]:
        settings["mean"] = MEAN["flow"]
    return settings


def distribution():
    """Data parallelism over the GPUs of this machine; the default strategy with one or none."""
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()
