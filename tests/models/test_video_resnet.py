"""The networks of ARTNet's Tables 1 and 2."""

import keras
import numpy as np
import pytest

from keras_videorel import caffe, models
from keras_videorel.models import video_resnet
from keras_videorel.models.complexity import model_summary, multiply_adds, trainable_parameters

SMALL = {"input_shape": (8, 32, 32, 3), "classes": 5, "width": 4}
# Of `test_golden_logits`, first computed on the tensorflow backend.
GOLDEN = [-0.51435, -0.24876, -0.38099, -0.04511]
FAMILY = [
    (models.C2DResNet18, {}),
    (models.C3DResNet18, {}),
    (models.C3DResNet34, {}),
    (models.RelationResNet18, {"variant": "s"}),
    (models.RelationResNet18, {"variant": "d"}),
    (models.ARTNetResNet18, {"variant": "s"}),
    (models.ARTNetResNet18, {"variant": "d"}),
    # Not (d), whose squares without a bound want statistics older than a step.
    (caffe.CaffeResNet18, {"network": "artnet_s"}),
    (caffe.CaffeResNet18, {"network": "c3d"}),
]


@pytest.mark.parametrize(
    ("constructor", "arguments", "parameters", "paper_millions", "paper_gflops"),
    [
        (models.C3DResNet18, {}, 33_369_680, 33.37, 19.58),
        (models.ARTNetResNet18, {"variant": "s"}, 33_385_616, 33.39, 19.97),
        (models.ARTNetResNet18, {"variant": "d"}, 35_197_328, 35.20, 23.70),
    ],
)
def test_table_1(constructor, arguments, parameters, paper_millions, paper_gflops):
    model = constructor(**arguments)
    assert trainable_parameters(model) == parameters
    assert round(parameters / 1e6, 2) == paper_millions
    assert 1.03 < multiply_adds(model) / 1e9 / paper_gflops < 1.04
    sizes = {
        layer.name: layer.output.shape[1:]
        for layer in model.layers
        if layer.name.endswith("_2_relu") or layer.name in ("conv1", "conv1_relu")
    }
    assert sizes.get("conv1", sizes.get("conv1_relu")) == (8, 56, 56, 64)
    assert sizes["conv2_2_relu"] == (8, 56, 56, 64)
    assert sizes["conv3_2_relu"] == (4, 28, 28, 128)
    assert sizes["conv4_2_relu"] == (2, 14, 14, 256)
    assert sizes["conv5_2_relu"] == (1, 7, 7, 512)
    assert model.output_shape == (None, 400)
    text = model_summary(model)
    assert f"{parameters:,}" in text and f"{paper_gflops:.2f} G" in text


def test_differences_between_the_networks_are_the_papers():
    c3d, s, d = (
        multiply_adds(m) / 1e9
        for m in (models.C3DResNet18(), models.ARTNetResNet18("s"), models.ARTNetResNet18("d"))
    )
    np.testing.assert_allclose([s - c3d, d - s], [19.97 - 19.58, 23.70 - 19.97], atol=0.06)


@pytest.mark.parametrize(("constructor", "arguments"), FAMILY)
def test_family(constructor, arguments, tmp_path):
    """A step that reaches every weight, and a `.keras` round trip."""
    model = constructor(**arguments, **SMALL)
    assert model.layers[-3].input.shape == (None, 1, 2, 2, 32)  # what is averaged
    rng = np.random.default_rng(0)
    clips = rng.normal(size=(4, 8, 32, 32, 3)).astype("float32")
    before = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)  # else its step is traced twice
    model.fit(clips, np.arange(4), batch_size=4, verbose=0)
    still = [
        v.path
        for v, old in zip(model.trainable_variables, before, strict=True)
        if np.array_equal(keras.ops.convert_to_numpy(v), old)
    ]
    assert not still, f"one step left {still} unchanged"

    def infer(model):
        return keras.ops.convert_to_numpy(model(clips, training=False))

    scores = infer(model)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(infer(loaded), scores, atol=1e-6)


def test_without_its_top_and_with_weights(tmp_path):
    features = models.ARTNetResNet18(**SMALL, include_top=False)
    assert features.output_shape == (None, 1, 2, 2, 32)
    vectors = models.ARTNetResNet18(**SMALL, include_top=False, pooling="max")
    assert vectors.output_shape == (None, 32)
    model = models.ARTNetResNet18(**SMALL)
    path = str(tmp_path / "model.weights.h5")
    model.save_weights(path)
    again = models.ARTNetResNet18(**SMALL, weights=path)
    for ours, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_unknown_sizes():
    model = models.ARTNetResNet18(input_shape=(None, None, None, 3), classes=5, width=4)
    for shape in ((1, 16, 48, 64, 3), (1, 7, 33, 31, 3)):
        assert model.predict(np.zeros(shape, "float32"), verbose=0).shape == (1, 5)


