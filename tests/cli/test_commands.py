"""The commands as a user types them: train, evaluate, export, predict, and what goes wrong.

In a process of their own where that may matter; else in this one, which knows TensorFlow already.
"""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from keras_videorel import cli
from tests.shards import moving_square, two_classes
from tests.videos import write_audio, write_video

CONFIG = """
from keras_videorel.runs.config import base, parse_argument, video_resnet

def get_config(argument=None):
    argument = parse_argument(argument, width=4)
    config = base(model=video_resnet("artnet_s", width=argument["width"]))
    config.data.update(
        {"path": "SHARDS", "frames": 8, "crop_size": 24, "crop_scales": (1.0,), "mirror": False}
    )
    config.train.update(
        {"epochs": 2, "batch_size": 8, "learning_rate": 0.05, "decay_epochs": ()}
    )
    config.eval.update({"clips": 2, "crops": 1})
    return config
"""


def process(*words):
    command = [sys.executable, "-m", "keras_videorel", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def videorel(command, *words):
    """The same, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.run(command, [str(word) for word in words])
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def error_of(result):
    """The one line that a failed command prints."""
    assert result.returncode in (1, 2), result.stdout + result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with shards, a config and a trained run of it."""
    folder = tmp_path_factory.mktemp("commands")
    two_classes(folder / "shards")
    (folder / "config.py").write_text(CONFIG.replace("SHARDS", str(folder / "shards")))
    result = process("train", "--config", folder / "config.py", "--workdir", folder / "run")
    assert result.returncode == 0, result.stderr
    assert "checkpoint" in result.stdout and "curves.png" in result.stdout
    return folder


@pytest.fixture(scope="module")
def exported(work):
    model = work / "a model"
    result = videorel("export", "--workdir", work / "run", "--output", model, "--clips=3")
    assert result.returncode == 0, result.stderr
    assert f"videorel predict --model '{model}' VIDEO" in result.stdout
    return model


def test_evaluate(work, tmp_path):
    result = videorel(
        "evaluate", "--workdir", work / "run", "--scores", tmp_path / "scores.npz",
        "--config.eval.clips=3", "--config.eval.crops=10",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    for text in ("8 videos, 3 clips x 10 crops", "top-1", "mean class"):
        assert text in result.stdout
    assert "top-5" not in result.stdout and "average" not in result.stdout, "of two classes"
    assert np.load(tmp_path / "scores.npz")["logits"].shape == (8, 2)
    assert json.loads((work / "run" / "results.json").read_text())["clips"] == 3


def test_results_that_cannot_be_written_are_told(work, tmp_path, monkeypatch):
    """A run that may only be read: the accuracy and the scores come first, then the error."""

    def refused(path, content):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("keras_videorel.runs.evaluator.write_json", refused)
    result = videorel("evaluate", "--workdir", work / "run", "--scores", tmp_path / "scores.npz")
    assert result.returncode == 2 and re.search(r"^top-1 +\d+\.\d\d%", result.stdout, re.MULTILINE)
    assert "Permission denied" in result.stderr.splitlines()[-1]
    assert "results.json" in result.stderr.splitlines()[-1] and "results " not in result.stdout
    assert np.load(tmp_path / "scores.npz")["logits"].shape == (8, 2)


def test_predict_text_and_json(exported, tmp_path):
    rng = np.random.default_rng(1)
    videos = [
        write_video(tmp_path / f"{name}.mp4", moving_square(20, (56, 72), i, rng))
        for i, name in enumerate(("right", "left"))
    ]
    result = process("predict", "--model", exported, *videos)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0] == f"{videos[0]} (20 frames)" and len(lines) == 6
    result = videorel("predict", "--model", exported, "--json", "--top=1", *videos)
    for line, video in zip(result.stdout.splitlines(), videos, strict=True):
        answer = json.loads(line)
        assert answer["path"] == str(video) and answer["frames"] == 20
        (best,) = answer["predictions"]
        assert best["label"] in ("right", "left") and 0.5 <= best["probability"] <= 1


def test_predict_goes_on_after_bad_files(exported, tmp_path):
    good = write_video(tmp_path / "good.mp4", np.zeros((3, 48, 64, 3), np.uint8))
    audio = write_audio(tmp_path / "audio.mp4")
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    result = process("predict", "--model", exported, empty, audio, tmp_path / "none.mp4", good)
    assert result.returncode == 1
    errors = result.stderr.strip().splitlines()
    assert len(errors) == 3 and "Traceback" not in result.stderr
    for error, name in zip(errors, ("empty.mp4", "audio.mp4", "none.mp4"), strict=True):
        assert name in error
    assert f"{good} (3 frames)" in result.stdout


@pytest.mark.real_clips
def test_predict_real_clips(exported, real_clips):
    """UCF-101, HMDB-51, Kinetics, a rotated and a corrupted file: each gets its labels."""
    videos = [p for p in sorted(real_clips.rglob("*")) if p.suffix in (".avi", ".mp4", ".mov")]
    assert len(videos) >= 8
    result = videorel("predict", "--model", exported, "--json", *videos)
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [a["path"] for a in answers] == [str(v) for v in videos]
    for answer in answers:
        assert sum(p["probability"] for p in answer["predictions"]) == pytest.approx(1, abs=1e-4)


def test_summary():
    result = videorel("summary", "--model=ARTNetResNet18", "--variant=d")
    assert result.returncode == 0
    assert "35,197,328" in result.stdout and "24.51 G" in result.stdout
    assert "23.70 G" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "CONFIG"], "workdir"),
        (["--config", "nowhere.py", "--workdir", "W"], "nowhere.py"),
        (["--config", "CONFIG", "--workdir", "W", "--config.train.epoch=3"], "epoch"),
        (["--config", "CONFIG", "--workdir", "W", "--config.train.epochs=many"], "many"),
        (["--config", "CONFIG:widht=3", "--workdir", "W"], "widht=3"),
        (
            ["--config", "CONFIG", "--workdir", "W", "--config.model.width=3"],
            "`width` must be even",
        ),
        (["--config", "CONFIG", "--workdir", "W", "--config.model.name=X"], "config.model.name"),
        (["--config", "CONFIG", "--workdir", "W", "--config.data.path=W"], "make-tfrecords"),
        (["--config", "CONFIG", "--workdir", "W", "--config.train.batch_size=99"], "batch_size=99"),
        (
            ["--config", "CONFIG", "--workdir", "W", "--config.data.crop_size=0"],
            "crop_size` must be",
        ),
        (["--config", "CONFIG", "--workdir", "RUN", "--config.train.momentum=0.5"], "momentum"),
        (["--config", "CONFIG", "--workdir", "W", "word"], "word"),
        (["--config", "CONFIG", "--workdir", "W", "--config.train.lr=1"], "mean learning_rate?"),
        (
            ["--config", "CONFIG", "--workdir", "W", "--config.data.frames=0"],
            "`config.data.frames`",
        ),
    ],
)
def test_bad_words_of_train(work, tmp_path, words, message):
    names = {"CONFIG": work / "config.py", "W": tmp_path / "w", "RUN": work / "run"}
    places = {name: str(path) for name, path in names.items()}
    words = [
        places.get(word, word.replace("CONFIG", places["CONFIG"]).replace("=W", "=" + places["W"]))
        for word in words
    ]
    before = {p: p.stat().st_mtime_ns for p in (work / "run").rglob("*")}
    run = process if message == "batch_size=99" else videorel  # no word of TensorFlow's either
    assert message in error_of(run("train", *words))
    assert {p: p.stat().st_mtime_ns for p in (work / "run").rglob("*")} == before
    assert not (tmp_path / "w").exists(), "a refused run leaves nothing"


