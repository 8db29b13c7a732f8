"""SMART and SquarePooling against the paper's equations."""

import keras
import numpy as np
import pytest

from keras_videorel.layers import SMART, SquarePooling
from tests.layers import reference
from tests.layers.checks import check_layer


def randomize(layer, seed=0):
    """Random weights, with statistics away from 0 and 1; a dict of float64 arrays by path."""
    rng = np.random.default_rng(seed)
    values = {}
    for variable in layer.weights:
        name = variable.path.split("/", 1)[-1] if "/" in variable.path else variable.path
        value = rng.normal(size=variable.shape).astype("float32")
        if variable.path.endswith(("gamma", "moving_variance")):
            value = np.abs(value) + 0.5
        if variable.path.endswith("kernel"):
            value /= np.sqrt(np.prod(variable.shape[:-1]))
        variable.assign(value)
        values[name] = value.astype("float64")
    return values


def normalization(layer):
    """(gamma, beta, mean, variance) of a batch normalization, as float64."""
    variables = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    return [keras.ops.convert_to_numpy(v).astype("float64") for v in variables]


def array(variable):
    return keras.ops.convert_to_numpy(variable).astype("float64")


def smart_weights(layer):
    return {
        "relation_kernel": array(layer.relation.convolution.kernel),
        "hidden": normalization(layer.relation.hidden_normalization),
        "codes": normalization(layer.relation.code_normalization),
        "appearance_kernel": array(layer.appearance.kernel),
        "appearance": normalization(layer.appearance_normalization),
        "reduction_kernel": array(layer.reduction.kernel),
        "reduction_bias": array(layer.reduction.bias),
        "reduction": normalization(layer.reduction_normalization),
    }


CASES = [
    # input (batch, time, height, width, channels), filters, kernel, strides, padding, group
    ((2, 8, 12, 12, 3), 8, (3, 7, 7), (2, 2, 2), "same", 2),  # conv1
    ((2, 4, 6, 6, 4), 6, (3, 3, 3), (1, 1, 1), "same", 2),
    ((1, 5, 7, 9, 3), 8, (3, 3, 3), (2, 2, 2), "same", 4),  # odd sizes
    ((1, 4, 6, 8, 3), 4, (2, 4, 5), (1, 2, 3), "same", 2),  # even kernels
    ((1, 4, 5, 5, 2), 9, (1, 1, 1), (1, 1, 1), "same", 3),
    ((2, 7, 8, 8, 3), 4, (3, 3, 3), (1, 1, 1), "valid", 2),
    ((1, 9, 8, 9, 3), 4, (4, 2, 3), (2, 2, 1), "valid", 1),
]


@pytest.mark.parametrize(("shape", "filters", "kernel", "strides", "padding", "group"), CASES)
def test_smart_is_the_papers_block(shape, filters, kernel, strides, padding, group):
    layer = SMART(filters, kernel, strides, padding, group_size=group)
    layer.build(shape)
    randomize(layer)
    v = np.random.default_rng(1).normal(size=shape)
    expected = reference.smart(v, smart_weights(layer), strides, padding, group)
    actual = keras.ops.convert_to_numpy(layer(v.astype("float32")))
    assert actual.shape == layer.compute_output_shape(shape)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    assert (expected > 0).mean() > 0.1, "the reference must not be all zeros"


