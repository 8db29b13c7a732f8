"""Export a model to a folder: its files, class names, settings, figures and model card."""

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
# File or subfolder of each format.
FORMATS = {
    "saved_model": "saved_model.pb",
    **{name: f"model_{precision}.tflite" for name, precision in _PRECISIONS.items()},
    "stream": "stream",
    "onnx": "model.onnx",
}
_MODULES: dict[str, Any] = {"saved_model": saved_model, "stream": streaming, "onnx": onnx}
Samples: TypeAlias = Iterable[np.ndarray] | tf.data.Dataset


class ExportError(ValueError):
    """Some formats of an export failed. The folder holds the other formats.

    Attributes:
        figures: Dict of the figures of each file that was written. Empty if every format failed;
            then there is no folder.
        failures: Dict from the name of each format that failed to its error.
    """

    def __init__(self, figures: dict[str, dict], failures: dict[str, ValueError]):
        super().__init__(
            "; ".join(f"no {name}: {' '.join(str(why).split())}" for name, why in failures.items())
        )
        self.figures, self.failures = figures, failures


def check_formats(formats: Iterable[str]) -> None:
    """Check that formats are known and that their libraries are installed.

    Raises:
        ValueError: If a name is not a key of `FORMATS`.
        ImportError: If a library is not installed. The message says how to install it.
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
    """Export a classifier of clips or snippets as a SavedModel that includes preprocessing.

    Each signature returns `probabilities` and `logits`, float32 `(batch, classes)`. Inputs:

    - `serving_default`: `frames`, uint8 `(batch, time, height, width, channels)`, with any number
      of frames of any size. The signature resizes the frames, takes up to `clips` samples at equal
      distances, crops and normalizes them, and averages their scores before the softmax.
    - `jpegs`: `jpegs`, string `(batch, time)`, the encoded frames of whole videos.
    - `clips`: `clips`, uint8 `(batch, clip.num_frames, height, width, channels)`, the frames of
      one sample per row.
    - `preprocessed`: `samples`, float32 `(batch, *clip.shape)`, the input of the network.
    - `relations`, only with a `RelationalLSTM`: `clips`. It also returns the attention maps
      `relations`, float32 `(batch, T, 4, positions, positions)`.

    The signature `labels` returns the class names, a string tensor. Frames are RGB, gray (1
    channel) or RGBA. A model of optical flow takes flow as levels (`data.flow.to_levels`) with 2
    channels, in pixels of the given frames. Its JPEGs hold x in red and y in green.

    Arguments and errors are the same as for `export_model`. Returns `path`.
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
    """Export a model in one or several formats to one folder.

    | format | in the folder | takes |
    |---|---|---|
    | `saved_model` | `saved_model.pb`, `variables/` | see `export_saved_model` |
    | `tflite` or `tflite_{fp16,dynamic,int8}` | `model_fp32.tflite`, ... | a sample |
    | `stream` | `stream/` | a snippet and a state, see `export_stream` |
    | `onnx` | `model.onnx` | samples |

    Args:
        model: A functional `keras.Model` from samples of `clip.shape` to scores.
        path: The folder to write. An older export in it is replaced with all its formats. Any
            other existing folder is an error.
        clip: The `ClipSpec` that the model was trained with. Without a `frame_size`, frames keep
            their aspect ratio and are resized so that a view needs no further resizing. If the
            shards changed the aspect ratio of the videos, pass `train_dataset(...).clip`.
        class_names: In index order; numbers by default.
        formats: Formats of the table.
        clips: Number of clips, or groups of snippets, of a video whose scores are averaged.
        from_logits: Whether the model returns logits. If not, the file computes logits as the
            logarithms of the probabilities.
        calibration: Samples that set the ranges of `tflite_int8`: an iterable of arrays
            `(1, *clip.shape)`, or a dataset such as `train_dataset` (64 samples of it are used).
            By default rendered videos (RGB only). Clips that the model will see work better.
        verification: Samples on which each format is compared with the model, in the same form.
        min_agreement: Minimum share of these samples with the same best class; by default 0.99,
            and 0.97 for LiteRT in 8 bits. A format fails if the 95% interval of its share lies
            below this value.
        training: Facts about the training for the model card, from text to text.
        labels: Older name of `class_names`.

    Returns:
        Dict of the figures of each file, as in `export.json`: `bytes`, and with `verification`
        the figures of `agreement.compare` for the logits.

    Raises:
        ValueError: If the model does not take samples of `clip.shape`, the number of class names
            is wrong, a format is unknown, or `path` exists and is not an export.
        ImportError: If a format needs a library that is not installed. Nothing is written then.
        ExportError: If the model cannot be converted to some of the formats, or their files do not
            agree with the model. The folder holds the other formats, if there are any.
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
        for name, file in FORMATS.items():  # the SavedModel comes first: it writes the folder
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
    """Return the size of a file, or of all files in a folder."""
    files = [path] if os.path.isfile(path) else pathlib.Path(path).rglob("*")
    return sum(os.path.getsize(file) for file in files if os.path.isfile(file))
