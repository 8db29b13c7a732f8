"""Logits, probabilities and class names of exported models."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import tensorflow as tf
from keras import ops


def with_logits(model: keras.Model, from_logits: bool) -> keras.Model:
    """Return a model to logits. Without `from_logits`, they are logarithms of probabilities."""
    if from_logits:
        return model
    logits = ops.log(ops.maximum(ops.cast(model.output, "float32"), 1e-30))
    return keras.Model(model.input, logits, name=model.name)


def scores(logits: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return the outputs `probabilities` and `logits`, float32 `(batch, classes)`."""
    logits = tf.cast(logits, tf.float32)
    return {"probabilities": tf.nn.softmax(logits), "logits": logits}


def check_class_names(model: keras.Model, class_names: Iterable[str] | None) -> tuple[str, ...]:
    """Return the class names of a model, by default numbers, and check how many there are."""
    classes = model.output_shape[-1]
    names = tuple(map(str, range(classes) if class_names is None else class_names))
    if len(names) != classes:
        raise ValueError(
            f"`class_names` must name each of the model's {classes} classes. Received: {len(names)}"
        )
    return names
