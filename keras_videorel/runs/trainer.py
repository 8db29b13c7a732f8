"""Train from a config: build or resume, `model.fit` on shards, log."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import zlib
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from keras_videorel import files
from keras_videorel.data import pipeline
from keras_videorel.data.manifest import read_manifest
from keras_videorel.reporting import charts
from keras_videorel.runs import networks, workdir
from keras_videorel.runs.config import check_config, clip_spec
from keras_videorel.training.callbacks import (
    Checkpoints,
    Schedule,
    StepSeeds,
    StopOnNaN,
    TrainingProgress,
    ValidateAverages,
)
from keras_videorel.training.distribution import distributed, synchronize_batch_normalization


def train(
    config: ConfigDict,
    folder: str | os.PathLike,
    model: keras.Model | Callable[[], keras.Model] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    override: bool = False,
) -> keras.Model:
    """Train a model by a config, or resume the training that stopped in that folder.

    Args:
        config: A config as `keras_videorel.runs.config.base` makes it.
        folder: The run's folder, see `keras_videorel.runs.workdir`.
        model: Your own model instead of `config.model`. It maps samples of the shape of
            `config.data` to logits. Several devices need a function without arguments that makes
            the model. A compiled model keeps its optimizer, loss, metrics and learning rate.
        callbacks: Your own callbacks. They are called before logs and checkpoints are written.
        override: Whether to resume with other values of `config.data`, `config.train` or
            `config.eval` than the run began with. `history.json` gets a note.

    Returns:
        The trained model, giving logits.

    Raises:
        ValueError, OSError: On bad input, or if another worker is lost. One line says what to do.
    """
    folder = os.fspath(folder)
    files.check_text("workdir", folder)
    with distributed() as distribution:
        return _train(config, folder, model, callbacks, override, distribution)


def _train(config, folder, model, callbacks, override, distribution):
    info, reader_ids, steps = prepare(config, distribution, model)
    validation = _validation_batches(config, info, distribution)
    keras.utils.set_random_seed(config.seed)
    with dtype_policy(config.dtype_policy), distribution.scope():
        model, trained, report = make_trained(config, folder, info, model)
        trained.optimizer.build(trained.trainable_variables)
        # Read before the chief writes the present config.
        begun = os.path.exists(os.path.join(folder, "config.json"))
        before = workdir.read_config(folder) if begun else config
        distribution.check_agreement(config=zlib.crc32(config.to_json().encode()))
        # All input is checked by now, and nothing has been written.
        workdir.open_run(folder, config, info, distribution.chief, override)
        start = workdir.load_checkpoint(trained, folder)
        # If the batch size has changed, skip the clips of the epoch that were seen.
        seen = start.steps * before.train.batch_size // config.train.batch_size
        start = start._replace(steps=min(seen, steps - 1))
    if distribution.chief:
        workdir.truncate_log(folder, start.epochs)
    distribution.check_agreement(checkpoint=start.epochs, step=start.steps)
    tell = print if distribution.chief else lambda *_: None
    if report is not None:
        tell(report)
    if start.epochs or start.steps:
        part = f" and {start.steps} of {steps} steps" if start.steps else ""
        tell(f"going on after epoch {start.epochs} of {config.train.epochs}{part}")
    if start.epochs >= config.train.epochs:
        done = f"all {start.epochs} epochs are done"
        tell(f"{done}; raise config.train.epochs to go on: --config.train.epochs=N")
        trained.optimizer.finalize_variable_values(trained.trainable_variables)
        return model

    tell(describe_plan(config, info, steps, distribution))
    progress = TrainingProgress(steps, start.epochs, start.steps, workdir.epoch_metrics(start))
    batches = training_batches(config, info, reader_ids, start)
    trained.fit(
        distribution.feed(batches, config.train.batch_size),
        epochs=config.train.epochs,
        initial_epoch=start.epochs,
        steps_per_epoch=steps,
        validation_data=distribution.feed(validation, config.train.batch_size),
        shuffle=False,  # the pipeline shuffles
        callbacks=_callbacks(
            config, folder, info, trained, progress, callbacks, distribution.chief
        ),
        verbose=0 if not distribution.chief else 1 if sys.stdout.isatty() else 2,
    )
    if distribution.chief:
        curves = charts.curves(workdir.read_log(folder))
        charts.save(curves, os.path.join(folder, "figures", "curves.png"))
    distribution.check_agreement()  # the other workers wait until the chief has written all
    return model


def prepare(config, distribution, model=None):
    """Check a config, set its mean and readers; `(info, reader_ids, steps of an epoch)`."""
    check_config(config)
    if (
        isinstance(model, keras.Model)
        and distribution.devices > 1
        and not tf.distribute.has_strategy()
    ):
        raise ValueError(
            f"`model` must be a function that makes the model, for {distribution.devices} devices. "
            f"Received: {model!r}"
        )
    batch_size, parts = config.train.batch_size, config.train.accumulation_steps
    info = read_manifest(config.data.path, config.data.fold)
    config.data.mean = clip_spec(config).mean  # for `config.json`
    config.data.num_readers, reader_ids = distribution.readers(config.data.num_readers, batch_size)
    steps = pipeline.steps_per_epoch(info, batch_size, num_readers=config.data.num_readers)
    if batch_size % (parts * distribution.devices):
        raise ValueError(
            "`config.train.batch_size` must be a multiple of `config.train.accumulation_steps` "
            f"times the devices. Received: batch_size={batch_size}, accumulation_steps={parts}, "
            f"{distribution.devices} device{'s'[: distribution.devices > 1]}"
        )
    return info, reader_ids, steps


def make_trained(config, folder, info, model=None, pretrained=True):
    """`(model, trained, report)` of a new run.

    `trained` is the model to call `fit` of. `report` tells which weights another run gave, or is
    None.
    """
    model = networks.make_model(config, len(info.labels), model, pretrained)
    if config.train.synchronized_batch_norm:
        synchronize_batch_normalization(model)
    report = None
    if config.train.initialize_from and not (folder and workdir.checkpoints(folder)):
        report = networks.initialize(model, config.train.initialize_from, info.labels)
    return model, networks.compile_model(model, config), report


@contextlib.contextmanager
def dtype_policy(name):
    """Set Keras's global dtype policy inside the block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def training_batches(config, info, reader_ids, start=workdir.NOTHING):
    """The endless training batches of a run after a checkpoint."""
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


