import keras
import numpy as np
import pytest
from keras import layers

from keras_videorel.export.folding import fold
from keras_videorel.layers import SMART, ProgressiveBatchNormalization, SymmetricConv3D
from keras_videorel.models import (
    ARTNetResNet18,
    C2DResNet18,
    C3DResNet18,
    RelationalLSTMResNet,
    RelationResNet18,
    SnippetClassifier,
    TemporalSegmentNetwork,
)
from tests.export.networks import SMALL, relative_error, with_statistics

LEFT_BEHIND = (
    layers.Conv3D,
    layers.BatchNormalization,
    layers.Dropout,
    SMART,
)


def of_layers(*sequence, shape=(5, 11, 12, 3), seed=0):
    keras.utils.set_random_seed(seed)
    return with_statistics(keras.Sequential([keras.Input(shape), *sequence]), seed)


@pytest.mark.parametrize(
    "model",
    [
        lambda: ARTNetResNet18("s", **SMALL),
        lambda: ARTNetResNet18("d", **{**SMALL, "input_shape": (7, 33, 31, 3)}),
        lambda: ARTNetResNet18("d", graph="caffe", **SMALL),
        lambda: RelationResNet18("d", **SMALL),
        lambda: C3DResNet18(**SMALL),
        lambda: C2DResNet18(**{**SMALL, "input_shape": (7, 32, 32, 3)}),
        lambda: TemporalSegmentNetwork(ARTNetResNet18("d", **SMALL), 2, classifier_activation=None),
        lambda: RelationalLSTMResNet(
            backbone="artnet_resnet18_d",
            weights=None,
            segments=2,
            progressive_momentum=0.999,
            gradient_checkpointing=True,
            **SMALL,
        ),
        lambda: SnippetClassifier(
            backbone="mobilenet_v2",
            weights=None,
            input_shape=(64, 64, 3),
            classes=5,
            classifier_activation=None,
        ),
    ],
    ids=["s", "d", "caffe", "relation", "c3d", "c2d", "tsn", "relational_lstm", "mobilenet"],
)
def test_networks(model):
    keras.utils.set_random_seed(0)
    model = with_statistics(model())
    folded = fold(model)
    assert folded.input_shape == (1, *model.input_shape[1:])
    assert not [layer for layer in folded._flatten_layers() if isinstance(layer, LEFT_BEHIND)]
    assert relative_error(model, folded) < 1e-5


@pytest.mark.parametrize("time", [1, 2, 5, 6])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("kind", [layers.Conv3D, SymmetricConv3D])
def test_geometry(kind, padding, time):
    """Every kernel, stride and dilation in time that fits, at odd and even sizes."""
    for kernel_size, strides, rate in (
        ((3, 3, 3), (1, 1, 1), 1),
        ((3, 7, 7), (2, 2, 2), 1),
        ((2, 3, 2), (1, 2, 1), 1),
        ((3, 3, 3), (1, 1, 1), (2, 1, 1)),
        ((1, 1, 1), (2, 2, 2), 1),
    ):
        reach = (kernel_size[0] - 1) * (rate if isinstance(rate, int) else rate[0])
        if padding == "valid" and reach >= time:
            continue
        convolution = kind(
            4, kernel_size, strides, padding, dilation_rate=rate, use_bias=True, activation="tanh"
        )
        model = of_layers(convolution, shape=(time, 11, 12, 3))
        assert relative_error(model, fold(model)) < 1e-5, (kernel_size, strides, rate)


def test_normalization_that_cannot_be_folded():
    """Before a convolution, after an activation, and twice."""
    model = of_layers(
        layers.BatchNormalization(),
        SymmetricConv3D(4, 3, strides=2, padding="same", activation="relu"),
        ProgressiveBatchNormalization(),
        layers.BatchNormalization(center=False),
        layers.GlobalMaxPooling3D(keepdims=True),
        layers.Flatten(),
        layers.BatchNormalization(scale=False),
    )
    assert relative_error(model, fold(model)) < 1e-5


def test_bound_before_the_square():
    model = of_layers(SMART(4, hidden_limit=0.2), SMART(6, hidden_limit=None, padding="valid"))
    unbounded = of_layers(SMART(4), SMART(6, hidden_limit=None, padding="valid"))
    unbounded.set_weights(model.get_weights())
    assert relative_error(model, unbounded) > 1e-2  # else the bound would do nothing here
    assert relative_error(model, fold(model)) < 1e-5


def test_frames_of_padding_cost_nothing():
    """One frame in: of a kernel of three frames the middle one is left."""
    model = of_layers(SymmetricConv3D(4, 3, padding="same", use_bias=False), shape=(1, 9, 9, 2))
    kernels = [
        argument
        for operation in fold(model).operations
        for node in operation._inbound_nodes
        for argument in keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
        if isinstance(argument, np.ndarray)
    ]
    assert [kernel.shape for kernel in kernels] == [(3, 3, 2, 4)]
    np.testing.assert_array_equal(kernels[0], model.layers[0].kernel[1])


def test_recurrent_layers_are_unrolled():
    inputs = keras.Input((3, 4, 4, 2))
    outputs = layers.RNN(layers.LSTMCell(5))(layers.Reshape((3, 32))(inputs))
    model = keras.Model(inputs, outputs)
    folded = fold(model)
    assert folded.layers[-1].unroll
    assert relative_error(model, folded) < 1e-5


def test_mixed_precision_is_left_behind():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = with_statistics(ARTNetResNet18("s", **SMALL))
    finally:
        keras.config.set_dtype_policy(policy)
    model = ARTNetResNet18("s", **SMALL)
    model.set_weights(mixed.get_weights())
    assert relative_error(model, fold(mixed)) < 1e-5


def test_the_model_is_left_alone():
    model = ARTNetResNet18("s", **SMALL)
    model.compile("sgd", "mse")
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    weights = fold(model).weights
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    assert not {id(w) for w in weights} & {id(w) for w in model.weights}


def test_errors():
    with pytest.raises(ValueError, match=r"known input sizes.*None"):
        fold(ARTNetResNet18(**{**SMALL, "input_shape": (None, 32, 32, 3)}))
    with pytest.raises(ValueError, match="`model` must be a built functional"):
        fold(layers.Dense(3))
