"""Training from a config: schedule, weight decay, learning, resuming."""

import importlib.util
import json
import shutil

import keras
import numpy as np
import pytest

from keras_videorel import runs
from keras_videorel.data import pipeline
from keras_videorel.data.manifest import read_manifest
from keras_videorel.evaluation import metrics
from keras_videorel.evaluation.videos import video_scores
from keras_videorel.runs import networks, workdir
from keras_videorel.runs.config import (
    base,
    clip_spec,
    parse_argument,
    relational_lstm,
    video_resnet,
)
from keras_videorel.training import optimization
from tests.shards import gray_video, two_classes, write_shards
from tests.tiny_runs import build_tiny, train_tiny, weights


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return two_classes(tmp_path_factory.mktemp("shards"))


def small_config(shards, **train):
    config = base(model=video_resnet("artnet_s", width=4, dropout=0.5))
    config.data.path = str(shards)
    config.data.frames = 8
    config.data.crop_size = 24
    config.data.crop_scales = (1.0,)
    config.data.mirror = False
    config.train.batch_size = 8
    config.train.learning_rate = 0.05
    config.train.decay_epochs = ()
    config.eval.clips = 2
    config.eval.crops = 5
    config.train.update({"epochs": 2, **train})
    return config


@pytest.fixture(scope="module")
def trained(shards, tmp_path_factory):
    """The folder of a finished run of two epochs, to be left as it is."""
    folder = tmp_path_factory.mktemp("trained")
    runs.train(small_config(shards), str(folder))
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.mark.slow
def test_learns_direction_and_evaluates(shards, tmp_path):
    """The classes share their frames: only motion tells them apart."""
    config = small_config(shards, epochs=24, decay_epochs=(16,))
    runs.train(config, str(tmp_path))
    results = runs.evaluate(config, str(tmp_path), str(tmp_path / "scores.npz"))
    assert results["top1"] >= 0.9
    assert results["videos"] == 8 and results["epochs"] == 24 and results["chance"] == 0.5
    assert workdir.read_config(str(tmp_path)).to_dict() == config.to_dict()

    scores = np.load(tmp_path / "scores.npz")
    assert (scores["logits"].argmax(1) == scores["labels"]).mean() == results["top1"]
    assert sorted(scores["paths"]) == [f"test/{i}.mp4" for i in range(8)]
    for name in ("curves.png", "confusion.png"):
        assert (tmp_path / "figures" / name).read_bytes().startswith(b"\x89PNG")
    log = (tmp_path / "logs" / "train.csv").read_text().splitlines()
    assert len(log) == 25 and "val_top1" in log[0] and "learning_rate" in log[0]
    assert any(p.name.startswith("events") for p in (tmp_path / "logs").rglob("*"))


def test_stopped_training_goes_on_as_if_it_had_not(shards, tmp_path):
    """An epoch, then another, give the weights of two: input, dropout, momentum, rate."""
    options = {"decay_epochs": (1,), "warmup_epochs": 1}
    whole = train_tiny(small_config(shards, epochs=2, **options), tmp_path / "whole")
    parts = str(tmp_path / "parts")
    train_tiny(small_config(shards, epochs=1, **options), parts)
    resumed = train_tiny(small_config(shards, epochs=2, **options), parts)
    for name, value in weights(whole).items():
        np.testing.assert_array_equal(value, weights(resumed)[name])
    logs = [(tmp_path / run / "logs/train.csv").read_text() for run in ("whole", "parts")]
    assert logs[0] == logs[1]
    names = sorted(p.name for p in (tmp_path / "parts/checkpoints").iterdir())
    assert names == ["epoch-0001.weights.h5", "epoch-0002.weights.h5"]


def test_a_torn_checkpoint_falls_back_to_the_one_before(run):
    newest = run / "checkpoints" / "epoch-0002.weights.h5"
    newest.write_bytes(newest.read_bytes()[:1000])
    _, epochs = runs.load_model(str(run))
    assert epochs == 1


