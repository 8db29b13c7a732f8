"""Masked steps count nowhere: results are those of the sequence without them."""

import keras
import numpy as np
import pytest

from keras_videorel.layers import (
    ProgressiveBatchNormalization,
    RelationalLSTM,
    RelationalLSTMCell,
    SegmentConsensus,
)
from keras_videorel.models import RelationalLSTMResNet, TemporalSegmentNetwork
from tests.layers.tensors import array, copy_weights, normal, randomize

KERAS = tuple(map(int, keras.__version__.split(".")[:2]))
SHAPE = (3, 4, 2, 3, 5)  # batch, time, height, width, channels
KEPT = ([0, 1, 2, 3], [1, 3], [])  # steps of each sample; the last is all padding
MASK = np.asarray([[step in kept for step in range(4)] for kept in KEPT])


def padded(shape=SHAPE, value=0.0):
    x = normal(shape, 1)
    x[~MASK] = value
    return x


def predict(layer, x, value=0.0, before=()):
    """Outputs of a functional model: `Masking`, what comes before the layer, the layer."""
    inputs = keras.Input(x.shape[1:])
    y = keras.layers.Masking(value)(inputs)
    for other in before:
        y = other(y)
    return keras.Model(inputs, layer(y)).predict(x, verbose=0)


def built(layer, shape=SHAPE):
    layer.build(shape)
    return randomize(layer)


def assert_shortened(layer, x, outputs, atol=1e-5):
    """Each sample's outputs are those of the steps that count, alone."""
    for sample in (0, 1):
        alone = array(layer(x[sample : sample + 1, KEPT[sample]]))[0]
        np.testing.assert_allclose(outputs[sample], alone, atol=atol)


@pytest.mark.parametrize(
    "arguments", [{}, {"go_backwards": True}, {"unroll": True}, {"use_bias": True}]
)
@pytest.mark.parametrize("value", [0.0, -7.0])
def test_masking_before_a_relational_lstm(arguments, value):
    """A mask of positions, as `Masking` makes it of feature maps, is one of steps."""
    layer = RelationalLSTM(3, **arguments)
    x = padded(value=value)
    x[0, 1, 0, 0] = value  # a position of a step that counts
    shown = np.where((x == value).all(-1, keepdims=True), 0, x)  # by `Masking`
    once = RelationalLSTM(3, **{**arguments, "unroll": False})
    built(layer)
    copy_weights(layer, built(once))
    outputs = predict(layer, x, value)
    assert_shortened(once, shown, outputs)
    assert not outputs[2].any()


@pytest.mark.parametrize("zeros", [False, True])
def test_what_a_mask_leaves_in_sequences_and_states(zeros):
    """Steps that do not count repeat the output before, or give zeros; states stay."""
    layer = built(
        RelationalLSTM(3, return_sequences=True, return_state=True, zero_output_for_mask=zeros)
    )
    x = padded()
    sequences, h, c = predict(layer, x)
    for sample in (0, 1):
        alone = [array(y)[0] for y in layer(x[sample : sample + 1, KEPT[sample]])]
        np.testing.assert_allclose(sequences[sample, KEPT[sample]], alone[0], atol=1e-5)
        np.testing.assert_allclose(h[sample], alone[1], atol=1e-5)
        np.testing.assert_allclose(c[sample], alone[2], atol=1e-5)
    assert not h[2].any() and not c[2].any() and not sequences[2].any()
    np.testing.assert_array_equal(sequences[1, 2], np.where(zeros, 0, sequences[1, 1]))


def test_the_mask_goes_on_as_one_of_steps():
    of_positions = np.broadcast_to(MASK[..., None, None], SHAPE[:4])
    for state in (False, True):
        layer = RelationalLSTM(3, return_sequences=True, return_state=state)
        masks = layer.compute_mask(None, of_positions)
        mask = masks[0] if state else masks
        np.testing.assert_array_equal(array(mask), MASK)
        assert not state or masks[1:] == [None, None]
    assert RelationalLSTM(3).compute_mask(None, of_positions) is None
    assert SegmentConsensus().compute_mask(None, MASK) is None
    assert layer.supports_masking and SegmentConsensus().supports_masking


def test_stacked_layers_and_a_consensus_know_the_mask():
    first = built(RelationalLSTM(3, return_sequences=True))
    x, inputs = padded(), keras.Input(SHAPE[1:])
    y = first(keras.layers.Masking()(inputs))
    outputs = keras.Model(inputs, [y, SegmentConsensus()(y)]).predict(x, verbose=0)
    means = [outputs[0][sample, KEPT[sample]].mean(0) for sample in (0, 1)]
    np.testing.assert_allclose(outputs[1][:2], means, atol=1e-6)
    second = built(RelationalLSTM(2), (*SHAPE[:4], 3))
    stacked = predict(second, x, before=[first])
    assert_shortened(lambda part: second(first(part)), x, stacked)


def test_a_mask_beside_an_initial_state():
    """Keras hands a layer the mask of its only tensor; this one finds it beside a state, too."""
    layer = built(RelationalLSTM(3))
    x, state = padded(), normal((3, 2, 3, 3), 2)
    inputs, h, c = (keras.Input(shape) for shape in (SHAPE[1:], state.shape[1:], state.shape[1:]))
    y = layer(keras.layers.Masking()(inputs), initial_state=[h, c])
    outputs = keras.Model([inputs, h, c], y).predict([x, state, 2 * state], verbose=0)
    for sample in (0, 1):
        one = state[sample : sample + 1]
        alone = layer(x[sample : sample + 1, KEPT[sample]], initial_state=[one, 2 * one])
        np.testing.assert_allclose(outputs[sample], array(alone)[0], atol=1e-5)


