"""Relational LSTM in models that train: dropout, regularizers, constraints, losses that fall."""

import keras
import numpy as np
import pytest

from keras_videorel.layers import RelationalLSTM, RelationalLSTMCell
from tests.layers.tensors import array, copy_weights, normal, randomize, weights_of

SHAPE = (2, 4, 2, 3, 5)  # batch, time, height, width, channels


class Subclassed(keras.Model):
    """The layer and a classifier."""

    def __init__(self):
        super().__init__()
        self.relations = RelationalLSTM(4, return_sequences=True)
        self.last = RelationalLSTM(3, use_bias=True)
        self.pooling = keras.layers.GlobalAveragePooling2D()
        self.head = keras.layers.Dense(2)

    def call(self, x, training=False):
        x = self.last(self.relations(x, training=training), training=training)
        return self.head(self.pooling(x))


def functional():
    inputs = keras.Input((None, *SHAPE[2:]))
    return keras.Model(inputs, Subclassed().call(inputs))


def sequential():
    model = Subclassed()
    return keras.Sequential([model.relations, model.last, model.pooling, model.head])


@pytest.mark.parametrize("make", [functional, sequential, Subclassed])
def test_models_learn(make):
    """Whether the first frame's and the last one's means agree: a fact of the sequence."""
    keras.utils.set_random_seed(0)
    x = normal((16, *SHAPE[1:]), 1)
    y = np.stack([x[:, 0].mean((1, 2, 3)), x[:, -1].mean((1, 2, 3))], -1) * 5
    model = make()
    model.compile(keras.optimizers.Adam(0.05), "mse")
    losses = model.fit(x, y, batch_size=16, epochs=15, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < 0.7 * losses[0]
    one = np.concatenate([array(model(x[k : k + 4])) for k in range(0, 16, 4)])
    np.testing.assert_allclose(model.predict(x, verbose=0), one, rtol=1e-4, atol=1e-5)


def test_regularizers():
    """Each acts on its weights: X's projections, the state's, the bias."""
    layer = RelationalLSTM(
        3,
        use_bias=True,
        kernel_regularizer=keras.regularizers.L2(1.0),
        recurrent_regularizer=keras.regularizers.L2(10.0),
        bias_regularizer=keras.regularizers.L2(100.0),
    )
    inputs = keras.Input(SHAPE[1:])
    model = keras.Model(inputs, layer(inputs))
    randomize(layer)
    squares = {name: (value**2).sum() for name, value in weights_of(layer.cell).items()}
    expected = sum(squares[name] for name in ("theta_x", "phi_x", "g_x", "theta_h"))
    expected += 10 * (squares["phi_h"] + squares["g_h"]) + 100 * squares["bias"]
    np.testing.assert_allclose(sum(array(loss) for loss in model.losses), expected, rtol=1e-5)


def test_constraints():
    """Norms over the inputs of each gate's projection."""
    layer = RelationalLSTM(
        3,
        use_bias=True,
        kernel_constraint=keras.constraints.MaxNorm(0.1, axis=0),
        recurrent_constraint=keras.constraints.MaxNorm(0.2, axis=0),
        bias_constraint="non_neg",
    )
    model = keras.Sequential([layer])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.build(SHAPE)
    randomize(layer)
    model.fit(normal(SHAPE), normal((2, 2, 3, 3), 1), verbose=0)
    for name, value in weights_of(layer.cell).items():
        if name == "bias":
            assert value.min() == 0 and value.max() > 0
        else:
            limit = 0.2 if name in ("phi_h", "g_h") else 0.1
            norms = np.sqrt((value**2).sum(0))
            assert norms.max() < limit * 1.001 and norms.max() > limit * 0.9, name


def test_frozen():
    layer = RelationalLSTM(3, use_bias=True)
    model = keras.Sequential([keras.Input(SHAPE[1:]), layer, keras.layers.Dense(2)])
    assert len(layer.trainable_variables) == len(layer.weights) == 7
    layer.trainable = False
    assert not layer.trainable_variables and len(layer.non_trainable_weights) == 7
    before = layer.get_weights()
    model.compile(keras.optimizers.SGD(0.5), "mse")
    model.fit(normal(SHAPE), normal((2, 2, 3, 2), 1), verbose=0)
    for a, b in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def make(wrapped, dropout=0.0, recurrent_dropout=0.0, seed=1):
    """A layer with dropout, whole or as an RNN of the cell, with fixed weights."""
    arguments = {"dropout": dropout, "recurrent_dropout": recurrent_dropout, "seed": seed}
    if wrapped:
        layer = keras.layers.RNN(RelationalLSTMCell(3, (2, 3), **arguments), True)
    else:
        layer = RelationalLSTM(3, return_sequences=True, **arguments)
    layer.build(SHAPE)
    return randomize(layer)


@pytest.mark.parametrize("wrapped", [False, True], ids=["layer", "rnn"])
@pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.4), (0.3, 0.3)])
def test_dropout_is_of_training_and_seeded(wrapped, rates):
    x = normal(SHAPE, 1)
    plain, layer, again, other = (
        make(wrapped),
        make(wrapped, *rates),
        make(wrapped, *rates),
        make(wrapped, *rates, seed=2),
    )
    first, second = array(layer(x, training=True)), array(layer(x, training=True))
    np.testing.assert_array_equal(array(again(x, training=True)), first)
    assert np.abs(first - second).max() > 0.01, "every call draws a mask"
    assert np.abs(array(other(x, training=True)) - first).max() > 0.01
    inference = array(layer(x))
    assert np.abs(first - inference).max() > 0.01
    np.testing.assert_allclose(inference, array(plain(x, training=True)), atol=1e-6)
    np.testing.assert_allclose(array(layer(x)), inference, atol=1e-6)


@pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.4), (0.3, 0.3)])
def test_layer_drops_what_rnn_of_the_cell_drops(rates):
    x = normal(SHAPE, 1)
    layer, rnn = make(False, *rates), make(True, *rates)
    for _ in range(2):
        expected = array(rnn(x, training=True))
        actual = array(layer(x, training=True)).reshape(expected.shape)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unroll", [False, True])
def test_input_dropout_keeps_one_mask_for_all_steps(unroll):
    """A constant input has constant gates, if its mask is constant: C_t is a geometric series."""
    layer = RelationalLSTM(
        3, activation="linear", return_sequences=True, dropout=0.5, seed=1, unroll=unroll
    )
    layer.build(SHAPE)
    randomize(layer)
    layer.cell.g_h.assign(np.zeros(layer.cell.g_h.shape))
    x = np.repeat(normal((2, 1, *SHAPE[2:]), 1), 4, axis=1)
    for _ in range(2):
        h = array(layer(x, training=True))
        steps = np.diff(h, axis=1)
        np.testing.assert_allclose(steps[:, 1] * h[:, 0], steps[:, 0] ** 2, atol=1e-4)
        np.testing.assert_allclose(steps[:, 2] * h[:, 0], steps[:, 1] * steps[:, 0], atol=1e-4)
        assert np.abs(h - array(layer(x))).max() > 0.01


def test_recurrent_dropout_keeps_one_mask_for_all_steps():
    """i = f + 1 = o = 1 and W_g of the state the identity: H_t = b + m H_{t-1}, m in {0, 2}."""
    layer = RelationalLSTM(
        8,
        activation="linear",
        use_bias=True,
        kernel_initializer="zeros",
        recurrent_initializer="zeros",
        return_sequences=True,
        recurrent_dropout=0.5,
        seed=1,
    )
    layer.build((4, 4, 1, 1, 2))
    g_h = np.zeros((8, 4, 8), "float32")
    g_h[:, 2] = np.eye(8)
    layer.cell.g_h.assign(g_h)
    layer.cell.bias.assign(np.repeat([[30.0], [-30.0], [1.0], [30.0]], 8, axis=1))
    h = array(layer(normal((4, 4, 1, 1, 2)), training=True))[:, :, 0, 0]
    m = h[:, 1] - h[:, 0]
    np.testing.assert_allclose(h[:, 0], 1, atol=1e-6)
    assert set(np.unique(m.round(4))) == {0.0, 2.0}
    np.testing.assert_allclose(h[:, 2], 1 + m + m**2, atol=1e-4)
    np.testing.assert_allclose(h[:, 3], 1 + m + m**2 + m**3, atol=1e-4)


@pytest.mark.parametrize("recurrent", [False, True])
def test_dropout_keeps_the_expectation(recurrent):
    """Where the output is linear in what is dropped: even attention, open gates, no tanh."""
    layer = RelationalLSTM(
        3,
        activation="linear",
        use_bias=True,
        dropout=0.0 if recurrent else 0.3,
        recurrent_dropout=0.3 if recurrent else 0.0,
        seed=1,
    )
    layer.build(SHAPE)
    randomize(layer)
    cell = layer.cell
    for theta in (cell.theta_x, cell.theta_h):
        theta.assign(np.zeros(theta.shape))
    open_gates = np.asarray([0.0, 0.0, 1.0, 0.0], "float32")[None, :, None]
    for g in (cell.g_x, cell.g_h):
        g.assign(array(g) * open_gates)
    cell.bias.assign(np.repeat([[30.0], [-30.0], [0.0], [30.0]], 3, axis=1))
    x = np.repeat(normal((1, 1, 2, 3, 5), 1), 4000, axis=0)
    states = [np.repeat(normal((1, 2, 3, 3), k), 4000, axis=0) for k in (2, 3)]
    expected = array(layer(x[:1], initial_state=[s[:1] for s in states]))[0]
    dropped = array(layer(x, initial_state=states, training=True))
    error = dropped.std(0) / np.sqrt(len(dropped))
    assert error.min() > 1e-3 / np.sqrt(len(dropped))
    assert (np.abs(dropped.mean(0) - expected) < 5 * error).all()


def test_dropout_trains():
    """A compiled model with both dropouts: the losses fall, and prediction does not drop."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [RelationalLSTM(4, dropout=0.2, recurrent_dropout=0.2, seed=3), keras.layers.Flatten()]
    )
    x, y = normal((8, *SHAPE[1:]), 1), 0.3 * np.ones((8, 24), "float32")
    model.compile(keras.optimizers.Adam(0.02), "mse")
    losses = model.fit(x, y, batch_size=8, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < 0.85 * losses[0]
    plain = RelationalLSTM(4)
    plain.build(x.shape)
    copy_weights(model.layers[0], plain)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), array(plain(x)).reshape(8, -1), rtol=1e-4, atol=1e-5
    )
