"""Files of scores: what comes back, and what garbage gives."""

import json

import numpy as np
import pytest

from keras_videorel.evaluation.score_files import Scores, read_scores, write_scores


def some_scores():
    rng = np.random.default_rng(0)
    return Scores(
        ["test/á b.avi", "test/\udcff.mp4", "test/c.mp4"],
        np.array([2, 0, 1]),
        rng.normal(size=(3, 4)).astype(np.float32),
        ["run", "jump <up>", "sit", "stand"],
        "ab" * 32,
        {"clips": 25, "crops": 10, "split": "test", "stream": "rgb", "average": "logits"},
    )


def equal(one, other):
    return all(
        np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
        for a, b in zip(one, other, strict=True)
    )


def test_what_was_written_comes_back(tmp_path):
    path = tmp_path / "folder" / "a.npz"
    write_scores(path, some_scores())
    found = read_scores(path)
    assert equal(found, some_scores())
    assert found.labels.dtype == np.int64 and found.logits.dtype == np.float32
    content = path.read_bytes()
    write_scores(path, some_scores())
    assert path.read_bytes() == content, "the same scores make the same file"
    assert [p.name for p in path.parent.iterdir()] == ["a.npz"]


def test_the_file_is_plain_arrays(tmp_path):
    write_scores(tmp_path / "a.npz", some_scores())
    arrays = np.load(tmp_path / "a.npz", allow_pickle=False)
    assert arrays["logits"].shape == (3, 4) and list(arrays["labels"]) == [2, 0, 1]
    assert json.loads(str(arrays["settings"]))["crops"] == 10
    assert list(arrays["classes"])[1] == "jump <up>"


def test_older_names_of_settings(tmp_path):
    old = {"clips": 25, "split": 0, "side": "val", "averaged": "after"}
    new = {"clips": 25, "split": "val", "fold": 0, "average": "probabilities"}
    for settings, expected in ((old, new), ({"fused": [old, old]}, {"fused": [new, new]})):
        write_scores(tmp_path / "a.npz", some_scores()._replace(settings=settings))
        assert read_scores(tmp_path / "a.npz").settings == expected


def test_files_without_settings_are_read(tmp_path):
    ours = some_scores()
    np.savez(
        tmp_path / "a.npz",
        paths=ours.paths, labels=ours.labels, logits=ours.logits, classes=ours.classes,
    )  # fmt: skip
    assert equal(read_scores(tmp_path / "a.npz"), ours._replace(config_hash="", settings={}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits": np.zeros((3, 5), np.float32)}, r"`logits`.*\(3, 4\).*\(3, 5\)"),
        ({"logits": np.zeros((3, 4), np.int64)}, r"`logits` must be floats.*int64"),
        ({"labels": np.array([0, 1])}, r"`labels`.*\(3,\).*\(2,\)"),
        ({"labels": np.array([0.0, 1, 2])}, r"`labels` must be integers.*float64"),
        ({"labels": np.array([0, 1, 4])}, r"`labels` must lie between 0 and 3.*0 to 4"),
        ({"labels": np.array([0, -1, 2])}, r"`labels` must lie between 0 and 3.*-1 to 2"),
        ({"settings": [1]}, r"`settings` must be a dict. Received: \[1\]"),
        (
            {"paths": [], "labels": np.zeros(0, int), "logits": np.zeros((0, 4), np.float32)},
            "`paths` must name at least one video",
        ),
    ],
)
def test_scores_that_do_not_fit(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        write_scores(tmp_path / "a.npz", some_scores()._replace(**changes))
    assert not list(tmp_path.iterdir())


def test_files_that_hold_no_scores(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(FileNotFoundError, match=r"a\.npz"):
        read_scores(path)
    rng = np.random.default_rng(0)
    for content in (b"", b"PK\3\4", b"\x93NUMPY", b"x,y\n1,2\n", rng.bytes(5000)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.npz' is not a file of scores: \S"):
            read_scores(path)
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(ValueError, match="a single array"):
        read_scores(tmp_path / "array.npy")
    np.savez(path, logits=np.zeros((1, 2)), labels=[0])
    with pytest.raises(ValueError, match="it has no paths, classes"):
        read_scores(path)
    np.savez(path, paths=np.array(["a"], object), labels=[0], logits=[[0.0]], classes=["c"])
    with pytest.raises(ValueError, match="not a file of scores"):
        read_scores(path)
    np.savez(path, paths=[1], labels=[0], logits=[[0.0]], classes=["c"])
    with pytest.raises(ValueError, match="its paths are of type int64"):
        read_scores(path)


def test_damaged_files_give_one_error_or_the_scores(tmp_path):
    path = tmp_path / "a.npz"
    write_scores(path, some_scores())
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(200):
        damaged = bytearray(content)
        if rng.random() < 0.3:
            damaged = damaged[: rng.integers(len(content))]
        else:
            for place in rng.integers(len(content), size=rng.integers(1, 4)):
                damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            read_scores(path)
        except ValueError as error:
            assert str(error).startswith(repr(str(path)))
