"""ProgressiveBatchNormalization against its equations, and models that are swapped to it."""

import inspect
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_videorel.layers import (
    SMART,
    ProgressiveBatchNormalization,
    SquarePooling,
    swap_batch_normalization,
)
from keras_videorel.models import ARTNetResNet18
from tests.layers.checks import check_layer

TENSORFLOW = keras.backend.backend() == "tensorflow"
tensorflow_only = pytest.mark.skipif(not TENSORFLOW, reason="is about TensorFlow")


def array(x):
    return keras.ops.convert_to_numpy(x).astype("float64")


def randomize(model, seed=0):
    """Random weights, with statistics away from 0 and 1."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        value = rng.normal(size=variable.shape)
        if variable.path.endswith(("gamma", "moving_variance")):
            value = 0.5 * np.abs(value) + 0.75
        if variable.path.endswith("kernel"):
            value /= np.sqrt(max(1, np.prod(variable.shape[:-1])))
        variable.assign(value.astype("float32"))


def sublayers(model):
    return model._flatten_layers()


def normalized(x, layer, mean, variance):
    """Sec. 5.2: with the moving statistics, in training too; channels last."""
    scaled = (x - mean) / np.sqrt(variance + layer.epsilon)
    return array(layer.gamma) * scaled + array(layer.beta)


@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 5), (2, 3, 4, 4, 5)])
def test_three_steps_are_the_papers(shape):
    layer = ProgressiveBatchNormalization(momentum=0.9)
    layer.build(shape)
    randomize(layer)
    mean, variance = array(layer.moving_mean), array(layer.moving_variance)
    rng = np.random.default_rng(1)
    axes = tuple(range(len(shape) - 1))
    for _ in range(3):
        x = rng.normal(3.0, 2.0, size=shape)
        actual = array(layer(x.astype("float32"), training=True))
        np.testing.assert_allclose(actual, normalized(x, layer, mean, variance), atol=1e-5)
        mean = 0.9 * mean + 0.1 * x.mean(axes)
        variance = 0.9 * variance + 0.1 * x.var(axes)
        np.testing.assert_allclose(array(layer.moving_mean), mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(array(layer.moving_variance), variance, rtol=1e-5)
    # Inference gives the same and moves nothing.
    actual = array(layer(x.astype("float32"), training=False))
    np.testing.assert_allclose(actual, normalized(x, layer, mean, variance), atol=1e-5)
    np.testing.assert_allclose(array(layer.moving_mean), mean, rtol=1e-5, atol=1e-6)


def test_defaults():
    layer = ProgressiveBatchNormalization()
    assert layer.momentum == 0.999
    config = keras.layers.BatchNormalization().get_config()
    assert {k for k, v in layer.get_config().items() if v != config[k]} == {"name", "momentum"}


def test_another_axis():
    layer = ProgressiveBatchNormalization(axis=1, momentum=0.5)
    x = np.random.default_rng(0).normal(2.0, 3.0, size=(4, 3, 7, 5)).astype("float32")
    np.testing.assert_allclose(array(layer(x, training=True)), x / np.sqrt(1.001), rtol=1e-5)
    axes = (0, 2, 3)
    np.testing.assert_allclose(array(layer.moving_mean), 0.5 * x.mean(axes), rtol=1e-4)
    np.testing.assert_allclose(array(layer.moving_variance), 0.5 + 0.5 * x.var(axes), rtol=1e-4)


def test_a_large_mean_leaves_the_variance_its_digits():
    """In float32 the squares of 3000 have steps of 1, more than the variance."""
    layer = ProgressiveBatchNormalization(momentum=0.0)
    x = np.random.default_rng(0).normal(3000.0, 0.5, size=(4096, 2)).astype("float32")
    layer.build(x.shape)
    layer.moving_mean.assign([2999.0, 3001.0])
    layer(x, training=True)
    np.testing.assert_allclose(array(layer.moving_variance), x.astype("float64").var(0), rtol=1e-3)


@pytest.mark.parametrize("last", [1, 3])
def test_mask(last):
    """Statistics are of the valid positions; what is masked may be anything."""
    rng = np.random.default_rng(0)
    x = rng.normal(5.0, 2.0, size=(4, 6, last)).astype("float32")
    mask = rng.random((4, 6)) < 0.6
    x[~mask] = np.nan
    layer = ProgressiveBatchNormalization(momentum=0.9)
    y = array(layer(x, training=True, mask=mask))
    np.testing.assert_allclose(y[mask], x[mask] / np.sqrt(1.001), rtol=1e-5)
    mean, variance = 0.1 * x[mask].mean(0), 0.9 + 0.1 * x[mask].var(0)
    np.testing.assert_allclose(array(layer.moving_mean), mean, rtol=1e-5)
    np.testing.assert_allclose(array(layer.moving_variance), variance, rtol=1e-4)
    layer(x, training=True, mask=np.zeros_like(mask))
    np.testing.assert_allclose(array(layer.moving_mean), mean, rtol=1e-5)
    np.testing.assert_allclose(array(layer.moving_variance), variance, rtol=1e-4)


def test_masking_layer_is_heard():
    x = np.random.default_rng(0).normal(5.0, 2.0, size=(4, 6, 3)).astype("float32")
    x[:, 4:] = 0
    layer = ProgressiveBatchNormalization(momentum=0.0)
    model = keras.Sequential([keras.Input((6, 3)), keras.layers.Masking(), layer])
    model(x, training=True)
    np.testing.assert_allclose(array(layer.moving_mean), x[:, :4].mean((0, 1)), rtol=1e-5)


def fit(model, x, y, **arguments):
    model.compile(keras.optimizers.SGD(1.0), "mse", **arguments)
    model.fit(x, y, batch_size=len(x), epochs=1, shuffle=False, verbose=0)


@pytest.mark.parametrize("arguments", [{}, {"run_eagerly": True}, {"jit_compile": True}])
def test_gradients_do_not_flow_through_the_statistics(arguments):
    """A step of SGD moves the weights before the layer as with a fixed affine function after."""
    if arguments.get("jit_compile") and keras.backend.backend() == "torch":
        pytest.skip("needs a compiler")
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    y = np.random.default_rng(1).normal(size=(8, 3)).astype("float32")

    dense, layer = keras.layers.Dense(3), ProgressiveBatchNormalization(momentum=0.5)
    model = keras.Sequential([keras.Input((4,)), dense, layer])
    randomize(model)
    mean, variance = array(layer.moving_mean), array(layer.moving_variance)
    scale = array(layer.gamma) / np.sqrt(variance + layer.epsilon)
    shift = array(layer.beta) - scale * mean
    kernel, bias = array(dense.kernel), array(dense.bias)
    hidden = x @ kernel + bias
    output_gradient = 2 * (scale * hidden + shift - y) / y.size
    fit(model, x, y, **arguments)
    np.testing.assert_allclose(
        array(dense.kernel), kernel - x.T @ (scale * output_gradient), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        array(dense.bias), bias - (scale * output_gradient).sum(0), rtol=1e-4, atol=1e-5
    )
    expected = 0.5 * mean + 0.5 * hidden.mean(0)
    np.testing.assert_allclose(array(layer.moving_mean), expected, rtol=1e-4, atol=1e-5)
    expected = 0.5 * variance + 0.5 * hidden.var(0)
    np.testing.assert_allclose(array(layer.moving_variance), expected, rtol=1e-4, atol=1e-5)


def test_frozen():
    layer = ProgressiveBatchNormalization(momentum=0.5)
    layer.build((None, 3))
    randomize(layer)
    before = [array(v) for v in layer.weights]
    layer.trainable = False
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    layer(x, training=True)
    model = keras.Sequential([keras.Input((3,)), layer, keras.layers.Dense(1)])
    fit(model, x, x[:, :1])
    model.predict(x, verbose=0)
    for old, new in zip(before, layer.weights, strict=True):
        np.testing.assert_array_equal(old, array(new))


@tensorflow_only
def test_in_a_function():
    import tensorflow as tf

    layer = ProgressiveBatchNormalization(momentum=0.5)
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    layer.build(x.shape)
    tf.function(layer)(x, training=True)
    np.testing.assert_allclose(array(layer.moving_mean), 0.5 * x.mean(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_statistics_are_float32_in_mixed_precision(dtype):
    """100 values of 300: their sum is what float16 holds with steps of 16, squares overflow."""
    layer = ProgressiveBatchNormalization(momentum=0.5, dtype=dtype)
    x = np.full((100, 2), 300.0, "float32")
    x[::2] += 8.0
    y = layer(keras.ops.cast(x, layer.compute_dtype), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == dtype.removeprefix("mixed_")
    np.testing.assert_allclose(array(layer.moving_mean), 152.0, rtol=1e-6)
    np.testing.assert_allclose(array(layer.moving_variance), 0.5 + 0.5 * 16, rtol=1e-3)


def test_is_a_keras_layer(tmp_path):
    arguments = {
        "axis": -1,
        "momentum": 0.9,
        "epsilon": 1e-4,
        "beta_initializer": "normal",
        "moving_mean_initializer": keras.initializers.Constant(0.25),
        "gamma_regularizer": keras.regularizers.L2(1e-4),
        "synchronized": TENSORFLOW,
    }
    check_layer(ProgressiveBatchNormalization, arguments, (4, 5, 6, 3), tmp_path)


@pytest.mark.parametrize(
    ("layer_class", "arguments"), [(SMART, {"final_activation": "elu"}), (SquarePooling, {})]
)
def test_layers_with_the_switch_are_keras_layers(layer_class, arguments, tmp_path):
    arguments = {"filters": 8, "progressive": True, "momentum": 0.99, **arguments}
    check_layer(layer_class, arguments, (4, 5, 8, 7, 3), tmp_path)
    kinds = {type(part) for part in sublayers(layer_class(**arguments))}
    assert ProgressiveBatchNormalization in kinds
    assert keras.layers.BatchNormalization not in kinds


def test_errors():
    with pytest.raises(ValueError, match=r"`renorm`.*must be False.*renorm=True"):
        ProgressiveBatchNormalization(renorm=True)
    with pytest.raises(ValueError, match=r"`momentum` must be .* at least 0 and at most 1.*1.5"):
        ProgressiveBatchNormalization(momentum=1.5)
    x = np.zeros((2, 3, 4), "float32")
    with pytest.raises(ValueError, match=r"mask.*one dimension less"):
        ProgressiveBatchNormalization()(x, mask=np.ones((2, 3, 4), bool))
    with pytest.raises(ValueError, match=r"mask.*last.*axis=1"):
        ProgressiveBatchNormalization(axis=1)(x, mask=np.ones((2, 3), bool))


TWO_DEVICES = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
from keras_videorel.layers import SMART, ProgressiveBatchNormalization

def build():
    keras.utils.set_random_seed(0)
    x = keras.Input((4, 6, 6, 3))
    y = ProgressiveBatchNormalization(momentum=0.5, name="first")(x)
    y = SMART(4, progressive=True, momentum=0.5, name="smart")(y)
    y = ProgressiveBatchNormalization(momentum=0.5, name="last")(y)
    model = keras.Model(x, keras.layers.GlobalAveragePooling3D()(y))
    # Weights stay: Keras weighs the gradients of halves alike, whatever their sizes.
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model

# The two halves of a batch have other means, so that the variance of the whole is more than the
# mean of theirs; the last batch is of 3, so that the halves differ in size.
rng = np.random.default_rng(0)
x = rng.normal(np.repeat([0, 5] * 3, [3, 3, 3, 3, 2, 1])[:, None, None, None, None], 1.0,
               size=(15, 4, 6, 6, 3)).astype("float32")
y = rng.normal(size=(15, 4)).astype("float32")
results = []
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    with strategy.scope():
        model = build()
    model.fit(x, y, batch_size=6, epochs=2, shuffle=False, verbose=0)
    assert model.distribute_strategy is strategy
    if strategy.num_replicas_in_sync == 2:
        first, second = strategy.experimental_local_results(
            model.get_layer("first").moving_variance.value)
        np.testing.assert_array_equal(first, second)
    model.predict(x, verbose=0)
    results.append({v.path: v.numpy() for v in model.weights})
one, two = results
for path in one:
    np.testing.assert_allclose(two[path], one[path], rtol=1e-4, atol=1e-5, err_msg=path)
assert one["first/moving_variance"].min() > 4, one["first/moving_variance"]
"""


