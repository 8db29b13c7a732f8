import pytest

from keras_videorel.cli import run
from keras_videorel.data import rendering, synthetic


@pytest.fixture
def calls(monkeypatch):
    """Records the calls of `write_dataset` instead of rendering."""
    found = []

    def record(output, **options):
        found.append((output, options))
        return f"{output}/clips.csv"

    monkeypatch.setattr(rendering, "write_dataset", record)
    return found


def _error(capsys):
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_renders(tmp_path, capsys):
    words = [f"--output={tmp_path}", "--clips_per_class=1", "--size=32", "--workers=1"]
    assert run("render-videos", words) == 0
    assert str(tmp_path / "clips.csv") in capsys.readouterr().out
    assert len(list(tmp_path.glob("*/*/*.mp4"))) == 2 * len(synthetic.CLASSES)

    assert run("render-videos", [*words, "--seed=1"]) == 2
    message = _error(capsys)
    assert message.startswith("videorel render-videos: error: `output` holds a render")
    assert "seed=0 there, 1 wanted" in message


def test_defaults(calls):
    assert run("render-videos", ["--output=videos"]) == 0
    options = {"clips_per_class": 38, "test_clips_per_class": None, "seed": 0, "size": 112}
    assert calls == [("videos", {**options, "workers": None})]


def test_flags_reach_the_renderer(calls):
    options = {"clips_per_class": 5, "test_clips_per_class": 4, "seed": 3, "size": 64, "workers": 7}
    words = [f"--{name}={value}" for name, value in options.items()]
    assert run("render-videos", ["--output=videos", *words]) == 0
    assert calls == [("videos", options)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "output"),
        (["--output="], "`output` must name a folder"),
        (["--output=videos", "more"], "Received: more"),
        (["--output=videos", "--seed=x"], "seed"),
    ],
)
def test_bad_words_are_refused(words, message, calls, capsys):
    assert run("render-videos", words) == 2
    assert message in _error(capsys)
    assert not calls


def test_bad_values_are_refused(tmp_path, capsys):
    assert run("render-videos", [f"--output={tmp_path}/new", "--size=33"]) == 2
    assert "`size` must be even" in _error(capsys)
    assert not (tmp_path / "new").exists()


def test_help(capsys):
    assert run("render-videos", ["--help"]) == 0
    text = capsys.readouterr().out
    assert "Render the embedded data set" in text
    for name in ("output", "clips_per_class", "test_clips_per_class", "seed", "size", "workers"):
        assert f"--{name}" in text or f"--[no]{name}" in text
