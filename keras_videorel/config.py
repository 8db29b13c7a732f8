"""The old name of `keras_videorel.runs.config`, for one release."""

from keras_videorel.runs.config import *  # noqa: F403