def test_a_loss_that_is_no_number_stops_training(shards, tmp_path):
    config = small_config(shards, learning_rate=1e30)
    with pytest.raises(ValueError, match=r"loss became (nan|inf).*config.train.learning_rate"):
        train_tiny(config, tmp_path)
    assert not workdir.checkpoints(str(tmp_path))


def test_weight_decay_is_l2_of_kernels_inside_the_momentum():
    """Two steps on a loss of zero: v = m v - lr wd w, w += v, for kernels; others stay."""
    config = base(model=video_resnet("artnet_s", width=4))
    config.data.crop_size = 16
    model = runs.build_model(config, 5)
    optimization.compile_model(model, optimization.sgd(0.1), weight_decay=0.01)
    before = {v.path: keras.ops.convert_to_numpy(v) for v in model.trainable_variables}
    for _ in range(2):
        gradients = decay_gradients(model)
        model.optimizer.apply(gradients, model.trainable_variables)
    kernels = 0
    for variable in model.trainable_variables:
        old, new = before[variable.path], keras.ops.convert_to_numpy(variable)
        if variable.path.endswith("kernel"):
            first = old - 0.1 * 0.01 * old
            second = first + (0.9 * (first - old) - 0.1 * 0.01 * first)
            np.testing.assert_allclose(new, second, rtol=1e-5, atol=1e-7)
            kernels += 1
        else:
            np.testing.assert_array_equal(new, old)
    assert kernels == 1 + 2 + 16 + 3 + 1  # SMART has 3; conv2 to conv5; shortcuts; dense


def decay_gradients(model):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = tf.add_n(model.losses)
    found = tape.gradient(loss, [v.value for v in model.trainable_variables])
    return [
        tf.zeros(v.shape) if g is None else g
        for g, v in zip(found, model.trainable_variables, strict=True)
    ]


def test_another_config_in_the_same_folder_is_refused(shards, run):
    before = sorted(p.stat().st_mtime_ns for p in run.rglob("*"))
    with pytest.raises(ValueError, match=r"another config: train.learning_rate is 0.05 there"):
        runs.train(small_config(shards, learning_rate=0.01), str(run))
    assert sorted(p.stat().st_mtime_ns for p in run.rglob("*")) == before


def test_going_on_with_other_values(shards, tmp_path, capsys):
    """A rate and a batch may change with `override`; the run's history tells what, and when."""
    folder = str(tmp_path)
    train_tiny(small_config(shards, epochs=1), folder)
    changed = small_config(shards, epochs=2, learning_rate=0.01, batch_size=16)
    with pytest.raises(ValueError, match=r"learning_rate is 0.05 there.*go on .* by --override"):
        train_tiny(changed, folder)
    assert not (tmp_path / "history.json").exists()
    train_tiny(changed, folder, override=True)
    (note,) = json.loads((tmp_path / "history.json").read_text())
    assert note["epochs"] == 1 and note["changes"] == {
        "train.batch_size": {"from": 8, "to": 16},
        "train.epochs": {"from": 1, "to": 2},
        "train.learning_rate": {"from": 0.05, "to": 0.01},
    }
    log = (tmp_path / "logs/train.csv").read_text().splitlines()
    rate = log[0].split(",").index("learning_rate")
    assert [round(float(row.split(",")[rate]), 6) for row in log[1:]] == [0.05, 0.01]
    capsys.readouterr()
    train_tiny(changed, folder)
    assert "all 2 epochs are done; raise config.train.epochs" in capsys.readouterr().out
    changed.model = video_resnet("artnet_s", width=6)
    with pytest.raises(
        ValueError, match=r"model.* there .* here.*Choose another --workdir, or del"
    ):
        train_tiny(changed, folder, override=True)


