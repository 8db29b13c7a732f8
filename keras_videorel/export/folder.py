"""The folder of an exported model: its formats, labels, settings, figures and model card."""

import os
import shutil

import numpy as np

from keras_videorel.checks import check_choice
from keras_videorel.data.manifest import write_class_names
from keras_videorel.data.transforms import TEST_SCALE
from keras_videorel.export import litert, onnx, relations, saved_model, streaming
from keras_videorel.export.agreement import check_agreement, compare
from keras_videorel.export.litert import export_litert
from keras_videorel.export.model_card import model_card
from keras_videorel.export.samples import samples_of
from keras_videorel.export.scores import with_logits
from keras_videorel.files import atomic_write, check_replaceable, write_json

MANIFEST = "export.json"
# What each format is called in the folder.
FORMATS = {
    "saved_model": "saved_model.pb",
    "tflite": "model_fp32.tflite",
    "tflite_fp16": "model_fp16.tflite",
    "tflite_dynamic": "model_dynamic.tflite",
    "tflite_int8": "model_int8.tflite",
    "stream": "stream",
    "onnx": "model.onnx",
}
_MODULES = {"saved_model": saved_model, "stream": streaming, "onnx": onnx}
_PRECISIONS = {
    "tflite": "fp32",
    "tflite_fp16": "fp16",
    "tflite_dynamic": "dynamic",
    "tflite_int8": "int8",
}
DEFAULTS = {
    "stream": "rgb",
    "frame_size": (128, 170),
    "clips": 10,
    "segments": 0,
    "frame_stride": 1,
    "test_scale": TEST_SCALE,
    "mean": (123.0, 117.0, 104.0),
    "std": 1.0,
}
_CHECKS = {
    **dict.fromkeys((*_PRECISIONS, "stream"), litert.check_installed),
    "onnx": onnx.check_installed,
}
LEAST_AGREEMENT = 0.99  # of float32 formats with the model, on the best class


class ExportError(ValueError):
    """Some formats of an export failed; the others are in the folder.

    Attributes:
        figures: Dict of the figures of the formats that are there; empty if there is no folder.
        failures: Dict from the names of the others to what was wrong.
    """

    def __init__(self, figures, failures):
        super().__init__(
            "; ".join(f"no {name}: {' '.join(str(why).split())}" for name, why in failures.items())
        )
        self.figures, self.failures = figures, failures


def check_formats(formats):
    """Refuse formats that are unknown, or cannot be written or run here.

    Args:
        formats: Names, keys of `FORMATS`.

    Raises:
        ValueError: If there is no such format.
        ImportError: If a library is missing; one line that says how to install it.
    """
    for name in formats:
        check_choice("formats", name, FORMATS)
    for check in dict.fromkeys(_CHECKS[name] for name in formats if name in _CHECKS):
        check()


def export_saved_model(
    model,
    path,
    labels=None,
    *,
    from_logits=False,
    stream="rgb",
    frame_size=(128, 170),
    clips=10,
    segments=0,
    frame_stride=1,
    test_scale=TEST_SCALE,
    mean=(123.0, 117.0, 104.0),
    std=1.0,
):
    """Export a classifier of clips or of snippets as a SavedModel with preprocessing inside.

    Its signatures give `probabilities` and `logits`, float32 `(batch, classes)`, of

    - `serving_default`: `frames`, uint8 `(batch, time, height, width, 3)` RGB (or 1 channel,
      gray; of 4, RGBA, the last is left out), any number of frames of any size: they are resized,
      clips (or groups of snippets) are taken at equal distances (the last frame repeats in a
      short video), of which the middle is resized to the network's input, normalized, scored, and
      averaged before the softmax;
    - `jpegs`: `jpegs`, string `(batch, time)`: the same of encoded frames, of which those that are
      needed are decoded;
    - `clips`: `clips`, uint8 `(batch, frames, height, width, 3)`: the frames of a clip, or of a
      group of snippets one after the other, that were taken already;
    - `preprocessed`: `samples`, float32 `(batch, *model.input_shape[1:])`: what the network takes;
    - `relations`, of a network with a `RelationalLSTM`: `clips`, and gives beside the scores
      `relations`, float32 `(batch, T, 4, positions, positions)`: the weights omega of
      r(X_t, H_{t-1}) for each step t and gate (i, f, g, o), a row for each position of X_t. Rows
      and columns are the positions of the feature map, `spatial_shape` of `export.json`, line by
      line; for a network of clips `feature_times` maps of `spatial_shape[0] / feature_times`
      lines stand one below the other, earliest first.

    `labels` gives the names of the classes, a string tensor. The folder also holds `labels.txt`,
    `export.json`, and a model card, `README.md`.

    A model of optical flow takes fields in the place of frames, as levels (`data.flow.to_levels`),
    uint8 with 2 channels, in pixels of the frames as they come: resizing scales them. Its `jpegs`
    have x in red and y in green, as the shards.

    Args:
        model: A functional `keras.Model` to scores, from samples, clips or snippets, as
            `data.pipeline.sample_shape` has them.
        path: The folder to write; an older export of that name is replaced, any other folder
            refused.
        labels: Names of the classes, in index order; numbers by default.
        from_logits: Whether the model gives logits. If not, the logits are the logarithms of
            its probabilities.
        stream: `"rgb"`, or `"flow"` for a model of optical flow.
        frame_size: `(height, width)` that frames are resized to before the crop, or an integer:
            their shorter side.
        clips: Clips, or groups of snippets, that are averaged.
        segments: 0 for clips; T > 0 for a snippet of each of T segments of the video.
        frame_stride: Step between the frames of a clip or snippet.
        test_scale: The share of a frame's shorter side that the model is shown, resized to its
            input; 7/8, as in both papers. Training on crops of other `crop_scales` wants another.
        mean: Mean of the channels, (R, G, B) or (x, y), subtracted.
        std: What they are then divided by.

    Returns:
        `path`.

    Raises:
        ValueError: If the labels, `stream` or `segments` do not fit the model, the mean the
            stream, a number is out of its range, or `path` holds something else than an export.
    """
    export_model(
        model, path, labels, from_logits=from_logits, stream=stream, frame_size=frame_size,
        clips=clips, segments=segments, frame_stride=frame_stride, test_scale=test_scale,
        mean=mean, std=std,
    )  # fmt: skip
    return path


