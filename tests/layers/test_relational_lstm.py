"""The relational LSTM layer: the paper's recurrence, and what Keras users expect of an RNN."""

import keras
import numpy as np
import pytest

from keras_videorel.layers import RelationalLSTM, RelationalLSTMCell
from tests.layers import relational_reference as reference
from tests.layers.checks import check_layer
from tests.layers.tensors import (
    array,
    assert_same_gradients,
    copy_weights,
    gradients,
    normal,
    randomize,
    weights_of,
)

SHAPE = (2, 4, 2, 3, 5)  # batch, time, height, width, channels
UNITS = 3
STATE = (2, 2, 3, UNITS)
MASK = np.asarray([[True, True, False, True], [True, False, False, True]])


def built(units=UNITS, shape=SHAPE, **arguments):
    """A layer with random weights."""
    layer = RelationalLSTM(units, **arguments)
    layer.build(shape)
    return randomize(layer)


def expect(layer, x, **arguments):
    return reference.of_batch(x.astype("float64"), weights_of(layer.cell), **arguments)


def assert_close(actual, expected, atol=1e-5):
    actual = actual if isinstance(actual, np.ndarray) else array(actual)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=atol)


@pytest.mark.parametrize(
    ("shape", "units", "d", "arguments"),
    [
        ((2, 4, 2, 3, 5), 3, 4, {}),
        ((1, 3, 3, 3, 4), 2, None, {"use_bias": True, "unit_forget_bias": True}),
        ((2, 1, 1, 4, 2), 5, 2, {"use_scale": True}),
        ((1, 5, 4, 1, 1), 1, 3, {"use_bias": True, "use_scale": True}),
        ((2, 4, 2, 2, 3), 4, 2, {"go_backwards": True}),
        ((2, 4, 2, 2, 3), 4, 2, {"unroll": True}),
    ],
)
@pytest.mark.parametrize("masked", [False, True], ids=["all_steps", "masked"])
def test_layer_is_the_papers(shape, units, d, arguments, masked):
    layer = built(
        units, shape, embedding_dim=d, return_sequences=True, return_state=True, **arguments
    )
    x = normal(shape, 1)
    mask = (np.arange(shape[0] * shape[1]).reshape(shape[:2]) % 3 != 1) if masked else None
    outputs, h, c = layer(x, mask=mask)
    expected = expect(
        layer,
        x,
        mask=mask,
        scaled=arguments.get("use_scale", False),
        go_backwards=arguments.get("go_backwards", False),
    )
    assert_close(outputs, expected["outputs"])
    assert_close(h, expected["h"])
    assert_close(c, expected["c"])
    layer.return_sequences, layer.return_state = False, False
    assert_close(layer(x, mask=mask), expected["outputs"][:, -1])


@pytest.mark.parametrize("biased", [False, True])
def test_one_position_is_keras_lstm(biased):
    """With one position every omega is 1: W_g is the LSTM's kernel."""
    layer = built(3, (2, 4, 1, 1, 5), use_bias=biased, return_sequences=True)
    lstm = keras.layers.LSTM(3, use_bias=biased, return_sequences=True)
    lstm.build((2, 4, 5))
    cell = layer.cell
    bias = [array(cell.bias).reshape(-1)] if biased else []
    lstm.set_weights([array(cell.g_x).reshape(5, 12), array(cell.g_h).reshape(3, 12), *bias])
    x = normal((2, 4, 5), 1)

    def relational(x):
        return layer(keras.ops.reshape(x, (2, 4, 1, 1, 5)))

    assert_close(array(relational(x))[:, :, 0, 0], array(lstm(x)), 1e-6)
    shared = [cell.g_x, cell.g_h] + ([cell.bias] if biased else [])
    actual, actual_x = gradients(relational, shared, x)
    wanted, wanted_x = gradients(lstm, lstm.trainable_variables, x)
    actual = [a.reshape(w.shape) for a, w in zip(actual, wanted, strict=True)]
    assert_same_gradients((actual, actual_x), (wanted, wanted_x), 1e-6)


def test_permuted_positions_permute_the_output():
    """Relations are global: no position is nearer than another."""
    layer = built(return_sequences=True, use_bias=True)
    x = normal(SHAPE, 1)
    order = np.random.default_rng(2).permutation(6)

    def permute(v):
        return v.reshape(2, 4, 6, -1)[:, :, order].reshape(v.shape)

    outputs = array(layer(x))
    assert_close(layer(permute(x)), permute(outputs))
    assert np.abs(outputs - permute(outputs)).max() > 0.01


def test_first_step_knows_no_state():
    """H_0 = 0, so g_h(H_0) = 0, whatever the weights of r_h."""
    layer = built(return_sequences=True)
    x = normal(SHAPE, 1)
    before = array(layer(x))
    for name in ("theta_h", "phi_h", "g_h"):
        variable = getattr(layer.cell, name)
        variable.assign(variable + 1.0)
    after = array(layer(x))
    np.testing.assert_allclose(after[:, 0], before[:, 0], atol=1e-6)
    assert np.abs(after[:, 1] - before[:, 1]).max() > 0.01


