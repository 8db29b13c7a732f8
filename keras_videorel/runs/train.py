"""`model.fit` on shards, from a config: build, resume, train, log."""

import inspect
import math
import os
import resource
import sys
import time
import zlib

import keras
import numpy as np
import tensorflow as tf

from keras_videorel import caffe, files, models
from keras_videorel.checks import check_choice
from keras_videorel.data import pipeline
from keras_videorel.data.manifest import read_manifest
from keras_videorel.reporting import charts
from keras_videorel.runs import workdir
from keras_videorel.runs.config import check_config, clip_spec
from keras_videorel.training.callbacks import (
    Checkpoints,
    Schedule,
    StepSeeds,
    StopOnNaN,
    TrainingProgress,
    ValidateAverages,
    truncate_log,
)
from keras_videorel.training.distribution import distribution, synchronize_batch_normalization
from keras_videorel.training.optimization import compile_model, learning_rate, sgd


def build_model(config, classes, pretrained=True):
    """The model of a config, giving logits.

    With `config.data.segments`, a model of single snippets is put under a temporal segment
    network; `RelationalLSTMResNet` takes the segments itself.

    Args:
        config: A config as `keras_videorel.runs.config.base` makes it.
        classes: Number of classes.
        pretrained: Whether to load the `weights` that the config names, if it does; a
            checkpoint has its own.

    Returns:
        A `keras.Model` from samples of `clip_spec(config).shape` to logits `(batch, classes)`.

    Raises:
        ValueError: If the config names no model, or arguments that the model does not take.
    """
    arguments = dict(config.model)
    name = arguments.pop("name")
    constructors = {key: getattr(models, key) for key in models.__all__ if key[:1].isupper()}
    constructors["CaffeResNet18"] = caffe.CaffeResNet18
    constructor = constructors[check_choice("config.model.name", name, constructors)]
    segments, shape = config.data.segments, clip_spec(config).shape
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

    Where the config has an `ema_momentum`, its weights are their moving averages.

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
    if not config.train.ema_momentum:
        return model, workdir.load_checkpoint(model, folder).epochs
    # The averages are the optimizer's; a twin that shares the weights takes them from there.
    twin = keras.Model(model.inputs, model.outputs, name=model.name)
    twin.compile(sgd(config))
    twin.optimizer.build(twin.trainable_variables)
    epochs = workdir.load_checkpoint(twin, folder).epochs
    twin.optimizer.finalize_variable_values(twin.trainable_variables)
    return model, epochs


def train(config, folder, override=False):
    """Train the model of a config, or go on where training in that folder stopped.

    Args:
        config: A config as `keras_videorel.runs.config.base` makes it.
        folder: The run's folder, see `keras_videorel.runs.workdir`.
        override: Whether to go on although values of `config.data`, `config.train` or
            `config.eval` differ from those that the run was begun with. `history.json` tells it.

    Returns:
        The trained `keras.Model`, giving logits.

    Raises:
        ValueError, OSError: On bad input, or where another worker is lost, with one line that
            says what to do.
    """
    files.check_text("workdir", folder)
    with distribution() as spread:
        return _train(config, folder, spread, override)


def _prepare(config, spread):
    """Check a config and set what it leaves open; `(info, reader_ids, steps of an epoch)`."""
    check_config(config)
    info = read_manifest(config.data.path, config.data.fold)
    config.data.mean = clip_spec(config).mean  # so that the run's folder tells it
    config.data.num_readers, reader_ids = spread.readers(
        config.data.num_readers, config.train.batch_size
    )
    steps = pipeline.steps_per_epoch(
        info, config.train.batch_size, num_readers=config.data.num_readers
    )
    return info, reader_ids, steps


def _training_batches(config, info, reader_ids, start=workdir.NOTHING):
    return pipeline.training_batches(
        info,
        clip_spec(config),
        config.train.batch_size,
        crop_scales=config.data.crop_scales,
        crop_positions=config.data.crop_positions,
        mirror=config.data.mirror,
        shuffle_buffer=config.data.shuffle_buffer,
        seed=config.seed,
        first_epoch=start.epochs,
        first_step=start.steps,
        epochs=math.inf,
        deterministic=config.data.deterministic,
        service=config.data.service,
        num_readers=config.data.num_readers,
        reader_ids=reader_ids,
    )


