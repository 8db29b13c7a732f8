"""The folder of an exported model: its formats, labels, settings, figures and model card."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from keras_videorel.checks import check_choice, check_integer
from keras_videorel.clip_spec import ClipSpec
from keras_videorel.data.manifest import write_class_names
from keras_videorel.export import attention, onnx, saved_model, streaming
from keras_videorel.export.agreement import check_agreement, compare
from keras_videorel.export.litert import MIN_AGREEMENT, export_litert
from keras_videorel.export.model_card import model_card
from keras_videorel.export.samples import as_samples, rendered_samples
from keras_videorel.export.scores import check_class_names, with_logits
from keras_videorel.extras import check_importable
from keras_videorel.files import atomic_write, check_replaceable, write_json

MANIFEST = "export.json"
_PRECISIONS = {"tflite": "fp32", **{f"tflite_{p}": p for p in ("fp16", "dynamic", "int8")}}
# What each format is called in the folder.
FORMATS = {
    "saved_model": "saved_model.pb",
    **{name: f"model_{precision}.tflite" for name, precision in _PRECISIONS.items()},
    "stream": "stream",
    "onnx": "model.onnx",
}
_MODULES: dict[str, Any] = {"saved_model": saved_model, "stream": streaming, "onnx": onnx}
Samples: TypeAlias = Iterable[np.ndarray] | tf.data.Dataset


class ExportError(ValueError):
    """Some formats of an export failed; the others are in the folder.

    Attributes:
        figures: Dict of the figures of the formats that are there; empty if there is no folder.
        failures: Dict from the names of the others to what was wrong.
    """

    def __init__(self, figures: dict[str, dict], failures: dict[str, ValueError]):
        super().__init__(
            "; ".join(f"no {name}: {' '.join(str(why).split())}" for name, why in failures.items())
        )
        self.figures, self.failures = figures, failures


def check_formats(formats: Iterable[str]) -> None:
    """Refuse formats that are unknown, or cannot be written or run here.

    Raises:
        ValueError: If a name is not a key of `FORMATS`.
        ImportError: If a library is missing; one line that says how to install it.
    """
    for name in formats:
        check_choice("formats", name, FORMATS)
    if any(name in _PRECISIONS or name == "stream" for name in formats):
        check_importable("LiteRT files", "litert")
    if "onnx" in formats:
        check_importable("ONNX files", "onnx")


def export_saved_model(
    model: keras.Model,
    path: str | os.PathLike,
    clip: ClipSpec,
    class_names: Sequence[str] | None = None,
    *,
    clips: int = 10,
    from_logits: bool = False,
) -> str | os.PathLike:
    """Export a classifier of clips or of snippets as a SavedModel with preprocessing inside.

    Its signatures give `probabilities` and `logits`, float32 `(batch, classes)`, of

    - `serving_default`: `frames`, uint8 `(batch, time, height, width, channels)`, any number of any
      size: they are resized, up to `clips` samples are taken at equal distances, of which the
      middle is resized to the network's input, normalized, scored, and averaged before the softmax;
    - `jpegs`: `jpegs`, string `(batch, time)`: the same of encoded frames;
    - `clips`: `clips`, uint8 `(batch, clip.num_frames, height, width, channels)`: the frames of a
      sample that were taken already;
    - `preprocessed`: `samples`, float32 `(batch, *clip.shape)`: what the network takes;
    - `relations`, of a network with a `RelationalLSTM`: `clips`, and gives beside the scores
      `relations`, the attention maps, float32 `(batch, T, 4, positions, positions)`.

    `labels` gives the names of the classes, a string tensor. Frames are RGB, gray (1 channel) or
    RGBA. A model of optical flow takes fields in their place, as levels (`data.flow.to_levels`)
    with 2 channels, in pixels of the frames as they come; its `jpegs` have x in red and y in green.

    The arguments, and the errors, are those of `export_model`. Returns `path`.
    """
    export_model(model, path, clip, class_names, clips=clips, from_logits=from_logits)
    return path


def export_model(
    model: keras.Model,
    path: str | os.PathLike,
    clip: ClipSpec,
    class_names: Sequence[str] | None = None,
    formats: Sequence[str] = ("saved_model",),
    *,
    clips: int = 10,
    from_logits: bool = False,
    calibration: Samples | None = None,
    verification: Samples | None = None,
    min_agreement: float | None = None,
    training: dict | None = None,
    labels: Sequence[str] | None = None,
) -> dict:
    """Export a model in several formats into one folder.

    | format | in the folder | takes |
    |---|---|---|
    | `saved_model` | `saved_model.pb`, `variables/` | see `export_saved_model` |
    | `tflite` or `tflite_{fp16,dynamic,int8}` | `model_fp32.tflite`, ... | a sample |
    | `stream` | `stream/` | a snippet and a state, see `export_stream` |
    | `onnx` | `model.onnx` | samples |

    Args:
        model: A functional `keras.Model` to scores, from samples of `clip.shape`.
        path: The folder to write. An older export is replaced with all its formats; any other
            folder is refused.
        clip: The `ClipSpec` that the model was trained with. Where it has no `frame_size`, frames
            keep their aspect and are resized so that a view needs no further resizing. If the
            shards hold frames of another aspect than the videos, give `train_dataset(...).clip`.
        class_names: Names of the classes, in index order; numbers by default.
        formats: Names of the table.
        clips: Clips, or groups of snippets, of a video whose scores are averaged.
        from_logits: Whether the model gives logits. If not, the logits are the logarithms of
            its probabilities.
        calibration: What sets the ranges of values of `tflite_int8`: an iterable of samples
            `(1, *clip.shape)`, or a dataset as of `train_dataset`, of which 64 samples are taken.
            By default rendered videos, for RGB; clips as the model will see them are better.
        verification: The same, for samples on which each format is run and compared with the
            model.
        min_agreement: Least share of these samples with the same best class; 0.99, and 0.97 for
            LiteRT in 8 bits, by default. A format fails where the 95% interval of the share lies
            below.
        training: What the model card tells of the training: a dict of text by text.
        labels: Older name of `class_names`.

    Returns:
        Dict of the figures of each format, as in `export.json`: `bytes`, and, where there is
        verification, `max_error` and `mean_error` of the logits and `agreement`, the share of
        samples with the same best class, with its 95% interval `agreement_interval`.

    Raises:
        ValueError: If the model does not take samples of `clip.shape`, the class names are not as
            many as its classes, a format is unknown, or `path` holds something else than an export.
        ImportError: If a format needs a library that is not installed; before any work.
        ExportError: If formats cannot be had for the model, or do not give its scores. The folder
            is there with the others, if there are any.
    """
    check_formats(formats)
    clip.check_model(model)
    check_integer("clips", clips, min_value=1)
    class_names = check_class_names(model, labels if class_names is None else class_names)
    clip = clip.with_frame_size()
    check_replaceable(path, MANIFEST)
    if "tflite_int8" in formats and calibration is None:
        calibration = rendered_samples(clip)
    verification = as_samples(verification)
    model = with_logits(model, from_logits)
    expected = [model(x, training=False) for x in verification]
    figures: dict[str, dict] = {}
    failures: dict[str, ValueError] = {}

    def write(name, target):
        """Write one format and return its figures."""
        if name in _PRECISIONS:
            return export_litert(
                model,
                target,
                _PRECISIONS[name],
                calibration if name == "tflite_int8" else None,
                verification=verification,
                from_logits=True,
                min_agreement=min_agreement,
            )
        module = _MODULES[name]
        module.write(model, target, clip, class_names, clips)
        found = {"bytes": _bytes(target)}
        if verification:
            score = module.scorer(target)
            scores = [score(x) for x in verification]
            found.update(compare(np.concatenate(expected), np.concatenate(scores)))
            least = MIN_AGREEMENT["fp32"] if min_agreement is None else min_agreement
            check_agreement(FORMATS[name], found, least)
        return found

    with atomic_write(path) as temporary:
        os.makedirs(temporary)
        for name, file in FORMATS.items():  # the SavedModel first, by itself
            if name not in formats:
                continue
            target = temporary if name == "saved_model" else os.path.join(temporary, file)
            try:
                figures[file] = write(name, target)
            except ValueError as error:
                failures[name] = error
                if os.path.isfile(target):
                    os.remove(target)
                else:
                    shutil.rmtree(target, ignore_errors=True)
                os.makedirs(temporary, exist_ok=True)
        if not figures:
            raise ExportError(figures, failures)
        write_class_names(os.path.join(temporary, "labels.txt"), class_names)
        manifest = {"model": model.name, **clip.to_json(), "clips": clips}
        manifest |= {**attention.feature_map_sizes(model), "formats": figures}
        write_json(os.path.join(temporary, MANIFEST), manifest)
        with open(os.path.join(temporary, "README.md"), "w", encoding="utf-8") as text:
            text.write(model_card(model, clip, class_names, clips, figures, training))
    if failures:
        raise ExportError(figures, failures)
    return figures


def _bytes(path):
    """Bytes of a file, or of all files in a folder."""
    files = [path] if os.path.isfile(path) else pathlib.Path(path).rglob("*")
    return sum(os.path.getsize(file) for file in files if os.path.isfile(file))
