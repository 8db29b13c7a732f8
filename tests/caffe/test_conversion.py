"""Converted networks against the published layer graphs, evaluated in NumPy in Caffe's layout."""

import keras
import numpy as np
import pytest

from keras_videorel import caffe, cli, models
from keras_videorel.caffe import conversion
from keras_videorel.cli import convert_caffe
from keras_videorel.models.complexity import trainable_parameters
from tests.caffe import reference

WIDTH, CLASSES = 4, 10
SMALL = {"classes": CLASSES, "width": WIDTH}


@pytest.fixture(scope="module", params=["c3d", "artnet_s", "artnet_d"])
def published(request, tmp_path_factory):
    """A file of a network at a reduced width: its layers, weights, path, a clip and its scores."""
    ops = reference.graph(request.param, WIDTH, CLASSES)
    blobs = reference.random_blobs(ops)
    clip = np.random.default_rng(0).integers(0, 256, (1, 16, 112, 112, 3)).astype("float32")
    bgr = clip[..., ::-1] - np.float32([104, 117, 123])
    scores = reference.run(ops, blobs, bgr.transpose(0, 4, 1, 2, 3), settle=True)
    path = tmp_path_factory.mktemp(request.param) / "net.caffemodel"
    path.write_bytes(reference.encode(ops, blobs))
    return {
        "network": request.param, "ops": ops, "blobs": blobs, "path": str(path),
        "clip": clip - np.float32([123, 117, 104]), "scores": scores,
    }  # fmt: skip


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """Layers and weights of a small ARTNet (d), and a function that writes and converts them."""
    ops = reference.graph("artnet_d", 2, 3)
    folder = tmp_path_factory.mktemp("deep")

    def convert(ops, blobs, network="artnet_d", classes=3, **options):
        path = folder / "net.caffemodel"
        path.write_bytes(reference.encode(ops, blobs, **options))
        return caffe.convert(path, network, classes, width=2)

    return ops, reference.random_blobs(ops), convert


def test_the_published_graph_gives_the_same_scores(published, monkeypatch):
    def unset(network, **options):
        model = caffe.CaffeResNet18(network, **options)
        for variable in model.weights:
            variable.assign(np.full(variable.shape, np.nan))
        return model

    monkeypatch.setattr(conversion, "CaffeResNet18", unset)
    converted = caffe.convert(published["path"], published["network"], **SMALL)
    left = [
        v.path for v in converted.model.weights if np.isnan(keras.ops.convert_to_numpy(v)).any()
    ]
    assert not left, "every weight of the model comes from the file"
    rows = [row[0] for row in converted.rows]
    assert rows == [op.name for op in published["ops"] if op.shapes], "every layer has its row"

    scores = converted.model.predict(published["clip"], verbose=0)
    expected = published["scores"]
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    swapped = converted.model.predict(published["clip"][..., ::-1], verbose=0)
    assert np.abs(swapped - expected).max() > 1e-2, "the order of channels counts"


def test_file_of_a_training_run_with_another_classifier(deep):
    """Splits that Caffe inserts, a loss, two segments' scores averaged; names of one's own."""
    ops, blobs, convert = deep
    *ops, fc = ops
    renamed = []
    for op in ops:
        renamed.append(op)
        if op.name == "conv1_bn":
            renamed.append(reference.Op("split", "Split", ("conv1_bn",), "conv1_bn"))
    renamed += [
        fc._replace(name="fc-ucf", top="fc8", shapes=((101, 16), (101,))),
        reference.Op("reshape_fc8", "Reshape", ("fc8",), "reshape_fc8"),
        reference.Op("pool_fusion", "Pooling", ("reshape_fc8",), "pool_fc8"),
        reference.Op("loss", "SoftmaxWithLoss", ("pool_fc8", "data"), "loss"),
    ]
    classifier = [np.full((101, 16), 0.25, "float32"), np.arange(101, dtype="float32")]
    blobs = {**blobs, "fc-ucf": classifier}
    model = convert(renamed, blobs, classes=101).model
    np.testing.assert_array_equal(model.get_layer("predictions").bias, np.arange(101))


