import pytest

from keras_videorel import files
from keras_videorel.data import official, sources
from keras_videorel.data.sources import Video
from tests.videos import moving_square, write_video

UCF = {
    "classInd.txt": "1 Zumba\r\n2 Archery\r\n",  # the official order need not be alphabetical
    "trainlist01.txt": "Zumba/v_Zumba_g01_c01.avi 1\r\nArchery/v_Archery_g01_c01.avi 2\r\n",
    "testlist01.txt": "Zumba/v_Zumba_g02_c01.avi\r\nArchery/v_Archery_g02_c01.avi\r\n",
    "trainlist02.txt": "Zumba/v_Zumba_g02_c01.avi 1\r\nArchery/v_Archery_g01_c01.avi 2\r\n",
    "testlist02.txt": "Zumba/v_Zumba_g01_c01.avi\r\n",
}
HMDB = {
    "wave_test_split1.txt": "b_wave_1.avi 1 \nc_wave_2.avi 2 \nd_wave_3.avi 0 \n",
    "wave_test_split2.txt": "b_wave_1.avi 0 \nc_wave_2.avi 1 \nd_wave_3.avi 2 \n",
    "brush_hair_test_split1.txt": "x_brush_hair_1.avi 1 \n",
    "brush_hair_test_split2.txt": "x_brush_hair_1.avi 2 \n",
}
HEADER = "label,youtube_id,time_start,time_end,split\n"
KINETICS = {
    "train.csv": HEADER
    + "zumba,-abc_d,12,22,train\nair drumming,xyz,0,10,train\nzumba,two,0,9,train\n"
    "zumba,two,5,14,train\n",
    "validate.csv": HEADER + "air drumming,val1,100,110,val\n",
    "test.csv": HEADER + "zumba,test1,3,13,test\n",
}


def _write(folder, texts):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())
    return folder


def _touch(folder, *paths):
    folder.mkdir(exist_ok=True)
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


def test_ucf101(tmp_path):
    lists = _write(tmp_path / "lists", UCF)
    names = [f"{a}/v_{a}_g0{g}_c01.avi" for a in ("Zumba", "Archery") for g in (1, 2)]
    videos = _touch(tmp_path / "videos", *names[:3])
    found = official.read_ucf101(lists, videos)
    assert found.labels == ["Zumba", "Archery"]
    assert found.videos == [
        Video("Archery/v_Archery_g01_c01.avi", "Archery", "train", ("train", "train")),
        Video("Zumba/v_Zumba_g01_c01.avi", "Zumba", "train", ("train", "test")),
        Video("Zumba/v_Zumba_g02_c01.avi", "Zumba", "test", ("test", "train")),
    ]
    assert found.rejected == [("Archery/v_Archery_g02_c01.avi", "no such file")]
    second = official.read_ucf101(lists, videos, fold=2)
    assert [video.split for video in second.videos] == ["train", "test", "train"]
    assert [video.splits for video in second.videos] == [v.splits for v in found.videos]


def test_flat_folders_and_other_containers(tmp_path):
    lists = _write(tmp_path / "lists", UCF)
    videos = _touch(
        tmp_path / "videos",
        "v_Zumba_g01_c01.mp4",
        "old/v_Archery_g01_c01.avi",
        "Archery/v_Archery_g01_c01.avi",
    )
    paths = {video.path for video in official.read_ucf101(lists, videos).videos}
    assert paths == {"v_Zumba_g01_c01.mp4", "Archery/v_Archery_g01_c01.avi"}


def test_one_list_is_one_fold(tmp_path):
    lists = _write(tmp_path / "lists", {name: UCF[name] for name in list(UCF)[:3]})
    videos = _touch(tmp_path / "videos", "Zumba/v_Zumba_g01_c01.avi")
    assert official.read_ucf101(lists, videos).videos[0].splits == ()
    with pytest.raises(ValueError, match=r"`fold` must be one of 1. Received: 2"):
        official.read_ucf101(lists, videos, fold=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classInd.txt": "1 Zumba\n3 Archery\n"}, "number the classes from 1"),
        ({"trainlist01.txt": "Zumba/v.avi 2\n"}, "labels and indices of classInd.txt"),
        ({"trainlist01.txt": "Juggling/v.avi 1\n"}, "Received: 'Juggling/v.avi 1' in .*line 1"),
    ],
)
def test_lists_that_contradict_each_other(tmp_path, change, message):
    lists = _write(tmp_path / "lists", {**UCF, **change})
    with pytest.raises(ValueError, match=message):
        official.read_ucf101(lists, _touch(tmp_path / "videos"))


