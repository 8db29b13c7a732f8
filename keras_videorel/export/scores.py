"""Logits and probabilities: what exported models give, whatever the model itself ends with."""

import keras
import tensorflow as tf
from keras import ops


def with_logits(model, from_logits):
    """A model that gives logits: of one that gives probabilities, their logarithms."""
    if from_logits:
        return model
    logits = ops.log(ops.maximum(ops.cast(model.output, "float32"), 1e-30))
    return keras.Model(model.input, logits, name=model.name)


def scores(logits):
    """Outputs of a signature: `probabilities` and `logits`, float32 `(batch, classes)`."""
    logits = tf.cast(logits, tf.float32)
    return {"probabilities": tf.nn.softmax(logits), "logits": logits}


def check_class_names(model, class_names):
    """Names of a model's classes, a tuple; by default their numbers."""
    classes = model.output_shape[-1]
    names = tuple(map(str, range(classes) if class_names is None else class_names))
    if len(names) != classes:
        raise ValueError(
            f"`class_names` must name each of the model's {classes} classes. Received: {len(names)}"
        )
    return names
