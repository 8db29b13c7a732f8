"""The SavedModel: raw frames in, the model's own scores out, without this package."""

import json
import pathlib
import re
import subprocess
import sys
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_videorel import ClipSpec, export, layers, models
from keras_videorel.data import flow, pipeline, sampling, video
from keras_videorel.data.manifest import read_manifest
from keras_videorel.export import saved_model
from keras_videorel.files import read_json
from keras_videorel.prediction import Predictor, predictor
from tests.clips import clip_of
from tests.shards import write_shards
from tests.videos import LOSSLESS, write_video

MEAN = (123.0, 117.0, 104.0)
LABELS = ["walk", "run", "jump"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model with logits and random statistics, and its SavedModel."""
    keras.utils.set_random_seed(0)
    model = models.ARTNetResNet18(
        "s", input_shape=(8, 24, 24, 3), classes=3, width=4, classifier_activation=None
    )
    rng = np.random.default_rng(0)
    x = rng.normal(scale=60, size=(8, 8, 24, 24, 3)).astype("float32")
    for _ in range(10):
        model(x, training=True)  # moving statistics of their own
    path = tmp_path_factory.mktemp("export") / "model"
    export.export_saved_model(
        model, str(path), clip_of(model, frame_size=(28, 36)), LABELS, from_logits=True, clips=3
    )
    return model, path


@pytest.fixture(scope="module")
def signatures(exported):
    """Those of the SavedModel, loaded."""
    return tf.saved_model.load(str(exported[1])).signatures


def expected_logits(model, video):
    """Clips, center crop and mean by hand, for a video whose frames have the right size."""
    indices = sampling.uniform_clips(len(video), min(3, max(len(video) - 7, 1)), 8).numpy()
    clips = video[indices][:, :, 2:26, 6:30].astype("float32") - MEAN
    return model(clips.astype("float32"), training=False).numpy().mean(axis=0)


@pytest.mark.parametrize("frames", [3, 8, 9, 40])
def test_signature_gives_the_models_scores(exported, signatures, frames):
    model, _ = exported
    videos = np.random.default_rng(1).integers(0, 256, (2, frames, 28, 36, 3), np.uint8)
    outputs = signatures["serving_default"](frames=tf.constant(videos))
    expected = np.stack([expected_logits(model, video) for video in videos])
    np.testing.assert_allclose(outputs["logits"], expected, atol=1e-4)
    np.testing.assert_allclose(outputs["probabilities"], tf.nn.softmax(expected), atol=1e-5)
    assert np.ptp(expected) > 0.01


def test_an_export_shows_the_network_what_evaluation_does(exported, tmp_path):
    """Frames of twice the size that the network's input is the paper's share of."""
    model, _ = exported
    y, x = np.mgrid[0:56, 0:72]
    video = [
        127 + 90 * np.sin((x + 3 * t) / 9 + c) * np.cos(y / 7) for t in range(8) for c in range(3)
    ]
    video = np.moveaxis(np.reshape(video, (8, 3, 56, 72)), 1, -1).astype(np.uint8)
    shards = write_shards(tmp_path / "shards", {"test": [(video, 0)]}, LABELS, (56, 72))
    info = read_manifest(str(shards))
    for scale in (0.875, 0.5):
        clip = clip_of(model, frame_size=(56, 72), test_scale=scale)
        views = pipeline.evaluation_views(info, clip, clips=1, crops=1)
        expected = model(next(iter(views))[0], training=False)
        path = export.export_saved_model(
            model, str(tmp_path / "m"), clip, LABELS, from_logits=True, clips=1
        )
        served = tf.saved_model.load(path).signatures["serving_default"]
        logits = served(frames=tf.constant(video[None]))["logits"]
        np.testing.assert_allclose(logits, expected, atol=0.03)  # the shards' JPEGs
        assert read_json(f"{path}/export.json")["test_scale"] == scale


@pytest.mark.parametrize("name", ["serving_default", "clips"])
def test_gray_and_rgba_frames(signatures, name):
    video = np.random.default_rng(2).integers(0, 256, (2, 8, 28, 36, 1), np.uint8)
    key = "frames" if name == "serving_default" else "clips"

    def logits(frames):
        return signatures[name](**{key: tf.constant(frames)})["logits"]

    expected = logits(np.repeat(video, 3, axis=-1))
    np.testing.assert_array_equal(logits(video), expected)
    alpha = np.concatenate([np.repeat(video, 3, axis=-1), 255 - video], axis=-1)
    np.testing.assert_array_equal(logits(alpha), expected)
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"`{key}` must have 3 channels"):
        logits(alpha[..., :2])


@pytest.mark.parametrize(
    ("name", "key", "shape", "kind"),
    [
        ("serving_default", "frames", (1, 0, 28, 36, 3), tf.uint8),
        ("serving_default", "frames", (0, 9, 28, 36, 3), tf.uint8),
        ("serving_default", "frames", (1, 9, 0, 36, 3), tf.uint8),
        ("clips", "clips", (0, 8, 28, 36, 3), tf.uint8),
        ("jpegs", "jpegs", (1, 0), tf.string),
        ("jpegs", "jpegs", (0, 9), tf.string),
        ("preprocessed", "samples", (0, 8, 24, 24, 3), tf.float32),
    ],
)
def test_nothing_is_refused(signatures, name, key, shape, kind):
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"`{key}` must not be empty"):
        signatures[name](**{key: tf.zeros(shape, kind)})


@pytest.mark.parametrize(
    ("name", "shape", "wanted"),
    [
        ("clips", (1, 7, 28, 36, 3), r"`clips` must be of shape \(batch, 8, any, any, any\)"),
        ("samples", (1, 8, 24, 20, 3), r"`samples` must be of shape \(batch, 8, 24, 24, 3\)"),
        ("samples", (1, 8, 24, 24, 1), r"`samples` must be of shape \(batch, 8, 24, 24, 3\)"),
    ],
)
def test_other_shapes_are_refused(signatures, name, shape, wanted):
    signature, kind = ("clips", tf.uint8) if name == "clips" else ("preprocessed", tf.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match=wanted):
        signatures[signature](**{name: tf.zeros(shape, kind)})


def test_frames_of_any_size(signatures):
    """A smooth scene at twice the size gives nearly the scores of the scene itself."""
    serve = signatures["serving_default"]
    y, x = np.mgrid[0:28, 0:36] / 28
    scene = np.stack(
        [127 + 90 * np.sin(2 * np.pi * (x + 0.1 * t)) * np.cos(np.pi * y) for t in range(8)]
    )
    small = np.repeat(scene[..., None], 3, -1)
    large = tf.image.resize(small, (56, 72), method="bicubic")
    logits = [
        serve(frames=tf.cast(tf.round(v), tf.uint8)[None])["logits"].numpy() for v in (small, large)
    ]
    np.testing.assert_allclose(logits[0], logits[1], atol=0.1)


def test_loads_without_this_package(exported, tmp_path):
    """Elsewhere, with TensorFlow and where this package cannot be imported: the same numbers."""
    model, path = exported
    code = (
        "import sys, json\n"
        "sys.modules['keras_videorel'] = None  # an import of it fails\n"
        "import numpy as np, tensorflow as tf\n"
        f"model = tf.saved_model.load({str(path)!r})\n"
        "video = np.arange(10 * 28 * 36 * 3).reshape(1, 10, 28, 36, 3).astype(np.uint8)\n"
        "logits = model.signatures['serving_default'](frames=tf.constant(video))['logits']\n"
        "labels = model.signatures['labels']()['labels']\n"
        "print(json.dumps([logits.numpy().tolist(), [l.decode() for l in labels.numpy()]]))\n"
    )
    command = [sys.executable, "-I", "-c", code]
    out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    logits, labels = json.loads(out.stdout.splitlines()[-1])
    video = np.arange(10 * 28 * 36 * 3).reshape(10, 28, 36, 3).astype(np.uint8)
    np.testing.assert_allclose(logits[0], expected_logits(model, video), atol=1e-4)
    assert labels == LABELS
    assert (path / "labels.txt").read_text().split() == LABELS


def test_saved_model_cli_shows_the_signatures(exported):
    _, path = exported
    words = ["-m", "tensorflow.python.tools.saved_model_cli", "show", "--dir", str(path), "--all"]
    out = subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True)
    shown = re.sub(r"\s+", " ", out.stdout)
    for signature, name, kind, shape in (
        ("serving_default", "frames", "DT_UINT8", "(-1, -1, -1, -1, 3)"),
        ("clips", "clips", "DT_UINT8", "(-1, 8, -1, -1, 3)"),
        ("preprocessed", "samples", "DT_FLOAT", "(-1, 8, 24, 24, 3)"),
        ("jpegs", "jpegs", "DT_STRING", "(-1, -1)"),
    ):
        words = f"signature_def['{signature}']: The given SavedModel SignatureDef contains the "
        words += f"following input(s): inputs['{name}'] tensor_info: dtype: {kind} shape: {shape}"
        assert words in shown
    assert "signature_def['relations']" not in shown, "of a relational LSTM alone"


def test_preprocessed_samples(exported, signatures):
    model, _ = exported
    x = np.random.default_rng(4).normal(scale=60, size=(2, 8, 24, 24, 3)).astype("float32")
    outputs = signatures["preprocessed"](samples=tf.constant(x))
    expected = model(x, training=False)
    np.testing.assert_allclose(outputs["logits"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs["probabilities"], tf.nn.softmax(expected), atol=1e-5)


@pytest.mark.parametrize("num_frames", [1, 12, 40])
def test_jpegs_score_as_their_frames(strided, strided_signatures, num_frames):
    """Videos of two sizes in one batch; each as its decoded frames in `serving_default`."""
    model, signatures = strided[0], strided_signatures
    channels = 3 if stream_of(model) == "rgb" else 2
    rng = np.random.default_rng(5)
    jpegs, expected = [], []
    for size in ((28, 36), (40, 50)):
        pictures = rng.integers(0, 256, (num_frames, *size, 3), np.uint8)
        encoded = [tf.io.encode_jpeg(picture) for picture in pictures]
        decoded = [tf.io.decode_jpeg(e, dct_method="INTEGER_ACCURATE") for e in encoded]
        frames = tf.stack(decoded)[tf.newaxis, ..., :channels]
        expected.append(signatures["serving_default"](frames=frames)["logits"][0])
        jpegs.append(tf.stack(encoded))
    found = signatures["jpegs"](jpegs=tf.stack(jpegs))["logits"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 0.01


def test_figures_and_the_model_card(exported, tmp_path):
    """What an export is worth is measured on the file, and written down for people."""
    model, _ = exported
    x = np.random.default_rng(4).normal(scale=60, size=(3, 1, 8, 24, 24, 3)).astype("float32")
    path = tmp_path / "m"
    found = export.export_model(
        model,
        str(path),
        clip_of(model, frame_size=(28, 36)),
        labels=LABELS,
        from_logits=True,
        verification=x,
        training={"epochs": 7},
    )
    settings = read_json(path / "export.json")
    assert settings["formats"] == found
    figures = found["saved_model.pb"]
    assert figures["samples"] == 3 and figures["agreement"] == 1 and figures["max_error"] < 1e-3
    stored = [path / "saved_model.pb", *(path / "variables").iterdir()]
    assert figures["bytes"] >= sum(file.stat().st_size for file in stored) > 0.9 * figures["bytes"]
    card = (path / "README.md").read_text()
    for words in (
        "# artnet_resnet18_s", "arxiv.org/abs/1711.09125", "of 3 classes", "a clip of 8 RGB frames",
        "the middle (0.875 of the shorter side) is resized to 24x24",
        "| `jpegs` | `jpegs`: string (batch, time) |", "| epochs | 7 |",
        "less 123, 117, 104, divided by 1.", "100.0%",
    ):  # fmt: skip
        assert words in card
    assert "1811.07059" not in card and "`relations`" not in card


def test_an_export_that_differs_is_refused(exported, tmp_path, monkeypatch):
    model, _ = exported
    x = np.random.default_rng(4).normal(scale=60, size=(3, 1, 8, 24, 24, 3)).astype("float32")
    monkeypatch.setattr(saved_model, "scorer", lambda path: lambda x: -model(x, training=False))
    with pytest.raises(ValueError, match=r"no saved_model: .* on 0\.000 of 3 samples"):
        export.export_model(
            model, str(tmp_path / "m"), clip_of(model), from_logits=True, verification=x
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("backbone", ["clips", "images"])
def test_relations_are_those_of_the_cell_step_by_step(backbone, tmp_path):
    keras.utils.set_random_seed(0)
    snippet = (4, 32, 48, 3) if backbone == "clips" else (32, 48, 3)
    video = keras.Input((3, *snippet))
    layer = layers.RelationalLSTM(6, kernel_initializer=keras.initializers.RandomNormal(0, 1.0))
    if backbone == "clips":  # (time, height, width) of (2, 2, 3), as positions of (4, 3)
        x = keras.layers.AveragePooling3D((2, 16, 16))(keras.ops.reshape(video, (-1, *snippet)))
        x = keras.ops.reshape(x, (-1, 3, 4, 3, 3))
    else:
        x = keras.layers.AveragePooling2D(16)(keras.ops.reshape(video, (-1, *snippet)))
        x = keras.ops.reshape(x, (-1, 3, 2, 3, 3))
    y = keras.layers.GlobalAveragePooling2D()(layer(x))
    model = keras.Model(video, keras.layers.Dense(2)(y))
    clip = clip_of(
        model, segments=3, frame_size=(32, 48), test_scale=1.0, mean=(127.5,) * 3, std=60.0
    )
    path = export.export_saved_model(model, str(tmp_path / "m"), clip, from_logits=True)
    size = (2, 3 * (4 if backbone == "clips" else 1), 2, 3, 3)
    clips = np.random.default_rng(6).integers(0, 256, size, np.uint8).repeat(16, 2).repeat(16, 3)
    signatures = tf.saved_model.load(path).signatures
    outputs = signatures["relations"](clips=tf.constant(clips))
    scored = signatures["clips"](clips=tf.constant(clips))
    for name in ("logits", "probabilities"):
        np.testing.assert_allclose(outputs[name], scored[name], atol=1e-5)

    x = (clips.reshape(2, *model.input_shape[1:]).astype("float32") - 127.5) / 60
    features = keras.Model(model.input, layer.input)(x)
    h = c = np.zeros((2, layer.cell.output_size), "float32")
    expected = []
    for step in tf.unstack(features, axis=1):
        flat = tf.reshape(step, (2, layer.cell.positions, 3))
        expected.append(layer.cell.attention_maps(flat, h)[1])
        _, (h, c) = layer.cell(step, [h, c])
    expected = np.stack(expected, axis=1)  # (batch, T, 4, positions, positions)
    np.testing.assert_allclose(outputs["relations"], expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(expected.sum(axis=-1), 1, atol=1e-5)
    assert np.ptp(expected[:, 1:], axis=-1).min() > 1e-4, "H_1 and H_2 are looked at unevenly"
    settings = read_json(f"{path}/export.json")
    assert settings["spatial_shape"] == ([4, 3] if backbone == "clips" else [2, 3])
    assert settings["feature_times"] == (2 if backbone == "clips" else 1)
    card = pathlib.Path(path, "README.md").read_text()
    places = expected.shape[-1]
    assert f"`relations`: float32 (batch, 3, 4, {places}, {places})" in card
    assert "1811.07059" in card


def test_probabilities_come_through(tmp_path):
    """A model that ends with a softmax: its logits are the logarithms, up to a constant."""
    inputs = keras.Input((4, 16, 16, 3))
    x = keras.layers.AveragePooling3D(4)(keras.layers.Rescaling(1 / 64)(inputs))
    x = keras.layers.Flatten()(x)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    path = export.export_saved_model(
        model, str(tmp_path / "m"), clip_of(model, test_scale=1.0), clips=1
    )
    video = np.random.default_rng(1).integers(0, 256, (1, 4, 16, 16, 3), np.uint8)
    outputs = tf.saved_model.load(path).signatures["serving_default"](frames=tf.constant(video))
    expected = model.predict((video - np.array(MEAN)).astype("float32"), verbose=0)
    assert np.ptp(expected) > 0.05
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)


def test_errors(exported, tmp_path):
    model, _ = exported
    path, clip = str(tmp_path / "m"), clip_of(model)
    with pytest.raises(ValueError, match=r"`class_names` must name each of the model's 3.*: 2"):
        export.export_saved_model(model, path, clip, ["a", "b"])
    with pytest.raises(ValueError, match="`clips` must be an integer of at least 1"):
        export.export_saved_model(model, path, clip, clips=0)
    anywhere = models.C3DResNet18(input_shape=(None, 24, 24, 3), classes=3, width=4)
    with pytest.raises(ValueError, match=r"\(8, 24, 24, 3\).*: input_shape=\(None, None, 24, "):
        export.export_saved_model(anywhere, path, clip)
    assert not list(tmp_path.iterdir())


def test_another_folder_is_not_replaced(tmp_path):
    """`--output saved_models`, the name forgotten, must not cost the models that are there."""
    inputs = keras.Input((4, 24, 24, 3))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "weights").write_bytes(b"precious")
    for path in (tmp_path, tmp_path / "other" / "weights"):
        with pytest.raises(ValueError, match=r"`path` must be a new folder or an older export"):
            export.export_saved_model(model, str(path), clip_of(model), LABELS)
    assert (tmp_path / "other" / "weights").read_bytes() == b"precious"
    path = str(tmp_path / "model")
    for clips in (1, 2):  # an older export is replaced
        export.export_saved_model(model, path, clip_of(model), LABELS, clips=clips)
        assert json.loads((tmp_path / "model" / "export.json").read_text())["clips"] == clips


# Input shape of a model, segments, frames of a clip or snippet.
SAMPLES = {"clips": ((4, 24, 24, 3), 0, 4), "images": ((4, 24, 24, 3), 4, 1)}
SAMPLES["snippets"] = ((3, 2, 24, 24, 3), 3, 2)
SAMPLES["flow clips"] = ((4, 24, 24, 2), 0, 4)
SAMPLES["flow stacks"] = ((3, 24, 24, 4), 3, 2)
SAMPLES["flow snippets"] = ((3, 2, 24, 24, 2), 3, 2)
SCALED = {
    "rgb": {"mean": (127.5, 120.0, 110.0), "std": 127.5},
    "flow": {"mean": (127.5, 120.0), "std": 127.5},
}


def stream_of(model):
    return "rgb" if model.input_shape[-1] == 3 else "flow"


@pytest.fixture(scope="module", params=list(SAMPLES))
def strided(request, tmp_path_factory):
    """A model for which the order of frames matters, and its export with a stride of 2."""
    shape, segments, frames = SAMPLES[request.param]
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    x = keras.layers.Reshape((-1, 24, 24, shape[-1]))(inputs)
    x = keras.layers.AveragePooling3D((1, 4, 4))(x)
    x = keras.layers.Dense(16, activation="tanh")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    path = str(tmp_path_factory.mktemp("export") / request.param.replace(" ", "_"))
    stream = stream_of(model)
    clip = clip_of(model, segments, stream, frame_size=(28, 36), frame_stride=2, **SCALED[stream])
    export.export_saved_model(model, path, clip, LABELS, from_logits=True, clips=3)
    return model, path, segments, frames


@pytest.fixture(scope="module")
def strided_signatures(strided):
    return tf.saved_model.load(strided[1]).signatures


def samples_by_hand(video, segments, frames):
    """`(count, frames of a sample)`: frame numbers that an export with 3 clips, stride 2 takes."""
    last, span = len(video) - 1, 2 * (frames - 1) + 1
    if not segments:
        room = max(len(video) - span, 0)
        starts = {0: [0], 1: [0, 1]}.get(room, [0, int(room / 2 + 0.5), room])
        return [[min(s + 2 * i, last) for i in range(frames)] for s in starts]
    parts = [
        (k * len(video) // segments, (k + 1) * len(video) // segments) for k in range(segments)
    ]
    places = [max(end - first - span, 0) + 1 for first, end in parts]
    groups = min(3, max(places))
    return [
        [
            min(first + (2 * p + 1) * room // (2 * groups) + 2 * i, last)
            for (first, _), room in zip(parts, places, strict=True)
            for i in range(frames)
        ]
        for p in range(groups)
    ]


def logits_by_hand(model, video, segments, frames):
    scaled = SCALED[stream_of(model)]
    taken = video[samples_by_hand(video, segments, frames)][:, :, 2:26, 6:30]
    x = (taken.astype("float32") - scaled["mean"]) / scaled["std"]
    if len(model.input_shape) == 5 and stream_of(model) == "flow" and segments:
        # The fields of a snippet one after the other, x before y.
        snippets = [range(t * frames, (t + 1) * frames) for t in range(segments)]
        x = np.stack([np.concatenate([x[:, i] for i in t], axis=-1) for t in snippets], axis=1)
    return model(x.reshape(-1, *model.input_shape[1:]).astype("float32")).numpy()


@pytest.mark.parametrize("num_frames", [2, 11, 40])
def test_signatures_sample_with_a_stride(strided, strided_signatures, num_frames):
    (model, _, segments, frames), signatures = strided, strided_signatures
    channels = 3 if stream_of(model) == "rgb" else 2
    size = (2, num_frames, 28, 36, channels)
    videos = np.random.default_rng(2).integers(0, 256, size, np.uint8)
    outputs = signatures["serving_default"](frames=tf.constant(videos))
    by_hand = [logits_by_hand(model, video, segments, frames) for video in videos]
    expected = np.stack([logits.mean(axis=0) for logits in by_hand])
    np.testing.assert_allclose(outputs["logits"], expected, atol=1e-5)
    np.testing.assert_allclose(outputs["probabilities"], tf.nn.softmax(expected), atol=1e-6)
    assert np.ptp(expected, axis=1).min() > 0.05

    clips = videos[0][samples_by_hand(videos[0], segments, frames)]
    outputs = signatures["clips"](clips=tf.constant(clips))
    np.testing.assert_allclose(outputs["logits"], by_hand[0], atol=1e-5)
    np.testing.assert_allclose(outputs["probabilities"], tf.nn.softmax(by_hand[0]), atol=1e-6)


@pytest.mark.parametrize("num_frames", [1, 2, 3, 23])
def test_predictor_gives_the_signatures_probabilities(
    strided, strided_signatures, num_frames, tmp_path
):
    """The stride is applied once, whether the predictor or the signature takes the frames."""
    model, path, segments, frames = strided
    pixels = np.random.default_rng(3).integers(0, 256, (num_frames, 28, 36, 3), np.uint8)
    file = write_video(tmp_path / "noise.mp4", pixels, **LOSSLESS)
    prediction = Predictor(path)(file)
    assert prediction.frames == num_frames
    found = [dict(zip(prediction.labels, prediction.probabilities, strict=True))[k] for k in LABELS]

    decoded = video.read_frames(file, range(num_frames))
    if stream_of(model) == "flow":
        decoded = np.stack([levels for _, levels in flow.with_flow(decoded, "dis")])
    serve = strided_signatures["serving_default"]
    served = serve(frames=tf.constant(decoded[None]))["probabilities"][0]
    np.testing.assert_allclose(found, served, atol=1e-6)
    logits = logits_by_hand(model, decoded, segments, frames).mean(axis=0)
    np.testing.assert_allclose(found, tf.nn.softmax(logits), atol=1e-6)
    assert np.ptp(found) > 0.01


def test_flow_of_the_frames_that_are_needed_only(tmp_path, monkeypatch):
    """Pairs of neighbors, also after a gap; the last frame repeats the field before it."""
    pixels = np.random.default_rng(3).integers(0, 256, (20, 28, 36, 3), np.uint8)
    file = write_video(tmp_path / "noise.mp4", pixels, **LOSSLESS)
    whole = [levels for _, levels in flow.with_flow(video.read_frames(file, range(20)), "dis")]
    pairs = []
    to_levels = flow.to_levels
    monkeypatch.setattr(flow, "to_levels", lambda field: pairs.append(1) or to_levels(field))
    for wanted, expected in (([12, 3, 4, 12, 4], 3), ([19, 0, 18], 2), ([5], 1)):
        pairs.clear()
        found = predictor._take(
            np.array(wanted), 20, ClipSpec(stream="flow"),
            lambda numbers: predictor._read(file, numbers, None),
        )  # fmt: skip
        assert np.array_equal(found, [whole[index] for index in wanted])
        assert len(pairs) == expected


def test_flow_of_frames_of_another_size(tmp_path):
    """Fields at twice the size are twice as long: they score as those of the wanted size."""
    inputs = keras.Input((2, 24, 24, 2))
    model = keras.Model(inputs, keras.layers.Flatten()(inputs))
    clip = clip_of(model, stream="flow", frame_size=(28, 36))
    path = export.export_saved_model(model, str(tmp_path / "m"), clip, from_logits=True, clips=1)
    serve = tf.saved_model.load(path).signatures["serving_default"]
    field = np.empty((1, 2, 28, 36, 2), np.float32)
    field[:] = np.linspace(-4, 4, 36)[:, np.newaxis] * (1, -0.5)
    large = 2 * field.repeat(2, axis=2).repeat(2, axis=3)
    scores = [serve(frames=flow.to_levels(f))["logits"].numpy() for f in (field, large)]
    np.testing.assert_allclose(scores[0], scores[1], atol=2)  # levels
    assert np.ptp(scores[0]) > 30


def test_export_json_tells_how_samples_are_taken(strided):
    model, path, segments, frames = strided
    settings = read_json(f"{path}/export.json")
    assert settings["segments"] == segments and settings["frames"] == frames
    assert settings["std"] == 127.5 and settings["frame_stride"] == 2
    assert settings["stream"] == stream_of(model)
    assert settings["crop_size"] == [24, 24]


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((4, 24, 24, 3), {"segments": 3, "frames": 4}),
        ((3, 2, 24, 24, 3), {"frames": 3}),
        ((3, 2, 24, 24, 3), {"segments": 2, "frames": 2}),
        ((3, 1, 24, 24, 3), {"segments": 3, "frames": 1}),  # a snippet of one frame is an image
        ((4, 24, 24, 2), {"frames": 4}),
        ((4, 24, 20, 3), {"frames": 4}),
        ((10,), {"frames": 4}),
        ((4, 24, 24, 3), {"stream": "flow", "frames": 4}),
        ((3, 24, 24, 4), {"stream": "flow", "segments": 2, "frames": 2}),
        (
            (3, 24, 24, 4),
            {"stream": "flow", "segments": 3, "frames": 2, "flow_as_channels": False},
        ),
    ],
)
def test_the_clip_must_fit_the_model(shape, settings, tmp_path):
    inputs = keras.Input(shape)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    clip = ClipSpec(**settings, crop_size=24)
    with pytest.raises(ValueError, match="`model` must take samples of the shape of `clip`") as e:
        export.export_saved_model(model, str(tmp_path / "m"), clip)
    assert str(clip.shape) in str(e.value) and str(model.input_shape) in str(e.value)
    assert not list(tmp_path.iterdir())


def test_an_export_of_an_older_version_is_refused(exported, tmp_path, monkeypatch):
    _, path = exported

    class Older:
        signatures: ClassVar = {"serving_default": None, "labels": None}

    monkeypatch.setattr(tf.saved_model, "load", lambda path: Older)
    with pytest.raises(ValueError, match="exported by an older version: export it again"):
        Predictor(str(path))


def test_command_exports_what_the_config_says(strided, tmp_path, monkeypatch, capsys):
    from keras_videorel import cli
    from keras_videorel.data.manifest import Manifest
    from keras_videorel.runs import exporter, workdir
    from keras_videorel.runs.config import base

    model, _, segments, frames = strided
    config = base()
    stream = stream_of(model)
    config.data.update({"segments": segments, "frames": frames, "frame_stride": 2})
    config.data.update({"crop_size": 24, "stacked": len(model.input_shape) == 5})
    config.data.update({"stream": stream, **SCALED[stream]})
    workdir.open_run(str(tmp_path / "run"), config, Manifest("shards", LABELS, (28, 36), {}))
    monkeypatch.setattr(exporter, "load_model", lambda *_: (model, 1))
    words = [f"--workdir={tmp_path / 'run'}", f"--output={tmp_path / 'm'}", "--clips=3"]
    assert cli.run("export", words) == 0
    settings, expected = (read_json(f"{p}/export.json") for p in (tmp_path / "m", strided[1]))
    assert settings.pop("formats").keys() == expected.pop("formats").keys() == {"saved_model.pb"}
    del settings["flow_as_channels"], expected["flow_as_channels"]  # has no effect on some
    assert settings == expected
    clip = ClipSpec.from_json(read_json(tmp_path / "run" / "frames.json"))
    assert clip == workdir.read_clip_spec(str(tmp_path / "run"))
    assert clip.shape == model.input_shape[1:] and clip.frame_size == (28, 36)
    assert cli.run("export", [*words, "--config.data.frame_stride=1"]) == 2
    assert "must take samples as the run" in capsys.readouterr().err
