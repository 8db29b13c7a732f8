"""Load the SavedModel or LiteRT file of an export, to score samples."""

from __future__ import annotations

import os
import threading

import numpy as np
import tensorflow as tf

from keras_videorel.checks import check_choice, check_integer
from keras_videorel.clip_spec import ClipSpec
from keras_videorel.data import transforms
from keras_videorel.data.manifest import read_class_names
from keras_videorel.extras import check_importable
from keras_videorel.files import plain_path, read_json

# Files of an exported folder in order of preference: the most accurate first.
FILES = {
    "saved_model": "saved_model.pb",
    "fp32": "model_fp32.tflite",
    "fp16": "model_fp16.tflite",
    "dynamic": "model_dynamic.tflite",
    "int8": "model_int8.tflite",
}


class SavedModel:
    """A SavedModel of `export.export_saved_model`. `settings` come from its `export.json`."""

    def __init__(self, folder: str, settings: dict):
        with plain_path(folder) as path:
            self._model = tf.saved_model.load(path)  # keeps the signatures' variables alive
        signatures = self._model.signatures
        if "clips" not in signatures:
            raise ValueError(f"{folder!r} was exported by an older version: export it again")
        self._score = signatures["clips"]
        self._attend = signatures.get("relations")
        self.labels = [name.decode() for name in signatures["labels"]()["labels"].numpy()]
        self.has_attention_maps = self._attend is not None and "spatial_shape" in settings

    def score(self, clips: np.ndarray) -> np.ndarray:
        """Score samples, uint8 `(batch, num_frames, h, w, c)`: logits, `(batch, classes)`."""
        return self._score(clips=tf.constant(clips))["logits"].numpy()

    def attend(self, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logits and attention maps, float32 `(batch, T, 4, positions, positions)`."""
        outputs = self._attend(clips=tf.constant(clips))
        return outputs["logits"].numpy(), outputs["relations"].numpy()


class LiteRTModel:
    """A LiteRT file of `export.export_litert`, with the same preprocessing as the SavedModel."""

    has_attention_maps = False

    def __init__(self, folder: str, settings: dict, name: str):
        check_importable(f"{name} and other LiteRT files", "litert")
        from ai_edge_litert.interpreter import Interpreter

        path = os.path.join(folder, name)
        self.labels = read_class_names(os.path.join(folder, "labels.txt"))
        try:
            with plain_path(path) as plain:
                interpreter = Interpreter(plain, num_threads=os.cpu_count())
            self._run = interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{path!r} cannot be run by LiteRT: {error}") from None
        outputs = self._run.get_output_details()
        if "logits" not in outputs or outputs["logits"]["shape"][-1] != len(self.labels):
            raise ValueError(f"{path!r} does not give logits of the {len(self.labels)} labels")
        ((self._input, details),) = self._run.get_input_details().items()
        self._shape = tuple(details["shape"][1:].tolist())
        self._clip = ClipSpec.from_json(settings)
        self._lock = threading.Lock()  # an interpreter has only one set of buffers

    def score(self, clips: np.ndarray) -> np.ndarray:
        """Score samples one by one; see `SavedModel.score`."""
        images = tf.reshape(clips, (-1, *clips.shape[2:]))
        prepared = transforms.prepare_frames(images, self._clip)
        samples = transforms.join_frames(prepared, self._shape).numpy()
        with self._lock:
            return np.concatenate(
                [self._run(**{self._input: sample[np.newaxis]})["logits"] for sample in samples]
            )


def load(
    folder: str | os.PathLike, precision: str | None = None
) -> tuple[SavedModel | LiteRTModel, dict, str]:
    """Load an exported model. Arguments and errors are the same as for `Predictor`.

    Returns:
        `(model, settings, precision)`: the model, the contents of `export.json`, and the key in
        `FILES` of the loaded file.
    """
    folder = os.fspath(folder)
    manifest = os.path.join(folder, "export.json")
    if not os.path.exists(manifest):
        raise FileNotFoundError(
            f"{folder!r} is not an exported model (no export.json): make one with `videorel export`"
        )
    there = [key for key, name in FILES.items() if os.path.exists(os.path.join(folder, name))]
    if not there:
        raise FileNotFoundError(f"{folder!r} holds neither a SavedModel nor a LiteRT file")
    if precision is None:
        precision = there[0]
    elif check_choice("precision", precision, FILES) not in there:
        raise FileNotFoundError(
            f"{folder!r} has no {FILES[precision]}; `precision` can be {', '.join(there)}"
        )
    settings = read_json(manifest)
    try:
        ClipSpec.from_json(settings)
        check_integer("clips", settings.get("clips"), min_value=1)
    except ValueError as error:
        raise ValueError(f"{manifest!r} is damaged: {error}") from None
    if precision == "saved_model":
        return SavedModel(folder, settings), settings, precision
    return LiteRTModel(folder, settings, FILES[precision]), settings, precision