def export_model(
    model,
    path,
    labels=None,
    formats=("saved_model",),
    *,
    calibration=None,
    verification=None,
    least_agreement=None,
    training=None,
    from_logits=False,
    **settings,
):
    """Export a model in several formats into one folder.

    | format | in the folder | takes |
    |---|---|---|
    | `saved_model` | `saved_model.pb`, `variables/` | see `export_saved_model` |
    | `tflite` or `tflite_{fp16,dynamic,int8}` | `model_fp32.tflite`, ... | a sample |
    | `stream` | `stream/` | a snippet and a state, see `export_stream` |
    | `onnx` | `model.onnx` | samples |

    Args:
        model: As for `export_saved_model`.
        path: The folder to write; an older export of that name is replaced with all its formats.
        labels: Names of the classes.
        formats: Names of the table.
        calibration: Samples `(1, *model.input_shape[1:])`, an iterable: the ranges of values of
            `tflite_int8`.
        verification: Samples on which each format is run and compared with the model.
        least_agreement: Least share of the samples with the same best class; 0.99, and 0.97 for
            LiteRT in 8 bits, by default. A format fails where the 95% interval of the share lies
            below.
        training: What the model card tells of the training: a dict of text by text.
        from_logits: As for `export_saved_model`.
        **settings: Further arguments of `export_saved_model`.

    Returns:
        Dict of the figures of each format, as in `export.json`: `bytes`, and, where there is
        verification, `max_error` and `mean_error` of the logits and `agreement`, the share of
        samples with the same best class, with its 95% interval `agreement_interval`.

    Raises:
        ValueError: As `export_saved_model`, or if a format is unknown.
        ImportError: If a format needs a library that is not installed; before any work.
        ExportError: If formats cannot be had for the model, or do not give its scores. The folder
            is there with the others, if there are any.
    """
    check_formats(formats)
    if "tflite_int8" in formats and calibration is None:
        raise ValueError("`calibration` must be given for tflite_int8. Received: None")
    samples = samples_of(model, labels, **{**DEFAULTS, **settings})
    check_replaceable(path, MANIFEST)
    model = with_logits(model, from_logits)
    verification = [] if verification is None else list(verification)
    expected = [model(x, training=False) for x in verification]
    figures, failures = {}, {}
    with atomic_write(path) as temporary:
        os.makedirs(temporary)
        for name, file in FORMATS.items():  # the SavedModel first, by itself
            if name not in formats:
                continue
            target = temporary if name == "saved_model" else os.path.join(temporary, file)
            try:
                if name in _PRECISIONS:
                    figures[file] = export_litert(
                        model,
                        target,
                        _PRECISIONS[name],
                        calibration if name == "tflite_int8" else None,
                        verification=verification,
                        from_logits=True,
                        least_agreement=least_agreement,
                    )
                    continue
                _MODULES[name].write(model, target, samples)
                found = {"bytes": _bytes(target)}
                if verification:
                    score = _MODULES[name].scorer(target)
                    scores = [score(x) for x in verification]
                    found.update(compare(np.concatenate(expected), np.concatenate(scores)))
                    least = LEAST_AGREEMENT if least_agreement is None else least_agreement
                    check_agreement(file, found, least)
                figures[file] = found
            except ValueError as error:
                failures[name] = error
                if name == "saved_model":  # which shares its folder, and came first
                    shutil.rmtree(temporary)
                    os.makedirs(temporary)
                elif os.path.isdir(target):
                    shutil.rmtree(target)
                elif os.path.exists(target):
                    os.remove(target)
        if not figures:
            raise ExportError(figures, failures)
        write_class_names(os.path.join(temporary, "labels.txt"), samples.labels)
        manifest = {"model": model.name, **samples.settings(), **relations.sizes(model)}
        write_json(os.path.join(temporary, MANIFEST), {**manifest, "formats": figures})
        with open(os.path.join(temporary, "README.md"), "w", encoding="utf-8") as text:
            text.write(model_card(model, samples, figures, training))
    if failures:
        raise ExportError(figures, failures)
    return figures


def _bytes(path):
    """Bytes of a file, or of all files in a folder."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(
        os.path.getsize(os.path.join(folder, name))
        for folder, _, names in os.walk(path)
        for name in names
    )
