"""The command as a user types it: fusion, splits, comparison, search, report, and bad words."""

import re
import subprocess
import sys

import numpy as np
import pytest

from keras_videorel.cli import fuse, run
from keras_videorel.evaluation import fusion, metrics, significance
from keras_videorel.evaluation.score_files import read_scores, write_scores
from tests.evaluation.test_fusion import random_pair, shuffled


def renamed(member, prefix):
    return member._replace(paths=[f"{prefix}/{path}" for path in member.paths])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scores of three splits of two streams and another model, and of validation clips."""
    folder = tmp_path_factory.mktemp("scores")
    for number in (1, 2, 3):
        rgb, flow = (renamed(s, number) for s in random_pair(number, videos=40 + number))
        other = renamed(random_pair(number + 10, videos=40 + number)[0], number)
        other = other._replace(labels=rgb.labels)
        for name, member in (("rgb", rgb), ("flow", shuffled(flow, number)), ("tsn", other)):
            write_scores(folder / f"{name}{number}.npz", member)
    for name, member in zip(("val_rgb", "val_flow"), random_pair(7), strict=True):
        write_scores(folder / f"{name}.npz", renamed(member, "validation"))
    return folder


def videorel_fuse(capsys, *words):
    """Exit status, stdout and stderr of a run."""
    status = run("fuse", [str(word) for word in words])
    return status, *capsys.readouterr()


def error_of(capsys, *words):
    status, out, err = videorel_fuse(capsys, *words)
    assert status == 2 and out == "" and len(err.splitlines()) == 1, (out, err)
    return err


def row_of(out, name):
    return next(line for line in out.splitlines() if line.startswith(f"{name} "))


def test_two_streams(folder, capsys, tmp_path):
    output = tmp_path / "fused.npz"
    status, out, err = videorel_fuse(
        capsys,
        f"--scores={folder}/rgb1.npz:0.45", f"--scores={folder}/flow1.npz:0.55",
        f"--output={output}", "--paper=fused:94.4",
    )  # fmt: skip
    assert (status, err) == (0, "")
    rgb, flow = (read_scores(folder / f"{name}1.npz") for name in ("rgb", "flow"))
    expected = fusion.fuse([rgb, flow], [0.45, 0.55])
    result = significance.measure("fused", [expected])
    low, high = (100 * bound for bound in result.intervals["top1"])
    found = result.mean
    assert row_of(out, "fused").split() == [
        "fused", f"{found['top1']:.2%}", f"[{low:.2f},", f"{high:.2f}]", f"{found['top5']:.2%}",
        f"{found['average']:.2%}", f"{found['mean_class_accuracy']:.2%}", "94.40%",
    ]  # fmt: skip
    alone = metrics.accuracy(rgb.logits, rgb.labels)
    assert row_of(out, "rgb1").split()[1:3] == ["0.45", f"{alone['top1']:.2%}"]
    assert "41 videos of 7 classes" in out and f"scores  {output}" in out
    written = read_scores(output)
    np.testing.assert_array_equal(written.logits, expected.logits)
    assert [part["weight"] for part in written.settings["fused"]] == [0.45, 0.55]
    again = videorel_fuse(capsys, f"--scores={output}")
    assert again[0] == 0 and f"{found['top1']:.2%}" in row_of(again[1], "fused")


def test_three_splits_against_another_model(folder, capsys, tmp_path):
    words = [f"--fold={folder}/rgb{i}.npz {folder}/flow{i}.npz" for i in (1, 2, 3)]
    words += [f"--against='{folder}/tsn{i}.npz'" for i in (1, 2, 3)]
    status, out, err = videorel_fuse(capsys, *words, f"--report={tmp_path}", "--resamples=500")
    assert (status, err) == (0, "")
    splits = [
        [read_scores(folder / f"{name}{i}.npz") for i in (1, 2, 3)]
        for name in ("rgb", "flow", "tsn")
    ]
    ours = [fusion.fuse(pair) for pair in zip(*splits[:2], strict=True)]
    each = [metrics.accuracy(s.logits, s.labels)["top1"] for s in ours]
    assert "folds: " + ", ".join(f"{top1:.2%}" for top1 in each) in out
    assert f"{np.mean(each):.2%}" in row_of(out, "fused")
    assert "41 + 42 + 43 videos of 7 classes in 3 folds" in out
    found = significance.compare(ours, splits[2], resamples=500)
    assert f"with fused alone: {found.gained} videos; with tsn1 alone: {found.lost}" in out
    assert f"p = {found.exact:.3g} (exact), {found.mid_p:.3g} (mid-p)" in out
    low, high = (100 * bound for bound in found.intervals["top1"])
    assert f"points [{low:+.2f}, {high:+.2f}]" in out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"{np.mean(each):.2%}" in page and f"p = {found.exact:.3g}" in page
    assert (tmp_path / "gains.png").exists()


def test_weights_of_validation_clips(folder, capsys):
    words = [f"--scores={folder}/{name}1.npz" for name in ("rgb", "flow")]
    search = [f"--search={folder}/val_{name}.npz" for name in ("rgb", "flow")]
    status, out, _ = videorel_fuse(capsys, *words, *search)
    validation = [read_scores(folder / f"val_{name}.npz") for name in ("rgb", "flow")]
    weights = fusion.search_weights(validation)
    assert status == 0 and weights != [0.5, 0.5]
    assert row_of(out, "rgb1").split()[1] == f"{weights[0]:.3g}"
    assert row_of(out, "flow1").split()[1] == f"{weights[1]:.3g}"
    same = [f"--search={folder}/{name}1.npz" for name in ("rgb", "flow")]
    assert "`search` must be of other clips" in error_of(capsys, *words, *same)
    assert "given once for each of the 2 models. Received: 1 files" in error_of(
        capsys, *words, search[0]
    )
    weighted = [word + ":1" for word in words]
    assert "Received: weights [1.0, 1.0] too" in error_of(capsys, *weighted, *search)


def test_probabilities_are_summed_if_asked(folder, capsys, tmp_path):
    words = [f"--scores={folder}/{name}1.npz" for name in ("rgb", "flow")]
    output = tmp_path / "fused.npz"
    assert videorel_fuse(capsys, *words, "--softmax", f"--output={output}")[0] == 0
    members = [read_scores(folder / f"{name}1.npz") for name in ("rgb", "flow")]
    expected = sum(np.exp(metrics.log_softmax(m.logits)) for m in fusion.align(members)) / 2
    np.testing.assert_allclose(np.exp(read_scores(output).logits), expected, rtol=1e-4)


def test_names_of_rows():
    assert fuse.row_names(["runs/c2d/scores.npz", "runs/artnet/scores.npz"]) == ["c2d", "artnet"]
    assert fuse.row_names(["a/rgb.npz", "a/flow.npz", "b/rgb.npz"]) == ["a/rgb", "a/flow", "b/rgb"]
    assert fuse.row_names(["x/rgb.npz"]) == ["rgb"]
    assert fuse.row_names(["rgb.npz", "rgb.npz"]) == ["rgb", "rgb"]


def test_paths_with_spaces_and_colons(folder, capsys, tmp_path):
    path = tmp_path / "a b:2.npz"
    path.write_bytes((folder / "rgb1.npz").read_bytes())
    odd = tmp_path / "c:3"
    odd.write_bytes((folder / "flow1.npz").read_bytes())
    status, out, _ = videorel_fuse(capsys, f"--fold='{path}':0.25 {odd}:0.75")
    assert status == 0 and row_of(out, "c:3").split()[1] == "0.75"
    assert videorel_fuse(capsys, f"--scores={path}", f"--scores={odd}")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "one of `scores` and `fold` must name files. Received: neither"),
        (["--scores=rgb1.npz", "--fold=rgb1.npz"], "Received: both"),
        (["--scores=none.npz"], "none.npz"),
        (["--scores=bad.npz"], "'bad.npz' is not a file of scores"),
        (["--scores=rgb1.npz:1", "--scores=flow1.npz"], "must give all files a weight, or none"),
        (["--scores=rgb1.npz:-1", "--scores=flow1.npz:1"], "`weights` must be 2 finite numbers"),
        (["--scores=rgb1.npz", "--scores=rgb2.npz"], "only in 'rgb1.npz': 41 clips ('1/0.avi'"),
        (["--fold=rgb1.npz flow1.npz", "--fold=rgb2.npz"], "as many files as the others"),
        (["--fold="], "`fold` must name files"),
        (["--fold='rgb1.npz"], "No closing quotation"),
        (["--scores=rgb1.npz", "--against=tsn1.npz", "--against=tsn2.npz"], "each of the 1 folds"),
        (["--scores=rgb1.npz", "--against=tsn2.npz"], "same clips"),
        (["--fold=rgb1.npz", "--fold=rgb2.npz", "--output=x.npz"], "`output` is for one fold"),
        (["--scores=rgb1.npz", "--paper=rgb:94"], "ROW:PERCENT, the row one of rgb1"),
        (["--scores=rgb1.npz", "--paper=rgb1:high"], "Received: 'rgb1:high'"),
        (["--scores=rgb1.npz", "--resamples=0"], "resamples"),
        (["rgb1.npz"], "expected flags only"),
    ],
)  # fmt: skip
def test_bad_words(folder, capsys, monkeypatch, words, message):
    (folder / "bad.npz").write_bytes(b"no scores")
    monkeypatch.chdir(folder)
    assert message in error_of(capsys, *words)


def test_needs_no_tensorflow(folder):
    code = (
        "import sys\n"
        "from keras_videorel.cli import run\n"
        f"run('fuse', ['--scores', '{folder}/rgb1.npz', '--resamples=10'])\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"rgb1 +\d+\.\d\d% \[", done.stdout)
