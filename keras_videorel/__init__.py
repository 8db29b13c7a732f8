"""keras_videorel: Relational LSTM and ARTNet for video action recognition, in Keras 3.

Its parts, such as `keras_videorel.layers`, load when they are first used. Its layers are registered
with Keras, so that `keras.saving.load_model` finds them.
"""

from keras_videorel import lazy
from keras_videorel.registration import register_with_keras

__version__ = "0.1.0"

__getattr__, __dir__ = lazy.attributes(
    __name__,
    (
        "caffe", "data", "evaluation", "export", "layers", "models", "ops", "prediction",
        "reporting", "runs", "training",
    ),
    {"ClipSpec": "clip_spec", "Predictor": "prediction"},
)  # fmt: skip

register_with_keras()