def _validation_batches(config, info, distribution):
    """Batches of one view of each clip of the watched split. `evaluate` takes all views."""
    split = watched_split(info)
    if split is None:
        return None
    parts = distribution.workers * config.train.accumulation_steps
    return (
        pipeline.centered_views(info, clip_spec(config), split)
        .take(distribution.validated(info.clips[split]))
        .batch(max(config.train.batch_size // parts, 1))
        .prefetch(tf.data.AUTOTUNE)
    )


def watched_split(info):
    """The split whose loss and accuracy are shown after each epoch, or None."""
    return next((split for split in ("val", "test") if info.clips.get(split)), None)


def _callbacks(config, folder, info, trained, progress, callbacks, chief):
    """All callbacks of `fit`, in their order."""

    def advice(epoch, step):
        return (
            "lower `config.train.learning_rate`, or clip gradients with "
            "`config.train.gradient_clip_norm`. The checkpoint before it is kept. "
            f"The clips of that batch: {clips_of(config, info, epoch, step)}"
        )

    def save(epochs, steps, metrics):
        if chief:
            workdir.save_checkpoint(trained, folder, epochs, steps, metrics)

    found = [progress]
    if not networks.is_compiled_by_user(trained):
        losses = losses_before(folder, progress.epoch, config)
        found.append(Schedule(networks.schedule(config), losses))
    found += [StepSeeds(config.seed, progress), StopOnNaN(progress, advice)]
    if config.train.ema_momentum:
        found.append(ValidateAverages())
    found += callbacks
    if chief:  # the only worker that writes
        log = workdir.log_path(folder)
        found += [
            keras.callbacks.CSVLogger(log, append=True),
            keras.callbacks.TensorBoard(os.path.dirname(log), write_graph=False),
        ]
    return [*found, Checkpoints(save, progress, config.train.checkpoint_steps)]


def losses_before(folder, epochs, config):
    """The validation losses, or without validation the training losses, of the first epochs."""
    columns = workdir.read_log(folder)
    losses = [loss for _, loss in columns.get("val_loss", columns.get("loss", []))]
    if config.train.schedule == "plateau" and len(losses) != epochs:
        raise ValueError(
            f"{workdir.log_path(folder)!r} must hold the losses of the {epochs} epochs that are "
            f"done, since `config.train.schedule` is 'plateau'. Received: {len(losses)}"
        )
    return losses


def clips_of(config, info, epoch, step):
    """The clips of a training batch, as a line of text."""
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


def describe_plan(config, info, steps, distribution):
    """Lines of text about the device, the steps of an epoch and the validation."""
    clips, batch, watched = info.clips["train"], config.train.batch_size, watched_split(info)
    left = clips - steps * batch
    left = (
        f"{left} of {clips} clips are left out, others each time" if left else "no clip is left out"
    )
    validation = "the shards have no 'val' and no 'test' part: only training is watched"
    if watched:
        validation = (
            f"after each epoch: loss and accuracy of the {info.clips[watched]} clips of {watched!r}"
        )
    return (
        f"training on {_device_name(distribution.devices)}\n"
        f"an epoch is {steps} step{'s'[: steps != 1]} of {batch} clips; {left}\n{validation}"
    )


def _device_name(devices):
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"the CPU ({os.cpu_count()} cores; TensorFlow finds no GPU)"
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return f"{devices} x {name}" if devices > 1 else f"one GPU, {name}"
