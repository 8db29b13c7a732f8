"""Logits and probabilities: what exported models give, whatever the model itself ends with."""

import keras
import tensorflow as tf
from keras import ops


def with_logits(model, from_logits):
    """A model that gives logits: of one that gives probabilities, their logarithms.

    Args:
        model: A functional `keras.Model` to logits or probabilities.
        from_logits: Whether it gives logits already.

    Returns:
        A `keras.Model` of the same weights and name.
    """
    if from_logits:
        return model
    logits = ops.log(ops.maximum(ops.cast(model.output, "float32"), 1e-30))
    return keras.Model(model.input, logits, name=model.name)


def scores(logits):
    """Outputs of a signature: `probabilities` and `logits`, float32 `(batch, classes)`."""
    logits = tf.cast(logits, tf.float32)
    return {"probabilities": tf.nn.softmax(logits), "logits": logits}