def test_bad_words_of_the_others(work, exported, tmp_path):
    assert "no training run" in error_of(videorel("evaluate", "--workdir", tmp_path))
    assert "no training run" in error_of(
        videorel("export", "--workdir", tmp_path, "--output", tmp_path / "m")
    )
    result = videorel(
        "export", "--workdir", work / "run", "--output", tmp_path / "m", "--formats=tfjs"
    )
    assert "`formats` must be one of saved_model, tflite, " in error_of(result)
    result = videorel("evaluate", "--workdir", work / "run", "--config.eval.clip=3")
    assert "clip" in error_of(result)
    result = videorel("evaluate", "--workdir", work / "run", "--config.eval.crops=7")
    assert "crops` must be" in error_of(result)
    assert "is not an exported model" in error_of(videorel("predict", "--model", tmp_path, "a.mp4"))
    assert "at least one video" in error_of(videorel("predict", "--model", exported))
    result = videorel("evaluate", "--workdir", work / "run", "--config.data.path", other(work))
    assert "other classes" in error_of(result)
    copy = tmp_path / "copy"
    shutil.copytree(work / "run", copy)
    text = (copy / "config.json").read_text()
    (copy / "config.json").write_text(text.replace('"width": 4', '"width": 6'))
    assert "another model" in error_of(process("evaluate", "--workdir", copy))
    shutil.rmtree(copy / "checkpoints")
    assert "no checkpoint yet" in error_of(videorel("evaluate", "--workdir", copy))


