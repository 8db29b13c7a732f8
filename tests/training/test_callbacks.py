"""Runs that are killed, run out of disk, or whose loss is NaN; averages; the plateau schedule."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_videorel.data import pipeline, transforms
from keras_videorel.data.manifest import read_manifest
from keras_videorel.runs import train as training
from keras_videorel.runs import workdir
from keras_videorel.runs.config import base, clip_spec
from keras_videorel.training import callbacks
from tests import tiny_runs as runs
from tests.shards import two_classes, write_shards

OPTIONS = {
    "epochs": 4,
    "batch_size": 4,
    "accumulation_steps": 2,
    "learning_rate": 0.02,
    "schedule": "plateau",
    "plateau_epochs": 1,
    "plateau_delta": 10.0,
    "ema_momentum": 0.9,
    "checkpoint_steps": 3,
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return two_classes(tmp_path_factory.mktemp("shards"), train=30, test=6)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(training, "build_model", runs.build_tiny)


def tiny_config(shards, **train):
    config = base()
    config.data.path = str(shards)
    config.data.frames = 8
    config.data.crop_size = 24
    config.data.shuffle_buffer = 16
    config.train.update({**OPTIONS, **train})
    return config


@pytest.fixture(scope="module")
def command(shards, tmp_path_factory):
    """Starts `videorel train` on the tiny network, with the config above, in a process."""
    path = tmp_path_factory.mktemp("config") / "tiny.py"
    path.write_text(
        "from tests.training.test_callbacks import tiny_config\n"
        f"def get_config():\n    config = tiny_config({str(shards)!r})\n"
        "    config.dtype_policy = 'mixed_float16'\n    return config\n"
    )

    def start(folder, *flags, **harm):
        words = ["train", f"--config={path}", f"--workdir={folder}", *flags]
        return subprocess.run(
            [sys.executable, "-m", "tests.tiny_runs", json.dumps(harm), *words],
            capture_output=True,
            text=True,
        )

    return start


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """The folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    ended = command(folder)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.slow
def test_killed_at_any_step_it_ends_as_if_it_had_not_been(command, whole, tmp_path):
    """SIGKILL before a step in the middle of an epoch, then inside a save; then the end.

    With dropout, momentum, float16's loss scale, averages of weights, accumulated gradients and
    the plateau schedule: checkpoints and log are those of the undisturbed run, bit for bit.
    """
    step, save = 11, 3  # the epoch's sums begin anew with a step of two parts
    for harm in ({"kill_at_step": step}, {"kill_in_save": save}):
        killed = command(tmp_path, **harm)
        assert killed.returncode == -9, killed.stderr
        found = workdir.checkpoints(str(tmp_path))[0]
        if "kill_at_step" in harm:
            epochs, steps = divmod(step - 1, 7)
            assert found[:2] == (epochs, steps // 3 * 3)
    ended = command(tmp_path)
    assert ended.returncode == 0, ended.stderr
    part = f" and {found.steps} of 7 steps" if found.steps else ""
    assert f"going on after epoch {found.epochs} of 4{part}\n" in ended.stdout
    names = [path.name for path in sorted((whole / "checkpoints").iterdir())]
    assert names == ["epoch-0003-step-000006.weights.h5", "epoch-0004.weights.h5"]
    for name in names:
        runs.assert_same_checkpoint(whole / "checkpoints" / name, tmp_path / "checkpoints" / name)
    logs = [(run / "logs/train.csv").read_text() for run in (whole, tmp_path)]
    assert logs[0] == logs[1]
    rates = [float(line.split(",")[1]) for line in logs[0].splitlines()[1:]]
    np.testing.assert_allclose(rates, [2e-2, 2e-2, 2e-3, 2e-4], rtol=1e-6)


@pytest.mark.slow
def test_a_full_disk_keeps_the_checkpoints(command, whole, tiny, tmp_path):
    """No file may be larger than half a checkpoint: one line tells; then it goes on."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    kept = contents(folder / "checkpoints")
    size = len(kept["epoch-0004.weights.h5"])
    full = command(folder, "--config.train.epochs=5", file_size=size // 2)
    assert full.returncode == 2
    (line,) = [line for line in full.stderr.splitlines() if "error:" in line]
    assert "could not be written" in line and "make room" in line
    assert "Traceback" not in full.stderr
    assert contents(folder / "checkpoints") == kept
    config = workdir.read_config(str(folder))
    assert config.train.epochs == 5
    training.train(config, str(folder))
    assert workdir.checkpoints(str(folder))[0][:2] == (5, 0)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_averages_are_what_is_validated_and_loaded(tiny, shards, tmp_path):
    """A checkpoint holds both: the weights to go on from, the averages to use."""
    config = tiny_config(shards, epochs=3, schedule="step")
    model = training.train(config, str(tmp_path))
    averaged, epochs = training.load_model(str(tmp_path))
    assert epochs == 3
    config.train.ema_momentum = 0.0
    raw, _ = training.load_model(str(tmp_path), config)
    differ = 0
    for a, b, c in zip(*map(runs.weights, (model, averaged, raw)), strict=True):
        np.testing.assert_array_equal(a, b)
        differ += (b != c).any()
    assert differ == len(raw.trainable_variables)

    views = pipeline.evaluation_views(
        read_manifest(str(shards)), clip_spec(config), clips=1, crops=1
    )
    clips, labels, _ = next(iter(views.batch(6)))
    logits = averaged(clips[:, 0])
    losses = tf.keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    decay = (
        config.train.weight_decay
        / 2
        * sum(
            np.sum(np.square(v)) for v in averaged.trainable_variables if v.path.endswith("kernel")
        )
    )
    logged = training.losses_before(str(tmp_path / "logs/train.csv"), 3, config)[-1]
    assert logged == pytest.approx(float(tf.reduce_mean(losses)) + decay, rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"accumulation_steps": 1, "gradient_clip_norm": 1.0}])
def test_the_clips_of_a_batch_without_a_number_are_named(tiny, tmp_path, monkeypatch, options):
    """One video is white, and made to give NaN: the batch that it is in is told.

    The ReLU of the network swallows it where oneDNN is on: the loss of that batch is a number.
    """
    rng = np.random.default_rng(0)
    train = [(rng.integers(0, 200, (9, 24, 24, 3)).astype("uint8"), i % 2) for i in range(16)]
    train[11][0][:] = 255
    shards = write_shards(tmp_path / "shards", {"train": train}, ["a", "b"], (24, 24))
    normalize = transforms.normalize

    def poisoned(clips, mean, std):
        white = tf.reduce_min(tf.cast(clips, tf.float32)) >= 0
        worst = tf.reduce_max(tf.reduce_min(tf.cast(clips, tf.int32), axis=[1, 2, 3, 4]))
        return normalize(clips, mean, std) * tf.where(white & (worst > 250), np.nan, 1.0)

    monkeypatch.setattr(transforms, "normalize", poisoned)
    config = tiny_config(shards, schedule="step", checkpoint_steps=1, **options)
    with pytest.raises(ValueError, match=r"loss became nan at step \d of the run.*rate 0.02") as e:
        training.train(config, str(tmp_path / "run"))
    named = str(e.value).split("The clips of that batch: ")[1].split(", ")
    assert len(named) == 4 and "train/11.mp4" in named
    step = int(str(e.value).split("at step ")[1].split()[0])
    newest = workdir.checkpoints(str(tmp_path / "run"))[:1]
    assert [checkpoint[:2] for checkpoint in newest] == [(0, step - 1)][: step > 1]
    config.data.deterministic = False
    assert "leaves their order open" in training.clips_of(config, None, 0, step)


def test_the_plateau_schedule_needs_its_log(tiny, shards, tmp_path):
    training.train(tiny_config(shards, epochs=1), str(tmp_path))
    os.remove(tmp_path / "logs/train.csv")
    with pytest.raises(ValueError, match=r"must hold the losses of the 1 epochs.*Received: 0"):
        training.train(tiny_config(shards, epochs=2), str(tmp_path))


def test_seeds_of_steps_differ(tiny, shards):
    model = runs.build_tiny(tiny_config(shards), 2)
    position = callbacks.TrainingProgress(steps=5)
    seeds = callbacks.StepSeeds(0, position)
    seeds.set_model(model)
    variables = [v for v in model.variables if v.path.endswith("seed_generator_state")]
    found = []
    for epoch in range(3):
        for step in range(5):
            position.epoch, position.step = epoch, step
            seeds.on_train_batch_begin(step)
            found += [tuple(v.numpy()) for v in variables]
    assert len(set(found)) == 15
