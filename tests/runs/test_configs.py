"""The configs of the papers' experiments, against what the papers print.

Figures and settings here were copied from the papers (and, where these are silent, from the files
of ARTNet's authors), not from the configs.
"""

import itertools
import re
import runpy
import subprocess

import keras
import numpy as np
import pytest

from keras_videorel import cli, models, runs
from keras_videorel.data import pipeline
from keras_videorel.data.manifest import read_manifest
from keras_videorel.runs import networks
from keras_videorel.runs.config import clip_spec
from tests.shards import gray_video, write_shards

CROPS = {"crop_scales": (1, 0.875, 0.75, 0.66), "mirror": True, "frame_stride": 1}

# ARTNet, Sec. 3.3; models/112_artnet_resnet_18_train_solver.prototxt and train_val.prototxt.
KINETICS = {
    "videos": 240_000,
    "steps": 250_000,
    "decays": (70_000, 140_000, 180_000, 220_000),
    "rate": 0.1,
    "clip": None,
    "model": {"width": 64, "dropout": 0.2},
    "batch_size": 256,
    "data": {**CROPS, "frames": 16, "crop_size": 112, "crop_positions": "random", "std": 1},
    "views": (25, 10),
}
# ARTNet, Sec. 4.3; fine_tune/{ucf,hmdb}_tsn_112_artnet_resnet_18_{solver,train_val}.prototxt.
FINE_TUNING = {
    **KINETICS,
    "rate": 0.001,
    "clip": 40,
    "model": {"width": 64, "dropout": 0.5},
    "batch_size": 120,
    "data": {**KINETICS["data"], "segments": 2, "stream": "rgb", "mean": (123, 117, 104)},
}
UCF101 = {"videos": 9537, "steps": 3500, "decays": (1500, 3000)}
HMDB51 = {"videos": 3570, "steps": 1750, "decays": (750, 1500)}
# Relational LSTM, Sec. 5.2: epochs; 24 videos of 8 segments; decays after epochs.
SPATIAL = {
    "epochs": 50,
    "decay_epochs": (35, 45),
    "rate": 0.0005,
    "clip": None,
    "model": {"dropout": 0.8, "backbone": "resnet101v2", "weights": "imagenet"},
    "batch_size": 24,
    "data": {
        **CROPS, "frames": 1, "crop_size": 224, "crop_positions": "fixed", "segments": 8,
        "mean": (127.5,) * 3, "std": 127.5, "flow_as_channels": True,
    },
    "views": (4, 5),
}  # fmt: skip
TEMPORAL = {
    **SPATIAL,
    "epochs": 60,
    "decay_epochs": (45, 55),
    "model": {"dropout": 0.7, "backbone": "resnet101v2", "weights": None},
    "data": {**SPATIAL["data"], "frames": 10, "mean": (127.5,) * 2},
}

PROTOCOLS = {
    "kinetics.py:": KINETICS,
    "kinetics.py:model=c3d,modality=flow": {
        **KINETICS,
        "data": {
            **KINETICS["data"], "mean": (127.5, 127.5), "flow_as_channels": False, "segments": 0,
        },
    },
    "kinetics.py:segments=2": {**KINETICS, "data": {**KINETICS["data"], "segments": 2}},
    "artnet_finetune.py:data=ucf101,fold=2": {
        **FINE_TUNING, **UCF101, "data": {**FINE_TUNING["data"], "fold": 2},
    },
    "artnet_finetune.py:data=hmdb51,model=c3d,fold=3": {
        **FINE_TUNING, **HMDB51, "data": {**FINE_TUNING["data"], "fold": 3},
    },
    "relational_lstm.py:": SPATIAL,
    "relational_lstm.py:data=hmdb51,stream=flow": TEMPORAL,
    "relational_lstm.py:segments=12,fold=3": {
        **SPATIAL, "batch_size": 16, "data": {**SPATIAL["data"], "segments": 12, "fold": 3},
    },
}  # fmt: skip