def test_a_mask_may_be_a_list():
    scores = np.float32([[[1.0], [2.0], [5.0]]])
    np.testing.assert_allclose(
        array(SegmentConsensus()(scores, mask=[[True, True, False]])), [[1.5]]
    )


def test_a_stateful_layer_keeps_its_states():
    layer = built(RelationalLSTM(3, stateful=True))
    x = padded()
    layer(x, mask=MASK)
    states = [array(state) for state in layer.states]
    layer(x, mask=np.zeros_like(MASK))
    for before, after in zip(states, layer.states, strict=True):
        np.testing.assert_array_equal(array(after), before)
        assert before[0].any()


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
def test_rnn_of_the_cell(flat, backwards):
    """`keras.layers.RNN` takes masks of steps, of maps and of flat features."""
    rnn = keras.layers.RNN(RelationalLSTMCell(3, (2, 3)), go_backwards=backwards)
    x = padded()
    if flat:
        x = x.reshape(3, 4, -1)
        outputs = predict(built(rnn, x.shape), x)
    else:
        outputs = array(built(rnn)(x, mask=MASK))
    assert_shortened(rnn, x, outputs)
    assert not outputs[2].any()


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("consensus", ["average", "max"])
@pytest.mark.parametrize("rank", [3, 5])
def test_consensus_of_the_segments_that_count(consensus, rank, policy):
    if policy != "float32" and KERAS < (3, 14):
        pytest.skip("Keras before 3.14 loses the masks of inputs that it casts")
    x = padded((*SHAPE[: rank - 1], 5), value=-7.0)
    layer = SegmentConsensus(consensus, dtype=policy)
    outputs = predict(layer, x, -7.0).astype("float32")
    reduce = np.mean if consensus == "average" else np.max
    for sample in (0, 1):
        expected = reduce(x[sample, KEPT[sample]], axis=0)
        atol = 1e-6 if policy == "float32" else 0.02
        np.testing.assert_allclose(outputs[sample], expected, atol=atol)
    np.testing.assert_array_equal(outputs[2], np.zeros_like(outputs[2]))
    x[~MASK] = np.nan  # what is masked may be no number
    again = array(layer(x, mask=MASK))
    np.testing.assert_allclose(again, outputs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("consensus", ["average", "max"])
def test_consensus_of_an_empty_batch(consensus):
    layer, x = SegmentConsensus(consensus), np.zeros((0, 4, 5), "float32")
    assert layer(x).shape == layer(x, mask=np.zeros((0, 4), bool)).shape == (0, 5)


def test_within_time_distributed():
    """The wrapper hands down the mask of the inner steps, and keeps that of the outer ones."""
    x = np.stack([padded(), padded()], axis=1)  # (batch, 2, time, ...)
    x[1, 1] = 0
    for layer in (RelationalLSTM(3), SegmentConsensus()):
        layer.build(SHAPE)
        outputs = predict(keras.layers.TimeDistributed(layer), x)
        for outer in (0, 1):
            expected = array(layer(x[:, outer], mask=x[:, outer].any((2, 3, 4))))
            np.testing.assert_allclose(outputs[:, outer], expected, atol=1e-6)
        of_outer = keras.layers.TimeDistributed(layer)(x, mask=np.asarray([[1, 1], [1, 0], [1, 1]]))
        np.testing.assert_allclose(array(of_outer)[0, 0], array(layer(x[:, 0]))[0], atol=1e-6)


def snippets_model():
    return keras.Sequential(
        [keras.Input((2, 3, 5)), keras.layers.Flatten(), keras.layers.Dense(4, name="scores")]
    )


@pytest.mark.parametrize("consensus", ["average", "max"])
def test_temporal_segment_network(consensus):
    model = snippets_model()
    network = TemporalSegmentNetwork(model, 4, consensus, classifier_activation=None)
    x = padded()
    outputs = predict(network, x)
    reduce = np.mean if consensus == "average" else np.max
    for sample in (0, 1):
        expected = reduce(array(model(x[sample, KEPT[sample]])), axis=0)
        np.testing.assert_allclose(outputs[sample], expected, atol=1e-5)
    np.testing.assert_array_equal(outputs[2], np.zeros(4))
    np.testing.assert_allclose(array(network(x, mask=MASK)), outputs, atol=1e-6)


@pytest.mark.parametrize("branches", ["local", "nonlocal"])
def test_relational_lstm_network(branches):
    """Padding changes nothing: a video of two snippets and two masked ones is one of two."""
    settings = dict(
        branches=branches,
        backbone="artnet_resnet18_s",
        weights=None,
        width=2,
        classes=3,
        classifier_activation=None,
        input_shape=(4, 16, 16, 3),
    )
    networks = {count: RelationalLSTMResNet(segments=count, **settings) for count in (4, 2)}
    networks[2].set_weights(networks[4].get_weights())
    x = normal((1, 4, 4, 16, 16, 3), 1)
    x[:, [0, 2]] = 0
    outputs = predict(networks[4], x)
    np.testing.assert_allclose(outputs, array(networks[2](x[:, [1, 3]])), atol=1e-5)
    assert np.abs(outputs - array(networks[4](x))).max() > 1e-5


def test_statistics_of_steps():
    """Batch normalization of maps takes the statistics of the steps that count."""
    layer = ProgressiveBatchNormalization(momentum=0.0)
    x = padded(value=np.nan)
    layer(x, training=True, mask=MASK)
    np.testing.assert_allclose(array(layer.moving_mean), x[MASK].mean((0, 1, 2)), rtol=1e-4)
