"""The two-branch network of Relational LSTM, and the networks that it is compared with."""

import keras
import numpy as np
import pytest

from keras_videorel import models
from keras_videorel.layers import ProgressiveBatchNormalization
from keras_videorel.models.backbones import BACKBONES
from keras_videorel.models.complexity import model_summary

SMALL = {"backbone": "mobilenet_v2", "weights": None, "segments": 3, "classes": 5}
IMAGE = (32, 32, 3)
CLIPS = {"backbone": "artnet_resnet18_s", "weights": None, "segments": 4, "classes": 5, "width": 4}
CLIP = (8, 32, 32, 3)


def values(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def leaves(model):
    """Layers by name, nested models flattened."""
    found = {}
    for layer in model.layers:
        found.update(leaves(layer) if isinstance(layer, keras.Model) else {layer.name: layer})
    return found


@pytest.fixture(scope="module")
def small():
    return models.RelationalLSTMResNet(**SMALL, input_shape=IMAGE)


@pytest.fixture(scope="module")
def images():
    return models.RelationalLSTMResNet(**SMALL, input_shape=(64, 64, 3))  # 2x2 positions


@pytest.fixture(scope="module")
def clips():
    return models.RelationalLSTMResNet(**CLIPS, input_shape=CLIP)


@pytest.mark.parametrize(
    "backbone", ["mobilenet_v2", pytest.param("resnet50v2", marks=pytest.mark.slow)]
)
def test_the_local_branch_is_the_application(backbone, tmp_path):
    """Weights from a local file, names and values of keras.applications, pooled over snippets."""
    name = {"mobilenet_v2": "MobileNetV2", "resnet50v2": "ResNet50V2"}[backbone]
    application = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=IMAGE, pooling="avg"
    )
    for variable in application.variables:  # statistics that are not those of a new network
        if variable.path.endswith("moving_mean"):
            variable.assign(values(variable.shape) / 10)
    path = str(tmp_path / "backbone.weights.h5")
    application.save_weights(path)
    model = models.RelationalLSTMResNet(
        backbone=backbone, weights=path, input_shape=IMAGE, segments=2, branches=("local",)
    )
    x = values((2, 2, *IMAGE))
    features = keras.Model(model.input, model.get_layer("local_consensus").output)
    each = numpy(application(x.reshape(4, *IMAGE))).reshape(2, 2, -1)
    np.testing.assert_allclose(numpy(features(x)), each.mean(axis=1), rtol=1e-4, atol=1e-5)
    ours = {n for n, layer in leaves(model).items() if layer.weights}
    assert ours - {"predictions"} == {layer.name for layer in application.layers if layer.weights}


