"""Export a model as an ONNX file, with Keras's own export."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from keras_videorel.clip_spec import ClipSpec


def write(
    model: keras.Model, path: str, clip: ClipSpec, class_names: tuple[str, ...], clips: int
) -> None:
    """Write an ONNX file from samples `(batch, *clip.shape)` to logits `(batch, classes)`."""
    model(np.zeros((1, *clip.shape), np.float32))  # Keras exports only a model that was called
    model.export(path, format="onnx", verbose=False)


def scorer(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs an ONNX file, from samples to logits."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # the errors of onnxruntime have no common base class
        raise ValueError(f"the network has no valid ONNX form: {error}") from None
    (name,) = (entry.name for entry in session.get_inputs())
    return lambda x: session.run(None, {name: np.asarray(x, np.float32)})[0]
