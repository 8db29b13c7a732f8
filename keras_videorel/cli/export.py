"""Export a trained model for use elsewhere: raw frames in, labels and probabilities out.

    videorel export --workdir runs/artnet --output saved_models/artnet
    videorel export --workdir runs/artnet --output saved_models/artnet \\
        --formats saved_model,tflite_int8

--output is a folder with the labels, the settings, a model card and, by --formats,

    saved_model     a TensorFlow SavedModel that takes raw frames of any size, or JPEGs
    tflite          model_fp32.tflite, LiteRT in float32
    tflite_fp16     model_fp16.tflite, weights in float16
    tflite_dynamic  model_dynamic.tflite, weights in int8
    tflite_int8     model_int8.tflite, weights and activations in int8
    stream          stream/, a model of one snippet with its state in and out (segments only)
    onnx            model.onnx (needs tf2onnx and onnxruntime)

Every file is run on test clips of the run's shards and compared with the model; the figures are
printed and kept in export.json: bytes, the share of clips with the same best class and its 95%
interval, errors of the logits, seconds for a clip. A file whose interval lies below
--least_agreement is left out, and the exit status is 1; the others stay. The ranges of int8 come
from training clips, or from --calibration_videos where the shards are gone. An older export in
that folder is replaced.
"""

import itertools
import os
import shlex
import sys

from keras_videorel.cli import Flags
from keras_videorel.data.manifest import read_manifest

TAKES_CONFIG = True
FLAGS = Flags()
FLAGS.string("workdir", None, "Folder of a trained run.", required=True)
FLAGS.string("output", None, "Folder to write, saved_models/NAME.", required=True)
FLAGS.list("formats", "saved_model", "What to write, see above.")
FLAGS.integer("clips", 10, "Clips, or groups of snippets, averaged per video.", lower_bound=1)
FLAGS.list(
    "calibration_videos",
    "",
    "Video files for the ranges of int8, and for the comparison, in place of the shards.",
)
FLAGS.integer("calibration_samples", 64, "Samples for the ranges of int8.", lower_bound=1)
FLAGS.integer("samples", 64, "Samples that each file is compared with the model on.", lower_bound=1)
FLAGS.float(
    "least_agreement",
    None,
    "Least share of the compared samples for which a file must have the model's best class. By "
    "default 0.99, and 0.97 in 8 bits.",
    lower_bound=0,
    upper_bound=1,
)


def main(arguments):
    from keras_videorel import export
    from keras_videorel.runs import evaluate as evaluation
    from keras_videorel.runs import workdir

    export.check_formats(FLAGS.formats)
    config, class_names = FLAGS.config, workdir.read_labels(FLAGS.workdir)
    clip = workdir.read_clip_spec(FLAGS.workdir, config)
    model, epochs = evaluation.load_model(FLAGS.workdir, config)
    calibration, verification = _samples(config, clip)
    failure = None
    try:
        figures = export.export_model(
            model,
            FLAGS.output,
            clip,
            class_names,
            FLAGS.formats,
            clips=FLAGS.clips,
            calibration=calibration,
            verification=verification,
            min_agreement=FLAGS.least_agreement,
            training=_training(config, epochs),
            from_logits=True,
        )
    except export.ExportError as error:
        if not error.figures:
            print(f"videorel export: error: {error}", file=sys.stderr)
            return 1
        figures, failure = error.figures, error
    print(f"{model.name} after {epochs} epochs in {FLAGS.output}")
    print(_table(figures))
    if verification is None:
        print("not compared with the model on clips: no shards there, and no --calibration_videos")
    print(f"label a video:  videorel predict --model {shlex.quote(FLAGS.output)} VIDEO")
    if failure is not None:
        print(f"videorel export: error: {failure}", file=sys.stderr)
        return 1
    return 0


def _samples(config, clip):
    """Samples `(1, ...)` for calibration and for verification; `None` where there are none."""
    from keras_videorel.data import pipeline
    from keras_videorel.export.samples import read_samples
    from keras_videorel.runs import workdir

    if FLAGS.calibration_videos:
        found = (
            sample[None]
            for path in FLAGS.calibration_videos
            for sample in read_samples(path, clip, FLAGS.clips)
        )
        found = list(itertools.islice(found, max(FLAGS.calibration_samples, FLAGS.samples)))
        return found[: FLAGS.calibration_samples], found[: FLAGS.samples]
    try:
        info = read_manifest(config.data.path, config.data.fold)
    except OSError as error:
        if "tflite_int8" not in FLAGS.formats:
            return None, None
        raise ValueError(
            "tflite_int8 needs clips for the ranges of its activations, and the shards of the run "
            f"are gone ({error}): name some with --calibration_videos, or where the shards are "
            "with --config.data.path"
        ) from None
    workdir.check_shards(FLAGS.workdir, info)
    calibration = None
    if "tflite_int8" in FLAGS.formats:
        batches = pipeline.training_batches(
            info, clip, 1, crop_scales=config.data.crop_scales, mirror=config.data.mirror,
            epochs=1, shuffle_buffer=config.data.shuffle_buffer, seed=config.seed,
        )  # fmt: skip
        calibration = [x.numpy() for x, _ in batches.take(FLAGS.calibration_samples)]
    split = "test" if info.clips.get("test") else "train"
    views = pipeline.centered_views(info, clip, split).batch(1).take(FLAGS.samples)
    return calibration, [x.numpy() for x, _ in views]


def _training(config, epochs):
    """What the model card tells of the training."""
    from keras_videorel.files import read_json

    data, train = config.data, config.train
    model = ", ".join(f"{key}={value}" for key, value in config.model.items() if key != "name")
    told = {
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
    results = os.path.join(FLAGS.workdir, "results.json")
    if os.path.exists(results):
        found = read_json(results)
        if not isinstance(found, dict):
            raise ValueError(
                f"{results!r} is damaged: it must hold figures. Received: {found!r:.50}"
            )
        told["results on the test clips"] = ", ".join(
            f"{key} {value:.4g}" for key, value in found.items() if isinstance(value, (int, float))
        )
    return told


def _table(figures):
    """Figures of each file, a row each."""
    columns = (
        "bytes", "samples", "agreement", "agreement_interval", "max_error", "mean_error", "seconds"
    )  # fmt: skip
    rows = [["", *columns]]
    for name, found in figures.items():
        rows.append([name, *(_cell(found.get(column)) for column in columns)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def _cell(value):
    if value is None:
        return ""
    if isinstance(value, list):
        return " to ".join(map(_cell, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