def test_hmdb51(tmp_path):
    lists = _write(tmp_path / "lists", HMDB)
    videos = _touch(
        tmp_path / "videos",
        "wave/b_wave_1.avi",
        "wave/d_wave_3.avi",
        "brush_hair/x_brush_hair_1.avi",
    )
    found = official.read_hmdb51(lists, videos)
    assert found.labels == ["brush_hair", "wave"]
    assert found.videos == [
        Video("brush_hair/x_brush_hair_1.avi", "brush_hair", "train", ("train", "test")),
        Video("wave/b_wave_1.avi", "wave", "train", ("train", "unused")),
        Video("wave/d_wave_3.avi", "wave", "unused", ("unused", "test")),
    ]
    assert found.rejected == [("wave/c_wave_2.avi", "no such file")]
    _write(lists, {"wave_test_split1.txt": "b_wave_1.avi 3\n"})
    with pytest.raises(ValueError, match=r"NAME.avi with 0, 1 or 2. Received: 'b_wave_1.avi 3'"):
        official.read_hmdb51(lists, videos)


def test_kinetics(tmp_path):
    lists = _write(tmp_path / "lists", KINETICS)
    videos = _touch(
        tmp_path / "videos",
        "train/zumba/-abc_d_000012_000022.mp4",
        "train/air_drumming/xyz.mkv",  # whole: the segment is cut out
        "train/zumba/two.mp4",  # two segments
        "val/val1_000100_000110.webm",
        "test/test1_000003_000013.mp4",
    )
    found = official.read_kinetics(lists, videos)
    assert found.labels == ["air drumming", "zumba"]
    whole = "train/air_drumming/xyz.mkv"
    assert found.videos == [
        Video("test/test1_000003_000013.mp4", "zumba", "test", ("test", "unused")),
        Video(whole, "air drumming", "train", ("train", "train"), 0, 10),
        Video("train/zumba/-abc_d_000012_000022.mp4", "zumba", "train", ("train", "train")),
        Video("train/zumba/two.mp4", "zumba", "train", ("train", "train"), 0, 9),
        Video("train/zumba/two.mp4", "zumba", "train", ("train", "train"), 5, 14),
        Video("val/val1_000100_000110.webm", "air drumming", "val", ("val", "test")),
    ]
    assert found.rejected == []
    # In fold 2 the validation part is tested on, as papers do.
    second = official.read_kinetics(lists, videos, fold=2)
    assert [v.split for v in second.videos] == ["unused", *["train"] * 4, "test"]


def test_kinetics_tables(tmp_path):
    lists = _write(tmp_path / "lists", KINETICS)
    videos = _touch(tmp_path / "videos", "val1.mp4", "xyz.mp4")
    pair = f"{lists / 'train.csv'},{lists / 'validate.csv'}"
    found = official.read_kinetics(pair, videos)
    assert {(v.path, v.split, v.splits) for v in found.videos} == {
        ("val1.mp4", "test", ()),
        ("xyz.mp4", "train", ()),
    }
    # A test part alone is numbered by the labels of training, which must be given.
    with pytest.raises(ValueError, match="must list training videos"):
        official.read_kinetics(lists / "validate.csv", videos)
    alone = official.read_kinetics(lists / "validate.csv", videos, labels=["zumba", "air drumming"])
    assert alone.labels == ["zumba", "air drumming"] and alone.videos[0].split == "test"
    with pytest.raises(ValueError, match=r"labels of the training part only. Received: 'zumba'"):
        official.read_kinetics(lists / "test.csv", videos, labels=["air drumming"])


def test_a_clip_with_two_labels_is_said(tmp_path):
    text = KINETICS["train.csv"] + "zumba,xyz,0,10,train\n" + "zumba,-abc_d,12,22,train\n"
    lists = _write(tmp_path / "lists", {"all.csv": text})
    videos = _touch(tmp_path / "videos", "xyz.mp4")
    found = official.read_kinetics(lists, videos)
    assert [video.label for video in found.videos] == ["air drumming"]
    reasons = dict(found.rejected)
    assert reasons["xyz_000000_000010"].startswith("listed as air drumming (train) before")
    assert len(found.rejected) == 4  # and three that are missing; equal lines are one


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,youtube_id,time_start,split\n", "without time_end"),
        (HEADER + "a,b,1,x,train\n", "a label, an ID, a start, an end .*line 2"),
        (HEADER + "a,b,1,2,holdout\n", "Received: 'a,b,1,2,holdout'"),
    ],
)
def test_other_tables_are_refused(tmp_path, text, message):
    lists = _write(tmp_path / "lists", {"all.csv": text})
    with pytest.raises(ValueError, match=message):
        official.read_kinetics(lists, _touch(tmp_path / "videos"))


