import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

import keras_videorel
from keras_videorel.cli import make_tfrecords, run
from keras_videorel.data import folders, shards
from keras_videorel.data.manifest import Manifest, read_manifest
from keras_videorel.runs.config import _tell_once
from tests.videos import moving_square, write_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three videos of two classes, copied to many names; a broken one among them."""
    root = tmp_path_factory.mktemp("videos")
    for index, label in enumerate(("left", "right", "right")):
        pixels = moving_square(40 + 8 * index, 192, 256, colour=(90 * index, 200, 50))
        path = write_video(root / label / f"{index}-0.mp4", pixels)
        for copy in range(1, 8):
            shutil.copy(path, root / label / f"{index}-{copy}.mp4")
    (root / "left" / "broken.mp4").write_bytes(b"broken")
    return root


def _error(capsys):
    lines = capsys.readouterr().err.splitlines()
    return next(line for line in lines if "error" in line)


def _command(folder, output, *words):
    return [
        "--dataset=folder",
        f"--videos={folder}",
        "--test_fraction=0.25",
        f"--output={output}",
        "--resize=96x128",
        *words,
    ]


def _contents(output):
    return {path.name: path.read_bytes() for path in output.iterdir()}


def test_folder(folder, tmp_path, capsys):
    words = _command(folder, tmp_path, "--workers=1")
    assert run("make-tfrecords", words) == 0
    text = capsys.readouterr().out
    splits = json.loads((tmp_path / "dataset.json").read_text())["splits"]
    assert splits["train"]["clips"] + splits["test"]["clips"] == 24
    assert splits["train"]["frames"] + splits["test"]["frames"] == 8 * (40 + 48 + 56)
    for split, counts in splits.items():
        assert f"{split}:" in text
        assert f"{counts['clips']} clips, {counts['frames']} frames, 1 shards" in text
    assert "rejected: 1 files" in text and "left/broken.mp4,cannot be opened as a video" in text
    assert str(tmp_path) in text

    before = _contents(tmp_path)
    assert run("make-tfrecords", words) == 0
    assert "complete already; nothing was done" in capsys.readouterr().out
    assert _contents(tmp_path) == before

    assert run("make-tfrecords", [*words, "--jpeg_quality=80"]) == 2
    assert "jpeg_quality: 90 there, 80 wanted" in _error(capsys)
    assert _contents(tmp_path) == before


def test_csv_and_short_side(folder, tmp_path, capsys):
    table = tmp_path / "videos.csv"
    rows = [
        "left/0-0.mp4,l,train",
        "right/1-0.mp4,r,train",
        "right/1-1.mp4,r,test",
        "no.mp4,l,test",
    ]
    table.write_text("\n".join(["path,label,split", *rows]))
    words = ["--dataset=csv", f"--videos={folder}", f"--annotations={table}", "--workers=1"]
    output = tmp_path / "shards"
    assert run("make-tfrecords", [*words, f"--output={output}", "--short_side=48"]) == 0
    assert "no.mp4,no such file" in capsys.readouterr().out
    assert (output / "labels.txt").read_text() == "l\nr\n"
    manifest = json.loads((output / "dataset.json").read_text())
    assert manifest["options"]["short_side"] == 48
    assert manifest["splits"]["train"]["clips_per_label"] == {"l": 1, "r": 1}
    assert manifest["splits"]["test"]["clips_per_label"] == {"l": 0, "r": 1}


def test_flags_reach_the_writer(folder, tmp_path, monkeypatch):
    calls = []

    def record(data, output, root, **options):
        calls.append((len(data.videos), data.drawn, output, root, options))
        content = {"splits": {}, "notes": [], "rejected": 0}
        return Manifest(output, [], (96, 128), {}, content=content)

    tmp_path = tmp_path / "never"

    monkeypatch.setattr(shards, "write_shards", record)
    options = {
        "jpeg_quality": 80,
        "flow": "dis",
        "shards": 3,
        "workers": 5,
        "engine": "beam",
        "time_limit": 7.0,
        "seed": 4,
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    assert run("make-tfrecords", _command(folder, tmp_path, *words, "--", "--runner", "x")) == 0
    options = {
        "num_shards": options.pop("shards"),
        "num_workers": options.pop("workers"),
        **options,
        "frame_size": (96, 128),
        "fold": 1,
        "class_names": None,
        "frame_rate": 12.0,
        "beam_options": ["--runner", "x"],
    }
    assert calls == [(25, True, str(tmp_path), str(folder), options)]


def test_a_folder_from_python(folder, tmp_path, capsys):
    with pytest.warns(UserWarning, match="look like parts of one recording"):
        manifest = keras_videorel.data.convert_folder(
            folder, tmp_path / "mine", (96, 128), test_fraction=0.25, num_workers=1
        )
    assert manifest == read_manifest(str(tmp_path / "mine"))
    assert manifest.labels == ["left", "right"] and manifest.frame_size == (96, 128)
    assert run("make-tfrecords", _command(folder, tmp_path / "theirs", "--workers=1")) == 0
    assert _contents(tmp_path / "mine") == _contents(tmp_path / "theirs")
    with pytest.raises(ValueError, match="`test_fraction` is needed"):
        keras_videorel.data.convert_folder(folder, tmp_path / "other")


def test_the_older_name_of_fold(folder, tmp_path, capsys):
    _tell_once.cache_clear()
    assert run("make-tfrecords", _command(folder, tmp_path / "new", "--split=2")) == 2
    first, error = capsys.readouterr().err.splitlines()
    assert first.startswith("`split` is now called `fold`")
    assert "`fold` is for the official data sets. Received: 2" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "is needed"),
        (["--dataset=ucf"], "dataset"),
        (["--resize=128"], "`resize` must be HEIGHTxWIDTH, for example 128x170. Received: '128'"),
        (["--resize=0x5"], "`resize` must be HEIGHTxWIDTH"),
        (["--resize=128x170", "--short_side=5"], "either `resize` or `short_side`"),
        (["--annotations=a.csv"], "`annotations` is for --dataset csv and"),
        (["--dataset=csv"], "`annotations` must name a table"),
        (["--dataset=csv", "--annotations=a.csv", "--test_fraction=0.5"], "must be a CSV file"),
        (["--dataset=csv", "--annotations=none.csv"], "`annotations` must be a CSV file"),
        (["--videos=none"], "`videos` must be the folder of the videos. Received: 'none'"),
        (["--output="], "`output` must name a folder"),
        (["more"], "words after -- are for --engine beam. Received: more"),
        (["--fold=2", "--test_fraction=0.5"], "`fold` is for the official data sets"),
        (["--workers=two"], "workers"),
        (["--workers=0"], "--workers=0: 0 is not a positive integer"),
        ([], "`test_fraction` is needed"),
    ],
)
def test_bad_words_are_refused(folder, tmp_path, words, message, capsys):
    if message not in ("dataset", "is needed"):
        given = [f"--videos={folder}", f"--output={tmp_path}/new", *words]
        words = given if "--dataset=csv" in words else ["--dataset=folder", *given]
    if message.startswith(("`workers", "either", "`resize")):
        words.append("--test_fraction=0.5")
    assert run("make-tfrecords", words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("videorel make-tfrecords: error:")
    assert message in lines[0]
    assert not (tmp_path / "new").exists()


def test_help(capsys):
    assert run("make-tfrecords", ["--help"]) == 0
    text = capsys.readouterr().out
    for name in make_tfrecords.FLAGS:
        if name not in ("flagfile", "undefok"):
            assert f"--{name}" in text


def _start(root, words, **options):
    # In a process group of its own, to be killed with all its workers.
    return subprocess.Popen(
        [sys.executable, "-m", "keras_videorel", "make-tfrecords", *words],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


@pytest.mark.slow
def test_a_killed_run_is_completed_by_the_next(root, folder, tmp_path):
    words = ["--shards=9", "--workers=2"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run("make-tfrecords", _command(folder, whole, "--shards=9", "--workers=1")) == 0

    process = _start(root, _command(folder, killed, *words))
    deadline = time.monotonic() + 120
    while not list(killed.glob("train-?????-of-?????.tfrecord")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    found = {name: content for name, content in _contents_of_shards(killed).items()}
    expected = _contents_of_shards(whole)
    assert 0 < len(found) < len(expected)
    assert all(expected[name] == content for name, content in found.items())
    assert not (killed / "dataset.json").exists()

    process = _start(root, _command(folder, killed, "--shards=9", "--workers=2", "--seed=1"))
    _, errors = process.communicate()
    assert process.returncode == 2 and "seed: 0 there, 1 wanted" in errors
    assert "Traceback" not in errors

    kept = {name: os.stat(killed / name).st_mtime_ns for name in found}
    process = _start(root, _command(folder, killed, *words))
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "rejected: 1 files" in output
    assert _contents(killed) == _contents(whole)
    assert {name: os.stat(killed / name).st_mtime_ns for name in found} == kept


def _contents_of_shards(output):
    return {path.name: path.read_bytes() for path in output.glob("*.tfrecord")}


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_no_half_shard(root, folder, tmp_path):
    resource = pytest.importorskip("resource")
    limit = 200_000  # bytes of a file
    process = _start(
        root,
        _command(folder, tmp_path, "--workers=1"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    _, errors = process.communicate()
    assert process.returncode == 2, errors
    assert "Traceback" not in errors
    line = errors.splitlines()[-1]
    assert line.startswith("videorel make-tfrecords: error: cannot write ")
    assert not list(tmp_path.glob("*.tfrecord")) and not list(tmp_path.rglob("*.tmp"))


def test_names_that_are_no_text_on_a_terminal_of_ascii(folder, tmp_path, monkeypatch):
    videos = tmp_path / "videos"
    name = os.fsdecode(b"caf\xe9 \xe4.mp4")
    for label in ("10", "9", "wäve"):
        for split in ("train", "Valid", "test"):
            (videos / split / label).mkdir(parents=True)
            try:
                shutil.copy(folder / "left" / "0-0.mp4", videos / split / label / name)
            except OSError:
                pytest.skip("a file system of UTF-8 names")
            (videos / split / label / f"b{name}").write_bytes(b"broken")
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    output = tmp_path / "shards"
    words = [f"--videos={videos}", f"--output={output}", "--resize=24x32", "--workers=1"]
    assert run("make-tfrecords", ["--dataset=folder", *words]) == 0
    stdout.flush()
    text = stdout.buffer.getvalue().decode("ascii")
    assert "val:   3 clips" in text and "bcaf\\udce9" in text and "rejected: 9 files" in text
    assert (output / "labels.txt").read_text() == "9\n10\nwäve\n"
    assert b"test/10/bcaf\xe9 \xe4.mp4," in (output / "rejected.csv").read_bytes()
    # Data sets that are there keep the order that they have.
    (output / "labels.txt").write_text("10\n9\nwäve\n")
    data = folders.read_folder(videos)
    assert shards._with_labels(data, None, output).labels == ["10", "9", "wäve"]
    data = data._replace(videos=[v for v in data.videos if v.label != "wäve"])
    assert shards._with_labels(data, None, output).labels == ["9", "10"]