@tensorflow_only
def test_two_devices_have_the_statistics_of_one():
    # Devices can be divided before TensorFlow starts, not after.
    result = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def check_swapped(model, swapped, x, momentum):
    """Layers, names, flags, weights and outputs are the model's, and normalizations ours."""
    for old, new in zip(sublayers(model), sublayers(swapped), strict=True):
        assert old is not new and old.trainable == new.trainable
        if not isinstance(old, keras.layers.InputLayer):  # Keras numbers those without a name
            assert old.name == new.name
        if isinstance(old, keras.layers.BatchNormalization):
            assert type(new) is ProgressiveBatchNormalization
            assert new.get_config() == {**old.get_config(), "momentum": momentum}
        else:
            assert type(new) is type(old)
    for old, new in zip(model.weights, swapped.weights, strict=True):
        assert old.path == new.path and old is not new
        np.testing.assert_array_equal(array(old), array(new))
    expected, actual = (array(m(x)) for m in (model, swapped))
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)


def mean_of_outputs(y, outputs):
    """A loss that is not registered: a compiled model with it cannot be cloned as such."""
    return keras.ops.mean(outputs)


def test_swap_of_a_network_over_frames():
    """In wrappers other than TimeDistributed as well, with our own layers in the wrapped."""
    clip = keras.Input((4, 8, 8, 3))
    block = SMART(4, momentum=0.8)(clip)
    block = keras.layers.GlobalAveragePooling3D()(keras.layers.BatchNormalization()(block))
    block = keras.Model(clip, block, name="block")
    block.compile("sgd", mean_of_outputs)
    clips = keras.Input((2, 4, 8, 8, 3))
    for wrapper in (keras.layers.TimeDistributed, Twice):
        model = keras.Model(clips, wrapper(block, name="wrapper")(clips))
        randomize(model)
        swapped = swap_batch_normalization(model, momentum=0.99)
        x = np.random.default_rng(0).normal(size=(2, 2, 4, 8, 8, 3)).astype("float32")
        check_swapped(model, swapped, x, 0.99)