def _train(config, folder, spread, override):
    info, reader_ids, steps = _prepare(config, spread)
    parts = max(config.train.accumulation_steps, 1)
    validation = None
    watched = watched_split(info)
    if watched:
        # One view of each of its clips watches over training, on each worker; evaluate takes all.
        validation = (
            pipeline.centered_views(info, clip_spec(config), watched)
            .take(spread.validated(info.clips[watched]))
            .batch(max(config.train.batch_size // (spread.workers * parts), 1))
            .prefetch(tf.data.AUTOTUNE)
        )
    keras.utils.set_random_seed(config.seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.dtype_policy)
    try:
        with spread.scope():
            model = build_model(config, len(info.labels))
            if config.train.synchronized_batch_norm:
                synchronize_batch_normalization(model)
            if config.train.initialize_from and not workdir.checkpoints(folder):
                transfer = initialize(model, config.train.initialize_from, info.labels)
                if spread.chief:
                    print(transfer)
            trained = compile_model(model, config)
            trained.optimizer.build(trained.trainable_variables)
            before = _batch_size_before(folder, config)
            spread.check_agreement(config=zlib.crc32(config.to_json().encode()))
            # Bad input has been refused by now, with nothing written.
            workdir.open_run(folder, config, info, spread.chief, override)
            start = workdir.load_checkpoint(trained, folder)
            # Another batch: as many clips of the epoch as were seen are left out.
            seen = min(start.steps * before // config.train.batch_size, steps - 1)
            start = start._replace(steps=seen if start.steps else 0)
    finally:
        keras.config.set_dtype_policy(policy)
    log = os.path.join(folder, "logs", "train.csv")
    if spread.chief:
        truncate_log(log, start.epochs)
    spread.check_agreement(checkpoint=start.epochs, step=start.steps)
    if spread.chief and (start.epochs or start.steps):
        part = f" and {start.steps} of {steps} steps" if start.steps else ""
        print(f"going on after epoch {start.epochs} of {config.train.epochs}{part}")
    if start.epochs >= config.train.epochs:
        if spread.chief:
            done = f"all {start.epochs} epochs are done"
            print(f"{done}; raise config.train.epochs to go on: --config.train.epochs=N")
        trained.optimizer.finalize_variable_values(trained.trainable_variables)
        return model

    if spread.chief:
        print(_plan(config, info, steps, watched, spread))
    batches = _training_batches(config, info, reader_ids, start)
    position = TrainingProgress(steps, start.epochs, start.steps, workdir.epoch_metrics(start))
    callbacks = [
        position,
        Schedule(
            lambda epoch, losses: learning_rate(config, epoch, losses),
            losses_before(log, start.epochs, config),
        ),
        StepSeeds(config.seed, position),
        StopOnNaN(position, lambda epoch, step: clips_of(config, info, epoch, step)),
        *([ValidateAverages()] if config.train.ema_momentum else []),
    ]
    if spread.chief:  # the only one that writes
        callbacks += [
            keras.callbacks.CSVLogger(log, append=True),
            keras.callbacks.TensorBoard(os.path.dirname(log), write_graph=False),
        ]
    callbacks.append(
        Checkpoints(folder, position, config.train.checkpoint_steps, write=spread.chief)
    )
    trained.fit(
        spread.feed(batches, config.train.batch_size),
        epochs=config.train.epochs,
        initial_epoch=start.epochs,
        steps_per_epoch=steps,
        validation_data=spread.feed(validation, config.train.batch_size),
        shuffle=False,  # the pipeline does
        callbacks=callbacks,
        verbose=0 if not spread.chief else 1 if sys.stdout.isatty() else 2,
    )
    if spread.chief:
        curves = charts.curves(charts.read_log(log))
        charts.save(curves, os.path.join(folder, "figures", "curves.png"))
    spread.check_agreement()  # the others end when the chief has written all
    return model


def watched_split(info):
    """The split whose loss and accuracy are shown after each epoch, or None."""
    return next((split for split in ("val", "test") if info.clips.get(split)), None)


def _plan(config, info, steps, watched, spread):
    """What a run will do, in lines."""
    clips, batch = info.clips["train"], config.train.batch_size
    left = clips - steps * batch
    lines = [
        f"training on {device_name(spread.devices)}",
        f"an epoch is {steps} step{'s'[: steps != 1]} of {batch} clips; "
        + (
            f"{left} of {clips} clips are left out, others each time"
            if left
            else "no clip is left out"
        ),
    ]
    if watched:
        lines.append(
            f"after each epoch: loss and accuracy of the {info.clips[watched]} clips of {watched!r}"
        )
    else:
        lines.append("the shards have no 'val' and no 'test' part: only training is watched")
    return "\n".join(lines)


def _batch_size_before(folder, config):
    """The batch of the run in a folder before now; of the config if it is none."""
    if not os.path.exists(os.path.join(folder, "config.json")):
        return config.train.batch_size
    return workdir.read_config(folder).train.batch_size


def device_name(devices=1):
    """What training runs on, in words."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"the CPU ({os.cpu_count()} cores; TensorFlow finds no GPU)"
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return f"{devices} x {name}" if devices > 1 else f"one GPU, {name}"


def last_accuracy(folder):
    """A line with the accuracy of the last epoch of a run."""
    columns = charts.read_log(os.path.join(folder, "logs", "train.csv"))
    values = {name: columns[name][-1][1] for name in ("top1", "val_top1") if columns.get(name)}
    names = {"top1": "of training", "val_top1": "of validation, one view a clip"}
    found = ", ".join(f"{value:.2%} {names[name]}" for name, value in values.items())
    return f"top-1       {found or 'not known: the log is gone'}"


def dry_run(config, folder=None, override=False):
    """What a run would take: data, model, memory and time, by steps on random samples.

    Nothing is written. A large batch is not tried whole: its cost is that of 4 and of 8 clips on
    each device, continued in a straight line.

    Args:
        config: A config as `keras_videorel.runs.config.base` makes it.
        folder: As for `train`; None: not looked at.
        override: As for `train`.

    Returns:
        Lines of text.

    Raises:
        ValueError, OSError: On bad input, as `train`.
    """
    weights = config.model.get("weights")
    is_download = weights == "imagenet" or "://" in (weights or "")
    with distribution() as spread:
        info, reader_ids, steps = _prepare(config, spread)
        watched = watched_split(info)
        _training_batches(config, info, reader_ids)
        begun = folder is not None and bool(workdir.checkpoints(folder))
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(config.dtype_policy)
        try:
            with spread.scope():
                model = build_model(config, len(info.labels), pretrained=not is_download)
                if config.train.initialize_from and not begun:
                    initialize(model, config.train.initialize_from, info.labels)
                trained = compile_model(model, config)
                if folder is not None:
                    workdir.open_run(folder, config, info, write=False, override=override)
        finally:
            keras.config.set_dtype_policy(policy)
        part = config.train.batch_size // config.train.accumulation_steps // spread.devices
        seconds, memory = _cost(trained, part, config.train.batch_size // part // spread.workers)
        hours = seconds * steps * config.train.epochs / 3600
        return "\n".join(
            [
                f"data        {info.path}: "
                + ", ".join(f"{count} {split}" for split, count in info.clips.items())
                + f"; {len(info.labels)} classes; frames of {info.frame_size}",
                f"samples     {model.input_shape[1:]}",
                f"model       {model.name}: {model.count_params():,} parameters",
                _plan(config, info, steps, watched, spread),
                f"memory      about {memory / 1e9:.1f} GB",
                f"time        about {_rounded(seconds)} s a step, without reading the data; "
                f"{steps} steps x {config.train.epochs} epochs: {_rounded(hours)} hours",
                "nothing was written",
            ]
        )


def _rounded(value):
    """A number with two digits, or as a whole one."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def _cost(model, part, parts):
    """Seconds of a training step, and bytes in use at its peak.

    Args:
        model: The compiled model.
        part: Clips that a device computes at a time.
        parts: How many of these are in this process's share of a batch.
    """
    rng, measured = np.random.default_rng(0), []
    sizes = (part,) if part <= 8 else (4, 8)
    for size in sizes:
        clips = rng.standard_normal((size * parts, *model.input_shape[1:]), np.float32)
        labels = rng.integers(0, model.output_shape[-1], len(clips))
        model.train_on_batch(clips, labels)  # the first one traces
        start = time.perf_counter()
        model.train_on_batch(clips, labels)
        measured.append((time.perf_counter() - start, _peak_memory()))
    (seconds, memory), size = measured[-1], sizes[-1]
    if part > size:
        memory += (memory - measured[0][1]) * (part - size) / (size - sizes[0])
    return seconds * part / size, memory


def _peak_memory():
    """Bytes: the most that the GPU, or without one this process, has had in use."""
    if tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def losses_before(log, epochs, config):
    """The validation losses of the epochs that are done, from `train.csv`; or those of training.

    Raises:
        ValueError: If the schedule needs them and they are not all there.
    """
    columns = charts.read_log(log) if os.path.exists(log) else {}
    losses = [loss for _, loss in columns.get("val_loss", columns.get("loss", []))]
    if config.train.schedule == "plateau" and len(losses) != epochs:
        raise ValueError(
            f"{log!r} must hold the losses of the {epochs} epochs that are done, since "
            f"`config.train.schedule` is 'plateau'. Received: {len(losses)}"
        )
    return losses


def clips_of(config, info, epoch, step):
    """The clips of a batch of training, as a line of text."""
    if config.data.service or not config.data.deterministic:
        setting = "service" if config.data.service else "deterministic=False"
        return f"not known, since `config.data.{setting}` leaves their order open"
    paths = pipeline.training_paths(
        info,
        config.train.batch_size,
        epoch,
        step,
        shuffle_buffer=config.data.shuffle_buffer,
        seed=config.seed,
        num_readers=config.data.num_readers,
    )
    return ", ".join(paths)


def initialize(model, path, labels=None):
    """Initialize a model from another run, by the names of its layers (Sec. 5.2 and 5.3).

    Args:
        model: The `keras.Model` to initialize.
        path: The other run's folder, or a `.keras` file.
        labels: Names of the model's classes. The classifier of a run with other names, or in
            another order, is not taken.

    Returns:
        A `models.transfer.WeightsReport`: what was loaded, and what was not and why.

    Raises:
        FileNotFoundError: If there is no trained model.
        ValueError: If it has nothing in common with this one.
    """
    same_classes = True
    if os.path.isdir(path):
        source, _ = load_model(path)
        same_classes = labels is None or workdir.read_labels(path) == labels
    elif os.path.isfile(path):
        source = keras.saving.load_model(path)
    else:
        raise FileNotFoundError(
            "`config.train.initialize_from` must be the folder of a run or a .keras file. "
            f"Received: {path!r}"
        )
    return models.initialize_from(model, source, same_classes)
