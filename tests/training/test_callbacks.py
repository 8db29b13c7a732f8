"""Runs that are killed, run out of disk, or whose loss is NaN; averages; the plateau schedule."""

import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_videorel import runs
from keras_videorel.data import pipeline
from keras_videorel.data.manifest import read_manifest
from keras_videorel.runs import trainer, workdir
from keras_videorel.runs.config import clip_spec
from keras_videorel.training import callbacks
from tests import tiny_runs
from tests.shards import two_classes, write_shards
from tests.tiny_runs import train_tiny

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
DATA = {"shuffle_buffer": 16}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return two_classes(tmp_path_factory.mktemp("shards"), train=30, test=6)


def tiny_config(shards, **train):
    return tiny_runs.tiny_config(shards, data=DATA, **{**OPTIONS, **train})


@pytest.fixture(scope="module")
def process(shards):
    """Trains the tiny network with the options above and float16 in a process."""

    def start(folder, train=None, **harm):
        options = {"folder": str(folder), "shards": str(shards), "data": DATA, **harm}
        options |= {"train": {**OPTIONS, **(train or {})}, "dtype_policy": "mixed_float16"}
        return subprocess.run(
            [sys.executable, "-m", "tests.tiny_runs", json.dumps(options)],
            capture_output=True,
            text=True,
        )

    return start


@pytest.fixture(scope="module")
def whole(process, tmp_path_factory):
    """The folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    ended = process(folder)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.slow
def test_killed_at_any_step_it_ends_as_if_it_had_not_been(process, whole, tmp_path):
    """SIGKILL before a step in the middle of an epoch, then inside a save; then the end.

    With dropout, momentum, float16's loss scale, averages of weights, accumulated gradients and
    the plateau schedule: checkpoints and log are those of the undisturbed run, bit for bit.
    """
    step, save = 11, 3  # the epoch's sums begin anew with a step of two parts
    for harm in ({"kill_at_step": step}, {"kill_in_save": save}):
        killed = process(tmp_path, **harm)
        assert killed.returncode == -9, killed.stderr
        found = workdir.checkpoints(str(tmp_path))[0]
        if "kill_at_step" in harm:
            epochs, steps = divmod(step - 1, 7)
            assert found[:2] == (epochs, steps // 3 * 3)
    ended = process(tmp_path)
    assert ended.returncode == 0, ended.stderr
    part = f" and {found.steps} of 7 steps" if found.steps else ""
    assert f"going on after epoch {found.epochs} of 4{part}\n" in ended.stdout
    names = [path.name for path in sorted((whole / "checkpoints").iterdir())]
    assert names == ["epoch-0003-step-000006.weights.h5", "epoch-0004.weights.h5"]
    for name in names:
        paths = (run / "checkpoints" / name for run in (whole, tmp_path))
        tiny_runs.assert_same_checkpoint(*paths)
    logs = [(run / "logs/train.csv").read_text() for run in (whole, tmp_path)]
    assert logs[0] == logs[1]
    rates = [float(line.split(",")[1]) for line in logs[0].splitlines()[1:]]
    np.testing.assert_allclose(rates, [2e-2, 2e-2, 2e-3, 2e-4], rtol=1e-6)


@pytest.mark.slow
def test_a_full_disk_keeps_the_checkpoints(process, whole, tmp_path):
    """No file may be larger than half a checkpoint: one line tells; then it goes on."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    kept = contents(folder / "checkpoints")
    size = len(kept["epoch-0004.weights.h5"])
    full = process(folder, {"epochs": 5}, file_size=size // 2)
    assert full.returncode == 1
    (line,) = [line for line in full.stderr.splitlines() if "error:" in line]
    assert "could not be written" in line and "make room" in line
    assert contents(folder / "checkpoints") == kept
    config = workdir.read_config(str(folder))
    assert config.train.epochs == 5
    train_tiny(config, folder)
    assert workdir.checkpoints(str(folder))[0][:2] == (5, 0)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_averages_are_what_is_validated_and_loaded(shards, tmp_path):
    """A checkpoint holds both: the weights to go on from, the averages to use."""
    config = tiny_config(shards, epochs=3, schedule="step")
    model = train_tiny(config, tmp_path)
    tiny = lambda: tiny_runs.build_tiny(config)  # noqa: E731
    averaged, epochs = runs.load_model(str(tmp_path), model=tiny)
    assert epochs == 3
    config.train.ema_momentum = 0.0
    raw, _ = runs.load_model(str(tmp_path), config, tiny)
    differ = 0
    first, second, third = map(tiny_runs.weights, (model, averaged, raw))
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
        differ += (value != third[name]).any()
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
    logged = trainer.losses_before(str(tmp_path), 3, config)[-1]
    assert logged == pytest.approx(float(tf.reduce_mean(losses)) + decay, rel=1e-5)


class NaNOfWhite(keras.layers.Layer):
    """Makes white clips, less the mean, NaN."""

    def call(self, clips):
        levels = keras.ops.min(clips, axis=(1, 2, 3, 4), keepdims=True)
        return clips * keras.ops.where(levels > 130, np.nan, 1.0)


@pytest.mark.parametrize("options", [{}, {"accumulation_steps": 1, "gradient_clip_norm": 1.0}])
def test_the_clips_of_a_batch_without_a_number_are_named(tmp_path, options):
    """One video is white, and made to give NaN: the batch that it is in is told.

    The ReLU of the network swallows it where oneDNN is on: the loss of that batch is a number.
    """
    rng = np.random.default_rng(0)
    train = [(rng.integers(0, 200, (9, 24, 24, 3)).astype("uint8"), i % 2) for i in range(16)]
    train[11][0][:] = 255
    shards = write_shards(tmp_path / "shards", {"train": train}, ["a", "b"], (24, 24))
    config = tiny_config(shards, schedule="step", checkpoint_steps=1, **options)

    def build():
        tiny = tiny_runs.build_tiny(config)
        clips = keras.Input(tiny.input_shape[1:])
        return keras.Model(clips, tiny(NaNOfWhite()(clips)))

    with pytest.raises(ValueError, match=r"loss became nan at step \d of the run.*rate 0.02") as e:
        runs.train(config, str(tmp_path / "run"), model=build)
    named = str(e.value).split("The clips of that batch: ")[1].split(", ")
    assert len(named) == 4 and "train/11.mp4" in named
    step = int(str(e.value).split("at step ")[1].split()[0])
    newest = workdir.checkpoints(str(tmp_path / "run"))[:1]
    assert [checkpoint[:2] for checkpoint in newest] == [(0, step - 1)][: step > 1]
    config.data.deterministic = False
    assert "leaves their order open" in trainer.clips_of(config, None, 0, step)


def test_the_plateau_schedule_needs_its_log(shards, tmp_path):
    train_tiny(tiny_config(shards, epochs=1), tmp_path)
    os.remove(tmp_path / "logs/train.csv")
    with pytest.raises(ValueError, match=r"must hold the losses of the 1 epochs.*Received: 0"):
        train_tiny(tiny_config(shards, epochs=2), tmp_path)


def test_seeds_of_steps_differ(shards):
    model = tiny_runs.build_tiny(tiny_config(shards))
    progress = callbacks.TrainingProgress(steps=5)
    seeds = callbacks.StepSeeds(0, progress)
    seeds.set_model(model)
    variables = [v for v in model.variables if v.path.endswith("seed_generator_state")]
    found = []
    for epoch in range(3):
        for step in range(5):
            progress.epoch, progress.step = epoch, step
            seeds.on_train_batch_begin(step)
            found += [tuple(v.numpy()) for v in variables]
    assert len(set(found)) == 15