def test_the_branches_of_figure_2(small):
    local = models.RelationalLSTMResNet(**SMALL, input_shape=IMAGE, branches=("local",))
    alone = models.RelationalLSTMResNet(**SMALL, input_shape=IMAGE, branches=("nonlocal",))
    names = {layer.name for layer in small.layers}
    assert {"mobilenet_v2", "local", "relational_lstm", "nonlocal"} <= names
    assert "relational_lstm" not in {layer.name for layer in local.layers}
    assert "local" not in {layer.name for layer in alone.layers}
    channels = small.get_layer("mobilenet_v2").output_shape[-1]
    assert small.get_layer("relational_lstm").cell.units == channels // 2  # C / 2
    assert small.get_layer("nonlocal_conv").kernel.shape == (1, 1, channels // 2, channels)
    # Both branches have a conv5_3 of their own, of the same size.
    assert small.get_layer("local").count_params() == small.get_layer("nonlocal").count_params()
    assert small.get_layer("predictions").kernel.shape[0] == 2 * 1280
    assert local.get_layer("predictions").kernel.shape[0] == 1280
    together = local.count_params() + alone.count_params()
    # One trunk, and one bias of the classifier.
    shared = small.get_layer("mobilenet_v2").count_params() + 5
    assert small.count_params() == together - shared


def test_only_the_non_local_branch_knows_the_order():
    x = values((2, 3, *IMAGE))
    for branches, ordered in ((("local",), False), (("nonlocal",), True)):
        model = models.RelationalLSTMResNet(
            **SMALL, input_shape=IMAGE, branches=branches, classifier_activation=None
        )
        for layer in leaves(model).values():  # inference with the statistics of the input
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
        for _ in range(2):
            model(x, training=True)
        forth, back = numpy(model(x)), numpy(model(x[:, ::-1]))
        scale = np.abs(forth).max()
        assert (np.abs(forth - back).max() > 1e-3 * scale) == ordered


def test_temporal_average_of_features_is_consensus_of_scores():
    """Sec. 5.5: local branch and TSN differ in dropout alone, for the classifier is linear."""
    arguments = {"backbone": "mobilenet_v2", "weights": None, "classes": 5, "input_shape": IMAGE}
    classifier = models.SnippetClassifier(**arguments, classifier_activation=None)
    tsn = models.TemporalSegmentNetwork(classifier, segments=3, classifier_activation=None)
    local = models.RelationalLSTMResNet(
        **arguments, segments=3, branches="local", classifier_activation=None
    )
    report = models.initialize_from(local, tsn)
    assert not report.skipped and "predictions" in report.loaded
    x = values((2, 3, *IMAGE))
    np.testing.assert_allclose(numpy(local(x)), numpy(tsn(x)), rtol=1e-4, atol=1e-5)


def test_tsn_averages_scores_before_the_softmax():
    classifier = models.ARTNetResNet18(
        "s", input_shape=CLIP, classes=5, width=4, classifier_activation=None
    )
    tsn = models.TemporalSegmentNetwork(classifier, segments=2)
    assert tsn.input_shape == (None, 2, *CLIP)
    x = values((3, 2, *CLIP))
    scores = np.stack([numpy(classifier(x[:, i])) for i in range(2)]).mean(axis=0)
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(numpy(tsn(x)), expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"before the softmax.*classifier_activation=None"):
        models.TemporalSegmentNetwork(models.ARTNetResNet18("s", input_shape=CLIP, width=4))


def test_the_temporal_stream_starts_from_the_spatial_one(small):
    flow = models.RelationalLSTMResNet(
        **{**SMALL, "stream": "flow"}, input_shape=(32, 32, 20), name="flow"
    )
    report = models.initialize_from(flow, small)
    assert report.adapted == ["Conv1"] and not report.skipped
    assert "1 adapted to other channels (Conv1)" in str(report)
    kernel, spatial = leaves(flow)["Conv1"].kernel, leaves(small)["Conv1"].kernel
    mean = numpy(spatial).mean(axis=2)
    for channel in range(20):  # averaged over RGB, repeated, a sum of equal weight
        np.testing.assert_allclose(numpy(kernel)[:, :, channel], mean * 3 / 20, rtol=1e-5)
    # A grey input gives the spatial stream's response, in the first layer and to the end.
    grey = values((2, 3, 32, 32, 1))
    as_rgb, as_flow = np.repeat(grey, 3, axis=-1), np.repeat(grey, 20, axis=-1)
    np.testing.assert_allclose(numpy(flow(as_flow)), numpy(small(as_rgb)), rtol=1e-3, atol=1e-5)


def test_initialize_from_reports_what_it_did(small, clips):
    tsn = models.SnippetClassifier(
        backbone="mobilenet_v2", weights=None, classes=7, input_shape=IMAGE
    )
    target = models.RelationalLSTMResNet(**SMALL, input_shape=IMAGE, branches=("nonlocal",))
    before = numpy(leaves(target)["nonlocal_block_16_expand"].kernel)
    report = models.initialize_from(target, tsn)
    assert "Conv1" in report.loaded and "block_15_project" in report.loaded
    assert report.skipped["predictions"] == "other shapes in the source"
    assert report.skipped["relational_lstm"] == "no such layer in the source"
    # The conv5_3 of the non-local branch keeps its Glorot initialization (Sec. 5.2).
    np.testing.assert_array_equal(numpy(leaves(target)["nonlocal_block_16_expand"].kernel), before)
    np.testing.assert_array_equal(
        numpy(leaves(target)["block_15_project"].kernel),
        numpy(leaves(tsn)["block_15_project"].kernel),
    )
    with pytest.raises(ValueError, match="nothing in common"):
        models.initialize_from(clips, keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))