@keras.saving.register_keras_serializable(package="tests")
class Twice(keras.layers.Wrapper):
    def call(self, x):
        return self.layer(x[:, 0]) + self.layer(x[:, 1])

    def build(self, input_shape):
        self.built = True


def per_frame_model():
    """A network of keras.applications over frames, its outputs normalized, pooled, classified."""
    backbone = keras.applications.MobileNetV2(
        (64, 64, 3), alpha=0.35, include_top=False, weights=None, pooling="avg"
    )
    frame = keras.Input((64, 64, 3))
    features = backbone(frame)
    features = keras.layers.BatchNormalization(name="features_bn", momentum=0.9)(features)
    return keras.Model(frame, keras.layers.Dense(5, name="scores")(features))


@pytest.mark.slow
def test_swap_of_a_nested_network(tmp_path):
    model = per_frame_model()
    randomize(model)
    backbone = model.layers[1]
    backbone.layers[2].trainable = False
    backbone.layers[5].trainable = False
    model.compile("sgd", mean_of_outputs)
    x = np.random.default_rng(0).normal(size=(4, 64, 64, 3)).astype("float32")
    swapped = swap_batch_normalization(model, momentum=0.75)
    assert model.compiled and not swapped.compiled
    check_swapped(model, swapped, x, 0.75)

    # What the first normalization that is not frozen sees is its own input in inference.
    stem = next(
        layer
        for layer in swapped.layers[1].layers
        if isinstance(layer, ProgressiveBatchNormalization) and layer.trainable
    )
    head = swapped.get_layer("features_bn")
    seen = [
        (layer, array(layer.moving_mean), array(layer.moving_variance), array(given))
        for layer, given in [
            (stem, keras.Model(swapped.layers[1].input, stem.input)(x)),
            (head, swapped.layers[1](x)),
        ]
    ]
    fit(swapped, x, np.zeros((4, 5)))
    for layer, mean, variance, given in seen:
        axes = tuple(range(given.ndim - 1))
        mean = 0.75 * mean + 0.25 * given.mean(axes)
        variance = 0.75 * variance + 0.25 * given.var(axes)
        np.testing.assert_allclose(array(layer.moving_mean), mean, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(array(layer.moving_variance), variance, rtol=1e-3, atol=1e-4)

    swapped.save(tmp_path / "swapped.keras")
    loaded = keras.saving.load_model(tmp_path / "swapped.keras", safe_mode=True)
    np.testing.assert_allclose(array(loaded(x)), array(swapped(x)), rtol=1e-5, atol=1e-6)
    kinds = [type(layer) for layer in sublayers(loaded)]
    assert kinds.count(ProgressiveBatchNormalization) == 53
    assert keras.layers.BatchNormalization not in kinds


@pytest.mark.slow
def test_swap_of_artnet(tmp_path):
    model = ARTNetResNet18("d", width=4, classes=5, input_shape=(8, 32, 32, 3))
    randomize(model)
    model.get_layer("conv2_1_2").relation.trainable = False
    x = np.random.default_rng(0).normal(size=(2, 8, 32, 32, 3)).astype("float32")
    swapped = swap_batch_normalization(model)
    check_swapped(model, swapped, x, 0.999)
    smart = swapped.get_layer("conv1")
    assert smart.progressive and smart.momentum == 0.999 and smart.relation.progressive
    swapped.save(tmp_path / "swapped.keras")
    loaded = keras.saving.load_model(tmp_path / "swapped.keras", safe_mode=True)
    np.testing.assert_allclose(array(loaded(x)), array(swapped(x)), rtol=1e-6, atol=1e-6)


def test_swap_keeps_what_is_shared_and_finds_what_is_wrapped():
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(4), keras.layers.BatchNormalization()], name="inner"
    )
    wrapped = keras.Sequential(
        [keras.Input((4,)), keras.layers.BatchNormalization(name="wrapped_bn"), inner]
    )
    dense, bn = keras.layers.Dense(4, name="dense"), keras.layers.BatchNormalization(name="bn")
    both = keras.Input((2, 4), name="both")
    one = keras.Input((4,), name="one")
    y = keras.layers.TimeDistributed(wrapped, name="frames")(both)
    y = keras.layers.TimeDistributed(keras.layers.BatchNormalization(), name="each")(y)
    y = keras.layers.Flatten()(y) + keras.layers.Concatenate()([dense(one), dense(bn(one))])
    z = keras.layers.Dropout(0.5)(bn(dense(one)))
    shared = keras.Sequential([keras.Input((4,)), dense, bn], name="shared")
    z = keras.layers.Add(name="sum")([z, shared(one), inner(one), inner(z)])
    model = keras.Model({"one": one, "both": both}, {"y": y, "z": z})
    randomize(model)
    model.get_layer("dense").trainable = False
    swapped = swap_batch_normalization(model, momentum=0.99)
    assert len(swapped.weights) == len(model.weights)
    assert swapped.get_layer("shared").layers[1] is swapped.get_layer("bn")
    assert not swapped.get_layer("dense").trainable and swapped.get_layer("bn").trainable
    kinds = [type(layer) for layer in sublayers(swapped)]
    assert kinds.count(ProgressiveBatchNormalization) == 4
    assert keras.layers.BatchNormalization not in kinds
    rng = np.random.default_rng(0)
    x = {"one": rng.normal(size=(3, 4)), "both": rng.normal(size=(3, 2, 4))}
    expected, actual = (m.predict(x, verbose=0) for m in (model, swapped))
    for key in ("y", "z"):
        np.testing.assert_allclose(actual[key], expected[key], rtol=1e-6, atol=1e-6)
    again = swap_batch_normalization(swapped, momentum=0.9)
    assert again.get_layer("bn").momentum == 0.9
    assert again.get_layer("each").layer.momentum == 0.9


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.bn = keras.layers.BatchNormalization()

    def call(self, x):
        return self.bn(x)


