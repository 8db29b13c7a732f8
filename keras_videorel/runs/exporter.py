"""Export a run: its model, samples to compare with, and facts for the model card."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence

import keras
from ml_collections import ConfigDict

from keras_videorel.data import pipeline
from keras_videorel.data.manifest import read_manifest
from keras_videorel.export import check_formats, export_model
from keras_videorel.export.samples import read_samples
from keras_videorel.files import read_json
from keras_videorel.runs import workdir
from keras_videorel.runs.networks import load_model


def export(
    config: ConfigDict,
    folder: str | os.PathLike,
    output: str | os.PathLike,
    formats: Sequence[str] = ("saved_model",),
    *,
    clips: int = 10,
    calibration_videos: Sequence[str | os.PathLike] = (),
    calibration_samples: int = 64,
    samples: int = 64,
    min_agreement: float | None = None,
    model: keras.Model | Callable[[], keras.Model] | None = None,
) -> tuple[keras.Model, int, dict]:
    """Export the newest checkpoint of a run.

    Args:
        config: The run's config.
        folder: The run's folder.
        output: The folder to write.
        formats: See `export.export_model`.
        clips: Clips, or groups of snippets, averaged per video.
        calibration_videos: Video files to use instead of the run's shards, for the ranges of int8
            and for the comparison with the model.
        calibration_samples: Samples for the ranges of int8.
        samples: Samples that each format is compared with the model on.
        min_agreement: See `export.export_model`.
        model: The model that was given to `train`, if one was.

    Returns:
        `(model, epochs, figures)`: the model, the number of epochs that it was trained, and the
        result of `export_model`.

    Raises:
        ExportError: If formats failed. The other formats are written.
        ValueError, OSError, ImportError: On bad input, with one line that says what to do.
    """
    check_formats(formats)
    class_names = workdir.read_labels(folder)
    clip = workdir.read_clip_spec(folder, config)
    model, epochs = load_model(folder, config, model)
    counts = calibration_samples if "tflite_int8" in formats else 0, samples
    if calibration_videos:
        decoded = (
            sample[None]
            for path in calibration_videos
            for sample in read_samples(path, clip, clips)
        )
        found = list(itertools.islice(decoded, max(counts)))
        calibration, verification = found[: counts[0]], found[: counts[1]]
    else:
        calibration, verification = _samples_of_shards(config, folder, clip, *counts)
    figures = export_model(
        model,
        output,
        clip,
        class_names,
        formats,
        clips=clips,
        calibration=calibration,
        verification=verification,
        min_agreement=min_agreement,
        training=_training_facts(config, folder, epochs),
        from_logits=True,
    )
    return model, epochs, figures


def _samples_of_shards(config, folder, clip, num_calibration, num_verification):
    """Samples `(1, ...)` for calibration and verification, or None if the shards are gone."""
    try:
        info = read_manifest(config.data.path, config.data.fold)
    except OSError as error:
        if not num_calibration:
            return None, None
        raise ValueError(
            "tflite_int8 needs clips for the ranges of its activations, and the shards of the run "
            f"are gone ({error}): name some with --calibration_videos, or where the shards are "
            "with --config.data.path"
        ) from None
    workdir.check_shards(folder, info)
    calibration = None
    if num_calibration:
        batches = pipeline.training_batches(
            info, clip, 1, crop_scales=config.data.crop_scales, mirror=config.data.mirror, epochs=1,
            shuffle_buffer=config.data.shuffle_buffer, seed=config.seed,
        )  # fmt: skip
        calibration = [x.numpy() for x, _ in batches.take(num_calibration)]
    split = "test" if info.clips.get("test") else "train"
    views = pipeline.centered_views(info, clip, split).batch(1).take(num_verification)
    return calibration, [x.numpy() for x, _ in views]


def _training_facts(config, folder, epochs):
    """The facts of the training for the model card."""
    data, train = config.data, config.train
    model = ", ".join(f"{key}={value}" for key, value in config.model.items() if key != "name")
    facts = {
        "network": f"{config.model.name}({model})",
        "data": os.path.basename(os.path.normpath(data.path)),
        "samples": f"{data.frames} frames of {data.crop_size}x{data.crop_size}, "
        f"stride {data.frame_stride}, segments {data.segments}, {data.stream}",
        "augmentation": f"multi-scale crops {data.crop_scales}"
        + (", mirrored" if data.mirror else ", not mirrored"),
        "optimizer": f"SGD, momentum {train.momentum}, learning rate {train.learning_rate}, "
        f"weight decay {train.weight_decay}, batches of {train.batch_size}",
        "epochs": epochs,
        "seed": config.seed,
    }
    results = os.path.join(folder, "results.json")
    if os.path.exists(results):
        found = read_json(results)
        if not isinstance(found, dict):
            raise ValueError(
                f"{results!r} is damaged: it must hold figures. Received: {found!r:.50}"
            )
        facts["results on the test clips"] = ", ".join(
            f"{key} {value:.4g}" for key, value in found.items() if isinstance(value, (int, float))
        )
    return facts
