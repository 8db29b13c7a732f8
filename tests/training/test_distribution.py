"""Data parallelism: what several devices or processes train is what one trains."""

import json
import os
import re
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_videorel.data.manifest import read_manifest
from keras_videorel.runs import train as training
from keras_videorel.runs import workdir
from keras_videorel.training import distribution
from tests import tiny_config, tiny_training
from tests.clips import training_batches
from tests.conftest import ROOT
from tests.shards import gray_video, two_classes, write_shards

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.distribute is of the tensorflow backend"
)
jax_only = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="keras.distribution is of the jax backend"
)
# Norms of the gradients are 0.1 to 1, so that clipping takes part.
FLAGS = {
    "data.num_readers": 2,
    "train.synchronized_batch_norm": True,
    "train.gradient_clip_norm": 0.1,
    "train.checkpoint_steps": 1,
}
# Sums over the batch are taken in another order, and the variance of synchronized batch
# normalization is a difference of them: about 1e-5 of the largest weight after three epochs.
TOLERANCE = 1e-4
ERROR = "videorel train: error: another worker was lost"


# --- Reading --------------------------------------------------------------------------------


OPTIONS = {
    "frames": 4,
    "crop_size": 16,
    "mean": (0.0, 0.0, 0.0),
    "shuffle_buffer": 6,
    "first_epoch": 2,
}


def numbered_shards(folder, clips, shards):
    """Clips that are classes of their own; clip i is in shard i % shards."""
    videos = [(gray_video(5, (20, 20)), i) for i in range(clips)]
    labels = [str(i) for i in range(clips)]
    write_shards(folder, {"train": videos}, labels, (20, 20), shards)
    return read_manifest(str(folder))


def batches_of(info, batch_size, num_readers, reader_ids=None):
    batches = training_batches(
        info, batch_size, num_readers=num_readers, reader_ids=reader_ids, epochs=5, **OPTIONS
    )
    return [(clips.numpy(), labels.numpy()) for clips, labels in batches]


@pytest.mark.parametrize(("shards", "num_readers", "workers"), [(4, 2, 2), (6, 3, 3), (4, 4, 2)])
def test_workers_read_each_record_once(tmp_path, shards, num_readers, workers):
    """Shards are of one worker; together the workers make the batches that one process makes."""
    info = numbered_shards(tmp_path, 24, shards)
    share = num_readers // workers
    parts = [
        batches_of(info, 12, num_readers, range(worker * share, (worker + 1) * share))
        for worker in range(workers)
    ]
    dealt = []
    for epoch in (slice(0, 2), slice(2, 4), slice(4, 6)):
        labels = [np.concatenate([batch[1] for batch in part[epoch]]) for part in parts]
        assert sorted(np.concatenate(labels)) == list(range(24)), "each clip once an epoch"
        of_worker = [set(own % shards) for own in labels]
        assert sum(map(len, of_worker)) == shards, "each shard in one worker"
        dealt.append(of_worker)
    assert any(of_worker != dealt[0] for of_worker in dealt), "shards are dealt anew"
    whole = batches_of(info, 12, num_readers)
    assert len(whole) == 6
    for (clips, labels), *own in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(clips, np.concatenate([part[0] for part in own]))
        np.testing.assert_array_equal(labels, np.concatenate([part[1] for part in own]))


def test_readers_of_unequal_shards(tmp_path):
    """Of two shards against one, half an epoch each: the lane with one reads on from its start."""
    info = numbered_shards(tmp_path, 12, 3)
    whole = batches_of(info, 4, 2)
    assert len(whole) == 9
    for epoch in (whole[:3], whole[3:6], whole[6:]):
        first, second = (
            np.concatenate([labels[part] for _, labels in epoch])
            for part in (slice(0, 2), slice(2, 4))
        )
        assert len(set(first % 3)) == 2 and len(set(first)) == 6
        assert len(set(second % 3)) == 1 and len(set(second)) == 4
        np.testing.assert_array_equal(second[:2], second[4:])