def test_c2d_cannot_tell_a_clip_from_its_reverse():
    clips = np.random.default_rng(0).normal(size=(2, 16, 32, 32, 3)).astype("float32")
    arguments = {**SMALL, "input_shape": (16, 32, 32, 3), "classifier_activation": None}
    c2d, c3d = models.C2DResNet18(**arguments), models.C3DResNet18(**arguments)
    forth, back = (c2d.predict(x, verbose=0) for x in (clips, clips[:, ::-1]))
    np.testing.assert_allclose(forth, back, atol=1e-4)
    forth, back = (c3d.predict(x, verbose=0) for x in (clips, clips[:, ::-1]))
    assert np.abs(forth - back).max() > 1e-2
    last = clips.copy()
    last[:, -1] += 1
    assert np.abs(c2d.predict(last, verbose=0) - c2d.predict(clips, verbose=0)).max() > 1e-3


@pytest.mark.slow  # on jax, minutes
@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_bfloat16", 0.15), ("mixed_float16", 0.02)]
)
def test_mixed_precision(policy, tolerance):
    def network(policy):
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy(policy)
        return models.ARTNetResNet18(**SMALL, dropout=0.0)

    before = keras.config.dtype_policy()
    try:
        model, exact = network(policy), network("float32")
    finally:
        keras.config.set_dtype_policy(before)
    clips = np.random.default_rng(0).normal(scale=60, size=(2, 8, 32, 32, 3)).astype("float32")
    # With the statistics of the batch: young moving ones let rounding grow from layer to layer.
    scores, expected = (keras.ops.convert_to_numpy(m(clips, training=True)) for m in (model, exact))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=tolerance)
    assert 0.1 < expected.max() < 0.9  # not saturated: the tolerance means something
    optimizer = keras.optimizers.SGD(1e-4)
    model.compile(optimizer, "sparse_categorical_crossentropy", run_eagerly=True)
    history = model.fit(clips, np.array([0, 1]), verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "x"}, "`variant` must be"),
        ({"weights": "imagenet"}, "`weights` must be None or the path.*imagenet"),
        ({"input_shape": (16, 112, 112)}, "`input_shape` must be.*112, 112"),
        ({"pooling": "mean"}, "`pooling` must be one of None, avg, max.*mean"),
        ({"classes": 0}, "`classes` must be"),
        ({"dropout": 1.0}, "`dropout` must be"),
        ({"width": 3}, "`width` must be even"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.ARTNetResNet18(**arguments)


def test_stacked_squares_do_not_explode(monkeypatch):
    """Clips out of the range of training: the logits of ARTNet (d) stay near those within it.

    Without the bound each of the seven squares doubles the exponent of what is out of range.
    """
    rng = np.random.default_rng(0)
    shape = (8, 8, 32, 32, 3)
    seen = rng.normal(scale=30, size=shape).astype("float32")
    flicker = np.where(np.arange(8) % 2, 255.0, -255.0)[None, :, None, None, None]
    strange = {
        "ten times the contrast": 10 * seen,
        "flicker": np.broadcast_to(flicker, shape).astype("float32"),
        "white": np.full(shape, 255.0, "float32"),
    }

    def logits(limit):
        monkeypatch.setattr(video_resnet, "HIDDEN_LIMIT", limit)
        keras.utils.set_random_seed(0)
        model = models.ARTNetResNet18(**SMALL, classifier_activation=None)
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.5
        for _ in range(10):  # until the moving statistics are those of the clips
            model(seen, training=True)

        def largest(clips):
            return np.abs(keras.ops.convert_to_numpy(model(clips, training=False))).max()

        return largest(seen), {name: largest(clips) for name, clips in strange.items()}

    inside, outside = logits(video_resnet.HIDDEN_LIMIT)
    for name, value in outside.items():
        assert value < 500 * inside, name
    _, unbounded = logits(None)
    worst = np.array(list(unbounded.values()))
    assert (~np.isfinite(worst) | (worst > 1e6)).any(), "the test must show what the bound is for"


def test_golden_logits():
    """The same numbers on every backend: weights and clip from a seeded NumPy generator."""
    model = models.ARTNetResNet18(
        input_shape=(16, 32, 32, 3), classes=4, width=8, classifier_activation=None
    )
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if variable.path.endswith("kernel"):
            fan_in = np.prod(variable.shape[:-1])
            variable.assign(rng.normal(scale=fan_in**-0.5, size=variable.shape))
        elif variable.path.endswith(("gamma", "moving_variance")):
            variable.assign(rng.uniform(0.5, 1.5, size=variable.shape))
        elif variable.path.endswith(("beta", "bias", "moving_mean")):
            variable.assign(rng.normal(scale=0.1, size=variable.shape))
    clip = rng.normal(size=(1, 16, 32, 32, 3)).astype("float32")
    logits = model.predict(clip, verbose=0)[0]
    np.testing.assert_allclose(logits, GOLDEN, rtol=2e-3, atol=2e-4)
