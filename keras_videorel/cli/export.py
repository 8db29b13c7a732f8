"""Export a trained model: raw frames in, labels and probabilities out.

    videorel export --workdir runs/artnet --output saved_models/artnet
    videorel export --workdir runs/artnet --output saved_models/artnet \\
        --formats saved_model,tflite_int8

--output is a folder. It gets the labels, the settings, a model card and the files of --formats:

    saved_model     a TensorFlow SavedModel that takes raw frames of any size, or JPEGs
    tflite          model_fp32.tflite, LiteRT in float32
    tflite_fp16     model_fp16.tflite, weights in float16
    tflite_dynamic  model_dynamic.tflite, weights in int8
    tflite_int8     model_int8.tflite, weights and activations in int8
    stream          stream/, a model of one snippet with its state in and out (segments only)
    onnx            model.onnx (needs tf2onnx and onnxruntime)

Every file is run on test clips of the run's shards and compared with the model. The command prints
and stores in export.json: bytes, the share of clips with the same best class and its 95% interval,
errors of the logits, seconds for a clip. If the interval of a file lies below --min_agreement, the
file is left out and the exit status is 1. The other files stay. The ranges of int8 come from
training clips, or from --calibration_videos if the shards are gone. An older export in that folder
is replaced.
"""

import shlex
import sys

from keras_videorel.cli import Flags, table

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
    "min_agreement",
    None,
    "Least share of the compared samples for which a file must have the model's best class. By "
    "default 0.99, and 0.97 in 8 bits.",
    lower_bound=0,
    upper_bound=1,
)


def main(arguments):
    from keras_videorel import runs
    from keras_videorel.export import ExportError

    failure = None
    try:
        model, epochs, figures = runs.export(
            FLAGS.config,
            FLAGS.workdir,
            FLAGS.output,
            FLAGS.formats,
            clips=FLAGS.clips,
            calibration_videos=FLAGS.calibration_videos,
            calibration_samples=FLAGS.calibration_samples,
            samples=FLAGS.samples,
            min_agreement=FLAGS.min_agreement,
        )
        print(f"{model.name} after {epochs} epochs in {FLAGS.output}")
    except ExportError as error:
        figures, failure = error.figures, error
    if figures:
        print(_table(figures))
        if not any("samples" in found for found in figures.values()):
            print(
                "not compared with the model on clips: no shards there, and no --calibration_videos"
            )
        print(f"label a video:  videorel predict --model {shlex.quote(FLAGS.output)} VIDEO")
    if failure is not None:
        print(f"videorel export: error: {failure}", file=sys.stderr)
    return int(failure is not None)


def _table(figures):
    """A table with a row of figures for each file."""
    columns = (
        "bytes", "samples", "agreement", "agreement_interval", "max_error", "mean_error", "seconds"
    )  # fmt: skip
    rows = [["", *columns]]
    for name, found in figures.items():
        rows.append([name, *(_cell(found.get(column)) for column in columns)])
    return table(rows)


def _cell(value):
    if value is None:
        return ""
    if isinstance(value, list):
        return " to ".join(map(_cell, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