def test_readers_that_cannot_be(tmp_path):
    info = numbered_shards(tmp_path, 12, 3)
    with pytest.raises(ValueError, match=r"at most the number of shards.*num_readers=4, shards=3"):
        training_batches(info, 12, num_readers=4)
    with pytest.raises(ValueError, match=r"multiple of `num_readers`.*batch_size=7, num_readers=2"):
        training_batches(info, 7, num_readers=2)


# --- Who takes what -------------------------------------------------------------------------


def tf_config(ports, index):
    workers = [f"127.0.0.1:{port}" for port in ports]
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})


def test_tf_config(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert distribution.read_tf_config() == (1, 0)
    monkeypatch.setenv("TF_CONFIG", tf_config([1, 2, 3], 2))
    assert distribution.read_tf_config() == (3, 2)
    for wrong in (
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        tf_config([1, 2], 2),
        tf_config([1, 2], "1"),
        tf_config([1], 0).replace('"type": "worker"', '"type": "chief"'),
        tf_config([1], 0).replace('"cluster": {', '"cluster": {"ps": ["b:1"], '),
    ):
        monkeypatch.setenv("TF_CONFIG", wrong)
        with pytest.raises(ValueError, match="TF_CONFIG must be"):
            distribution.read_tf_config()


def test_the_scripts_of_the_docs(tmp_path, monkeypatch):
    """What they make of a batch system's variables is what `read_tf_config` takes."""
    text = (ROOT / "docs" / "distributed.md").read_text(encoding="utf-8")
    programs = {
        "scontrol": "printf '%s\\n' node7 node9",
        "srun": 'shift; exec "$@"',  # after its option
        "videorel": 'printf %s "$TF_CONFIG"',
    }
    for name, line in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "123456")
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    by_hand, *others = re.findall(r"export TF_CONFIG='.*?videorel train", text, re.DOTALL)
    (slurm,) = re.findall(r"#!/bin/bash.*?(?=```)", text, re.DOTALL)
    (kubernetes,) = others
    for script, workers, index in (
        (by_hand, ["node1:12345", "node2:12345"], 0),
        (slurm, ["node7:23456", "node9:23456"], 1),
        (kubernetes, ["artnet-0.artnet:12345", "artnet-1.artnet:12345"], 1),
    ):
        made = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        assert json.loads(made.stdout)["cluster"]["worker"] == workers
        monkeypatch.setenv("TF_CONFIG", made.stdout)
        assert distribution.read_tf_config() == (2, index)


def test_parts_are_equal():
    spread = distribution.Distribution(devices=4, workers=2, worker=1)
    assert spread.readers(1, 8) == (2, range(1, 2)) and spread.readers(6, 8) == (6, range(3, 6))
    with pytest.raises(ValueError, match=r"multiple of the number of workers.*3 readers"):
        spread.readers(3, 12)
    with pytest.raises(ValueError, match=r"multiple of the number of devices.*of 6, 4 devices"):
        spread.readers(1, 6)


# --- Training -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return str(two_classes(tmp_path_factory.mktemp("shards")))


@pytest.fixture(scope="module")
def one_device(shards, tmp_path_factory):
    """What one device in this process makes of it: weights, and the log's last row."""
    folder = tmp_path_factory.mktemp("one") / "run"
    config = tiny_config.get_config()
    config.data.path = shards
    for key, value in FLAGS.items():
        group, name = key.split(".")
        config[group][name] = value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "build_model", tiny_training.tiny_model)
        model = training.train(config, str(folder))
    return tiny_training.weights(model), last_row(folder)


def last_row(folder):
    header, *rows = (folder / "logs" / "train.csv").read_text().splitlines()
    return len(rows), dict(zip(header.split(","), map(float, rows[-1].split(",")), strict=True))


def start(shards, folder, saved, environment=None, **options):
    """Begin `tests.tiny_training` in a process of its own."""
    words = [sys.executable, "-m", "tests.tiny_training"]
    words += [json.dumps({"weights": str(saved), **options})]
    words += ["--config", "tests/tiny_config.py", "--workdir", str(folder)]
    words += [f"--config.{key}={value}" for key, value in {"data.path": shards, **FLAGS}.items()]
    environment = {**os.environ, **(environment or {})}
    return subprocess.Popen(
        words,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(*processes):
    """`(exit status, output)` of each."""
    try:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, out) for process, out in zip(processes, outputs, strict=True)]


