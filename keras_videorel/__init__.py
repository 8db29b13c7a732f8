"""keras_videorel: Relational LSTM and ARTNet for video action recognition, in Keras 3.

Importing it is light: its parts, `keras_videorel.layers` and so on, load when they are first used.
Its layers are registered with Keras, so that `keras.saving.load_model` finds them.
"""

import importlib

from keras_videorel.registration import register_with_keras

__version__ = "0.1.0"

_PARTS = (
    "caffe",
    "data",
    "evaluation",
    "export",
    "layers",
    "models",
    "ops",
    "prediction",
    "reporting",
    "runs",
    "training",
)
# Classes that are shown here, and the modules that hold them.
_NAMES = {"ClipSpec": "clip_spec", "Predictor": "prediction"}


def __getattr__(name):
    if name in _PARTS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_PARTS, *_NAMES})


register_with_keras()