def test_a_commands_flags_are_its_own(work):
    """Those of one run are gone in the next of the same process."""
    words = "evaluate", "--workdir", work / "run", "--config.eval.crops=7"
    assert error_of(videorel(*words)) == error_of(videorel(*words))
    assert "crops` must be" in error_of(videorel(*words))
    assert "workdir" in error_of(videorel("evaluate"))


def other(work):
    """The same shards under other labels."""
    folder = work / "other"
    if not folder.exists():
        shutil.copytree(work / "shards", folder)
        (folder / "labels.txt").write_text("right\nwrong\n")
    return folder


def test_what_training_tells(work, tmp_path, monkeypatch):
    """At its end the accuracy and the next command; interrupted, how it goes on."""
    result = videorel("train", "--config", work / "config.py", "--workdir", work / "run")
    assert "all 2 epochs are done" in result.stdout and "top-1 " in result.stdout
    assert f"next        videorel evaluate --workdir {work / 'run'}" in result.stdout

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_videorel.runs.trainer.train", interrupted)
    result = videorel("train", "--config", work / "config.py", "--workdir", tmp_path / "run")
    assert result.returncode == 130
    assert "interrupted; the same command goes on after the last checkpoint" in result.stderr


def test_configs_are_listed(work):
    result = videorel("config", "--config", f"{work / 'config.py'}:width=6", "--config.seed=3")
    lines = {line.split()[0]: line.split()[1] for line in result.stdout.splitlines()}
    assert lines["config.model.width"] == "6" and lines["config.seed"] == "3"
    words = ["--config", f"{work / 'config.py'}:width=6", "--config.seed=3"]
    assert videorel("train", *words, "--print_config").stdout == result.stdout
    assert "config.train.epochs" in videorel("train", "--help").stdout
    assert "config.eval.clips                     25 " in videorel("config").stdout
    assert "did you mean --config mine.py?" in error_of(videorel("train", "mine.py"))
    assert "--workdir is needed" in error_of(videorel("train", *words))


def test_fewer_views_without_a_gpu(work, tmp_path):
    run = shutil.copytree(work / "run", tmp_path / "run")
    text = (run / "config.json").read_text()
    (run / "config.json").write_text(text.replace('"crops": 1', '"crops": 10'))
    result = videorel("evaluate", "--workdir", run)
    assert "no GPU: 2 clips x 1 crop of each video, not the config's 2 x 10" in result.stdout
    assert "--config.eval.clips=2 --config.eval.crops=10" in result.stdout
    found = json.loads((run / "results.json").read_text())
    assert (found["clips"], found["crops"]) == (2, 1) and set(found) >= {"top1", "chance"}
    assert "top5" not in found and "average" not in found
    result = videorel("evaluate", "--workdir", run, "--config.eval.crops=5")
    assert "no GPU" not in result.stdout and "2 clips x 5 crops" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "--model=M", "--hop=inf", "a.mp4"], "`--hop` must be a finite number"),
        (["predict", "--model=M", "--window=nan", "a.mp4"], "`--window` must be a finite number"),
        (["predict", "--model=M", "--hop=-1", "a.mp4"], "`--hop` must be .* at least 0"),
        (
            ["make-tfrecords", "--dataset=folder", "--videos=V", "--output=O", "--time_limit=inf"],
            "`--time_limit` must be a finite number",
        ),
        (["serve", "--max_seconds=inf", "--models=M"], "max_seconds|models"),
        (["summary", "--classes=0"], "classes"),
        (["summary", "--input_shape=16,a,112,3"], "`input_shape` must be positive integers"),
        (["train", "--confg=a.py"], "confg.*config"),
        (["train", "--epochs=3"], r"no flag --epochs \(did you mean --config.train.epochs\?\)"),
        (["train", "--epochs", "3"], r"no flag --epochs \(did you mean --config.train.epochs\?\)"),
        (["train", "--train.epochs=3"], r"did you mean --config.train.epochs\?"),
        (["train", "--lr=3"], r"did you mean --config.train.learning_rate\?"),
        (["train", "--batch_size=3"], r"--config.eval.batch_size or --config.train.batch_size\?"),
        (["config", "configs/demo.py:a=1"], r"did you mean --config configs/demo.py:a=1\?"),
        (["evaluate"], r"error: --workdir is needed: Folder of a trained run\.$"),
        (["export", "--workdir=W"], r"error: --output is needed: Folder to write"),
        (["predict", "a.mp4"], r"error: --model is needed: "),
        (
            ["convert-caffe", "--caffemodel=/none", "--output=a.keras"],
            r"error: --caffemodel: No such file or directory: '/none'$",
        ),
        (
            ["fuse", "--scores=/none.npz"],
            r"error: --scores: No such file or directory: '/none.npz'",
        ),
    ],
)
def test_numbers_of_flags(words, message):
    assert re.search(message, error_of(videorel(*words)))