# Top-1 and top-5 of ARTNet's Tables 2 to 4, and their printed averages.
KINETICS_RESULTS = {
    ("c2d", "rgb", 1): (61.2, 82.6, 71.9),
    ("c3d", "rgb", 1): (65.6, 85.7, 75.7),
    ("c3d_34", "rgb", 1): (67.1, 86.9, 77.0),
    ("relation, s", "rgb", 1): (67.5, 87.0, 77.2),
    ("relation, d", "rgb", 1): (67.1, 86.7, 76.9),
    ("artnet, s", "rgb", 1): (67.7, 87.1, 77.4),
    ("artnet, d", "rgb", 1): (69.2, 88.3, 78.7),
    ("c3d", "flow", 1): (57.5, 80.6, 69.0),
    ("c3d", "fusion", 1): (68.7, 87.8, 78.2),
    ("artnet, d", "flow", 1): (59.8, 82.3, 71.0),
    ("artnet, d", "fusion", 1): (71.3, 89.5, 80.4),
    ("artnet, d", "rgb", 2): (70.7, 89.3, 80.0),
    ("artnet, d", "flow", 2): (60.6, 83.1, 71.9),
    ("artnet, d", "fusion", 2): (72.4, 90.4, 81.4),
}
# Table 6: UCF-101, HMDB-51.
FINE_TUNING_RESULTS = {
    ("c3d", "clips"): (89.8, 62.1),
    ("artnet", "clips"): (93.5, 67.6),
    ("artnet", "tsn"): (94.3, 70.9),
}
# Relational LSTM, Tables 1 to 3: weight of the spatial scores where it is printed; spatial,
# temporal, two-stream. Tables 4 and 5 and Sec. 5.5: weight and two-stream.
SPLIT_1_RESULTS = {
    "tsn": (0.35, 87.0, 88.5, 93.8),
    "nonlocal": (0.5, 86.9, 87.5, 93.8),
    "tsn + nonlocal": (None, 88.6, 89.1, 94.2),
    "two_branch, 6": (None, 87.2, 87.9, 94.2),
    "two_branch, 8": (0.45, 88.7, 88.1, 94.4),
    "two_branch, 10": (None, 88.1, 87.5, 94.1),
    "two_branch, 12": (None, 87.4, 87.4, 93.5),
    "local": (None, 87.4, 87.3, 94.0),
}
THREE_SPLITS_RESULTS = {
    ("two_branch", "ucf101"): (0.45, 94.8),
    ("two_branch", "hmdb51"): (0.33, 71.4),
    ("nonlocal", "ucf101"): (0.5, 94.2),
}

# Every value of every argument.
ARGUMENTS = {
    "demo.py": {"model": ["c2d", "artnet_s", "two_branch", "tsn"]},
    "hand_gestures.py": {"model": ["c3d", "artnet_d"]},
    "kinetics.py": {
        "model": [
            *("c2d", "c3d", "c3d_34", "relation_s", "relation_d", "artnet_s", "artnet_d"),
            *("relation,variant=s", "relation,variant=d", "artnet,variant=s", "artnet,variant=d"),
        ],
        "modality": ["rgb", "flow"],
        "segments": ["1", "2"],
    },
    "artnet_finetune.py": {
        "data": ["ucf101", "hmdb51"],
        "model": ["c3d", "artnet", "artnet,variant=s"],
        "pretraining": ["clips", "tsn"],
        "fold": ["1", "2", "3"],
        "graph": ["paper", "caffe"],
    },
    "relational_lstm.py": {
        "data": ["ucf101", "hmdb51"],
        "stream": ["rgb", "flow"],
        "model": ["two_branch", "local", "nonlocal", "tsn"],
        "segments": ["6", "8", "10", "12"],
        "fold": ["1", "2", "3"],
    },
}
MEMBERS = ("--scores", "--fold", "--against")  # of a fusion
FILES = {}


def config_of(root, text):
    """The config of `FILE.py:argument`."""
    name, _, argument = text.partition(":")
    if name not in FILES:
        FILES[name] = runpy.run_path(str(root / "configs" / name))
    return FILES[name]["get_config"](argument)


def every(name):
    """All arguments of a config file."""
    keys = ARGUMENTS[name]
    return [
        ",".join(f"{key}={value}" for key, value in zip(keys, values, strict=True))
        for values in itertools.product(*keys.values())
    ]


