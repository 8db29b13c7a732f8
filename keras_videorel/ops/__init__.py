"""The generalized non-local operation, on tensors of any Keras backend."""

from keras_videorel.ops.relation import nonlocal_operation

__all__ = ["nonlocal_operation"]
