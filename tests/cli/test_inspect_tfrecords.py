import csv
import os
import subprocess
import sys

import cv2
import pytest

from keras_videorel.cli import inspect_tfrecords, run
from keras_videorel.data import shards
from keras_videorel.data.manifest import read_manifest
from tests.shards import two_classes
from tests.videos import moving_square, write_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shards of `make-tfrecords`, with flow."""
    folder = tmp_path_factory.mktemp("shards")
    for number in range(12):
        split, label = ("train", "test")[number % 3 == 0], f"class {number % 4}"
        path = folder / "videos" / split / label / f"{number}.mp4"
        write_video(path, moving_square(5 + number))
    options = {"frame_size": (24, 32), "flow": "dis", "num_workers": 1, "num_shards": 2}
    shards.convert_folder(folder / "videos", folder / "shards", **options)
    return folder / "shards"


@pytest.fixture
def damaged(folder, tmp_path):
    """A copy with a flipped bit, a lost record and a label too few."""
    for path in folder.iterdir():
        content = bytearray(path.read_bytes())
        if path.name == "train-00000-of-00002.tfrecord":
            content[100] ^= 1
        if path.name == "test-00001-of-00002.tfrecord":
            content = content[:-1]
        (tmp_path / path.name).write_bytes(content)
    (tmp_path / "labels.txt").write_text("class 0\nclass 1\nclass 2\n")
    return tmp_path


def inspect(capsys, *words):
    """Exit status, what was printed, and the lines of the progress bar and of an error."""
    status = run("inspect-tfrecords", [str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_whole_shards(folder, capsys):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    status, text, _ = inspect(capsys, "--shards", folder)
    assert status == 0
    assert f"{folder}: 4 labels, 12 clips" in text
    assert "frames of 24x32 (12 clips)\n" in text and "optical flow\n" in text
    assert "frames of a clip: 5 to 16, median 10" in text
    assert "duration of a clip: 0.2 s to 0.6 s, median 0.4 s" in text
    lines = [line.split() for line in text.splitlines()]
    frames = sum(5 + number for number in range(12))
    tests = sum(5 + number for number in range(0, 12, 3))
    assert ["train", "2", "8", str(frames - tests), "0:00:04"] in [line[:5] for line in lines]
    assert ["test", "2", "4", str(tests), "0:00:02"] in [line[:5] for line in lines]
    assert ["class", "3", "2", "1"] in lines
    assert "train: 2 to 2 clips per label\n" in text
    assert text.endswith(f"no problems: 12 records read, all {frames} frames decoded\n")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_without_decoding(folder, capsys):
    status, text, _ = inspect(capsys, "--shards", folder, "--noverify")
    assert status == 0 and text.endswith("12 records read, the first frame of each decoded\n")


def test_long_lists_of_classes_are_shortened(tmp_path, capsys):
    folder = two_classes(tmp_path / "shards", train=2, test=2, frames=2)
    labels = ["right", "left", *(f"other {n}" for n in range(30))]
    (folder / "labels.txt").write_text("\n".join(labels))
    _, text, _ = inspect(capsys, "--shards", folder, "--noverify")
    assert "other 7 " in text and "other 8" not in text
    assert "... and 22 more labels (--all prints them)" in text
    assert "train: 0 to 1 clips per label, none of 30 labels" in text
    _, text, _ = inspect(capsys, "--shards", folder, "--noverify", "--all")
    assert "other 29 " in text and "more labels" not in text


def test_problems(damaged, tmp_path, capsys, monkeypatch):
    report = tmp_path / "report.csv"
    status, text, _ = inspect(capsys, "--shards", damaged, "--report", report)
    assert status == 1
    with open(report, newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "record", "path", "problem"]
    places = [row[:2] for row in rows]
    assert ["train-00000-of-00002.tfrecord", "0"] in places
    assert ["test-00001-of-00002.tfrecord", "1"] in places
    assert "label 3 is out of range: there are 3 labels" in {row[3] for row in rows}
    assert f"{len(rows) - 1} problems:" in text
    assert "train-00000-of-00002.tfrecord, record 0: is damaged" in text
    assert "dataset.json: 8 clips in train, found 4" in text
    assert "more" not in text
    monkeypatch.setattr(inspect_tfrecords, "PROBLEMS_SHOWN", 2)
    _, text, _ = inspect(capsys, "--shards", damaged)
    assert f"... and {len(rows) - 3} more (--report lists them)" in text


def test_the_report_of_no_problems_has_a_head(folder, tmp_path, capsys):
    report = tmp_path / "report.csv"
    assert inspect(capsys, "--shards", folder, "--report", report)[0] == 0
    assert report.read_text() == "file,record,path,problem\n"


def test_sheet(folder, damaged, tmp_path, capsys):
    words = ["--noverify", "--contact_sheet", tmp_path / "sheet.png"]
    status, text, _ = inspect(capsys, "--shards", folder, *words, "--clips=5", "--seed=3")
    assert status == 0 and f"5 clips on {tmp_path / 'sheet.png'}" in text
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] == 1400
    # Only what is whole is drawn.
    words = ["--noverify", "--sheet", tmp_path / "sheet.png"]  # its older name
    status, text, _ = inspect(capsys, "--shards", damaged, *words, "--clips=99")
    drawn = int(text.splitlines()[-1].split()[0])
    assert status == 1 and 0 < drawn < 10


def describe_words(folder, output):
    return [
        "--shards", folder, "--train", "train-*", "--test", "test-*",
        "--labels", folder / "labels.txt", "--describe", output,
    ]  # fmt: skip


def test_describe(tmp_path, capsys):
    folder = two_classes(tmp_path / "shards", train=4, test=2, frames=5)
    (folder / "dataset.json").unlink()
    status, _, error = inspect(capsys, "--shards", folder)
    assert status == 2 and "no finished shards (no dataset.json)" in error
    words = describe_words(folder, tmp_path / "described")
    status, text, _ = inspect(capsys, *words, "--path_key=clip/data_path")
    assert status == 0 and f'config.data.path = "{tmp_path / "described"}"' in text
    info = read_manifest(str(tmp_path / "described"))
    assert (info.frame_size, info.clips) == ((28, 36), {"train": 4, "test": 2})
    assert info.labels == ["right", "left"]
    assert inspect(capsys, "--shards", tmp_path / "described")[0] == 0


def test_shards_with_problems_are_not_described(tmp_path, capsys):
    folder = two_classes(tmp_path / "shards", train=2, test=2, frames=2)
    (folder / "labels.txt").write_text("right\n")
    status, text, _ = inspect(capsys, *describe_words(folder, tmp_path / "described"))
    assert status == 1 and "described was not written, because of the problems" in text
    assert not (tmp_path / "described").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--shards is needed"),
        (["--shards=SHARDS/none"], "no finished shards"),
        (["--shards=SHARDS", "more"], "Received: more"),
        (["--shards=SHARDS", "--sheet=TMP/s.png", "--clips=0"], "clips"),
        (["--shards=SHARDS", "--labels=labels.txt"], "`labels` is for shards that `train` names"),
        (["--shards=SHARDS", "--describe=TMP/d"], "`describe` is for shards that `train` names"),
        (["--shards=SHARDS", "--flow_key=f"], "`flow_key` is for shards that `train` names"),
        (["--shards=SHARDS", "--train=train-*"], "`labels` must name a file"),
        (["--shards=SHARDS", "--train=a*", "--labels=SHARDS/labels.txt"], "matches a*"),
        (
            [
                "--shards=SHARDS",
                "--train=train-*",
                "--labels=SHARDS/labels.txt",
                "--describe=SHARDS",
            ],
            "must not be a folder of `make-tfrecords`",
        ),
        (["--shards=SHARDS", "--report=SHARDS/labels.txt/r.csv"], "labels.txt"),
    ],
)
def test_bad_words_are_refused(folder, tmp_path, capsys, words, message):
    words = [word.replace("SHARDS", str(folder)).replace("TMP", str(tmp_path)) for word in words]
    status, _, error = inspect(capsys, *words)
    assert status == 2
    assert error.splitlines()[-1].startswith("videorel inspect-tfrecords: error:")
    assert message in error.splitlines()[-1] and "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_help(capsys):
    status, text, _ = inspect(capsys, "--help")
    assert status == 0
    assert all(
        f"--{name}" in text for name in ("describe", "frames_key", "report", "contact_sheet")
    )


@pytest.mark.slow
def test_the_script_of_the_checkout(root, damaged):
    command = [sys.executable, "tools/inspect_tfrecords.py", "--shards", str(damaged)]
    result = subprocess.run(
        command, cwd=root, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}
    )
    assert result.returncode == 1 and "problems:" in result.stdout
    assert "Traceback" not in result.stderr