def two_workers(shards, folders, saved, killed_in=None):
    """Both workers' `(exit status, output)`; the second may be killed in an epoch."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    failures = [{}, {} if killed_in is None else {"killed_in": killed_in}]
    return ended(
        *(
            start(shards, folders[i], saved[i], {"TF_CONFIG": tf_config(ports, i)}, **failures[i])
            for i in range(2)
        )
    )


def assert_equal_training(one_device, saved, folder):
    """Weights, statistics and what was logged."""
    expected, (epochs, row) = one_device
    found = np.load(saved)
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(
            found[name], value, rtol=0, atol=TOLERANCE * np.abs(value).max(), err_msg=name
        )
    if folder is not None:
        assert last_row(folder) == (epochs, pytest.approx(row, rel=TOLERANCE, abs=TOLERANCE))


@tensorflow_only
@pytest.mark.slow
def test_two_devices_are_one(shards, one_device, tmp_path, monkeypatch):
    """MirroredStrategy, as of two GPUs."""
    saved = tmp_path / "weights.npz"
    ((status, output),) = ended(start(shards, tmp_path / "run", saved, devices=2))
    assert status == 0, output
    assert_equal_training(one_device, saved, tmp_path / "run")
    # Checkpoints are read without the strategy.
    monkeypatch.setattr(training, "build_model", tiny_training.tiny_model)
    model, epochs = training.load_model(str(tmp_path / "run"))
    for name, value in tiny_training.weights(model).items():
        np.testing.assert_array_equal(np.load(saved)[name], value)
    assert epochs == 3


@pytest.fixture(scope="module")
def workers_apart(shards, tmp_path_factory):
    """Two workers with folders of their own, undisturbed: the folder, and what they saved."""
    folder = tmp_path_factory.mktemp("workers")
    saved = [folder / f"{i}.npz" for i in range(2)]
    results = two_workers(shards, [folder / "run-0", folder / "run-1"], saved)
    assert [status for status, _ in results] == [0, 0], results
    return folder, saved, results


@tensorflow_only
@pytest.mark.slow
def test_two_workers_are_one_device(one_device, workers_apart):
    """And only the first of them writes, and tells."""
    folder, saved, results = workers_apart
    assert_equal_training(one_device, saved[0], folder / "run-0")
    assert_equal_training(one_device, saved[1], None)
    assert not (folder / "run-1").exists() and results[1][1] == ""
    assert {"checkpoints", "logs", "figures"} < {p.name for p in (folder / "run-0").iterdir()}


@tensorflow_only
@pytest.mark.slow
def test_a_lost_worker_ends_the_others_and_all_go_on(shards, workers_apart, tmp_path):
    """A worker is killed in the second epoch; started again, both end as if it had not been."""
    folders, saved = [tmp_path / "run"] * 2, [tmp_path / f"{i}.npz" for i in range(2)]
    (chief, output), (other, _) = two_workers(shards, folders, saved, killed_in=1)
    assert (chief, other) == (2, -9), output
    assert output.splitlines()[-1].startswith(ERROR) and "Traceback" not in output
    found = workdir.checkpoints(str(tmp_path / "run"))[0]
    assert found.epochs == 1 and found.steps in (1, 2)
    results = two_workers(shards, folders, saved)
    assert [status for status, _ in results] == [0, 0], results
    assert f"going on after epoch 1 of 3 and {found.steps} of 4 steps" in results[0][1]
    for name, value in np.load(workers_apart[1][0]).items():
        np.testing.assert_allclose(np.load(saved[0])[name], value, rtol=1e-6, err_msg=name)
    logs = [folder / "logs/train.csv" for folder in (workers_apart[0] / "run-0", tmp_path / "run")]
    ours, theirs = (np.loadtxt(log, delimiter=",", skiprows=1) for log in logs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)  # also the averages of the second epoch


@jax_only
def test_two_devices_are_one_on_jax(shards, one_device, tmp_path):
    """keras.distribution.DataParallel."""
    saved = tmp_path / "weights.npz"
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    ((status, output),) = ended(start(shards, tmp_path / "run", saved, flags))
    assert status == 0, output
    assert_equal_training(one_device, saved, tmp_path / "run")