def test_a_larger_batch_inside_an_epoch(shards, tmp_path):
    """After 3 steps of 8 clips, an epoch of 2 steps of 16 goes on with its second."""
    folder = str(tmp_path)

    def stop(epoch, logs):
        raise KeyboardInterrupt

    config = small_config(shards, epochs=1, checkpoint_steps=3)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(config, folder, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=stop)])
    assert workdir.checkpoints(folder)[0][:2] == (0, 3)
    steps = []
    counter = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: steps.append(batch)
    )
    config = small_config(shards, epochs=1, batch_size=16)
    train_tiny(config, folder, override=True, callbacks=[counter])
    assert len(steps) == 1


def test_a_model_of_the_user(shards, tmp_path):
    """Not compiled, it is trained as the config says, also when it is trained further."""
    model = build_tiny(small_config(shards))
    for epochs, rate in ((1, 0.05), (2, 0.005)):
        config = small_config(shards, epochs=epochs, decay_epochs=(1,))
        assert runs.train(config, str(tmp_path / "run"), model, override=True) is model
        assert float(model.optimizer.learning_rate) == pytest.approx(rate)
    trained = weights(model)
    loaded, epochs = runs.load_model(str(tmp_path / "run"), model=build_tiny(config))
    assert epochs == 2
    for name, value in weights(loaded).items():
        np.testing.assert_array_equal(value, trained[name])
    assert runs.evaluate(config, str(tmp_path / "run"), model=build_tiny(config))["videos"] == 8
    with pytest.raises(ValueError, match=r"logits of the 2 classes .*\(None, 3\)"):
        runs.train(config, str(tmp_path / "other"), build_tiny(config, 3))


def test_a_compiled_model_of_the_user(shards, tmp_path):
    """Its optimizer, loss and metrics are used, and resumed."""
    config, folder = small_config(shards, epochs=1), str(tmp_path)
    for epochs in (1, 2):
        config.train.epochs = epochs
        model = build_tiny(config)
        adam = keras.optimizers.Adam(0.001)
        model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"])
        runs.train(config, folder, model)
    assert model.optimizer.iterations == 8 and float(model.optimizer.learning_rate) < 0.002
    assert "val_accuracy" in (tmp_path / "logs/train.csv").read_text()
    config.train.accumulation_steps = 2
    with pytest.raises(
        ValueError, match=r"`config.train.accumulation_steps` must be 1 for a model"
    ):
        runs.train(config, folder, model)


def test_the_val_part_is_watched(tmp_path, capsys):
    videos = [(gray_video(9, (24, 24), first=8 * i), i % 2) for i in range(11)]
    parts = {"train": videos[:5], "val": videos[5:8], "test": videos[8:]}
    shards = write_shards(tmp_path / "shards", parts, ["a", "b"], (24, 24))
    manifest = json.loads((shards / "dataset.json").read_text())
    manifest["files"] = {part: [f"{part}-*.tfrecord"] for part in parts}
    (shards / "dataset.json").write_text(json.dumps(manifest))
    config = small_config(shards, epochs=1, batch_size=2)
    train_tiny(config, tmp_path / "run")
    out = capsys.readouterr().out
    assert "after each epoch: loss and accuracy of the 3 clips of 'val'" in out
    assert "an epoch is 2 steps of 2 clips; 1 of 5 clips are left out" in out
    assert "training on the CPU" in out
    assert len(workdir.read_log(str(tmp_path / "run"))["val_top1"]) == 1


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_a_dry_run_writes_nothing(shards, tmp_path, monkeypatch, accumulation_steps):
    monkeypatch.chdir(tmp_path)
    config = small_config(shards, batch_size=32, accumulation_steps=accumulation_steps)
    model = build_tiny(config)
    before = weights(model)
    text = runs.dry_run(config, model=model)
    for word in (
        "32 train, 8 test",
        "2 classes",
        "tiny: ",
        "1 step of 32 clips",
        " GB",
        "s a step",
    ):
        assert word in text
    assert not list(tmp_path.iterdir())
    for name, value in weights(model).items():
        np.testing.assert_array_equal(value, before[name])
    config.train.batch_size = 99
    with pytest.raises(ValueError, match="batch_size=99"):
        runs.dry_run(config)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.test_scale", 2.0, r"`config.data.test_scale` must be .* at most 1. Received: 2.0"),
        ("data.service", "http://x", r"`service` must be the address .*Received: 'http://x'"),
        ("data.service", "grpc://localhost:1", r"no tf.data service answers at 'grpc://localhost"),
        ("data.crop_positions", "fixed", None),
        ("train.initialize_from", "/none", r"`config.train.initialize_from` must .*'/none'"),
        ("train.momentum", 0.5, r"holds a run of another config: train.momentum is 0.9 there"),
    ],
)
def test_a_dry_run_refuses_what_training_refuses(shards, tmp_path, key, value, message):
    config, folder = small_config(shards), str(tmp_path / "run")
    if key == "train.momentum":
        info = read_manifest(str(shards))
        workdir.open_run(folder, config, info)
    group, name = key.split(".")
    config[group][name] = value
    if message is None:
        assert "nothing was written" in runs.dry_run(config, folder, build_tiny(config))
        return
    for run in (runs.dry_run, runs.train):
        with pytest.raises((ValueError, OSError), match=message):
            run(config, folder, build_tiny(config))


