"""`videorel predict` on folders, patterns, cameras and bad inputs, and what it writes."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from keras_videorel import cli
from keras_videorel.data import video
from keras_videorel.prediction import live
from tests.prediction.conftest import BLUE, RED, colored, folder  # noqa: F401  a fixture
from tests.videos import LOSSLESS, write_video


@pytest.fixture
def videorel(folder, monkeypatch, capsys):  # noqa: F811
    """Run the command in this process: `(status, lines of stdout, lines of stderr)`."""

    def run(*words):
        status = cli.run("predict", [f"--model={folder}", *map(str, words)])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err.splitlines()

    return run


@pytest.fixture
def videos(tmp_path):
    """Two videos of one name in two folders, and one that is none."""
    for name, color in (("a/clip", RED), ("b/clip", BLUE)):
        write_video(tmp_path / f"{name}.mp4", colored((25, color)), **LOSSLESS)
    (tmp_path / "b" / "broken.mp4").write_bytes(b"no video")
    return tmp_path


def test_one_bad_input_leaves_the_others_alone(videorel, videos):
    words = [f"{videos}/a", f"{videos}/*/*.mp4", videos / "none.mp4", f"{videos}/*.avi"]
    status, out, err = videorel("--json", "--top=1", *words)
    assert status == 1
    lines = [json.loads(line) for line in out]
    good = [line for line in lines if "predictions" in line]
    assert [line["path"] for line in good] == [
        f"{videos}/{name}/clip.mp4" for name in ("a", "a", "b")
    ]
    assert [line["predictions"][0]["label"] for line in good] == ["red", "red", "blue"]
    for reason in ("broken.mp4: cannot be opened", "none.mp4: no such file", "no file matches"):
        assert any(reason in line for line in err)
        assert any(reason in line.get("error", "") for line in lines)
    assert len(err) == 3 and len(lines) == 6


def test_over_time(videorel, tmp_path):
    path = write_video(tmp_path / "clip.mp4", colored((25, RED), (25, BLUE)), **LOSSLESS)
    words = ["--over_time", "--top=1", "--window=1", "--hop=0.5", path]
    status, out, err = videorel(*words)
    assert status == 0 and not err and out[0] == f"{path} (50 frames)"
    assert [line.split()[:4] for line in out[2:]] == [
        ["0.00", "-", "1.00", "s"], ["0.48", "-", "1.48", "s"], ["0.96", "-", "1.96", "s"],
        ["1.00", "-", "2.00", "s"],
    ]  # fmt: skip
    assert out[2].endswith(" red") and out[-1].endswith(" blue")
    _, (line,), _ = videorel("--json", *words)
    windows = json.loads(line)["windows"]
    assert [window["end"] for window in windows] == [1.0, 1.48, 1.96, 2.0]
    shares = [window["predictions"][0]["probability"] for window in windows]
    shown = [float(line.split()[4].rstrip("%")) / 100 for line in out[2:]]
    np.testing.assert_allclose(shown, shares, atol=6e-4)


def test_overlays_and_strips_of_several(videorel, videos):
    status, out, _ = videorel(
        f"{videos}/a", f"{videos}/b", f"--overlay={videos}/out", f"--strip={videos}/out",
        "--position=0,1", "--gate=f",
    )  # fmt: skip
    assert status == 1
    names = ["clip-2.mp4", "clip-2.png", "clip.mp4", "clip.png"]
    assert sorted(os.listdir(videos / "out")) == names
    assert f"  written: {videos}/out/clip-2.png" in out
    status, (line,), _ = videorel("--json", f"--overlay={videos}/one.mov", videos / "a/clip.mp4")
    assert status == 0 and json.loads(line)["overlay"] == f"{videos}/one.mov"
    assert (videos / "one.mov").exists()


def test_a_file_is_decoded_twice(videorel, videos, monkeypatch):
    """Once to count the frames and label windows, once for everything that needs the count."""
    opened, iter_frames = [], video.iter_frames
    monkeypatch.setattr(
        video, "iter_frames", lambda *a, **k: opened.append(a[0]) or iter_frames(*a, **k)
    )
    path = f"{videos}/a/clip.mp4"
    everything = [f"--overlay={videos}/o.mp4", f"--strip={videos}/s.png", "--over_time", "--json"]
    for words in ([], ["--over_time"], everything):
        opened.clear()
        status, _, _ = videorel(path, *words)
        assert status == 0 and opened == [path, path]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name at least one video file"),
        (["--overlay=o.mp4", "--camera=0"], "--overlay and --strip are for files"),
        (["--position=1", "a.mp4"], "`position` must be row,column. Received: 1"),
        (["--position=a,b", "a.mp4"], "`position` must be row,column. Received: a,b"),
        (["--hop=0", "a.mp4"], "`hop` must be a finite number above 0"),
        (["--precision=int8", "a.mp4"], "has no model_int8.tflite; `precision` can be saved_model"),
        (["--precision=fp8", "a.mp4"], "fp8"),
    ],
)
def test_wrong_options(videorel, words, message):
    status, out, err = videorel(*words)
    assert status == 2 and not out and len(err) == 1 and message in err[0]


@pytest.mark.parametrize("kind", ["strip", "overlay"])
def test_files_of_other_kinds_are_refused_before_the_work(videorel, videos, kind):
    status, out, err = videorel(f"--{kind}={videos}/x.xyz", f"{videos}/a/clip.mp4")
    assert status == 2 and not out
    assert re.search(rf"`--{kind}` must be a folder, or end in \..*Received: .*x.xyz'$", err[-1])
    status, out, _ = videorel(f"--{kind}={videos}/x.xyz", f"{videos}/a")  # a folder of that name
    assert status == 0 and len(os.listdir(videos / "x.xyz")) == 1


def test_a_position_outside_of_the_maps(videorel, videos):
    status, _, err = videorel("--position=0,9", f"--strip={videos}/s.png", f"{videos}/a/clip.mp4")
    assert status == 1 and "a column below 2. Received: 0,9" in err[-1]
    assert not (videos / "s.png").exists()


def test_a_camera_and_a_file_played_live(videorel, tmp_path):
    path = write_video(tmp_path / "clip.mp4", colored((25, BLUE)), **LOSSLESS)
    before = signal.getsignal(signal.SIGINT)
    status, out, err = videorel(
        "--json", "--top=1", f"--camera={path}", "--camera=99", "--live", path, "--window=0.4"
    )
    assert status == 1 and signal.getsignal(signal.SIGINT) is before
    lines = [json.loads(line) for line in out]
    windows = [line for line in lines if "source" in line]
    assert {line["source"] for line in windows} == {f"camera {path}", str(path)}
    for line in windows:
        assert line["predictions"][0]["label"] == "blue" and line["latency_ms"] > 0
        assert line["end"] > line["start"] >= 0
    assert next(line for line in lines if "error" in line)["path"] == "camera 99"
    assert sum("25 frames" in line and "latency" in line for line in err) == 2


def test_ctrl_c_ends_live_mode(videorel, monkeypatch):
    """It is the way to end it, not an error: sources are asked to stop, and sum up."""

    def watch(predictor, sources, *, stop, on_end, **_):
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        on_end(live.Summary("camera 0", 7, 0, 0, [], None))
        yield from ()

    monkeypatch.setattr(live, "watch", watch)
    assert videorel("--camera=0") == (
        0, [], ["videorel predict: camera 0: 7 frames, 0 windows, 0 frames skipped"]
    )  # fmt: skip


@pytest.mark.slow
def test_q_ends_live_mode(folder, tmp_path):  # noqa: F811
    """In a terminal the command ends by itself, and leaves the terminal as it was."""
    termios = pytest.importorskip("termios", reason="no terminals here")
    path = write_video(tmp_path / "clip.mp4", colored((25 * 60, BLUE), size=(16, 16)))
    ours, theirs = os.openpty()
    before = termios.tcgetattr(theirs)
    command = [sys.executable, "-m", "keras_videorel", "predict", f"--model={folder}", "--live"]
    process = subprocess.Popen(
        [*command, "--window=0.4", str(path)], stdin=theirs, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert "blue" in process.stdout.readline()
        os.write(ours, b"xq")
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in err
    assert f"{path}: " in err and "windows, latency" in err
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)
