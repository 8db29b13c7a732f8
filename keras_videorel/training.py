"""`model.fit` on shards, from a config: build, resume, train, log."""

import csv
import inspect
import os
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_videorel import figures, models, workdir
from keras_videorel.config import MEAN
from keras_videorel.data import pipeline
from keras_videorel.files import written_whole


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
    shape = pipeline.sample_shape(
        segments, config.data.frames, config.data.crop_size, config.data.stream
    )
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


def add_weight_decay(model, weight_decay):
    """L2 of all matrices, as both papers train; not of biases nor of batch normalization.

    The loss gains `weight_decay / 2 * |w|^2`, so that the gradient gains `weight_decay * w`,
    inside the momentum: what Caffe does, and what Keras's own decoupled `weight_decay` does not.
    It is set on the variables, not on the layers, so that a saved model does not carry it.
    """
    regularizer = keras.regularizers.L2(weight_decay / 2)
    for variable in model.trainable_variables:
        if variable.path.split("/")[-1] not in ("bias", "beta", "gamma"):
            variable.regularizer = regularizer


def learning_rate(config, epoch):
    """The rate of an epoch: linear warm-up, then a step down at each of `decay_epochs`."""
    train = config.train
    if epoch < train.warmup_epochs:
        return train.learning_rate * (epoch + 1) / (train.warmup_epochs + 1)
    return train.learning_rate * train.decay_factor ** sum(e <= epoch for e in train.decay_epochs)


def compile_model(model, config):
    """Compile with SGD, L2 of kernels, cross entropy on logits, top-1 and top-5."""
    train = config.train
    add_weight_decay(model, train.weight_decay)
    clip = train.gradient_clip_norm
    model.compile(
        optimizer=keras.optimizers.SGD(
            learning_rate(config, 0),
            momentum=train.momentum,
            nesterov=train.nesterov,
            global_clipnorm=clip if clip > 0 else None,
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="top1"),
            keras.metrics.SparseTopKCategoricalAccuracy(
                min(5, model.output_shape[-1]), name="top5"
            ),
        ],
    )


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
        mirror=config.data.mirror,
        shuffle_buffer=config.data.shuffle_buffer,
        seed=config.seed,
        first_epoch=first_epoch,
        deterministic=config.data.deterministic,
        service=config.data.service,
        **settings,
    )
    logs = os.path.join(folder, "logs")
    _forget_epochs(os.path.join(logs, "train.csv"), first_epoch)
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
    keys = ("stream", "segments", "frames", "frame_stride", "crop_size", "mean", "std")
    settings = {key: config.data[key] for key in keys}
    if config.data.stream == "flow" and config.data.mean == MEAN["rgb"]:
        settings["mean"] = MEAN["flow"]
    return settings


def distribution():
    """Data parallelism over the GPUs of this machine; the default strategy with one or none."""
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


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


def _forget_epochs(path, first_epoch):
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