def test_a_folder_with_brackets(tmp_path):
    """`[`, `*` and `?` in a folder's name stand for themselves: shards, run, scores, report."""
    shards = two_classes(tmp_path / "data[1]*?" / "shards[ab]", train=8, test=2)
    folder = tmp_path / "runs[0]" / "lr[0.01]*?"
    config = small_config(shards, epochs=3)
    train_tiny(config, folder)
    assert [found.epochs for found in workdir.checkpoints(str(folder))] == [3, 2]
    results = runs.evaluate(
        config,
        str(folder),
        str(folder / "s[1].npz"),
        report_folder=str(folder / "r[1]"),
        model=build_tiny(config),
    )
    assert results["videos"] == 2 and results["epochs"] == 3
    assert (folder / "s[1].npz").exists() and (folder / "r[1]" / "report.html").exists()


def test_checkpoint_of_another_model(shards, trained, tmp_path):
    config = small_config(shards)
    config.model = video_resnet("artnet_s", width=6)
    with pytest.raises(ValueError, match=r"checkpoint of another model than 'artnet_resnet18_s'"):
        runs.load_model(str(trained), config)
    with pytest.raises(FileNotFoundError, match="holds no training run"):
        workdir.read_config(str(tmp_path / "nowhere"))


def test_config_errors(shards):
    config = small_config(shards)
    with pytest.raises(AttributeError):
        config.train.learnin_rate = 0.1
    config.model = {"name": "ARTNetResNet19"}
    with pytest.raises(ValueError, match=r"`config.model.name` must be one of.*ARTNetResNet19"):
        runs.build_model(config, 2)
    config.model = {"name": "C3DResNet18", "variant": "s"}
    with pytest.raises(ValueError, match="argument that C3DResNet18 lacks"):
        runs.build_model(config, 2)
    with pytest.raises(ValueError, match="`model` must be one of"):
        video_resnet("artnet")


def test_config_arguments():
    assert parse_argument("a=2,b=x", a=1, b="y", c=0.5) == {"a": 2, "b": "x", "c": 0.5}
    with pytest.raises(ValueError, match=r"keys.*Received: 'd=1'"):
        parse_argument("d=1", a=1)