@pytest.mark.parametrize(("shape", "filters", "kernel", "strides", "padding", "group"), CASES)
def test_square_pooling_is_the_papers_branch(shape, filters, kernel, strides, padding, group):
    layer = SquarePooling(filters, kernel, strides, padding, group_size=group)
    layer.build(shape)
    randomize(layer)
    v = np.random.default_rng(1).normal(size=shape)
    expected = reference.relation(
        v,
        array(layer.convolution.kernel),
        normalization(layer.hidden_normalization),
        normalization(layer.code_normalization),
        strides,
        padding,
        group,
    )
    actual = keras.ops.convert_to_numpy(layer(v.astype("float32")))
    assert actual.shape == layer.compute_output_shape(shape)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_training_normalizes_with_the_batch():
    """In training the hidden units have mean 0 and variance 1, so that E[z] = 0.5 * 2 * 1."""
    layer = SquarePooling(16, 3)
    x = np.random.default_rng(0).normal(3.0, 7.0, size=(4, 6, 10, 10, 3)).astype("float32")
    layer(x, training=True)
    mean = keras.ops.convert_to_numpy(layer.code_normalization.moving_mean)
    np.testing.assert_allclose(mean, 0.1, atol=0.002)  # (1 - momentum) * E[z]


def quadrature_pair(frequency, kernel=9):
    """Kernels over two frames for a grating that moves by a quarter period a frame (Sec. 3.1).

    Two hidden units a code, in quadrature, as in energy models: w_x, w_y are cosine and sine.
    """
    position = np.arange(kernel) - kernel // 2
    weights = np.zeros((2, 1, kernel, 1, 2))
    for unit, phase in enumerate((0, np.pi / 2)):
        for frame in (0, 1):
            # The second frame's filter is the first one's, moved along with the grating.
            angle = frequency * position + phase - frame * np.pi / 2
            weights[frame, 0, :, 0, unit] = np.cos(angle)
    return weights


def grating(frequency, phase, step, size=41):
    """Two frames of a grating: (1, 2, 1, size, 1)."""
    position = np.arange(size)
    frames = [np.cos(frequency * position + phase - frame * step) for frame in (0, 1)]
    return np.stack(frames)[None, :, None, :, None].astype("float32")