class WithConstructor(keras.Model):
    def __init__(self, units):
        x = keras.Input((4,))
        super().__init__(x, keras.layers.Dense(units)(x))


class WithItsOwn(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.bn = keras.layers.BatchNormalization(name="its_bn")

    def build(self, input_shape):
        self.bn.build(input_shape)

    def call(self, x):
        return self.bn(x)


def renormalized():
    return keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(renorm=True)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Subclassed, "must be a functional or Sequential Keras model.*Subclassed"),
        (
            lambda: keras.Sequential([keras.Input((4,)), Subclassed()]),
            "must be a functional or Sequential Keras model.*Subclassed",
        ),
        (lambda: WithConstructor(3), "of WithConstructor itself only the layers"),
        (lambda: keras.Sequential([keras.Input((4,)), WithItsOwn()]), "its_bn.*cannot be replaced"),
        (lambda: keras.layers.Dense(3), "must be a functional or Sequential Keras model.*Dense"),
        pytest.param(
            renormalized,
            "`renorm`.*must be False",
            marks=pytest.mark.skipif(
                "renorm" not in inspect.signature(keras.layers.BatchNormalization).parameters,
                reason="this Keras has no `renorm`",
            ),
        ),
    ],
)
def test_what_cannot_be_swapped(make, message):
    with pytest.raises(ValueError, match=message):
        swap_batch_normalization(make())