@pytest.mark.parametrize("text", PROTOCOLS)
def test_protocol(root, text):
    """Steps, rates, batch, crops, dropout, views: what the papers print."""
    config, paper = config_of(root, text), PROTOCOLS[text]
    train = config.train
    rates = [networks.schedule(config)(epoch) for epoch in range(train.epochs)]
    decays = [epoch for epoch in range(1, train.epochs) if rates[epoch] != rates[epoch - 1]]
    count = len(paper.get("decays", paper.get("decay_epochs")))
    np.testing.assert_allclose(
        sorted(set(rates), reverse=True), [paper["rate"] / 10**n for n in range(count + 1)]
    )
    assert train.batch_size == paper["batch_size"] and train.warmup_epochs == 0
    if "steps" in paper:
        steps = paper["videos"] // paper["batch_size"]  # of an epoch
        assert abs(train.epochs * steps - paper["steps"]) <= steps / 2
        np.testing.assert_allclose(np.array(decays) * steps, paper["decays"], atol=steps / 2)
    else:
        assert train.epochs == paper["epochs"] and tuple(decays) == paper["decay_epochs"]
    assert (train.momentum, train.nesterov, train.weight_decay) == (0.9, False, 0.0005)
    for group in ("model", "data"):
        found = {key: config[group][key] for key in paper[group]}
        assert found == paper[group]
    assert (config.eval.clips, config.eval.crops) == paper["views"]
    assert config.eval.average == "logits"

    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    networks.compile_model(model, config)
    assert model.optimizer.global_clipnorm == paper["clip"]
    assert model.optimizer.momentum == 0.9
    np.testing.assert_allclose(model.optimizer.learning_rate, paper["rate"])
    kernel, bias = model.trainable_variables
    kernel.assign(np.ones((4, 3)))
    np.testing.assert_allclose(kernel.regularizer(kernel), 0.0005 / 2 * 12)  # |w|^2 is 12
    assert bias.regularizer is None


@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_argument(root, name):
    """Each gives a config of its own, locked, in whole epochs of decay."""
    configs = [config_of(root, f"{name}:{argument}") for argument in every(name)]
    for config in configs:
        assert config.is_locked and not config.train.warmup_epochs >= config.train.epochs
        assert 0 < config.train.decay_epochs[0] <= config.train.decay_epochs[-1]
        assert config.train.decay_epochs[-1] < config.train.epochs
    same = 4 * 2 * 2 if name == "kinetics.py" else 0  # four rows have two names
    assert len({config.to_json() for config in configs}) == len(configs) - same


def test_both_names_of_a_row(root):
    for model, variant in itertools.product(("artnet", "relation"), "sd"):
        long = config_of(
            root, f"kinetics.py:model={model},variant={variant},modality=rgb,segments=1"
        )
        assert long.model.variant == variant
        assert long.to_dict() == config_of(root, f"kinetics.py:model={model}_{variant}").to_dict()
    assert config_of(root, "kinetics.py").model.variant == "d"  # "by default", Sec. 4.2


def test_where_training_begins(root):
    """The folders of the commands in each file."""
    begins = {
        "relational_lstm.py:fold=2": "",
        "relational_lstm.py:stream=flow,fold=2": "runs/ucf101/two_branch/rgb2",
        "relational_lstm.py:stream=flow,segments=6": "runs/ucf101/two_branch_6/rgb1",
        "relational_lstm.py:stream=flow,model=nonlocal,data=hmdb51": "runs/hmdb51/tsn/flow1",
        "artnet_finetune.py:": "runs/kinetics/artnet_d",
        "artnet_finetune.py:pretraining=tsn": "runs/kinetics/artnet_d_tsn",
        "artnet_finetune.py:model=c3d,data=hmdb51": "runs/kinetics/c3d",
        "artnet_finetune.py:graph=caffe": "artnet_d_kinetics.keras",
    }
    for text, folder in begins.items():
        assert config_of(root, text).train.initialize_from == folder


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    """Shards with flow."""
    size = (40, 48)
    levels = np.random.default_rng(0).integers(0, 256, (20, *size, 2), np.uint8)
    videos = [(gray_video(20, size), label, levels) for label in (0, 1)]
    folder = tmp_path_factory.mktemp("shards")
    write_shards(folder, {"train": videos, "test": videos}, ["a", "b"], size)
    return read_manifest(str(folder))


def reduced(config):
    """The config at width 4 and 32x32; MobileNet in place of ResNet-101."""
    config.data.crop_size = 32
    with config.unlocked():
        if "width" in config.model:
            config.model.width = 4
        else:
            config.model.update({"backbone": "mobilenet_v2", "weights": None})
            config.data.segments = 2
    return config