def test_errors_of_files_name_the_flag(tmp_path):
    """The longest of those that lead to the file."""
    videos, file = tmp_path / "videos", tmp_path / "file"
    write_video(videos / "a" / "1.mp4", np.zeros((3, 48, 64, 3), np.uint8))
    file.touch()
    words = ["make-tfrecords", "--dataset=folder", f"--videos={videos}", "--test_fraction=0"]
    error = error_of(videorel(*words, f"--labels={videos}/none", f"--output={tmp_path}/o"))
    assert f"error: --labels: No such file or directory: '{videos}/none'" in error
    error = error_of(videorel(*words, f"--output={file}"))
    assert error.endswith(f"--output: a folder is expected, and there is a file: '{file}'")


def test_names_that_begin_with_a_dash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-a.mp4").write_bytes(b"")
    error = error_of(videorel("predict", "--model=M", "-a.mp4"))
    assert "begins with - is written ./-a.mp4, or after --" in error


def test_labels_survive_a_terminal_without_letters(exported, tmp_path):
    """A file name that is not UTF-8, on an ASCII terminal: text and JSON are printed."""
    path = os.fsencode(tmp_path) + b"/caf\xe9 \xc3\xa9.mp4"
    video = write_video(tmp_path / "a.mp4", np.zeros((9, 48, 64, 3), np.uint8))
    shutil.copyfile(video, path)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "keras_videorel", "predict", "--model", str(exported)]
    command += ["--precision=fp32"] if (exported / "model.tflite").exists() else []
    for words in ([], ["--json"]):
        ended = subprocess.run([*command, *words, path], capture_output=True, env=environment)
        assert ended.returncode == 0, ended.stderr
        assert b"right" in ended.stdout
        if words:
            assert os.fsencode(json.loads(ended.stdout)["path"]) == path


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["help", "train"], "Train a model from a config"),
        (["--help", "make-tfrecords"], "Turn video files"),
        (["help"], "usage: videorel COMMAND"),
        (["TRAIN"], "videorel: error: no command 'TRAIN' (did you mean train?)"),
        (["help", "trian"], "videorel: error: no command 'trian' (did you mean train?)"),
    ],
)
def test_help(monkeypatch, capsys, words, start):
    monkeypatch.setattr(sys, "argv", ["videorel", *words])
    monkeypatch.setattr(cli, "exit", sys.exit)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert (out or err).startswith(start)
    assert ended.value.code == (2 if err else 0)


def test_usage():
    version = process("--version").stdout.split()
    assert version[0] == "videorel" and re.fullmatch(r"\d+(\.\w+)+", version[1])
    assert "no command 'trian' (did you mean train?)" in process("trian").stderr
    assert "make-tfrecords" in process("--help").stdout
    for command in ("train", "evaluate", "export", "predict", "summary"):
        result = videorel(command, "--help")
        assert result.returncode == 0 and f"videorel {command}" in result.stdout
        assert "--" in result.stdout.split("\n\n")[-1]
