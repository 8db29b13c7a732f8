"""An exported model whose answers are known: its logits are colors, its relations constant."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_videorel import export
from keras_videorel.files import read_json, write_json
from tests.clips import clip_of

LABELS = ["red", "green ✓", "blue"]
SIDE, FRAME_SIZE, SEGMENTS = 24, (28, 36), 4
SHARPEST = (1, 1)  # the position that looks at one place: the upper left
MULTIPLE = 1.75  # of uniform, mean of gates: gate i all of it, the others a quarter each


def mean_color(inputs):
    """Logits of a model: the mean of red, green and blue, a hundredth of it."""
    x = keras.layers.Reshape((-1, 3))(inputs)
    return keras.layers.Rescaling(0.01)(keras.layers.GlobalAveragePooling1D()(x))


def attention_maps():
    """`(T, 4, 4, 4)` of a 2x2 map: uniform, but for one position and gate after the first step."""
    weights = np.full((SEGMENTS, 4, 4, 4), 0.25, np.float32)
    weights[1:, 0, SHARPEST[0] * 2 + SHARPEST[1]] = (1, 0, 0, 0)
    return weights


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The export: T images of 24x24 out of 28x36, mean 0, relations on 2x2 positions."""
    path = str(tmp_path_factory.mktemp("prediction") / "model")
    inputs = keras.Input((SEGMENTS, SIDE, SIDE, 3))
    model = keras.Model(inputs, mean_color(inputs))
    clip = clip_of(model, SEGMENTS, frame_size=FRAME_SIZE, mean=(0, 0, 0))
    export.export_saved_model(model, path, clip, LABELS, from_logits=True, clips=2)
    _add_attention_maps(path)
    return path


def _add_attention_maps(path):
    module = tf.Module()
    module.model = tf.saved_model.load(path)
    signatures = dict(module.model.signatures)

    @tf.function(
        input_signature=[tf.TensorSpec((None, SEGMENTS, None, None, 3), tf.uint8, "clips")]
    )
    def attend(clips):
        maps = tf.tile(attention_maps()[np.newaxis], [tf.shape(clips)[0], 1, 1, 1, 1])
        return {"relations": maps, **signatures["clips"](clips=clips)}

    tf.saved_model.save(module, path, signatures={**signatures, "relations": attend})
    settings = read_json(f"{path}/export.json")
    write_json(f"{path}/export.json", {**settings, "spatial_shape": [2, 2]})


@pytest.fixture(scope="session")
def predictor(folder):
    from keras_videorel.prediction import Predictor

    return Predictor(folder)


def colored(*parts, size=FRAME_SIZE):
    """Frames of `(count, color)` one after the other."""
    return np.concatenate([np.full((count, *size, 3), color, np.uint8) for count, color in parts])


RED, BLUE = (250, 20, 30), (10, 40, 240)
