import collections
import os

import pytest

from keras_videorel.data import drawing, folders, sources, tables
from keras_videorel.data.drawing import Drawing
from keras_videorel.data.sources import Video
from tests.videos import moving_square, write_video


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
    assert folders.read_folder(tmp_path).videos == [
        Video("test/wave/c.webm", "wave", "test"),
        Video("train/clap hands/d.m4v", "clap hands", "train"),
        Video("train/wave/a.avi", "wave", "train"),
        Video("train/wave/b.MP4", "wave", "train"),
    ]


def test_folder_split_by_a_fraction(tmp_path):
    _touch(tmp_path, *(f"run/{i}.mp4" for i in range(10)), *(f"sit/{i}.mp4" for i in range(4)))
    _touch(tmp_path, "lie/0.mp4", "jump/0.mp4", "jump/1.mp4")
    videos = folders.read_folder(tmp_path, Drawing(0.3)).videos
    assert [v.path for v in videos] == sorted(v.path for v in videos)
    assert all(v.path.startswith(f"{v.label}/") for v in videos)
    tests = [v.label for v in videos if v.split == "test"]
    assert {label: tests.count(label) for label in set(tests)} == {"run": 3, "sit": 1, "jump": 1}
    assert folders.read_folder(tmp_path, Drawing(0.3)).videos == videos
    assert folders.read_folder(tmp_path, Drawing(0.3, seed=1)).videos != videos
    # One class's draw does not depend on the others.
    _touch(tmp_path, *(f"walk/{i}.mp4" for i in range(5)))
    assert set(videos) < set(folders.read_folder(tmp_path, Drawing(0.3)).videos)
    assert {v.split for v in folders.read_folder(tmp_path, Drawing(0)).videos} == {"train"}


def test_a_class_may_be_called_train(tmp_path):
    _touch(tmp_path, "train/0.mp4", "train/1.mp4", "bus/0.mp4", "bus/1.mp4")
    assert {v.label for v in folders.read_folder(tmp_path, Drawing(0.5)).videos} == {"train", "bus"}


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
        folders.read_folder(tmp_path, Drawing(fraction))


