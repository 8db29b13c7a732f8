"""Streaming: after n snippets, what the network for n snippets gives."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_videorel import export, layers, models
from keras_videorel.export import streaming
from tests.clips import clip_of

SEGMENTS = 3
OPTIONS = {"weights": None, "classes": 3, "classifier_activation": None}
CLIPS = {"input_shape": (8, 32, 32, 3), "backbone": "artnet_resnet18_s", "width": 4, **OPTIONS}


def two_branch(segments):
    return models.RelationalLSTMResNet(segments=segments, units=6, **CLIPS)


def tsn(segments, consensus="average"):
    """A temporal segment network of a small network on images."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    x = keras.layers.Dense(3)(keras.layers.Flatten()(x))
    snippets = keras.Model(image, x, name="images")
    return models.TemporalSegmentNetwork(snippets, segments, consensus, classifier_activation=None)


def own(segments):
    """The README's way: cells in `keras.layers.RNN`, and one of Keras's."""
    video = keras.Input((segments, 6, 6, 3))
    x = keras.ops.reshape(video, (-1, 6, 6, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(x)
    x = keras.ops.reshape(x, (-1, segments, 2, 2, 4))
    cell = layers.RelationalLSTMCell(5, spatial_shape=(2, 2))
    y = keras.layers.RNN(cell, name="relations")(x)
    z = keras.layers.GRU(4, name="gru")(keras.ops.reshape(x, (-1, segments, 16)))
    return keras.Model(video, keras.layers.Dense(3)(keras.layers.Concatenate()([y, z])))


def stacked(segments):
    """Keras's way: a network of images in `TimeDistributed`, and recurrent layers in a row."""
    images = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten()]
    cells = [keras.layers.LSTMCell(4), keras.layers.GRUCell(3)]
    return keras.Sequential(
        [
            keras.Input((segments, 6, 6, 3)),
            keras.layers.TimeDistributed(keras.Sequential(images)),
            keras.layers.LSTM(4, return_sequences=True),
            keras.layers.LSTM(5, return_sequences=True),
            keras.layers.RNN(cells),
            keras.layers.Dense(3),
        ]
    )


NETWORKS = {
    "two_branch": two_branch,
    "tsn": tsn,
    "tsn_max": lambda segments: tsn(segments, "max"),
    "own": own,
    "stacked": stacked,
}


def network(name, segments, weights=None):
    """The same network for any number of segments, with weights and statistics away from zero."""
    keras.utils.set_random_seed(0)
    model = NETWORKS[name](segments)
    if weights is None:
        rng = np.random.default_rng(0)
        weights = [  # kernels as they are, for responses of size 1
            w + rng.uniform(0, 0.4, w.shape) if w.ndim == 1 else w for w in model.get_weights()
        ]
    model.set_weights(weights)
    return model, weights


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_prefix_is_the_network_of_that_many_snippets(name):
    model, weights = network(name, SEGMENTS)
    step = streaming.step_model(model)
    x = np.random.default_rng(1).normal(size=(2, 5, *model.input_shape[2:])).astype("float32")
    zeros = {key: tf.zeros((2, *s.shape[1:])) for key, s in step.input.items()}
    del zeros["snippet"]
    states, seen = zeros, []
    for n in range(1, 6):
        outputs = step({"snippet": tf.constant(x[:, n - 1]), **states}, training=False)
        states = {key: outputs[key] for key in zeros}
        whole, _ = network(name, n, weights)
        expected = whole(x[:, :n], training=False)
        np.testing.assert_allclose(outputs["scores"], expected, rtol=1e-4, atol=1e-5)
        seen.append(expected)
    assert np.ptp(seen, axis=0).max() > 0.01
    assert step.count_params() == model.count_params()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model, _ = network("two_branch", SEGMENTS)
    path = str(tmp_path_factory.mktemp("stream") / "stream")
    clip = clip_of(model, SEGMENTS, frame_size=(36, 40), std=60.0)
    export.export_stream(model, path, clip, from_logits=True)
    return model, path


def test_saved_model_streams_raw_frames(exported):
    """Dynamic batch, frames of any size, and a reset in the middle."""
    model, path = exported
    signatures = tf.saved_model.load(path).signatures
    rng = np.random.default_rng(2)
    frames = tf.constant(rng.integers(0, 256, (2, SEGMENTS, 8, 36, 40, 3), np.uint8))
    mean = np.array((123.0, 117.0, 104.0), "float32")
    expected = model((frames[:, :, :, 2:34, 4:36].numpy() - mean) / 60, training=False)
    for _ in range(2):
        states = signatures["initial_state"](batch_size=tf.constant(2))
        assert set(states) == {
            "count", "local_consensus_sum", "relational_lstm_0", "relational_lstm_1"
        }  # fmt: skip
        for snippet in tf.unstack(frames, axis=1):
            outputs = signatures["step_frames"](frames=snippet, **states)
            states = {name: outputs[name] for name in states}
        np.testing.assert_allclose(outputs["logits"], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            outputs["probabilities"], tf.nn.softmax(expected), rtol=1e-4, atol=1e-6
        )


def test_litert_step_has_built_in_operators_and_the_same_scores(exported):
    pytest.importorskip("ai_edge_litert", reason="the interpreter of LiteRT is not installed")
    model, path = exported
    x = np.random.default_rng(3).normal(size=(2, *model.input_shape[1:])).astype("float32")
    found = streaming.scorer(path)(x)  # the interpreter has no other operators
    np.testing.assert_allclose(found, model(x, training=False), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_streamed():
    video = keras.Input((4, 6, 6, 3))
    flat = keras.ops.reshape(video, (-1, 4, 108))
    outputs = {
        "'pool', a GlobalAveragePooling1D": keras.layers.GlobalAveragePooling1D(name="pool")(flat),
        "'twice', a Bidirectional": keras.layers.Bidirectional(keras.layers.LSTM(2), name="twice")(
            flat
        ),
        "return no states. Received: 'states'": keras.layers.LSTM(
            2, return_state=True, name="states"
        )(flat)[0],
        "go forward and": keras.layers.LSTM(2, go_backwards=True)(flat),
        "'maps', a ConvLSTM2D": keras.layers.GlobalAveragePooling2D()(
            keras.layers.ConvLSTM2D(2, 3, name="maps")(video)
        ),
        "'nested', a Sequential": keras.Sequential(
            [keras.Input((4, 108)), keras.layers.LSTM(2)], name="nested"
        )(flat),
        "which has neither": keras.layers.LSTM(2, return_sequences=True)(flat),
        "has neither": keras.ops.reshape(flat, (-1, 108)),
    }
    for message, output in outputs.items():
        with pytest.raises(ValueError, match=f"`model` .*{message}"):
            streaming.step_model(keras.Model(video, output))
    two = keras.layers.LSTM(2)(flat), keras.layers.GRU(2)(flat)
    with pytest.raises(ValueError, match=r"`model` must be a built .* one output"):
        streaming.step_model(keras.Model(video, two))
    with pytest.raises(ValueError, match=r"`model` must take \(batch, T, \*snippet\)"):
        streaming.step_model(own(1))