REDUCED = [
    *(f"kinetics.py:model={m}" for m in ("c2d", "c3d", "c3d_34", "relation_s", "relation_d")),
    *(f"kinetics.py:model=artnet_{v},modality={m}" for v, m in (("s", "rgb"), ("d", "flow"))),
    *(f"kinetics.py:segments=2,modality={m}" for m in ("rgb", "flow")),
    "artnet_finetune.py:graph=caffe,model=c3d",
    "relational_lstm.py:",
    "relational_lstm.py:stream=flow,model=nonlocal",
    "relational_lstm.py:stream=flow,model=tsn",
    "relational_lstm.py:model=local",
]


@pytest.mark.parametrize("text", REDUCED)
def test_the_network_takes_what_the_data_gives(root, info, text):
    config = reduced(config_of(root, text))
    model = runs.build_model(config, 2)
    clip = clip_spec(config)
    batches = pipeline.training_batches(
        info,
        clip,
        2,
        crop_scales=config.data.crop_scales,
        crop_positions=config.data.crop_positions,
    )
    views = pipeline.clip_views(info, clip, clips=config.eval.clips, crops=config.eval.crops)
    assert batches.element_spec[0].shape == (2, *model.input_shape[1:])
    assert views.element_spec[0].shape == (config.eval.crops, *model.input_shape[1:])
    assert model.output_shape == (None, 2)


def test_fine_tuning_begins_with_all_but_the_classifier(root):
    source = runs.build_model(reduced(config_of(root, "kinetics.py:segments=2")), 4)
    model = runs.build_model(reduced(config_of(root, "artnet_finetune.py:")), 3)
    transfer = models.initialize_from(model, source)
    assert list(transfer.skipped) == ["predictions"] and not transfer.adapted
    for name in ("conv1", "conv5_2_2_conv"):
        for ours, theirs in zip(
            *(m.get_layer("artnet_resnet18_d").get_layer(name).weights for m in (model, source)),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)


def tables(text):
    """Rows of Markdown tables, as tuples of cells."""
    rows = re.findall(r"^\|(.*)\|$", text, re.M)
    return [tuple(cell.strip() for cell in row.split("|")) for row in rows]


def numbers(*cells):
    return tuple(float(number) for cell in cells for number in re.findall(r"\d*\.\d+", cell))


def test_figures_of_kinetics(root):
    rows = {}
    for model, modality, segments, figures, ours, _ in tables(docstring(root, "kinetics.py"))[2:]:
        rows[model, modality, int(segments)] = numbers(figures)
        assert ours == "not run"
    assert rows == {row: figures[:2] for row, figures in KINETICS_RESULTS.items()}
    for top1, top5, average in KINETICS_RESULTS.values():
        assert abs((top1 + top5) / 2 - average) <= 0.0501  # as printed: copied right


def test_figures_of_fine_tuning(root):
    rows = tables(docstring(root, "artnet_finetune.py"))[2:]
    assert {row[:2]: numbers(*row[2:4]) for row in rows} == FINE_TUNING_RESULTS


def test_figures_and_fusion_weights_of_relational_lstm(root):
    rows = [row for row in tables(docstring(root, "relational_lstm.py")) if numbers(*row)]
    split_1 = {row[0]: row for row in rows if len(row) == 7}
    assert {name: numbers(*row[2:5]) for name, row in split_1.items()} == {
        name: figures[1:] for name, figures in SPLIT_1_RESULTS.items()
    }
    for name, (spatial, *_) in SPLIT_1_RESULTS.items():
        if spatial is not None:
            assert numbers(split_1[name][1]) == (spatial, round(1 - spatial, 2))
    found = {row[:2]: (numbers(row[2])[0], *numbers(row[3])) for row in rows if len(row) == 6}
    assert found == THREE_SPLITS_RESULTS


def docstring(root, name):
    config_of(root, f"{name}:")
    return FILES[name]["__doc__"]


