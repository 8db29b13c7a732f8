"""What a run would take: data, model, memory and time, without writing anything."""

import resource
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from keras_videorel.runs import trainer, workdir
from keras_videorel.training.distribution import distributed


def dry_run(config, folder=None, model=None, override=False):
    """What a run would take: data, model, memory and time, by steps on random samples.

    A large batch is not tried whole: its cost is that of 4 and of 8 clips on each device, continued
    in a straight line.

    Args:
        config: As of `train`.
        folder: As of `train`; None: not looked at.
        model: As of `train`; a `keras.Model` is left as it is.
        override: As of `train`.

    Returns:
        Lines of text.

    Raises:
        ValueError, OSError: On bad input, as `train`.
    """
    weights = config.model.get("weights")
    is_download = weights == "imagenet" or "://" in (weights or "")
    with distributed() as distribution:
        info, reader_ids, steps = trainer.prepare(config, distribution, model)
        trainer.training_batches(config, info, reader_ids)  # which checks their settings
        if isinstance(model, keras.Model):
            model = keras.models.clone_model(model)
        with trainer.dtype_policy(config.dtype_policy), distribution.scope():
            model, trained, _ = trainer.make_trained(
                config, folder, info, model, pretrained=not is_download
            )
            if folder is not None:
                workdir.open_run(folder, config, info, write=False, override=override)
        plan = trainer.describe_plan(config, info, steps, distribution)
        part = config.train.batch_size // config.train.accumulation_steps // distribution.devices
        seconds, memory = _cost(
            trained, part, config.train.batch_size // part // distribution.workers
        )
        hours = seconds * steps * config.train.epochs / 3600
        counts = ", ".join(f"{count} {split}" for split, count in info.clips.items())
        return (
            f"data        {info.path}: {counts}; {len(info.labels)} classes; "
            f"frames of {info.frame_size}\n"
            f"samples     {model.input_shape[1:]}\n"
            f"model       {model.name}: {model.count_params():,} parameters\n"
            f"{plan}\n"
            f"memory      about {memory / 1e9:.1f} GB\n"
            f"time        about {_rounded(seconds)} s a step, without reading the data; "
            f"{steps} steps x {config.train.epochs} epochs: {_rounded(hours)} hours\n"
            "nothing was written"
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