def test_a_torn_log_is_mended(tmp_path):
    """What a kill can leave of train.csv: nothing, or half of the last row."""
    folder = str(tmp_path)
    assert workdir.read_log(folder) == {}
    workdir.truncate_log(folder, 0)
    path = tmp_path / "logs" / "train.csv"
    rows = "epoch,loss,top1\r\n0,2.5,0.25\r\n1,2.25,0.5\r\n"
    path.write_bytes((rows + "2,2.0").encode())
    workdir.truncate_log(folder, 2)
    assert path.read_bytes() == rows.encode()
    workdir.truncate_log(folder, 1)
    assert path.read_bytes() == rows.split("1,2.25")[0].encode()
    path.write_bytes(b"")
    assert workdir.read_log(folder) == {}
    workdir.truncate_log(folder, 1)
    assert path.read_bytes() == b""
    for torn in (b"loss,top1,0.5\r\n", b"\xff\x00,1,2\r\n", b",,\r\n", b"nan,1,2\r\n"):
        path.write_bytes(rows.encode() + torn)
        assert workdir.read_log(folder)["top1"] == [(1, 0.25), (2, 0.5)]
        workdir.truncate_log(folder, 2)
        assert path.read_bytes() == rows.encode()
    path.write_bytes(rows.encode() + b"2,NA,0.75\r\n")
    assert workdir.read_log(folder) == {
        "loss": [(1, 2.5), (2, 2.25)],
        "top1": [(1, 0.25), (2, 0.5), (3, 0.75)],
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "", "is not valid JSON: Expecting value"),
        ("config.json", '{"seed": 0,', "is not valid JSON"),
        ("config.json", "[]", r"is damaged: it must hold a config with a model. Received: \[\]"),
        ("config.json", "null", "is damaged: it must hold a config with a model. Received: None"),
        ("config.json", "{}", "is damaged: it must hold a config with a model. Received: {}"),
        (
            "config.json",
            '{"model": {"width": 4}}',
            "is damaged: it must hold a config with a model",
        ),
        ("config.json", '{"model": {"name": "C2DResNet18"}, "data": 3}', "must hold a config"),
        ("frames.json", "", "is not valid JSON"),
        ("frames.json", "{}", "is damaged: its frame_size must be .*Received: {}"),
        ("frames.json", '{"frame_size": [28]}', "is damaged: its frame_size must be"),
        ("frames.json", '{"frame_size": "28x36"}', "is damaged: its frame_size must be"),
        ("history.json", '[{"epochs":', "is not valid JSON"),
        ("history.json", "{}", "is damaged: it must hold a list. Received: {}"),
    ],
)
def test_a_damaged_folder_of_a_run(shards, tmp_path, name, content, message):
    """One line that names the file, whoever reads it."""
    config, info = small_config(shards), read_manifest(str(shards))
    folder = str(tmp_path / "run")
    workdir.open_run(folder, config, info)
    (tmp_path / "run" / name).write_text(content)
    config.train.epochs = 5  # a change, for the history
    with pytest.raises(ValueError, match=rf"'{folder}/{name}' .*{message}"):
        workdir.open_run(folder, config, info)
    if name == "config.json":
        with pytest.raises(ValueError, match=message):
            workdir.read_config(folder)


def test_runs_of_older_versions_keep_working(shards, run):
    """Keys of the config that came later have their defaults."""
    config = small_config(shards)
    stored = json.loads((run / "config.json").read_text())
    del stored["data"]["segments"], stored["data"]["std"], stored["train"]["initialize_from"]
    del stored["seed"]
    (run / "config.json").write_text(json.dumps(stored))
    assert workdir.read_config(str(run)).to_dict() == config.to_dict()
    runs.train(config, str(run))  # goes on: nothing to do


def relational_config(shards, **model):
    config = small_config(shards)
    config.data.segments = 2
    with config.unlocked():
        config.model = relational_lstm(
            **{
                "backbone": "artnet_resnet18_s",
                "weights": None,
                "width": 4,
                "dropout": 0.0,
                **model,
            }
        )
    return config


