"""The config's old address, for one release: it is `keras_videorel.runs.config`."""

from keras_videorel.runs.config import *  # noqa: F403