def motion_energy(clip, frequency):
    """Code of a SquarePooling unit with identity normalization, in the middle of the frame."""
    layer = SquarePooling(2, (2, 1, 9), padding="valid", activation=None, epsilon=1e-12)
    layer.build(clip.shape)
    layer.convolution.kernel.assign(quadrature_pair(frequency))
    z = keras.ops.convert_to_numpy(layer(clip))
    return z[0, 0, 0, z.shape[3] // 2, 0]


def test_codes_tell_motion_and_not_appearance():
    """Sec. 3.1: a code answers to the transformation between frames, not to their content.

    The content is the grating's phase and its sign, the transformation its step. The linear
    unit of a 3D convolution (Eq. 1) with the same kernel changes with the content.
    """
    frequency = 2 * np.pi / 9  # whole periods in the kernel
    phases = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    along = [motion_energy(grating(frequency, p, np.pi / 2), frequency) for p in phases]
    against = [motion_energy(grating(frequency, p, -np.pi / 2), frequency) for p in phases]
    still = [motion_energy(grating(frequency, p, 0.0), frequency) for p in phases]
    for energies in (along, against, still):
        np.testing.assert_allclose(energies, energies[0], atol=1e-3)
    assert along[0] > 10 and against[0] < 1e-3
    np.testing.assert_allclose(still[0], along[0] / 2, rtol=1e-3)

    kernel = quadrature_pair(frequency)
    linear = [
        reference.convolve(grating(frequency, p, np.pi / 2), kernel, (1, 1, 1), "valid")[
            0, 0, 0, 16, 0
        ]
        for p in phases
    ]
    assert np.ptp(linear) > 10, "Eq. 1 depends on the appearance"


def test_a_clip_and_its_negative_have_the_same_codes():
    layer = SquarePooling(8, 3)
    x = np.random.default_rng(0).normal(size=(2, 4, 8, 8, 3)).astype("float32")
    positive, negative = (keras.ops.convert_to_numpy(layer(v)) for v in (x, -x))
    np.testing.assert_allclose(positive, negative, atol=1e-6)
    assert positive.max() > 0
    appearance = SMART(8, 3)
    assert np.abs(keras.ops.convert_to_numpy(appearance(x) - appearance(-x))).max() > 0.1


def test_hidden_limit_bounds_what_is_out_of_range_and_nothing_else():
    free, bounded = (
        SquarePooling(8, 3, activation=None),
        SquarePooling(8, 3, activation=None, hidden_limit=8.0),
    )
    x = np.random.default_rng(0).normal(size=(2, 4, 8, 8, 3)).astype("float32")
    free.build(x.shape)
    bounded.build(x.shape)
    bounded.set_weights([keras.ops.convert_to_numpy(v) for v in free.weights])
    values = [keras.ops.convert_to_numpy(layer(x)) for layer in (free, bounded)]
    np.testing.assert_array_equal(*values)
    wild = [keras.ops.convert_to_numpy(layer(1000 * x)) for layer in (free, bounded)]
    assert wild[0].max() > 1e5
    assert wild[1].max() <= 64.001  # 0.5 * (8^2 + 8^2)


def test_squares_do_not_overflow_float16():
    layer = SquarePooling(4, 3, dtype="mixed_float16")
    x = np.random.default_rng(0).normal(size=(2, 4, 8, 8, 3)).astype("float32")
    layer(x, training=True)
    layer.hidden_normalization.gamma.assign([400.0] * 4)  # 400^2 is beyond float16's 65504
    y = keras.ops.convert_to_numpy(layer(x, training=True)).astype("float32")
    assert np.isfinite(y).all() and y.max() > 1


def test_pooling_is_fixed():
    """The pooling weights are constants: no variable holds them."""
    layer = SMART(8, 3)
    layer.build((None, 4, 8, 8, 3))
    shapes = sorted(tuple(v.shape) for v in layer.trainable_variables if len(v.shape) == 5)
    assert shapes == [(1, 1, 1, 12, 8), (1, 3, 3, 3, 8), (3, 3, 3, 3, 8)]


def test_smart_is_a_keras_layer(tmp_path):
    arguments = {
        "filters": 12,
        "kernel_size": (3, 5, 3),
        "strides": (1, 2, 1),
        "padding": "same",
        "group_size": 3,
        "pooling_weight": 0.25,
        "hidden_limit": 20.0,
        "activation": "leaky_relu",
        "final_activation": "elu",
        "momentum": 0.8,
        "epsilon": 1e-3,
        "kernel_initializer": "he_normal",
        "kernel_regularizer": keras.regularizers.L2(1e-4),
    }
    check_layer(SMART, arguments, (4, 5, 8, 7, 3), tmp_path)


def test_square_pooling_is_a_keras_layer(tmp_path):
    arguments = {
        "filters": 8,
        "kernel_size": 3,
        "strides": (2, 1, 2),
        "group_size": 4,
        "activation": "softplus",
        "kernel_constraint": keras.constraints.MaxNorm(2.0),
    }
    check_layer(SquarePooling, arguments, (4, 6, 7, 8, 3), tmp_path)


@pytest.mark.parametrize("layer_class", [SMART, SquarePooling])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 7}, "divisible by `group_size`.*filters=7"),
        ({"filters": 0}, "`filters` must be an integer of at least 1.*0"),
        ({"filters": 2.5}, "`filters` must be an integer.*2.5"),
        ({"filters": 8, "kernel_size": (3, 3)}, "`kernel_size` must be.*time, height, width"),
        ({"filters": 8, "strides": (1, 0, 1)}, "`strides` must be"),
        ({"filters": 8, "padding": "causal"}, "`padding` must be one of same, valid.*causal"),
        ({"filters": 8, "hidden_limit": -1}, "`hidden_limit` must be a finite number above 0"),
    ],
)
def test_errors_name_the_argument(layer_class, arguments, message):
    with pytest.raises(ValueError, match=message):
        layer_class(**arguments)


def test_wrong_rank():
    with pytest.raises(ValueError, match=r"expected ndim=5, found ndim=4"):
        SMART(8)(np.zeros((2, 8, 8, 3), "float32"))