@pytest.mark.parametrize("arguments", [{}, {"use_bias": True, "go_backwards": True}])
def test_layer_is_rnn_of_the_cell(arguments):
    """The layer, keras.layers.RNN of the cell, and steps by hand: values and gradients."""
    layer = built(return_sequences=True, return_state=True, **arguments)
    backwards = arguments.pop("go_backwards", False)
    cell = RelationalLSTMCell(UNITS, (2, 3), **arguments)
    rnn = keras.layers.RNN(cell, True, True, go_backwards=backwards)
    rnn.build(SHAPE)
    copy_weights(layer, rnn)
    one = built(1 * UNITS, return_state=True, **arguments)
    copy_weights(layer, one)
    x = normal(SHAPE, 1)

    def of_rnn(x):
        outputs, h, c = rnn(x)
        reshape = keras.ops.reshape
        return reshape(outputs, (2, 4, 2, 3, UNITS)), reshape(h, STATE), reshape(c, STATE)

    def by_hand(x):
        outputs, states = [], None
        for t in reversed(range(4)) if backwards else range(4):
            output, *states = one(x[:, t : t + 1], initial_state=states)
            outputs.append(output)
        return keras.ops.stack(outputs, axis=1), *states

    expected = [array(value) for value in layer(x)]
    expected_gradients = gradients(layer, layer.trainable_variables, x)
    assert all(np.abs(g).max() > 1e-4 for g in expected_gradients[0])
    for function, variables in (
        (of_rnn, rnn.trainable_variables),
        (by_hand, one.trainable_variables),
    ):
        for a, e in zip(function(x), expected, strict=True):
            assert_close(a, e)
        assert_same_gradients(gradients(function, variables, x), expected_gradients)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_layer_is_rnn_of_the_cell(policy):
    layer = built(use_bias=True, return_sequences=True, dtype=policy)
    rnn = keras.layers.RNN(
        RelationalLSTMCell(UNITS, (2, 3), use_bias=True, dtype=policy), True, dtype=policy
    )
    rnn.build(SHAPE)
    copy_weights(layer, rnn)
    x = normal(SHAPE, 1)
    outputs = layer(x)
    assert keras.backend.standardize_dtype(outputs.dtype) == policy.removeprefix("mixed_")
    assert all(v.dtype == "float32" for v in layer.weights)
    tolerance = 0.02 if policy == "mixed_bfloat16" else 0.003
    assert_close(array(outputs).reshape(2, 4, -1), array(rnn(x)), tolerance)
    assert_close(outputs, expect(layer, x)["outputs"], 2 * tolerance)
    _, maps_h = layer.attention_maps(x)
    np.testing.assert_allclose(array(maps_h).sum((-1, -2)), 1, atol=0.02)


@pytest.mark.parametrize("as_maps", [True, False], ids=["maps", "flat"])
def test_initial_state(as_maps):
    layer = built(return_sequences=True, return_state=True)
    x, h, c = normal(SHAPE, 1), normal(STATE, 2), normal(STATE, 3)
    states = [h, c] if as_maps else [h.reshape(2, -1), c.reshape(2, -1)]
    expected = expect(layer, x, h=h, c=c)
    inputs = keras.Input(SHAPE[1:])
    state_inputs = [keras.Input(state.shape[1:]) for state in states]
    model = keras.Model([inputs, *state_inputs], layer(inputs, initial_state=state_inputs))
    for values in (layer(x, initial_state=states), model.predict([x, *states], verbose=0)):
        for actual, name in zip(values, ("outputs", "h", "c"), strict=True):
            assert_close(actual, expected[name])


def test_zeros_are_the_initial_state():
    layer = built(return_sequences=True)
    states = layer.get_initial_state(batch_size=2)
    assert len(states) == 2 and all(array(s).size == np.prod(STATE) for s in states)
    assert not any(array(s).any() for s in states)
    x = normal(SHAPE, 1)
    assert_close(layer(x, initial_state=states), array(layer(x)), 1e-7)


def test_stateful_step_by_step():
    """Stateful, one step at a time, is the whole clip; reset_state begins anew."""
    layer = built(return_sequences=True)
    stateful = built(shape=(2, 1, 2, 3, 5), stateful=True)
    copy_weights(layer, stateful)
    x = normal(SHAPE, 1)
    expected = array(layer(x))
    for _ in range(2):
        for t in range(4):
            assert_close(stateful(x[:, t : t + 1]), expected[:, t])
        stateful.reset_state()
    layer.stateful = False
    assert_close(layer(x), expected, 1e-7)


@pytest.mark.parametrize("return_sequences", [True, False])
def test_bidirectional(return_sequences):
    layer = keras.layers.Bidirectional(RelationalLSTM(UNITS, return_sequences=return_sequences))
    layer.build(SHAPE)
    randomize(layer)
    x = normal(SHAPE, 1)
    forward = expect(layer.forward_layer, x)["outputs"]
    backward = expect(layer.backward_layer, x, go_backwards=True)["outputs"]
    if return_sequences:
        expected = np.concatenate([forward, backward[:, ::-1]], -1)
    else:
        expected = np.concatenate([forward[:, -1], backward[:, -1]], -1)
    assert_close(layer(x), expected)
    assert layer.compute_output_shape(SHAPE) == expected.shape
    inputs = keras.Input(SHAPE[1:])
    assert_close(keras.Model(inputs, layer(inputs)).predict(x, verbose=0), expected)


