"""Rates, averages, accumulated gradients, mixed precision, XLA: by value."""

import keras
import numpy as np
import pytest

from keras_videorel.runs import trainer
from keras_videorel.training import optimization


def build(learning_rate=0.1, accumulation_steps=1, jit_compile="auto", **options):
    """A network without batch normalization, always the same, and what to call `fit` of."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(5, activation="tanh")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, dtype="float32")(hidden))
    optimizer = optimization.sgd(learning_rate, **options)
    return model, optimization.compile_model(model, optimizer, 0.1, accumulation_steps, jit_compile)


def batches(count, size=8, seed=0):
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(size=(size, 6)).astype("float32"), rng.integers(0, 3, size))
        for _ in range(count)
    ]


def weights(model):
    return [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]


def train(trained, steps):
    return [trained.train_on_batch(x, y, return_dict=True) for x, y in steps]


def test_plateaus_are_those_that_keras_reduces_at():
    rng = np.random.default_rng(0)
    found = set()
    for patience, delta in ((1, 0.0), (2, 0.05), (3, 1e-4)):
        losses = np.exp(-np.arange(30) / 5) + rng.normal(size=30) / 10
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(1.0), "mse")
        reduce = keras.callbacks.ReduceLROnPlateau(
            factor=0.5, patience=patience, min_delta=delta, min_lr=0.0
        )
        reduce.set_model(model)
        reduce.on_train_begin()
        for epoch, loss in enumerate(losses):
            reduce.on_epoch_end(epoch, {"val_loss": loss})
            expected = round(-np.log2(float(model.optimizer.learning_rate)))
            assert optimization.plateaus(losses[: epoch + 1], patience, delta) == expected
        found.add(expected)
    assert len(found) > 1 and min(found) > 0


def test_rates_of_the_plateau_schedule():
    """Warm-up does not count; two epochs without a new lowest loss divide by ten."""
    rate = optimization.plateau_schedule(0.1, 2, 1e-4, warmup_epochs=1)
    losses = [0.1, 3.0, 2.0, 2.0, 2.5, 1.0, 1.0, 1.0, 1.0]
    rates = [rate(e, losses[:e]) for e in range(len(losses) + 1)]
    np.testing.assert_allclose(rates, [0.05] + [0.1] * 4 + [0.01] * 3 + [0.001] * 2)


def test_rates_of_the_step_schedule():
    rate = optimization.step_schedule(0.1, decay_epochs=(3, 5), warmup_epochs=1)
    rates = [rate(epoch) for epoch in range(7)]
    np.testing.assert_allclose(rates, [0.05, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_accumulated_gradients_are_those_of_the_batch():
    """Momentum, clipping, L2 and metrics too, over several steps."""
    steps, results = batches(3), []
    for parts in (1, 4):
        model, trained = build(accumulation_steps=parts, gradient_clip_norm=0.3)
        logs = train(trained, steps)
        results.append((weights(model), [list(log.values()) for log in logs]))
    (whole, whole_logs), (parted, parted_logs) = results
    for a, b in zip(whole, parted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(whole_logs, parted_logs, rtol=1e-5)
    assert trained.optimizer.iterations == 3 and trained.layers == model.layers


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_averages_are_of_the_weights_after_each_update(policy):
    """a_1 = w_1, a_t = m a_(t-1) + (1 - m) w_t: also where gradients are accumulated."""
    loss_scaling = policy == "mixed_float16"
    model, trained = build(ema_momentum=0.7, accumulation_steps=2, loss_scaling=loss_scaling)
    expected = None
    for batch in batches(4):
        train(trained, [batch])
        now = [w.astype("float64") for w in weights(model)]
        expected = now if expected is None else [
            0.7 * a + 0.3 * w for a, w in zip(expected, now, strict=True)
        ]  # fmt: skip
    trained.optimizer.finalize_variable_values(trained.trainable_variables)
    for a, b, last in zip(weights(model), expected, now, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        assert np.abs(b - last).max() > 1e-4


def test_float16_skips_a_step_that_overflows():
    """And goes on with half the scale: the loss is finite, the weights are as they were."""
    with trainer.dtype_policy("mixed_float16"):
        model, trained = build(ema_momentum=0.5, accumulation_steps=2, loss_scaling=True)
    optimizer = trained.optimizer
    optimizer.build(trained.trainable_variables)
    before = weights(model)
    optimizer.dynamic_scale.assign(2.0**40)
    (log,) = train(trained, batches(1))
    assert np.isfinite(log["loss"]) and float(optimizer.dynamic_scale) == 2.0**39
    assert int(optimizer.iterations) == 0
    for a, b in zip(before, weights(model), strict=True):
        np.testing.assert_array_equal(a, b)

    # A step that is not skipped is that of float32, to the precision of float16; the rate that
    # a schedule sets is the rate that is used.
    optimizer.dynamic_scale.assign(2.0**10)
    optimizer.learning_rate = 0.02
    train(trained, batches(1))
    exact, trained = build(ema_momentum=0.5, learning_rate=0.02)
    train(trained, batches(1))
    for start, a, b in zip(before, weights(model), weights(exact), strict=True):
        assert a.dtype == "float32"
        np.testing.assert_allclose(a - start, b - start, rtol=0.05, atol=1e-5)


def test_bfloat16_keeps_weights_in_float32():
    results = []
    for name in ("float32", "mixed_bfloat16"):
        with trainer.dtype_policy(name):
            model, trained = build()
        start = weights(model)
        train(trained, batches(1))
        results.append([a - b for a, b in zip(weights(model), start, strict=True)])
    assert model.layers[1].compute_dtype == "bfloat16" and model.layers[1].kernel.dtype == "float32"
    for exact, rounded in zip(*results, strict=True):
        np.testing.assert_allclose(rounded, exact, atol=0.02 * np.abs(exact).max())
        assert (rounded != exact).any()


def test_xla_takes_the_same_steps():
    results = []
    for option in (False, True):
        model, trained = build(jit_compile=option, accumulation_steps=2)
        assert trained.jit_compile == option
        train(trained, batches(2))
        results.append(weights(model))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
