import keras
import numpy as np
import pytest
from keras import layers

from keras_videorel.caffe import CaffeResNet18
from keras_videorel.export.folding import fold
from keras_videorel.layers import (
    SMART,
    ProgressiveBatchNormalization,
    RelationalLSTM,
    SymmetricConv3D,
)
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
        lambda: CaffeResNet18(**SMALL),
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


def of_frames():
    return keras.Sequential(
        [
            keras.Input((7, 7, 3)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
        ]
    )


@pytest.mark.parametrize(
    ("sequence", "shape"),
    [
        ([layers.Bidirectional(layers.LSTM(4))], (5, 6)),
        ([layers.Bidirectional(RelationalLSTM(2))], (3, 2, 3, 4)),
        ([layers.TimeDistributed(layers.GRU(4))], (3, 5, 6)),
        ([layers.TimeDistributed(layers.Bidirectional(layers.LSTM(4)))], (3, 5, 6)),
        ([layers.TimeDistributed(of_frames()), layers.SimpleRNN(4)], (3, 7, 7, 3)),
    ],
    ids=["bidirectional", "relational", "time_distributed", "both", "frames"],
)
def test_wrapped_layers_are_unrolled(sequence, shape):
    model = of_layers(*sequence, shape=shape)
    folded = fold(model)
    assert relative_error(model, folded) < 1e-5
    recurrent = [layer for layer in folded._flatten_layers() if isinstance(layer, layers.RNN)]
    assert recurrent and all(layer.unroll for layer in recurrent)
    kinds = (layers.TimeDistributed, layers.BatchNormalization)
    assert not any(isinstance(layer, kinds) for layer in folded._flatten_layers())


@pytest.mark.parametrize("shape", [(5, 6), (5, 2, 3, 6)])
def test_masks_go_on(shape):
    """Through layers that are otherwise computed another way."""
    recurrent = layers.LSTM(4) if len(shape) == 2 else RelationalLSTM(4)
    model = of_layers(layers.Masking(), layers.ReLU(), layers.Dropout(0.5), recurrent, shape=shape)
    folded = fold(model)
    x = np.random.default_rng(0).normal(size=(1, *shape)).astype("float32")
    x[:, 3:] = 0
    expected = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(folded(x), expected, atol=1e-6)
    x[:, 3:] = 1e-6
    assert np.abs(model(x) - expected).max() > 1e-3


def test_arguments_by_name():
    inputs, state = keras.Input((5, 6)), keras.Input((4,))
    model = keras.Model([inputs, state], layers.GRU(4)(inputs, initial_state=state))
    x, h = np.ones((1, 5, 6), "float32"), np.full((1, 4), 0.5, "float32")
    np.testing.assert_allclose(fold(model)([x, h]), model([x, h]), atol=1e-6)


def test_channels_are_last_whatever_the_setting():
    model = with_statistics(ARTNetResNet18("s", **SMALL))
    keras.config.set_image_data_format("channels_first")
    try:
        error = relative_error(model, fold(model))
    finally:
        keras.config.set_image_data_format("channels_last")
    assert error < 1e-5


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