@pytest.mark.parametrize("read", official.READERS.values(), ids=official.READERS)
def test_missing_annotations(tmp_path, read):
    for annotations in (None, tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError, match="`annotations` must"):
            read(annotations, tmp_path)


def test_remote_folders(tmp_path):
    for name, text in UCF.items():
        files.make_folder("ram://ucf/lists")
        with files.opened(f"ram://ucf/lists/{name}", "w") as file:
            file.write(text)
    files.write_json("ram://ucf/videos/Zumba/v_Zumba_g01_c01.avi", {})
    found = official.read_ucf101("ram://ucf/lists", "ram://ucf/videos")
    assert [video.path for video in found.videos] == ["Zumba/v_Zumba_g01_c01.avi"]
    files.remove("ram://ucf")


def test_real_lists_of_ucf101(real_clips):
    found = official.read_ucf101(real_clips / "ucf101_splits", real_clips / "ucf101")
    assert len(found.labels) == 101 and found.labels[0] == "ApplyEyeMakeup"
    assert [(v.label, v.splits) for v in found.videos] == [
        ("SoccerJuggling", ("train", "train", "train")),
        ("SoccerJuggling", ("train", "train", "train")),
    ]
    assert len(found.videos) + len(found.rejected) == 13_320


def test_sizes_of_the_real_splits(real_clips, tmp_path):
    # Every listed video, as empty files: 9537/3783, 9586/3734 and 9624/3696, and 3570/1530.
    for name in ("ucf101", "hmdb51"):
        lists = real_clips / f"{name}_splits"
        listed = official.READERS[name](lists, _touch(tmp_path / "none")).rejected
        videos = _touch(tmp_path / name, *(path for path, _ in listed))
        found = official.READERS[name](lists, videos)
        assert not found.rejected
        sides = list(zip(*(video.splits for video in found.videos), strict=True))
        counts = [tuple(side.count(s) for s in ("train", "test", "unused")) for side in sides]
        if name == "ucf101":
            assert counts == [(9537, 3783, 0), (9586, 3734, 0), (9624, 3696, 0)]
        else:
            assert counts == [(3570, 1530, 1666)] * 3
            assert len(found.labels) == 51 and found.labels == sorted(found.labels)
        assert sources.label_names(found.videos) == sorted(found.labels)


def test_segments_of_whole_files(tmp_path):
    rows = ["zumba,whole,4,5,train", "zumba,cut,104,105,train", "clap,whole,1,2,validate"]
    rows += ["clap,odd,3,4,train", "clap,trimmed,7,8,train"]
    lists = _write(tmp_path / "lists", {"all.csv": HEADER + "\n".join(rows)})
    videos = tmp_path / "videos"
    films = {"whole.mp4": 60, "cut.mp4": 15, "odd": 60, "trimmed_000007_000008.mp4": 30}
    for name, frames in films.items():
        write_video(tmp_path / "film.mp4", moving_square(frames), fps=10)
        videos.mkdir(exist_ok=True)
        (tmp_path / "film.mp4").rename(videos / name)
    (videos / "odd.json").write_text("{}")
    (videos / "odd.txt").write_text("odd")
    found = official.read_kinetics(lists, videos)
    assert [(v.name, v.split) for v in found.videos] == [
        ("cut.mp4", "train"),  # as long as its segment: it is that already
        ("odd#t=3,4", "train"),
        ("trimmed_000007_000008.mp4", "train"),
        ("whole.mp4#t=1,2", "test"),
        ("whole.mp4#t=4,5", "train"),
    ]
    assert found.rejected == []


def test_tables_and_names_of_other_programs(tmp_path):
    text = "\ufeffLabel;YouTube_ID;Time_Start;Time_End;Split\r\nplie\u0301;a\u0301b;0;10;Train\r\n"
    lists = _write(tmp_path / "lists", {"all.csv": text})
    videos = _touch(tmp_path / "videos", "pli\u00e9/\u00e1b_000000_000010.wmv")
    found = official.read_kinetics(lists, videos)
    assert found.labels == ["pli\u00e9"]
    assert [(v.path, v.label) for v in found.videos] == [
        ("pli\u00e9/\u00e1b_000000_000010.wmv", "pli\u00e9")
    ]
    (videos / "loop").symlink_to(videos)
    assert official.read_kinetics(lists, videos) == found
