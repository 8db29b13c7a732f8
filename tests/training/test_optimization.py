"""Rates, averages, accumulated gradients, mixed precision, XLA: by value."""

import keras
import numpy as np
import pytest

from keras_videorel.runs.config import base
from keras_videorel.training import optimization


def small_config(**train):
    config = base()
    config.train.update(
        {"learning_rate": 0.1, "batch_size": 8, "decay_epochs": (), "weight_decay": 0.1, **train}
    )
    return config


def build(config, seed=0):
    """A network without batch normalization, the same for a seed, and what to call `fit` of."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(5, activation="tanh")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, dtype="float32")(hidden))
    return model, optimization.compile_model(model, config)


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
    config = small_config(schedule="plateau", plateau_epochs=2, warmup_epochs=1)
    losses = [0.1, 3.0, 2.0, 2.0, 2.5, 1.0, 1.0, 1.0, 1.0]
    rates = [optimization.learning_rate(config, e, losses[:e]) for e in range(len(losses) + 1)]
    np.testing.assert_allclose(rates, [0.05] + [0.1] * 4 + [0.01] * 3 + [0.001] * 2)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"schedule": "cosine"}, "`config.train.schedule` must be one of step, plateau"),
        ({"jit_compile": "yes"}, "`config.train.jit_compile` must be one of auto, on, off"),
        (
            {"ema_momentum": 1.0},
            "`config.train.ema_momentum` must be a finite number of at least 0",
        ),
        ({"accumulation_steps": 3}, "must be a multiple of.*accumulation_steps=3, 1 device"),
    ],
)
def test_errors(train, message):
    with pytest.raises(ValueError, match=message):
        build(small_config(**train))


def test_accumulated_gradients_are_those_of_the_batch():
    """Momentum, clipping, L2 and metrics too, over several steps."""
    steps, results = batches(3), []
    for parts in (1, 4):
        config = small_config(accumulation_steps=parts, gradient_clip_norm=0.3)
        model, trained = build(config)
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
    config = small_config(ema_momentum=0.7, accumulation_steps=2)
    config.dtype_policy = policy
    model, trained = build(config)
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
    config = small_config(ema_momentum=0.5, accumulation_steps=2)
    config.dtype_policy = "mixed_float16"
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, trained = build(config)
    finally:
        keras.config.set_dtype_policy(policy)
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
    exact, trained = build(small_config(ema_momentum=0.5, learning_rate=0.02))
    train(trained, batches(1))
    for start, a, b in zip(before, weights(model), weights(exact), strict=True):
        assert a.dtype == "float32"
        np.testing.assert_allclose(a - start, b - start, rtol=0.05, atol=1e-5)


def test_bfloat16_keeps_weights_in_float32():
    results = []
    for name in ("float32", "mixed_bfloat16"):
        config = small_config()
        config.dtype_policy = name
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(name)
        try:
            model, trained = build(config)
        finally:
            keras.config.set_dtype_policy(policy)
        start = weights(model)
        train(trained, batches(1))
        results.append([a - b for a, b in zip(weights(model), start, strict=True)])
    assert model.layers[1].compute_dtype == "bfloat16" and model.layers[1].kernel.dtype == "float32"
    for exact, rounded in zip(*results, strict=True):
        np.testing.assert_allclose(rounded, exact, atol=0.02 * np.abs(exact).max())
        assert (rounded != exact).any()


def test_xla_takes_the_same_steps():
    results = []
    for option in ("off", "on"):
        model, trained = build(small_config(jit_compile=option, accumulation_steps=2))
        assert trained.jit_compile == (option == "on")
        train(trained, batches(2))
        results.append(weights(model))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
