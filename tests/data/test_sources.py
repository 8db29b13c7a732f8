import pytest

from keras_videorel.data import sources
from keras_videorel.data.sources import Video


def _touch(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def _table(folder, text, encoding="utf-8"):
    path = folder / "videos.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_folder_with_splits(tmp_path):
    _touch(
        tmp_path,
        "train/wave/b.MP4",
        "train/wave/a.avi",
        "train/wave/notes.txt",
        "train/wave/._a.avi",
        "train/.cache/x.mp4",
        "test/wave/c.webm",
        "train/clap hands/d.m4v",
    )
    assert sources.read_folder(tmp_path) == [
        Video("test/wave/c.webm", "wave", "test"),
        Video("train/clap hands/d.m4v", "clap hands", "train"),
        Video("train/wave/a.avi", "wave", "train"),
        Video("train/wave/b.MP4", "wave", "train"),
    ]


def test_folder_split_by_a_fraction(tmp_path):
    _touch(tmp_path, *(f"run/{i}.mp4" for i in range(10)), *(f"sit/{i}.mp4" for i in range(4)))
    _touch(tmp_path, "lie/0.mp4", "jump/0.mp4", "jump/1.mp4")
    videos = sources.read_folder(tmp_path, 0.3)
    assert [v.path for v in videos] == sorted(v.path for v in videos)
    assert all(v.path.startswith(f"{v.label}/") for v in videos)
    tests = [v.label for v in videos if v.split == "test"]
    assert {label: tests.count(label) for label in set(tests)} == {"run": 3, "sit": 1, "jump": 1}
    assert sources.read_folder(tmp_path, 0.3) == videos
    assert sources.read_folder(tmp_path, 0.3, seed=1) != videos
    # One class's draw does not depend on the others.
    _touch(tmp_path, *(f"walk/{i}.mp4" for i in range(5)))
    assert set(videos) < set(sources.read_folder(tmp_path, 0.3))
    assert {v.split for v in sources.read_folder(tmp_path, 0)} == {"train"}


def test_a_class_may_be_called_train(tmp_path):
    _touch(tmp_path, "train/0.mp4", "train/1.mp4", "bus/0.mp4", "bus/1.mp4")
    assert {v.label for v in sources.read_folder(tmp_path, 0.5)} == {"train", "bus"}


@pytest.mark.parametrize(
    ("paths", "fraction", "message"),
    [
        (["run/0.mp4"], None, "`test_fraction` is needed"),
        (["train/run/0.mp4", "test/run/1.mp4"], 0.5, "split into test and train already"),
        (["train/run/0.mp4", "more/run/1.mp4"], None, "splits train, val and test only.* more;"),
        (["run/0.mp4"], 1.0, r"`test_fraction` must be in \[0, 1\). Received: 1.0"),
        (["run/0.txt"], 0.5, "with no videos in such folders"),
        ([], None, "`videos` must hold DIR/{train,val,test}/LABEL"),
        (["run/0.mp4", "1.mp4"], 0.5, "directly in its folder LABEL/. Received: '1.mp4'"),
        (["run/0.mp4", "run/day1/1.mp4"], 0.5, "Received: 'run/day1'"),
        (["train/run/day1/1.mp4"], None, "Received: 'train/run/day1'"),
    ],
)
def test_folders_of_another_layout_are_refused(tmp_path, paths, fraction, message):
    _touch(tmp_path, *paths)
    with pytest.raises(ValueError, match=message):
        sources.read_folder(tmp_path, fraction)


def test_missing_folder(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"`videos` must be the folder.*which does not exist"
    ):
        sources.read_folder(tmp_path / "none")
    _touch(tmp_path, "file")
    with pytest.raises(FileNotFoundError, match=r"`videos` must be the folder.*a file"):
        sources.read_csv(tmp_path / "file", tmp_path / "file")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv(tmp_path, encoding, end):
    rows = [
        "speed, split ,path,label",
        '1,train,a.mp4,"clap, hands"',
        "",
        "2,test,/elsewhere/b.mp4,wäve",
    ]
    table = _table(tmp_path, end.join(rows) + end, encoding)
    assert sources.read_csv(table, tmp_path) == [
        Video("a.mp4", "clap, hands", "train"),
        Video("/elsewhere/b.mp4", "wäve", "test"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns path, label and split. Received: .* with the first line ''"),
        ("path|label|split\na|b|train\n", "first line 'path|label|split'"),
        ("path;label\na;b\n", "first line 'path;label', without split"),
        ("path,label,split\n", "`annotations` lists no videos"),
        ("path,label,split\na.mp4,x\n", "a split in each line. Received: 'a.mp4,x' in .*line 2"),
        ("path,label,split\na.mp4,,train\n", "label '' in .*line 2"),
        (
            "path,label,split\na.mp4,x,train\nb.mp4,x,holdout\n",
            "train, val or test. Received: 'holdout'.*line 3",
        ),
        (
            "path,label,split\na.mp4,x,train\n./a.mp4,y,test\n",
            "once.*in line 2 and again in .*line 3",
        ),
        ('path,label,split\na.mp4,"x\ny",train\n', "a label must be one line"),
        ("path,label,split\na.mp4,x,train\0\n", "val or test|a CSV file"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        sources.read_csv(_table(tmp_path, text), tmp_path)


def test_tables_that_cannot_be_read(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"`annotations` must be a CSV file.*which is no file"
    ):
        sources.read_csv(tmp_path / "none.csv", tmp_path)
    with pytest.raises(ValueError, match="`annotations` must be UTF-8 text"):
        sources.read_csv(_table(tmp_path, "path,label,split\nä,x,train\n", "latin-1"), tmp_path)


def test_label_names():
    videos = [
        Video("a", "wave", "train"),
        Video("b", "clap", "train"),
        Video("c", "wave", "test"),
        Video("d", "wave", "train"),
    ]
    assert sources.label_names(videos) == ["clap", "wave"]
    with pytest.raises(ValueError, match=r"that no training video has: jump, run;"):
        sources.label_names([*videos, Video("e", "run", "test"), Video("f", "jump", "test")])
    with pytest.raises(ValueError, match=r"must have a train split. Received: 1 test videos"):
        sources.label_names([Video("a", "wave", "test")])


def test_shuffled_depends_on_path_and_seed_only():
    videos = [Video(f"{i}.mp4", "x", "train") for i in range(20)]
    order = sources.shuffled(videos, 0)
    assert sorted(order) == sorted(videos) and order != videos
    assert sources.shuffled(videos[::-1], 0) == order
    assert sources.shuffled(videos, 1) != order
    assert sources.shuffled(videos[5:], 0) == [v for v in order if v in videos[5:]]