def test_missing_folder(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"`videos` must be the folder.*which does not exist"
    ):
        folders.read_folder(tmp_path / "none")
    _touch(tmp_path, "file")
    with pytest.raises(FileNotFoundError, match=r"`videos` must be the folder.*a file"):
        tables.read_csv(tmp_path / "file", tmp_path / "file")


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
    assert tables.read_csv(table, tmp_path).videos == [
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
        tables.read_csv(_table(tmp_path, text), tmp_path)


def test_tables_that_cannot_be_read(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"`annotations` must be a CSV file.*which is no file"
    ):
        tables.read_csv(tmp_path / "none.csv", tmp_path)
    with pytest.raises(ValueError, match="`annotations` must be UTF-8 text"):
        tables.read_csv(_table(tmp_path, "path,label,split\nä,x,train\n", "latin-1"), tmp_path)


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
    order = drawing.shuffled(videos, 0)
    assert sorted(order) == sorted(videos) and order != videos
    assert drawing.shuffled(videos[::-1], 0) == order
    assert drawing.shuffled(videos, 1) != order
    assert drawing.shuffled(videos[5:], 0) == [v for v in order if v in videos[5:]]


def _film(path):
    return write_video(path, moving_square(4), codec="mpeg4", pix_fmt="yuv420p")


def test_whatever_is_a_video_counts_and_the_rest_is_listed(tmp_path):
    film = _film(tmp_path / "film.avi").read_bytes()
    videos = tmp_path / "videos"
    _touch(videos, "train/a/1.wmv", "train/b/2.MTS", "test/a/3.gif", "train/only/notes.txt")
    _touch(videos, "train/a/.hidden", "train/a/Thumbs.db", "train/none/.keep", "list.csv")
    for name in ("train/odd/film", "train/odd/film.xyz", "Validation/odd/é.film"):
        (videos / name).parent.mkdir(parents=True, exist_ok=True)
        (videos / name).write_bytes(film)
    (videos / "train/odd/readme.txt").write_text("No video.\n" * 9)
    (videos / "train/odd/cover.png").write_bytes(b"?")
    found = folders.read_folder(videos)
    assert {(v.path, v.split) for v in found.videos} == {
        ("Validation/odd/é.film", "val"),
        ("test/a/3.gif", "test"),
        ("train/a/1.wmv", "train"),
        ("train/b/2.MTS", "train"),
        ("train/odd/film", "train"),
        ("train/odd/film.xyz", "train"),
    }
    assert sources.label_names(found.videos) == ["a", "b", "odd"]
    rejected = dict(found.rejected)
    assert set(rejected) == {
        "list.csv",
        "train/none/",
        "train/odd/cover.png",
        "train/odd/readme.txt",
        "train/only/",
        "train/only/notes.txt",
    }
    assert rejected["train/only/notes.txt"] == "empty file (0 bytes)"
    assert rejected["train/odd/cover.png"] == "a picture, not a video"
    assert [w.split(" ")[0] for w in found.warnings] == ["train/none/", "train/only/"]
    (tmp_path / "texts").mkdir()
    _touch(tmp_path / "texts", "a/notes.txt")
    with pytest.raises(ValueError, match=r"no videos in such folders; a/notes.txt: empty"):
        folders.read_folder(tmp_path / "texts", Drawing(0.5))


def test_links_of_folders_end(tmp_path):
    _touch(tmp_path, "videos/train/a/1.mp4", "videos/test/a/2.mp4", "far/3.mp4")
    videos = tmp_path / "videos"
    (videos / "train/b").symlink_to(tmp_path / "far")
    for name in ("train/a/up", "train/a/all", "train/loop", "loop"):
        (videos / name).symlink_to(videos)
    found = folders.read_folder(videos)
    paths = ["test/a/2.mp4", "train/a/1.mp4", "train/b/3.mp4"]
    assert [v.path for v in found.videos] == paths
    assert found.rejected == []
    assert folders.walk_files(videos) == paths


def test_folders_that_cannot_be_listed(tmp_path, monkeypatch):
    _touch(tmp_path, "train/a/1.mp4")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    for read in (folders.read_folder, folders.walk_files):
        with pytest.raises(OSError, match=r"train/a' cannot be listed: Permission denied"):
            read(tmp_path)


def test_folders_of_pictures(tmp_path):
    _touch(tmp_path, *(f"train/{a}/{c}/{i}.jpg" for a in "ab" for c in "12" for i in range(3)))
    _touch(tmp_path, "train/a/film.mp4", "train/a/film.jpg", "train/a/else/x.txt")
    found = folders.read_folder(tmp_path)
    assert [v.path for v in found.videos] == [
        *("train/a/1", "train/a/2", "train/a/film.mp4", "train/b/1", "train/b/2")
    ]
    assert dict(found.rejected) == {
        "train/a/else": "a folder without videos or pictures",
        "train/a/film.jpg": "a picture, not a video",
    }
    # A class called "train", of clips.
    _touch(tmp_path / "more", "train/c1/1.png", "train/c2/1.png", "bus/c1/1.png", "bus/c2/1.png")
    drawn = folders.read_folder(tmp_path / "more", Drawing(0.5)).videos
    assert {v.label for v in drawn} == {"train", "bus"}


@pytest.mark.parametrize("delimiter", ";\t")
def test_tables_of_other_programs(tmp_path, delimiter):
    composed, split_up = "\u00e9.mp4", "e\u0301.mp4"
    _touch(tmp_path, "sub/b.mp4", split_up)
    rows = [
        ("Path", "Label", "Split", "START", "End", "more"),
        ("a.mp4", "e\u0301", "Train", "0", "1,5"),
        ("a.mp4", "\u00e9", "TRAIN", "1.5", "1:02"),
        ("sub\\b.mp4", "x", "Validation", "", ""),
        (composed, "x", "valid"),
        ("folder/", "x", "testing"),
    ]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    expected = [
        Video("a.mp4", "\u00e9", "train", (), 0, 1.5),
        Video("a.mp4", "\u00e9", "train", (), 1.5, 62),
        Video("sub/b.mp4", "x", "val"),
        Video(split_up, "x", "val"),
        Video("folder", "x", "test"),
    ]
    for encoding in ("utf-8-sig", "utf-16"):
        assert tables.read_csv(_table(tmp_path, text, encoding), tmp_path).videos == expected
    assert [v.name for v in expected[:3]] == ["a.mp4#t=0,1.5", "a.mp4#t=1.5,62", "sub/b.mp4"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.mp4,x,train,-1,2", "`start` must be seconds of at least 0.*'-1' in .*line 2"),
        ("a.mp4,x,train,nan,2", "`start` must be seconds"),
        ("a.mp4,x,train,2,2", "`end` must be after `start`. Received: '2' and '2'"),
        ("a.mp4,x,train,1,2\na.mp4,y,test,1,2.0", "once. Received: 'a.mp4#t=1,2' in line 2"),
    ],
)
def test_times_of_tables(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        tables.read_csv(_table(tmp_path, f"path,label,split,start,end\n{row}\n"), tmp_path)


def test_an_unreadable_table(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(sources.files, "read_text", refuse)
    with pytest.raises(OSError, match=r"`annotations` cannot be read: .*\(Permission denied\)"):
        tables.read_csv(_table(tmp_path, ""), tmp_path)


def test_labels_in_natural_order():
    labels = ["10", "9", "-2", "b10", "b9", "a", "01", "1", "A"]
    assert sources.sorted_labels(labels) == ["-2", "01", "1", "9", "10", "A", "a", "b9", "b10"]
    videos = [Video(str(i), str(i), "train") for i in range(12)]
    assert sources.label_names(videos) == [str(i) for i in range(12)]
    data = sources.DataSet([Video("v", "\u00e9", "train")], None, [])
    assert sources.with_labels(data, ["x", "e\u0301"]).videos[0].label == "e\u0301"


NAMES = {
    "ucf": [f"v_Run_g{g:02}_c{c:02}.avi" for g in range(1, 8) for c in range(1, 5)],
    "hmdb": [f"Film{g}_run_f_cm_np1_ba_med_{c}.avi" for g in range(7) for c in range(4)],
    "kinetics": [f"abcdefghij{g}_{c:06}_{c + 9:06}.mp4" for g in range(7) for c in range(4)],
    "pattern": [f"take{c}-person{g}.mp4" for g in range(7) for c in range(4)],
}


@pytest.mark.parametrize("kind", NAMES)
def test_recordings_stay_together(tmp_path, kind):
    names = NAMES[kind]
    _touch(tmp_path, *(f"run/{name}" for name in names))
    drawing = Drawing(0.3, 0.2, pattern="(person[0-9])" if kind == "pattern" else None)
    found = folders.read_folder(tmp_path, drawing)
    sides = {}
    for video in found.videos:
        recording = names.index(video.path.removeprefix("run/")) // 4
        sides.setdefault(recording, set()).add(video.split)
    assert all(len(own) == 1 for own in sides.values())
    count = collections.Counter(split for own in sides.values() for split in own)
    assert count == {"train": 4, "val": 1, "test": 2}
    assert found.warnings == []


def test_groups_of_a_table_cover_all_classes(tmp_path):
    rows = [f"{a}{p}{i}.mp4,{a},p{p}" for a in "ab" for p in range(8) for i in range(2 + p % 2)]
    rows += ["c1.mp4,c,p1", "c2.mp4,c,p2"]
    table = _table(tmp_path, "\n".join(["path,label,group", *rows]))
    found = tables.read_csv(table, tmp_path, Drawing(0.25, 0.25))
    sides = {}
    for video, row in zip(found.videos, rows, strict=True):
        sides.setdefault(row.rpartition(",")[2], set()).add(video.split)
    assert all(len(own) == 1 for own in sides.values())
    for label in "abc":
        assert {v.split for v in found.videos if v.label == label} >= {"train", "test"}
    # Segments of one file are one recording, too.
    text = "path,label,start,end\n" + "".join(
        f"{f}.mp4,x,{i},{i + 1}\n" for f in "abcd" for i in range(5)
    )
    found = tables.read_csv(_table(tmp_path, text), tmp_path, Drawing(0.25))
    assert len({(v.path, v.split) for v in found.videos}) == 4
    assert sum(v.split == "test" for v in found.videos) == 5


def test_names_that_look_like_parts_of_one_recording(tmp_path):
    _touch(tmp_path, *(f"run/{who}_{i}.mp4" for who in ("anna", "bob") for i in range(6)))
    (warning,) = folders.read_folder(tmp_path, Drawing(0.3)).warnings
    assert "look like parts of one recording" in warning and "--group_pattern" in warning
    _touch(tmp_path / "plain", *(f"run/{who}_{i}.mp4" for who in ("run", "IMG") for i in range(6)))
    assert folders.read_folder(tmp_path / "plain", Drawing(0.3)).warnings == []


@pytest.mark.parametrize(
    ("drawing", "message"),
    [
        (Drawing(0.5, 0.5), "must leave something for training. Received: 0.5 and 0.5"),
        (Drawing(0.5, -0.1), r"`val_fraction` must be in \[0, 1\)"),
        (Drawing(0.5, pattern="("), "`group_pattern` must be a regular expression with one group"),
        (Drawing(0.5, pattern="a"), r"Received: 'a' \(0 groups\)"),
        (Drawing(0.5, pattern="(xyz)"), "matches none of 4, such as '0.mp4'"),
    ],
)
def test_bad_drawings_are_refused(tmp_path, drawing, message):
    _touch(tmp_path, *(f"run/{i}.mp4" for i in range(4)))
    with pytest.raises(ValueError, match=message):
        folders.read_folder(tmp_path, drawing)
    _touch(tmp_path / "split", *(f"{s}/run/1.mp4" for s in ("train", "val", "test")))
    with pytest.raises(ValueError, match="`val_fraction` is for data without a val split"):
        folders.read_folder(tmp_path / "split", Drawing(val=0.2))


def test_links_to_the_class_itself_are_no_videos_below_it(tmp_path):
    _touch(tmp_path, "v/train/a/1.mp4", "v/test/a/2.mp4", "far/3.wmv", "far/deep/notes.txt")
    (tmp_path / "v/train/b").symlink_to(tmp_path / "far")
    (tmp_path / "far/deep/back").symlink_to(tmp_path / "far")
    found = folders.read_folder(tmp_path / "v")
    assert [v.path for v in found.videos] == ["test/a/2.mp4", "train/a/1.mp4", "train/b/3.wmv"]
    assert found.rejected == [("train/b/deep", "a folder without videos or pictures")]


def test_pictures_too_deep_and_videos_called_pictures(tmp_path):
    _touch(tmp_path, "train/a/1.mp4", "test/a/2.mp4", "train/a/clip/frames/1.jpg")
    os.mkfifo(tmp_path / "train/a/pipe.jpg")
    (tmp_path / "train/a/movie.jpg").write_bytes(_film(tmp_path / "film.avi").read_bytes())
    (tmp_path / "film.avi").unlink()
    found = folders.read_folder(tmp_path)
    assert [v.path for v in found.videos] == ["test/a/2.mp4", "train/a/1.mp4", "train/a/movie.jpg"]
    rejected = dict(found.rejected)
    assert "there are pictures in frames/, which is too deep" in rejected["train/a/clip"]
    assert rejected["train/a/pipe.jpg"] == "a picture, not a video"


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\r\npath;label;split\r\na.mp4;b;train\r\nc.mp4;b;x\r\n",
        '"sep=\t"\npath\tlabel\tsplit\na.mp4\tb\ttrain\nc.mp4\tb\tx\n',
        "\rpath,label,split\ra.mp4,b,train\rc.mp4,b,x\r",
    ],
)
def test_first_lines_and_line_ends_of_excel(tmp_path, text):
    with pytest.raises(ValueError, match=r"Received: 'x' in .*line 4"):
        tables.read_csv(_table(tmp_path, text), tmp_path)
    table = _table(tmp_path, text.replace("x", "test"))
    assert tables.read_csv(table, tmp_path).videos == [
        Video("a.mp4", "b", "train"),
        Video("c.mp4", "b", "test"),
    ]