def test_progressive_batch_normalization_where_there_are_weights(tmp_path):
    application = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=IMAGE)
    path = str(tmp_path / "backbone.weights.h5")
    application.save_weights(path)
    kinds = {}
    for key, arguments in {
        "auto": {"weights": path},
        "random": {"weights": None},
        "slower": {"weights": path, "progressive_momentum": 0.9995},
        "none": {"weights": path, "progressive_momentum": None},
    }.items():
        model = models.RelationalLSTMResNet(**{**SMALL, **arguments}, input_shape=IMAGE)
        normalizations = [
            layer
            for layer in leaves(model).values()
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        kinds[key] = {
            layer.momentum if isinstance(layer, ProgressiveBatchNormalization) else None
            for layer in normalizations
        }
        assert len(normalizations) == 52 + 4 + 1  # MobileNetV2's, one block again, one before
    assert kinds == {"auto": {0.999}, "random": {None}, "slower": {0.9995}, "none": {None}}


def test_clips_as_snippets(clips):
    """ARTNet's feature maps go to the relational LSTM, time beside space."""
    assert clips.input_shape == (None, 4, *CLIP)
    trunk = clips.get_layer("artnet_resnet18_s")
    assert trunk.output_shape[1:] == (1, 2, 2, 32)
    assert clips.get_layer("relational_lstm").input.shape[1:] == (4, 2, 2, 32)
    longer = models.RelationalLSTMResNet(**CLIPS, input_shape=(32, 32, 32, 3))
    assert longer.get_layer("relational_lstm").input.shape[1:] == (4, 4, 2, 32)
    encoder = models.ARTNetResNet18("s", input_shape=CLIP, classes=5, width=4)
    report = models.initialize_from(clips, encoder)
    assert len(report.loaded) > 30 and not report.adapted
    x = values((2, *CLIP))
    conv5_1 = keras.Model(encoder.input, encoder.get_layer("conv5_1_relu").output)
    np.testing.assert_allclose(numpy(trunk(x)), numpy(conv5_1(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [pytest.param("images", marks=pytest.mark.slow), "clips"])
def test_learns_saves_and_loads(shape, images, clips, tmp_path):
    model = {"images": images, "clips": clips}[shape]
    x = values((4, *model.input_shape[1:]))
    before = {v.path: numpy(v) for v in model.trainable_variables}
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)  # else its step is traced twice
    model.fit(x, np.arange(4), batch_size=4, epochs=2, verbose=0)
    still = [v.path for v in model.trainable_variables if np.array_equal(before[v.path], numpy(v))]
    assert not still, f"two steps left {still} unchanged"
    path = str(tmp_path / "model.keras")
    model.save(path)
    again = keras.saving.load_model(path, safe_mode=True)
    np.testing.assert_allclose(numpy(again(x)), numpy(model(x)), rtol=1e-5, atol=1e-6)


def test_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = models.RelationalLSTMResNet(**CLIPS, input_shape=CLIP)
    finally:
        keras.config.set_dtype_policy(before)
    y = model(values((2, 4, *CLIP)))
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    np.testing.assert_allclose(numpy(y).sum(axis=1), 1, atol=1e-3)


@pytest.mark.slow
def test_the_papers_network():
    model = models.RelationalLSTMResNet(weights=None, progressive_momentum=0.999)
    assert model.input_shape == (None, 8, 224, 224, 3)
    assert model.get_layer("resnet101v2").output_shape == (None, 7, 7, 2048)
    assert model.get_layer("relational_lstm").count_params() == 41_943_040
    assert model.get_layer("relational_lstm").output.shape == (None, 7, 7, 1024)
    assert model.get_layer("dropout").rate == 0.8
    parts = {layer.name: layer.count_params() for layer in model.layers if layer.count_params()}
    # keras.applications.ResNet101V2 without its top, and conv5_3 once more.
    assert parts["resnet101v2"] + parts["local"] == 42_626_560
    assert parts["local"] == parts["nonlocal"] == 4_478_976
    text = model_summary(model)
    assert "theta_x" in text and "2048 x 4 x 1024" in text and "41,943,040" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stream": "depth"}, "`stream`.*'depth'"),
        ({"segments": 0}, "`segments`.*0"),
        ({"branches": ()}, "`branches`"),
        ({"branches": ("local", "global")}, "`branches`.*global"),
        ({"backbone": "vgg"}, "`backbone`.*resnet101v2.*'vgg'"),
        ({"input_shape": (32, 32)}, "`input_shape`.*height, width, channels"),
        ({"input_shape": (4, 32, 32, 3)}, "`input_shape`.*3 segments"),
        ({"dropout": 1.0}, "`dropout`"),
        ({"width": 8}, "`width`.*ARTNet"),
        ({"backbone": "artnet_resnet18_d", "weights": "imagenet"}, "`weights`.*imagenet"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.RelationalLSTMResNet(**{**SMALL, **arguments})


def test_the_shape_of_all_snippets_will_do():
    model = models.RelationalLSTMResNet(**SMALL, input_shape=(3, *IMAGE))
    assert model.input_shape == (None, 3, *IMAGE)
    assert set(BACKBONES) >= {"resnet50v2", "resnet101v2", "mobilenet_v2"}