def test_wrong_arguments(root):
    wrong = {
        "kinetics.py:model=artnet,variant=x": "`variant` must be one of s, d. Received: 'x'",
        "kinetics.py:model=c3d,variant=s": "`variant` is only for model=artnet and model=relation",
        "kinetics.py:model=resnet": "`model` must be one of c2d, .*Received: 'resnet'",
        "kinetics.py:modality=depth": "`modality` must be one of rgb, flow. Received: 'depth'",
        "kinetics.py:segments=3": "`segments` must be one of 1, 2. Received: '3'",
        "artnet_finetune.py:data=sthv2": "`data` must be one of ucf101, hmdb51",
        "relational_lstm.py:segments=x": "`segments` must be of type int. Received: 'x'",
        "relational_lstm.py:segments=0": "`segments` must be a positive integer. Received: 0",
        "relational_lstm.py:fold=4": "`fold` must be one of 1, 2, 3. Received: '4'",
    }
    for text, message in wrong.items():
        with pytest.raises(ValueError, match=message):
            config_of(root, text)


def test_wrong_arguments_and_missing_shards_are_one_line(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for argument, message in (
        ("model=artnet,variant=x", "`variant` must be one of s, d. Received: 'x'"),
        ("model=artnet,variant=d", "'shards/kinetics400' holds no finished shards"),
    ):
        config = f"{root}/configs/kinetics.py:{argument}"
        assert cli.run("train", ["--config", config, "--workdir", "run"]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert message in line
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def commands(root):
    """The commands of docs/reproduce.md, as the shell makes them: lists of words."""
    text = (root / "docs" / "reproduce.md").read_text()
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S))
    shell = "videorel() { printf '%s\\t' \"$@\"; echo; }\n" + script
    result = subprocess.run(["bash", "-e", "-u", "-c", shell], capture_output=True, text=True)
    assert result.returncode == 0 and not result.stderr
    return [line.rstrip("\t").split("\t") for line in result.stdout.splitlines()]


def test_the_commands_follow_from_each_other(root, commands):
    """Shards are made before they are read, runs trained and scored before others need them."""
    shards, trained, scored, fused = set(), {}, set(), {}
    for command, *words in commands:
        words = [
            part for word in words for part in (word.split("=") if word[:2] == "--" else [word])
        ]
        flags = list(zip(words[::2], words[1::2], strict=True))
        value = dict(flags)
        if command == "make-tfrecords":
            shards.add(value["--output"])
        elif command == "train":
            path, _, argument = value["--config"].partition(":")
            config = config_of(root, f"{path.split('/')[-1]}:{argument}")
            assert config.data.path in shards
            assert config.train.initialize_from in {"", *trained}
            assert value["--workdir"] not in trained
            trained[value["--workdir"]] = config
        elif command == "evaluate":
            config = trained[value["--workdir"]]
            clip_by_clip = config.data.segments == 2  # ARTNet under TSN
            assert value.get("--config.data.segments", "") == ("1" if clip_by_clip else "")
            scored.add(value["--scores"])
        else:
            assert command == "fuse"
            files = [word for key, text in flags if key in MEMBERS for word in text.split()]
            assert {word.partition(":")[0] for word in files} <= scored
            weights = tuple(float(word.partition(":")[2] or 1) for word in files[:2])
            fused.setdefault(files[0].partition("/scores")[0], set()).add(weights)
    assert len(trained) == 7 + 2 + 2 + 2 * 3 * 3 + 2 * (8 - 1) + 2 * 2 * 3 + 2 * 3
    spatial = {"tsn/rgb1": 0.35, "nonlocal/rgb1": 0.5, "two_branch/rgb1": 0.45}
    for run, weight in spatial.items():
        assert (weight, 1 - weight) in fused[f"runs/ucf101/{run}"]
    assert fused["runs/hmdb51/two_branch/rgb1"] == {(0.33, 0.67)}
    assert fused["runs/kinetics/artnet_d"] == {(1, 1)}


def test_figures_of_the_page(root):
    """docs/reproduce.md has the same figures, and the printed averages."""
    rows = tables((root / "docs" / "reproduce.md").read_text())
    found = [numbers(*row) for row in rows if "not run" in row]
    expected = [
        *KINETICS_RESULTS.values(),
        *FINE_TUNING_RESULTS.values(),
        *(figures for _, *figures in SPLIT_1_RESULTS.values()),
        *(figures for _, *figures in THREE_SPLITS_RESULTS.values()),
    ]
    # "Sec. 5.5" ends the last row.
    assert [row[: len(figures)] for row, figures in zip(found, expected, strict=True)] == [
        tuple(figures) for figures in expected
    ]
