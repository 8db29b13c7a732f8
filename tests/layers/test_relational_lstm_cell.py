"""The relational LSTM cell: one step, its weights, and its use in keras.layers.RNN."""

import keras
import numpy as np
import pytest

from keras_videorel.layers import RelationalLSTMCell
from tests.layers import relational_reference as reference
from tests.layers.tensors import (
    array,
    assert_same_gradients,
    copy_weights,
    cost_weights,
    gradients,
    normal,
    randomize,
    weights_of,
)

RNN = keras.layers.RNN
CASES = [
    # height, width, channels, units, embedding_dim, arguments
    (2, 3, 4, 3, 5, {}),
    (3, 2, 3, 4, None, {"use_bias": True}),
    (1, 4, 2, 3, 2, {"use_scale": True}),
    (3, 1, 5, 1, 1, {"use_bias": True, "use_scale": True}),
]


def built(units, spatial_shape, channels, **arguments):
    cell = RelationalLSTMCell(units, spatial_shape, **arguments)
    cell.build((None, *spatial_shape, channels))
    return randomize(cell)


def flat(x, axes=3):
    return x.reshape(*x.shape[:-axes], -1)


@pytest.mark.parametrize(("height", "width", "channels", "units", "d", "arguments"), CASES)
def test_one_step_is_the_papers(height, width, channels, units, d, arguments):
    cell = built(units, (height, width), channels, embedding_dim=d, **arguments)
    x = normal((2, height, width, channels), 1)
    h, c = normal((2, height, width, units), 2), normal((2, height, width, units), 3)
    scaled = arguments.get("use_scale", False)
    weights = weights_of(cell)
    expected = reference.of_batch(x[:, None].astype("float64"), weights, h, c, scaled=scaled)
    for step in (x, flat(x)):
        output, (h_1, c_1) = cell(step, [flat(h), flat(c)])
        assert tuple(output.shape) == (2, height * width * units)
        np.testing.assert_allclose(array(output), flat(expected["h"]), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(array(h_1), flat(expected["h"]), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(array(c_1), flat(expected["c"]), rtol=1e-4, atol=1e-5)


def test_weights_and_sizes():
    cell = RelationalLSTMCell(5, (2, 3), embedding_dim=6, use_bias=True)
    assert list(cell.state_size) == [30, 30] and cell.output_size == 30
    cell.build((None, 2, 3, 7))
    shapes = [(7, 4, 6), (7, 4, 6), (7, 4, 5), (7, 4, 6), (5, 4, 6), (5, 4, 5), (4, 5)]
    assert [tuple(v.shape) for v in cell.weights] == shapes
    names = ["theta_x", "phi_x", "g_x", "theta_h", "phi_h", "g_h", "bias"]
    assert [v.name for v in cell.weights] == names
    for name, variable in zip(names, cell.weights, strict=True):
        assert getattr(cell, name) is variable
    assert not array(cell.bias).any()
    states = cell.get_initial_state(batch_size=4)
    assert [tuple(s.shape) for s in states] == [(4, 30)] * 2
    assert not any(array(s).any() for s in states)

    narrow = RelationalLSTMCell(5, (2, 3))
    narrow.build((None, 2 * 3 * 7))  # flat, embedding_dim = units, no bias
    shapes = [(7, 4, 5), (7, 4, 5), (7, 4, 5), (7, 4, 5), (5, 4, 5), (5, 4, 5)]
    assert [tuple(v.shape) for v in narrow.weights] == shapes


def test_parameters_of_the_paper():
    """Sec. 3 and 4: X of 7 x 7 x 2048 from ResNet-101's conv5, H of half its channels."""
    cell = RelationalLSTMCell(
        1024, (7, 7), kernel_initializer="zeros", recurrent_initializer="zeros"
    )
    cell.build((None, 7, 7, 2048))
    of_x, of_h = 4 * 4 * 2048 * 1024, 2 * 4 * 1024 * 1024
    assert cell.count_params() == of_x + of_h == 41_943_040


@pytest.mark.parametrize("biased", [False, True])
def test_one_position_is_keras_lstm_cell(biased):
    """With one position every omega is 1: W_g is the LSTM's kernel."""
    cell = built(3, (1, 1), 4, use_bias=biased, unit_forget_bias=biased)
    lstm = keras.layers.LSTMCell(3, use_bias=biased, unit_forget_bias=biased)
    lstm.build((None, 4))
    bias = [array(cell.bias).reshape(-1)] if biased else []
    lstm.set_weights([array(cell.g_x).reshape(4, 12), array(cell.g_h).reshape(3, 12), *bias])
    x, h, c = normal((5, 4), 1), normal((5, 3), 2), normal((5, 3), 3)
    expected, (_, expected_c) = lstm(x, [h, c])
    output, (_, output_c) = cell(x, [h, c])
    np.testing.assert_allclose(array(output), array(expected), atol=1e-6)
    np.testing.assert_allclose(array(output_c), array(expected_c), atol=1e-6)

    shared = [cell.g_x, cell.g_h] + ([cell.bias] if biased else [])
    actual, actual_x = gradients(lambda x: cell(x, [h, c])[0], shared, x)
    wanted, wanted_x = gradients(lambda x: lstm(x, [h, c])[0], lstm.trainable_variables, x)
    actual = [a.reshape(w.shape) for a, w in zip(actual, wanted, strict=True)]
    assert_same_gradients((actual, actual_x), (wanted, wanted_x), 1e-6)


def test_unit_forget_bias_is_one_for_the_forget_gate():
    cells = [
        RelationalLSTMCell(3, (2, 2), use_bias=True, unit_forget_bias=True, bias_initializer=init)
        for init in ("zeros", keras.initializers.Constant(0.5))
    ]
    for cell, other in zip(cells, (0.0, 0.5), strict=True):
        cell.build((None, 2, 2, 4))
        np.testing.assert_array_equal(array(cell.bias)[:, 0], [other, 1, other, other])


def test_gradients_are_the_references_slopes():
    """Each weight's gradient along a random direction, against differences of the reference."""
    cell = built(3, (2, 2), 4, embedding_dim=2, use_bias=True)
    x = normal((2, 3, 2, 2, 4), 1)
    layer = RNN(cell, return_sequences=True)
    of_weights, of_x = gradients(layer, cell.trainable_variables, x)
    weights = weights_of(cell)

    def cost(sequences, weights):
        outputs = flat(reference.of_batch(sequences, weights)["outputs"])
        return (outputs * cost_weights(outputs.shape)).sum()

    epsilon = 1e-5
    for name, gradient in zip(weights, of_weights, strict=True):
        direction = np.random.default_rng(7).normal(size=gradient.shape)
        costs = [
            cost(x, weights | {name: weights[name] + sign * epsilon * direction})
            for sign in (1, -1)
        ]
        slope = (costs[0] - costs[1]) / (2 * epsilon)
        np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-3, atol=1e-5)
    direction = np.random.default_rng(8).normal(size=x.shape)
    costs = [cost(x + sign * epsilon * direction, weights) for sign in (1, -1)]
    slope = (costs[0] - costs[1]) / (2 * epsilon)
    np.testing.assert_allclose((of_x * direction).sum(), slope, rtol=1e-3, atol=1e-5)


def test_glorot_of_each_projection():
    """The fans are those of one projection, not of the four gates' fused array."""
    cell = RelationalLSTMCell(32, (2, 2), embedding_dim=64)
    cell.build((None, 2, 2, 512))
    fans = {
        "theta_x": 512 + 64,
        "phi_x": 512 + 64,
        "g_x": 512 + 32,
        "theta_h": 512 + 64,
        "phi_h": 32 + 64,
        "g_h": 32 + 32,
    }
    for name, value in weights_of(cell).items():
        limit = np.sqrt(6 / fans[name])
        for k in range(4):
            gate = value[:, k]
            assert 0.97 * limit < np.abs(gate).max() <= limit * (1 + 1e-6), name
            assert gate.std() == pytest.approx(limit / np.sqrt(3), rel=0.06), name


def test_orthogonal_is_of_each_projection():
    cell = RelationalLSTMCell(6, (2, 2), recurrent_initializer="orthogonal")
    cell.build((None, 2, 2, 3))
    for k in range(4):
        w_g = array(cell.g_h)[:, k]
        np.testing.assert_allclose(w_g.T @ w_g, np.eye(6), atol=1e-5)


@pytest.mark.parametrize("seed", [int, keras.random.SeedGenerator], ids=["int", "generator"])
def test_a_seeded_initializer_gives_gates_of_their_own(seed):
    first, second = (
        RelationalLSTMCell(
            5,
            (2, 2),
            kernel_initializer=keras.initializers.GlorotUniform(seed=seed(3)),
            recurrent_initializer=keras.initializers.GlorotNormal(seed=seed(4)),
        )
        for _ in range(2)
    )
    first.build((None, 2, 2, 5))
    second.build((None, 2, 2, 5))
    for name, value in weights_of(first).items():
        np.testing.assert_array_equal(value, array(getattr(second, name)))
        for k in range(4):
            for other in range(k):
                assert np.abs(value[:, k] - value[:, other]).max() > 0.01, name
    # Projections of one shape differ too: theta = phi would be a symmetric relation.
    values = weights_of(first)
    for one, two in (("theta_x", "phi_x"), ("theta_x", "theta_h"), ("phi_h", "g_h")):
        assert np.abs(values[one] - values[two]).max() > 0.01, (one, two)


@pytest.mark.parametrize("flat_input", [False, True])
def test_in_rnn_with_a_mask(flat_input):
    """Masked steps carry the states; Masking works on flat feature maps."""
    cell = built(3, (2, 2), 4, use_bias=True)
    x = normal((3, 5, 2, 2, 4), 1)
    mask = np.asarray([[1, 1, 1, 1, 1], [1, 1, 0, 1, 0], [0, 1, 1, 0, 0]], bool)
    x[~mask] = 0
    expected = reference.of_batch(x.astype("float64"), weights_of(cell), mask=mask)
    layer = RNN(cell, return_sequences=True, return_state=True)
    if flat_input:
        inputs = keras.Input((5, 16))
        model = keras.Model(inputs, layer(keras.layers.Masking()(inputs)))
        outputs, h, c = model.predict(flat(x), verbose=0)
    else:
        outputs, h, c = map(array, layer(x, mask=mask))
    np.testing.assert_allclose(outputs, flat(expected["outputs"]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(h, flat(expected["h"]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(c, flat(expected["c"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("by_keras", [True, False], ids=["list", "StackedRNNCells"])
def test_stacked_cells(by_keras):
    cells = [built(3, (2, 2), 4), built(2, (2, 2), 3, embedding_dim=4)]
    layer = RNN(cells if by_keras else keras.layers.StackedRNNCells(cells), return_sequences=True)
    x = normal((2, 3, 2, 2, 4), 1)
    middle = reference.of_batch(x.astype("float64"), weights_of(cells[0]))["outputs"]
    expected = reference.of_batch(middle, weights_of(cells[1]))["outputs"]
    np.testing.assert_allclose(array(layer(x)), flat(expected), rtol=1e-4, atol=1e-5)


def test_bidirectional_rnn():
    layer = keras.layers.Bidirectional(RNN(RelationalLSTMCell(3, (2, 2)), return_sequences=True))
    x = normal((2, 4, 2, 2, 3), 1)
    layer.build(x.shape)
    randomize(layer)
    forward, backward = (
        reference.of_batch(
            x.astype("float64"), weights_of(one.cell), go_backwards=one.go_backwards
        )["outputs"]
        for one in (layer.forward_layer, layer.backward_layer)
    )
    expected = np.concatenate([flat(forward), flat(backward[:, ::-1])], -1)
    np.testing.assert_allclose(array(layer(x)), expected, rtol=1e-4, atol=1e-5)


def test_saved_rnn_of_the_cell(tmp_path):
    cell = RelationalLSTMCell(
        3, (2, 3), 4, "softsign", "hard_sigmoid", True, use_scale=True, unit_forget_bias=True
    )
    inputs = keras.Input((4, 2, 3, 5))
    outputs = keras.layers.Dense(2)(RNN(cell)(inputs))
    model = keras.Model(inputs, outputs)
    randomize(model)
    x = normal((2, 4, 2, 3, 5), 1)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "rnn.keras")
    loaded = keras.saving.load_model(tmp_path / "rnn.keras", safe_mode=True)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, atol=1e-6)
    again = next(one for one in loaded.layers if isinstance(one, RNN)).cell
    assert isinstance(again, RelationalLSTMCell) and again.get_config() == cell.get_config()


def test_config_round_trip():
    arguments = {
        "units": 3,
        "spatial_shape": (2, 3),
        "embedding_dim": 4,
        "activation": "softsign",
        "recurrent_activation": "hard_sigmoid",
        "use_bias": True,
        "kernel_initializer": "he_normal",
        "recurrent_initializer": "orthogonal",
        "bias_initializer": "ones",
        "unit_forget_bias": True,
        "kernel_regularizer": keras.regularizers.L2(1e-4),
        "recurrent_regularizer": keras.regularizers.L1(1e-4),
        "bias_regularizer": "l2",
        "kernel_constraint": keras.constraints.MaxNorm(2.0),
        "recurrent_constraint": "non_neg",
        "bias_constraint": "unit_norm",
        "dropout": 0.2,
        "recurrent_dropout": 0.3,
        "seed": 5,
        "use_scale": True,
    }
    cell = RelationalLSTMCell(**arguments)
    config = cell.get_config()
    assert set(arguments) <= set(config)
    assert config["seed"] == 5 and tuple(config["spatial_shape"]) == (2, 3)
    again = RelationalLSTMCell.from_config(config)
    assert again.get_config() == config
    cell.build((None, 2, 3, 4))
    again.build((None, 2, 3, 4))
    copy_weights(cell, again)
    x, states = normal((2, 2, 3, 4)), [normal((2, 18), 1), normal((2, 18), 2)]
    np.testing.assert_array_equal(array(cell(x, states)[0]), array(again(x, states)[0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 0}, "`units`.*0"),
        ({"units": 2.5}, "`units`.*2.5"),
        ({"units": -3}, "`units`.*-3"),
        ({"embedding_dim": 0}, "`embedding_dim`.*0"),
        ({"embedding_dim": 1.5}, "`embedding_dim`.*1.5"),
        ({"spatial_shape": (2,)}, "`spatial_shape`.*2"),
        ({"spatial_shape": (2, 3, 4)}, "`spatial_shape`.*4"),
        ({"spatial_shape": (2, 0)}, "`spatial_shape`.*0"),
        ({"spatial_shape": (2, None)}, "`spatial_shape`.*None"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        RelationalLSTMCell(**{"units": 3, "spatial_shape": (2, 3), **arguments})
    assert "Received" in str(error.value)


@pytest.mark.parametrize("shape", [(None, 25), (None, 3, 2, 4), (None, 2, 4, 4), (None, 6, 4)])
def test_wrong_input_shapes(shape):
    """Flat but not divisible by height times width; other maps than `spatial_shape`."""
    with pytest.raises(ValueError, match=r"spatial_shape.*Received"):
        RelationalLSTMCell(3, (2, 3)).build(shape)