def test_other_ways_to_write_the_same_numbers(deep):
    ops, blobs, convert = deep
    packed = convert(ops, blobs).model.weights
    for style in ("double", "pieces"):
        for ours, theirs in zip(
            convert(ops, blobs, style=style).model.weights, packed, strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def weights(name, change):
    """The same layers with other weights of one of them."""
    return lambda ops, blobs: (ops, {**blobs, name: change(blobs[name])})


def layers(change):
    """The same weights with other layers."""
    return lambda ops, blobs: (change(ops), blobs)


def bottoms(name, *names):
    """Another input of a layer."""
    return layers(lambda ops: [op._replace(bottoms=names) if op.name == name else op for op in ops])


def renamed(old, new):
    return lambda ops, blobs: (
        [op._replace(name=new) if op.name == old else op for op in ops],
        {**blobs, new: blobs[old]},
    )


def with_six_more(ops, blobs):
    names = [f"x{i}" for i in range(6)]
    more = [reference.Op(name, "BN", ("fc-action",), name) for name in names]
    return [*ops, *more], {**blobs, **{name: [np.ones(3, "float32")] for name in names}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            layers(lambda ops: [op for op in ops if not op.name.startswith("res5b")]),
            r"artnet_d as its authors published it. "
            r"Received: no weights for res5b_1, res5b_1_bn, res5b_2, res5b_bn$",
        ),
        (with_six_more, r"Received: no place for x0, x1, x2, x3 and 2 more$"),
        (
            renamed("res3a_down", "res3a_proj"),
            r"Received: no weights for res3a_down; no place for res3a_proj$",
        ),
        (layers(lambda ops: [*ops, ops[1]]), r"Received: twice conv1$"),
        (
            weights("res4a_1", lambda blobs: [blobs[0][:, :, :2]]),
            r"layer res4a_1 of `path` must have blobs 8x4x3x3x3. Received: 8x4x2x3x3",
        ),
        (
            weights("conv1_bn", lambda blobs: blobs[:2]),
            r"layer conv1_bn of `path` must have blobs 2, 2, 2, 2. Received: 1x2, 1x2",
        ),
        (
            weights("fc8", lambda blobs: [blobs[0].T, blobs[1]]),
            r"layer fc8 of `path` must have blobs 3x16, 3. Received: 16x3, 3",
        ),
        (
            weights("res3a_2", lambda blobs: [*blobs, blobs[1]]),
            r"layer res3a_2 of `path` must have blobs 4x4x1x3x3, 4. Received: 4x4x1x3x3, 4, 4$",
        ),
        (
            weights("pooling3", lambda blobs: [2 * blobs[0]]),
            r"layer pooling3 of `path` must have the fixed weights 0.5. Received: 1.0 to 1.0",
        ),
        (
            weights("redu2", lambda blobs: [np.nan * blobs[0]]),
            r"layer redu2 of `path` must have finite weights. Received: NaN or infinity",
        ),
        (
            weights("res2a_bn", lambda blobs: [*blobs[:3], -blobs[3]]),
            r"layer res2a_bn of `path` must have variances in its fourth blob. Received: -[01]\.",
        ),
        (
            bottoms("concat2", "pooling2_bn", "res2a_2_bn"),
            r"layer redu2 reads ReLU\(pooling2_bn\) and ReLU\(res2a_2_bn\) where that reads "
            r"ReLU\(res2a_2_bn\) and ReLU\(pooling2_bn\)",
        ),
        (
            bottoms("res2a", "redu1_bn", "redu2"),
            r"layer res2a_bn reads ReLU\(redu1_bn\) and redu2 where that reads redu1 and redu2",
        ),
        (
            layers(lambda ops: [op for op in ops if op.name != "res2a_1_bn_relu"]),
            r"layer res2a_2 reads res2a_1_bn where that reads ReLU\(res2a_1_bn\)",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_files_of_other_networks_are_refused(deep, change, message):
    ops, blobs, convert = deep
    with pytest.raises(ValueError, match=message) as error:
        convert(*change(ops, blobs))
    assert "\n" not in str(error.value)


def test_the_wrong_network_or_width(deep):
    ops, blobs, convert = deep
    with pytest.raises(ValueError, match=r"caffemodel of c3d.*no place for conv1_t, conv1_t_bn"):
        convert(ops, blobs, "c3d")
    with pytest.raises(ValueError, match=r"`network` must be one of c3d, .*'c3d_34'"):
        convert(ops, blobs, "c3d_34")
    with pytest.raises(
        ValueError, match=r"layer fc8 of `path` must have blobs 400x16, 400. Received: 3x16, 3"
    ):
        convert(ops, blobs, classes=400)


@pytest.mark.parametrize("published", ["artnet_d"], indirect=True)
def test_what_the_command_writes(published, tmp_path, capsys):
    """The command's file, in the three ways that weights of a file are used."""
    network, output = published["network"], tmp_path / "out" / "net.keras"
    labels = tmp_path / "names.txt"
    labels.write_text("".join(f"class {i}\n" for i in range(CLASSES)))
    flags = [
        f"--caffemodel={published['path']}", f"--model={network}", f"--classes={CLASSES}",
        f"--width={WIDTH}", f"--labels={labels}",
    ]  # fmt: skip
    assert cli.run("convert-caffe", [*flags, f"--output={output}"]) == 0
    out = capsys.readouterr().out
    assert "BGR to RGB" in out and "trainable parameters" in out and str(output) in out
    assert sorted(p.name for p in output.parent.iterdir()) == ["net.keras", "net.labels.txt"]
    assert (output.parent / "net.labels.txt").read_text() == labels.read_text()

    loaded = keras.saving.load_model(output, safe_mode=True)
    expected = published["scores"]
    np.testing.assert_allclose(loaded.predict(published["clip"], verbose=0), expected, atol=1e-4)

    other = caffe.CaffeResNet18(network, classes=3, width=WIDTH)
    report = models.initialize_from(other, loaded)
    assert list(report.skipped) == ["predictions"] and not report.adapted

    weights = output.with_name("net.weights.h5")
    assert cli.run("convert-caffe", [*flags, f"--output={weights}"]) == 0
    again = caffe.CaffeResNet18(network, str(weights), **SMALL, classifier_activation=None)
    np.testing.assert_allclose(again.predict(published["clip"], verbose=0), expected, atol=1e-4)


def test_the_command_refuses_in_one_line_and_writes_nothing(tmp_path, capsys):
    html, labels = tmp_path / "net.caffemodel", tmp_path / "names.txt"
    html.write_text("<html>404</html>")
    labels.write_text("one\ntwo\n")
    names, output = f"--labels={labels}", f"--output={tmp_path / 'new' / 'net.keras'}"
    for flags, message in (
        ([f"--caffemodel={html}", output, "--nolabels"], "nolabels"),
        ([f"--caffemodel={html}", output, names], "`labels` must name each of the 400 classes"),
        ([f"--caffemodel={html}", output, names, "--classes=2"], "`path` must be a .caffemodel"),
        ([f"--caffemodel={tmp_path}/none", output], "No such file"),
        ([f"--caffemodel={html}", f"--output={tmp_path}/net.h5"], "`output` must be NAME.keras"),
        ([f"--caffemodel={html}", output, "--model=c2d"], "c2d"),
    ):
        assert cli.run("convert-caffe", flags) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["names.txt", "net.caffemodel"]


def test_the_networks_of_the_flag_are_those_of_the_package():
    assert set(convert_caffe.FLAGS["model"].parser.enum_values) == set(caffe.NETWORKS)


@pytest.mark.parametrize(
    ("network", "parameters"),
    [("c3d", 37_842_512), ("artnet_s", 37_858_448), ("artnet_d", 39_670_160)],
)
def test_parameters_at_full_size(network, parameters):
    """Trainable parameters at 400 classes, counted from the shapes of the prototxt.

    Convolutions have no bias, as the normalizations behind them take it; a reduction has one.
    """
    count = 0
    for op in reference.graph(network):
        if op.type == "BN":
            count += 2 * op.shapes[0][1]
        elif op.shapes and not op.name.startswith("pooling"):
            count += int(np.prod(op.shapes[0]))
            count += op.shapes[0][0] if op.name.startswith(("redu", "fc")) else 0
    assert trainable_parameters(caffe.CaffeResNet18(network)) == count == parameters
