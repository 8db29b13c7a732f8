"""The export of a run: its model, its samples, and what the model card tells of it."""

import itertools
import os

from keras_videorel.data import pipeline
from keras_videorel.export import check_formats, export_model
from keras_videorel.export.samples import samples_of
from keras_videorel.files import read_json
from keras_videorel.runs import workdir
from keras_videorel.runs.networks import load_model
from keras_videorel.runs.trainer import clip_settings, view_settings


def export(
    config,
    folder,
    output,
    formats=("saved_model",),
    *,
    clips=10,
    calibration_videos=(),
    calibration_samples=64,
    samples=64,
    least_agreement=None,
    model=None,
):
    """Export the newest checkpoint of a run.

    Args:
        config: The run's config.
        folder: The run's folder.
        output: The folder to write.
        formats: As of `export.export_model`.
        clips: Clips, or groups of snippets, averaged per video.
        calibration_videos: Video files for the ranges of int8, and for the comparison with the
            model, in place of the run's shards.
        calibration_samples: Samples for the ranges of int8.
        samples: Samples that each format is compared with the model on.
        least_agreement: As of `export.export_model`.
        model: As of `train`, where the run was trained with one.

    Returns:
        `(model, epochs, figures)`: the model, how long it was trained, and what `export_model`
        returns.

    Raises:
        ExportError: If formats failed; the others are written.
        ValueError, OSError, ImportError: On bad input, with one line that says what to do.
    """
    check_formats(formats)
    labels = workdir.read_labels(folder)
    model, epochs = load_model(folder, config, model)
    settings = view_settings(config)
    for name in ("frames", "crop_size", "stacked"):  # the model's input tells them
        del settings[name]
    settings.update(frame_size=workdir.read_frame_size(folder), clips=clips)
    counts = calibration_samples if "tflite_int8" in formats else 0, samples
    if calibration_videos:
        of_model = samples_of(model, labels, **settings)
        found = (sample[None] for path in calibration_videos for sample in of_model.read(path))
        found = list(itertools.islice(found, max(counts)))
        calibration, verification = found[: counts[0]], found[: counts[1]]
    else:
        calibration, verification = _samples_of_shards(config, folder, *counts)
    figures = export_model(
        model,
        output,
        labels,
        formats,
        calibration=calibration,
        verification=verification,
        least_agreement=least_agreement,
        training=_training_facts(config, folder, epochs),
        from_logits=True,
        **settings,
    )
    return model, epochs, figures


def _samples_of_shards(config, folder, num_calibration, num_verification):
    """Samples `(1, ...)` for calibration and verification; `None` where the shards are gone."""
    try:
        info = pipeline.read_info(config.data.path, config.data.split)
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
            info, 1, crop_scales=config.data.crop_scales, mirror=config.data.mirror, epochs=1,
            shuffle_buffer=config.data.shuffle_buffer, seed=config.seed, **clip_settings(config),
        )  # fmt: skip
        calibration = [x.numpy() for x, _ in batches.take(num_calibration)]
    split = "test" if info.clips.get("test") else "train"
    views = pipeline.clip_views(info, split, clips=1, crops=1, **view_settings(config))
    return calibration, [x.numpy() for x, _, _ in views.take(num_verification)]


def _training_facts(config, folder, epochs):
    """What the model card tells of the training."""
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
