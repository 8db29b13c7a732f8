"""The generalized non-local operation, for all Keras backends."""

from keras_videorel.ops.relation import nonlocal_operation

__all__ = ["nonlocal_operation"]