def test_trains_on_segments_from_another_run(shards, trained, tmp_path, capsys):
    """The relational LSTM network over a trained ARTNet's features, then a stop and on."""
    second = tmp_path / "two_branch"
    config = relational_config(shards)
    config.train.initialize_from = str(trained)
    config.train.epochs = 1
    config.train.learning_rate = 0.0
    model = runs.train(config, str(second))
    assert "layers loaded" in capsys.readouterr().out
    source, _ = runs.load_model(str(trained))
    np.testing.assert_array_equal(
        model.get_layer("artnet_resnet18_s").get_layer("conv2_1_1_conv").kernel,
        source.get_layer("conv2_1_1_conv").kernel,
    )
    assert model.input_shape == (None, 2, 8, 24, 24, 3)
    results = runs.evaluate(config, str(second))
    assert results["videos"] == 8
    config.train.epochs = 2
    runs.train(config, str(second))
    assert "layers loaded" not in capsys.readouterr().out  # it has a checkpoint of its own

    # The classifier is for classes of these names in this order.
    labels = workdir.read_labels(str(trained))
    for own, loaded in ((labels, True), (labels[::-1], False)):
        model = runs.build_model(workdir.read_config(str(trained)), len(labels))
        report = networks.initialize(model, str(trained), own)
        assert ("predictions" in report.loaded) == loaded
        head, theirs = (m.get_layer("predictions").kernel.numpy() for m in (model, source))
        assert np.array_equal(head, theirs) == loaded
        assert list(report.skipped) == ([] if loaded else ["predictions"])


def test_a_source_that_is_none_is_refused(shards, tmp_path):
    config = relational_config(shards)
    config.train.initialize_from = str(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"`config.train.initialize_from`.*nothing"):
        runs.train(config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_model_of_snippets_goes_under_tsn(shards):
    config = small_config(shards)
    config.data.segments = 3
    model = runs.build_model(config, 2)
    assert model.input_shape == (None, 3, 8, 24, 24, 3) and model.name.startswith("tsn_")


@pytest.fixture(scope="module")
def flow_shards(tmp_path_factory):
    """Gray videos that only their flow tells apart: 6 pixels a frame to the right, or the left."""
    rng = np.random.default_rng(0)

    def video(label):
        x = 127.5 + (38 if label == 0 else -38)
        levels = np.stack([np.full((20, 36, 40), x), np.full((20, 36, 40), 127.5)], -1)
        noise = rng.integers(-8, 9, levels.shape)
        return gray_video(20, (36, 40)), label, (levels + noise).astype(np.uint8)

    splits = {
        split: [video(i % 2) for i in range(count)] for split, count in (("train", 32), ("test", 8))
    }
    return write_shards(tmp_path_factory.mktemp("flow"), splits, ["right", "left"], (36, 40))


def test_learns_from_clips_of_flow(flow_shards, tmp_path):
    config = small_config(flow_shards, epochs=12, learning_rate=0.01)
    config.data.stream = "flow"
    model = train_tiny(config, tmp_path)
    assert model.input_shape == (None, 8, 24, 24, 2)
    assert workdir.read_config(str(tmp_path)).data.mean == (127.5, 127.5)
    assert runs.evaluate(config, str(tmp_path), model=model)["top1"] == 1


def test_learns_from_stacks_of_flow(flow_shards):
    """As the temporal stream takes them, with a network that only averages each field."""
    config = small_config(flow_shards)
    config.data.update({"stream": "flow", "segments": 3, "frames": 10, "std": 127.5})
    clip = clip_spec(config)
    assert clip.shape == (3, 24, 24, 20)
    stacks = keras.Input((3, 24, 24, 20))
    model = keras.Model(
        stacks, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling3D()(stacks))
    )
    networks.compile_model(model, config)
    info = read_manifest(config.data.path)
    batches = pipeline.training_batches(info, clip, 8, mirror=False, epochs=10)
    model.fit(batches, steps_per_epoch=40, shuffle=False, verbose=0)
    views = pipeline.clip_views(info, clip, clips=2, crops=5)
    logits, labels, _ = video_scores(model, views, clips=2)
    assert metrics.accuracy(logits, labels)["top1"] == 1
    # Mirrored, each clip is one of the other class.
    views = views.map(lambda view, *rest: (view[..., ::-1, :] * ([-1, 1] * 10), *rest))
    logits, _, _ = video_scores(model, views, clips=2)
    assert metrics.accuracy(logits, 1 - labels)["top1"] == 1