@pytest.mark.parametrize("per_gate", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
def test_relation_maps_are_the_papers(per_gate, scaled):
    layer = built(embedding_dim=4, use_bias=True, use_scale=scaled)
    x, h, c = normal(SHAPE, 1), normal(STATE, 2), normal(STATE, 3)
    for state in (None, [h, c], [h.reshape(2, -1), c.reshape(2, -1)]):
        given = {} if state is None else {"h": h, "c": c}
        expected = expect(layer, x, scaled=scaled, **given)
        maps = layer.attention_maps(x, initial_state=state, per_gate=per_gate)
        for actual, name in zip(maps, ("maps_x", "maps_h"), strict=True):
            assert_close(actual, expected[name] if per_gate else expected[name].mean(2))
            np.testing.assert_allclose(array(actual).sum((-1, -2)), 1, atol=1e-5)
    first = array(layer.attention_maps(x)[1])[:, 0]
    np.testing.assert_allclose(first, 1 / 6, atol=1e-6)  # H_0 = 0 has nothing to look at


@pytest.mark.parametrize("backwards", [True, False])
def test_relation_maps_leave_the_layer_as_it_is(backwards):
    """Also of a layer with dropout; with go_backwards the maps are still in the clip's order."""
    layer = built(dropout=0.5, recurrent_dropout=0.5, go_backwards=backwards)
    x = normal(SHAPE, 1)
    before = array(layer(x))
    expected = expect(layer, x, go_backwards=backwards)
    for actual, name in zip(layer.attention_maps(x), ("maps_x", "maps_h"), strict=True):
        in_order = expected[name][:, ::-1] if backwards else expected[name]
        assert_close(actual, in_order.mean(2))
    assert_close(layer(x), before, 1e-7)


def test_the_layer_is_a_keras_layer(tmp_path):
    arguments = {
        "units": 3,
        "embedding_dim": 4,
        "return_sequences": True,
        "activation": "softsign",
        "recurrent_activation": "hard_sigmoid",
        "use_bias": True,
        "kernel_initializer": "he_normal",
        "recurrent_initializer": "orthogonal",
        "bias_initializer": keras.initializers.RandomNormal(stddev=0.1),
        "unit_forget_bias": True,
        "kernel_regularizer": keras.regularizers.L2(1e-4),
        "recurrent_regularizer": keras.regularizers.L2(1e-4),
        "bias_regularizer": keras.regularizers.L2(1e-4),
        "kernel_constraint": keras.constraints.MaxNorm(3.0),
        "recurrent_constraint": keras.constraints.MaxNorm(3.0),
        "bias_constraint": keras.constraints.MaxNorm(3.0),
        "dropout": 0.1,
        "recurrent_dropout": 0.2,
        "seed": 7,
        "use_scale": True,
        "go_backwards": True,
        "unroll": True,
    }
    check_layer(RelationalLSTM, arguments, (3, 4, 2, 3, 5), tmp_path, unknown=(0,))


def test_the_default_layer_is_a_keras_layer(tmp_path):
    check_layer(RelationalLSTM, {"units": 3}, (3, 4, 2, 3, 5), tmp_path, unknown=(0, 1))


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("state", [True, False])
def test_output_shapes(sequences, state):
    layer = RelationalLSTM(UNITS, return_sequences=sequences, return_state=state)
    outputs = keras.tree.flatten(layer(keras.Input((None, 2, 3, 5))))
    time = (None,) if sequences else ()
    states = [(None, 2, 3, UNITS)] * 2 if state else []
    assert [tuple(o.shape) for o in outputs] == [(None, *time, 2, 3, UNITS), *states]
    shapes = layer.compute_output_shape((None, 7, 2, 3, 5))
    shapes = list(map(tuple, shapes)) if state else [tuple(shapes)]
    assert shapes == [(None, *((7,) if sequences else ()), 2, 3, UNITS), *states]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 0}, "`units`.*0"),
        ({"units": 2.5}, "`units`.*2.5"),
        ({"embedding_dim": 0}, "`embedding_dim`.*0"),
        ({"embedding_dim": "8"}, "`embedding_dim`.*8"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        RelationalLSTM(**{"units": 3, **arguments})
    assert "Received" in str(error.value)


@pytest.mark.parametrize(
    "shape", [(4, 6, 5), (4, None, 3, 5), (4, 2, None, 5), (4, 2, 3, None), (2, 4, 2, 3, 5)]
)
def test_input_shapes_that_it_cannot_take(shape):
    with pytest.raises(ValueError, match=r"[Rr]eceived|expected ndim=5"):
        RelationalLSTM(3)(keras.Input(shape))