def test_characters_that_nobody_sees_are_no_part_of_a_label(tmp_path):
    text = "\ufeff\u200bpath,label,split\na.mp4,\u200bwave\ufeff,train\n"
    table = _table(tmp_path, text)
    assert tables.read_csv(table, tmp_path).videos == [Video("a.mp4", "wave", "train")]


PARTS = {
    "times": [f"{v}-00.{t:02}.00-00.{t + 5:02}.00" for v in ("rec", "tape") for t in (0, 7, 21)],
    "kth": [f"person{p:02}_boxing_d{d}_uncomp" for p in range(7) for d in range(4)],
    "brackets": [f"{who} ({i})" for who in ("anna", "bob") for i in range(4)],
    "of": [f"tape{r}_part{i}of3" for r in range(4) for i in (1, 2, 3)],
}


@pytest.mark.parametrize("kind", PARTS)
def test_ways_to_name_parts_of_one_recording(kind):
    videos = [Video(f"run/{name}.mp4", "run", "train") for name in PARTS[kind]]
    (warning,) = drawing.draw(sources.DataSet(videos), Drawing(0.3)).warnings
    assert "look like parts of one recording" in warning


@pytest.mark.parametrize(
    "names",
    [
        [str(i) for i in range(1, 40)],
        [f"{i:04}" for i in range(1, 40)],
        [f"GX01{i:04}" for i in range(20)],
        [f"person{i}" for i in range(20)],
        [f"202{i % 2}-{i:02}-09_walk" for i in range(1, 12)],
        ["weekend", "friend", "start", "the end", "amid"],
        [f"{v}_{t}_{t + 5.5}" for v in ("dQw4w9WgXcQ", "aaaaaaaaaaB") for t in (0, 7, 21)],
    ],
)
def test_names_that_say_nothing_of_recordings(names):
    videos = [Video(f"run/{name}.mp4", "run", "train") for name in names]
    found = drawing.draw(sources.DataSet(videos), Drawing(0.3))
    assert found.warnings == [] and {v.split for v in found.videos} == {"train", "test"}