def test_learns_from_clips_of_flow_under_tsn(flow_shards, tmp_path):
    """ARTNet on flow with TSN: trained on two segments, tested on them and clip by clip."""
    config = small_config(flow_shards, epochs=8, learning_rate=0.01)
    config.data.update({"stream": "flow", "flow_as_channels": False, "segments": 2})
    model = runs.train(config, str(tmp_path))
    assert model.input_shape == (None, 2, 8, 24, 24, 2)
    assert runs.evaluate(config, str(tmp_path))["top1"] == 1
    config.data.segments = 1
    assert runs.evaluate(config, str(tmp_path))["top1"] == 1
    assert runs.load_model(str(tmp_path), config)[0].input_shape == (None, 1, 8, 24, 24, 2)


def test_flow_must_be_there(shards, tmp_path):
    config = small_config(shards)
    config.data.stream = "flow"
    with pytest.raises(ValueError, match=r"hold no optical flow. Make them with `--flow"):
        runs.train(config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    assert clip_spec(config).mean == (127.5, 127.5)
    config.data.mean = (1.0, 2.0)
    assert clip_spec(config).mean == (1.0, 2.0)


def test_a_split_must_be_there(shards, tmp_path):
    config = small_config(shards)
    config.data.fold = 3
    for run in (runs.train, runs.evaluate):
        with pytest.raises(ValueError, match=r"`fold` must be an official split.*fold=3"):
            run(config, str(tmp_path / "run"))


def test_weight_decay_is_of_matrices(shards):
    config = relational_config(shards)
    model = runs.build_model(config, 2)
    optimization.add_weight_decay(model, 2.0)
    decayed = {
        v.path.split("/")[-1] for v in model.trainable_variables if v.regularizer is not None
    }
    assert decayed == {"kernel", "theta_x", "phi_x", "g_x", "theta_h", "phi_h", "g_h"}
    expected = sum(
        float(np.sum(np.square(keras.ops.convert_to_numpy(v))))
        for v in model.trainable_variables
        if v.path.split("/")[-1] not in ("gamma", "beta", "bias")
    )
    np.testing.assert_allclose(float(sum(model.losses)), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("data", "stream", "classes", "videos"),
    [("ucf101", "rgb", 101, 9537), ("hmdb51", "flow", 51, 3570)],
)
def test_the_papers_configs(data, stream, classes, videos, root):
    """Sec. 5.2: epochs, rates, decay, batch, segments, dropout, test views."""
    spec = importlib.util.spec_from_file_location("c", root / "configs" / "relational_lstm.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(f"data={data},stream={stream}")
    epochs, decays, dropout = {"rgb": (50, (35, 45), 0.8), "flow": (60, (45, 55), 0.7)}[stream]
    assert (config.train.epochs, config.train.decay_epochs) == (epochs, decays)
    rates = [networks.schedule(config)(epoch) for epoch in range(epochs)]
    assert sorted(set(rates), reverse=True) == pytest.approx([5e-4, 5e-5, 5e-6])
    assert [rates.count(rate) for rate in sorted(set(rates), reverse=True)] == [
        decays[0], decays[1] - decays[0], epochs - decays[1],
    ]  # fmt: skip
    assert config.train.batch_size == 24 and config.data.segments == 8
    assert (config.train.momentum, config.train.weight_decay) == (0.9, 5e-4)
    assert (config.eval.clips, config.eval.crops) == (4, 5)
    assert config.data.frames == {"rgb": 1, "flow": 10}[stream]
    assert config.data.mean == {"rgb": (127.5,) * 3, "flow": (127.5,) * 2}[stream]
    assert config.data.std == 127.5
    assert config.model.weights == {"rgb": "imagenet", "flow": None}[stream]
    with config.unlocked():
        config.model.backbone = "mobilenet_v2"  # at a reduced size
    config.model.weights = None
    config.data.crop_size = 64
    model = runs.build_model(config, classes, pretrained=False)
    assert model.get_layer("dropout").rate == dropout
    assert model.output_shape == (None, classes)
    assert model.input_shape == (None, 8, 64, 64, {"rgb": 3, "flow": 20}[stream])
    assert videos // config.train.batch_size == {"ucf101": 397, "hmdb51": 148}[data]
