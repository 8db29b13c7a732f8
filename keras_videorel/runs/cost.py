"""Estimates of the memory and time of a run."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from keras_videorel.runs import trainer, workdir
from keras_videorel.training.distribution import distributed


def dry_run(
    config: ConfigDict,
    folder: str | os.PathLike | None = None,
    model: keras.Model | Callable[[], keras.Model] | None = None,
    override: bool = False,
) -> str:
    """Estimate the memory and time of a run from training steps on random samples.

    Nothing is written. The cost of more than 8 clips on a device is extrapolated from steps on 4
    and on 8 clips. The arguments are the same as of `train`. A `keras.Model` is left as it is.

    Returns:
        Lines of text about the data, the model, the steps, memory and time.

    Raises:
        ValueError, OSError: On bad input, as in `train`.
    """
    weights = config.model.get("weights")
    is_download = weights == "imagenet" or "://" in (weights or "")
    train = config.train
    with distributed() as distribution:
        info, reader_ids, steps = trainer.prepare(config, distribution, model)
        trainer.training_batches(config, info, reader_ids)  # to check the settings
        if isinstance(model, keras.Model):
            model = keras.models.clone_model(model)
        with trainer.dtype_policy(config.dtype_policy), distribution.scope():
            built, trained, _ = trainer.make_trained(
                config, folder, info, model, pretrained=not is_download
            )
            if folder is not None:
                workdir.open_run(folder, config, info, write=False, override=override)
        part = train.batch_size // train.accumulation_steps // distribution.devices
        parts = train.batch_size // part // distribution.workers
        seconds, memory = _cost(trained, part, parts)
        hours = seconds * steps * train.epochs / 3600
        counts = ", ".join(f"{count} {split}" for split, count in info.clips.items())
        return (
            f"data        {info.path}: {counts}; {len(info.labels)} classes; "
            f"frames of {info.frame_size}\n"
            f"samples     {built.input_shape[1:]}\n"
            f"model       {built.name}: {built.count_params():,} parameters\n"
            f"{trainer.describe_plan(config, info, steps, distribution)}\n"
            f"memory      about {memory / 1e9:.1f} GB\n"
            f"time        about {_rounded(seconds)} s a step, without reading the data; "
            f"{steps} steps x {train.epochs} epochs: {_rounded(hours)} hours\n"
            "nothing was written"
        )


def _rounded(value):
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def _cost(model, part, parts):
    """Seconds and peak bytes of a training step on `parts` times `part` clips of one device."""
    rng, measured = np.random.default_rng(0), []
    sizes = (part,) if part <= 8 else (4, 8)
    for size in sizes:
        clips = rng.standard_normal((size * parts, *model.input_shape[1:]), np.float32)
        labels = rng.integers(0, model.output_shape[-1], len(clips))
        model.train_on_batch(clips, labels)  # the first step traces
        start = time.perf_counter()
        model.train_on_batch(clips, labels)
        measured.append((time.perf_counter() - start, _peak_memory()))
    (seconds, memory), size = measured[-1], sizes[-1]
    if part > size:
        memory += (memory - measured[0][1]) * (part - size) / (size - sizes[0])
    return seconds * part / size, memory


def _peak_memory():
    """Peak bytes in use on the GPU, or in this process if there is no GPU."""
    if tf.config.list_physical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
