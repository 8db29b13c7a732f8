import csv
import json
import os
import shutil

import numpy as np
import pytest

from keras_videorel import files
from keras_videorel.data import (
    decoder,
    flow,
    folders,
    inspection,
    local_engine,
    pictures,
    shard_plan,
    shards,
    sources,
)
from keras_videorel.data.drawing import Drawing
from keras_videorel.data.manifest import read_manifest, shard_files
from keras_videorel.data.sources import DataSet, Video
from tests.videos import LOSSLESS, moving_square, write_audio, write_video

COLOURS = {"blue": (20, 40, 220), "green": (30, 200, 40), "red": (220, 30, 20)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine videos of three classes that differ in colour, length and frame rate."""
    root = tmp_path_factory.mktemp("videos")
    for label, colour in COLOURS.items():
        for index in range(3):
            split = "test" if index == 2 else "train"
            pixels = moving_square(5 + index, colour=colour)
            write_video(root / split / label / f"{index}.mp4", pixels, fps=10 + index, **LOSSLESS)
    return root


def _write(folder, output, **options):
    options = {"num_shards": 2, **options}
    return _convert(folders.read_folder(folder).videos, output, None, folder, **options)


def _convert(videos, output, labels, root="", frame_size=(48, 64), **options):
    """Write shards; the content of `dataset.json`."""
    known = {name: options.pop(name) for name in DataSet._fields if name in options}
    data = DataSet(videos, labels, **known)
    options = {"num_workers": 1, **options}
    return shards.write_shards(data, output, root, frame_size, **options).content


def _names(output):
    return sorted(path.name for path in output.iterdir())


def _contents(output):
    return {path.name: path.read_bytes() for path in output.iterdir()}


def _records(output, split):
    """Read shards as anyone would who knows the public keys."""
    import tensorflow as tf

    files = sorted(str(path) for path in output.glob(f"{split}-?????-of-?????.tfrecord"))
    found = {}
    for serialized in tf.data.TFRecordDataset(files):
        context, sequence = tf.io.parse_single_sequence_example(
            serialized,
            {
                "clip/label/index": tf.io.FixedLenFeature([], tf.int64),
                "clip/label/string": tf.io.FixedLenFeature([], tf.string),
                "clip/data_path": tf.io.FixedLenFeature([], tf.string),
                "clip/start/timestamp": tf.io.FixedLenFeature([], tf.int64),
                "clip/end/timestamp": tf.io.FixedLenFeature([], tf.int64),
                "image/frame_rate": tf.io.FixedLenFeature([], tf.float32),
                "image/height": tf.io.FixedLenFeature([], tf.int64),
                "image/width": tf.io.FixedLenFeature([], tf.int64),
            },
            {
                "image/encoded": tf.io.FixedLenSequenceFeature([], tf.string),
                "image/timestamp": tf.io.FixedLenSequenceFeature([], tf.int64),
            },
        )
        path = context["clip/data_path"].numpy().decode()
        assert path not in found
        record = {name: value.numpy() for name, value in {**context, **sequence}.items()}
        record["frames"] = np.stack([tf.io.decode_jpeg(j) for j in record["image/encoded"]])
        found[path] = record
    return found


def test_records_labels_and_manifest(folder, tmp_path):
    manifest = _write(folder, tmp_path)
    assert (tmp_path / "labels.txt").read_text() == "blue\ngreen\nred\n"
    assert (tmp_path / "rejected.csv").read_text() == "path,reason\n"
    assert manifest == json.loads((tmp_path / "dataset.json").read_text())
    assert manifest["options"]["size"] == [48, 64] and manifest["options"]["short_side"] is None
    assert manifest["options"]["jpeg_quality"] == 90
    assert (manifest["rejected"], manifest["notes"]) == (0, [])
    per_label = {"train": 2, "test": 1}
    frames = {"train": 3 * (5 + 6), "test": 3 * 7}
    for split in ("train", "test"):
        assert manifest["splits"][split] == {
            "clips": 3 * per_label[split],
            "frames": frames[split],
            "shards": 2,
            "clips_per_label": dict.fromkeys(COLOURS, per_label[split]),
        }
        found = _records(tmp_path, split)
        assert len(found) == 3 * per_label[split]
        for path, record in found.items():
            _, label, name = path.split("/")
            index = int(name[0])
            assert path.startswith(f"{split}/") and (folder / path).exists()
            assert record["clip/label/string"].decode() == label
            assert record["clip/label/index"] == list(COLOURS).index(label)
            assert record["image/frame_rate"] == pytest.approx(10 + index, rel=1e-4)
            expected = moving_square(5 + index, colour=COLOURS[label])
            assert (record["image/height"], record["image/width"]) == (48, 64)
            assert np.abs(record["frames"].astype(int) - expected).mean() < 2
            times = np.arange(5 + index) * 1e6 / (10 + index)
            np.testing.assert_allclose(record["image/timestamp"], times, atol=100)
    assert sorted(_contents(tmp_path)) == [
        "dataset.json",
        "labels.txt",
        "rejected.csv",
        "test-00000-of-00002.tfrecord",
        "test-00001-of-00002.tfrecord",
        "train-00000-of-00002.tfrecord",
        "train-00001-of-00002.tfrecord",
    ]


def test_two_processes_write_what_one_does(folder, tmp_path):
    _write(folder, tmp_path / "one")
    _write(folder, tmp_path / "two", num_workers=2)
    assert _contents(tmp_path / "one") == _contents(tmp_path / "two")


def test_shards_mix_classes(tmp_path):
    videos = [Video(f"{label}/{i}", label, "train") for label in "abcd" for i in range(64)]
    data = DataSet(videos, list("abcd"))
    options = {"seed": 0, "shards": {"train": 4, "test": 0}}
    plan = shard_plan.plan(data, options)
    assert sorted(v for shard in plan for v, _ in shard.clips) == sorted(videos)
    for shard in plan:
        indices = [index for _, index in shard.clips]
        assert len(indices) == 64 and min(np.bincount(indices, minlength=4)) >= 8
        assert indices != sorted(indices)
        assert all("abcd"[index] == v.label for v, index in shard.clips)
    assert shard_plan.plan(data._replace(videos=videos[::-1]), options) == plan
    assert shard_plan.plan(data, {**options, "seed": 1}) != plan


@pytest.mark.parametrize(
    ("clips", "wanted", "workers", "count"),
    [
        (1000, None, 2, 16),
        (1000, None, 32, 32),
        (3, None, 8, 3),
        (1000, 5, 8, 5),
        (3, 5, 1, 3),
        (0, None, 4, 0),
    ],
)
def test_number_of_shards(clips, wanted, workers, count):
    assert shard_plan.shard_count(clips, wanted, workers) == count


def test_short_side(folder, tmp_path):
    manifest = _write(folder, tmp_path, frame_size=24)
    assert manifest["options"]["size"] is None and manifest["options"]["short_side"] == 24
    record = _records(tmp_path, "test")["test/red/2.mp4"]
    assert record["frames"].shape == (7, 24, 32, 3)
    assert (record["image/height"], record["image/width"]) == (24, 32)
    assert (
        np.abs(record["frames"][0, 12:18].astype(int) - moving_square()[0, ::2, ::2][12:18]).mean()
        < 9
    )


def test_jpeg_quality_and_default_size(folder, tmp_path):
    for quality in (95, 30):
        manifest = _write(folder, tmp_path / str(quality), frame_size=None, jpeg_quality=quality)
        assert manifest["options"]["size"] == [128, 170]
    sizes = [
        sum(path.stat().st_size for path in (tmp_path / str(quality)).glob("*.tfrecord"))
        for quality in (95, 30)
    ]
    assert sizes[1] < 0.8 * sizes[0]


@pytest.fixture
def spoilt(tmp_path):
    """A good video and one of each kind that is not."""
    root = tmp_path / "spoilt"
    pixels = moving_square(60, 96, 128)
    good = write_video(root / "good.avi", pixels, codec="mpeg4", options={"g": "5"})
    data = good.read_bytes()
    (root / "half.avi").write_bytes(data[: len(data) // 2])
    (root / "empty.avi").touch()
    (root / "text, with comma.mp4").write_text("no video" * 99)
    write_audio(root / "sound.mp4")
    names = sorted(path.name for path in root.iterdir())
    return root, [Video(name, "x", "train") for name in [*names, "missing.mp4"]]


def test_files_without_frames_are_rejected(spoilt, tmp_path):
    root, videos = spoilt
    output = tmp_path / "shards"
    manifest = _convert(videos, output, ["x"], root, (48, 64), num_shards=3, num_workers=1)
    with open(output / "rejected.csv", newline="", encoding="utf-8") as file:
        rejected = dict(csv.reader(file))
    assert rejected.pop("path") == "reason"
    assert rejected.pop("text, with comma.mp4").startswith("cannot be opened as a video")
    assert rejected == {
        "empty.avi": "empty file (0 bytes)",
        "missing.mp4": "no such file",
        "sound.mp4": "no video stream (only audio)",
    }
    assert manifest["rejected"] == 4
    found = _records(output, "train")
    assert sorted(found) == ["good.avi", "half.avi"]
    count = len(found["half.avi"]["frames"])
    assert len(found["good.avi"]["frames"]) == 60 and 10 < count < 50
    assert manifest["splits"]["train"]["clips"] == 2
    assert manifest["splits"]["train"]["frames"] == 60 + count
    (note,) = manifest["notes"]
    assert note["path"] == "half.avi" and f"{count} of 60 frames decoded" in note["note"]


def test_all_videos_rejected(spoilt, tmp_path):
    root, videos = spoilt
    videos = [v for v in videos if v.path not in ("good.avi", "half.avi")]
    output = tmp_path / "shards"
    with pytest.raises(ValueError, match=r"all rejected \(empty.avi: empty file \(0 bytes\)"):
        _convert(videos, output, ["x"], root, num_workers=1)
    assert not output.exists()
    (output / "mine").mkdir(parents=True)
    with pytest.raises(ValueError, match="Received: 4, all rejected"):
        _convert(videos, output, ["x"], root, num_workers=1)
    assert _names(output) == ["mine"]


def _interrupt(folder, output, monkeypatch, shards_written=1, **options):
    """A run that fails after some shards."""
    write_shard, calls = local_engine.write_shard, []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) > shards_written:
            raise OSError("disk full")
        write_shard(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(local_engine, "write_shard", fail)
        with pytest.raises(OSError, match="disk full"):
            _write(folder, output, **options)


def test_a_second_run_writes_the_missing_shards(folder, tmp_path, monkeypatch):
    _write(folder, tmp_path / "whole")
    output = tmp_path / "interrupted"
    _interrupt(folder, output, monkeypatch, shards_written=2)
    names = _names(output)
    assert names == [".make_tfrecords", *(f"train-0000{i}-of-00002.tfrecord" for i in range(2))]
    before = {name: os.stat(output / name).st_mtime_ns for name in names[1:]}
    stale = output / ".make_tfrecords" / "test-00000-of-00002.tfrecord.tmp"
    stale.write_bytes(b"half a shard")
    _write(folder, output)
    assert _contents(output) == _contents(tmp_path / "whole")
    assert {name: os.stat(output / name).st_mtime_ns for name in before} == before


def test_rejections_survive_an_interruption(spoilt, tmp_path, monkeypatch):
    root, videos = spoilt
    whole, output = tmp_path / "whole", tmp_path / "interrupted"
    options = {"root": root, "frame_size": (48, 64), "num_shards": 6, "num_workers": 1}
    _convert(videos, whole, ["x"], **options)
    encode, calls = decoder.Decoder.encode, []

    def fail(*arguments, **times):
        calls.append(arguments)
        if len(calls) == 5:
            raise OSError("disk full")
        return encode(*arguments, **times)

    with monkeypatch.context() as patch:
        patch.setattr(decoder.Decoder, "encode", fail)
        with pytest.raises(OSError, match="disk full"):
            _convert(videos, output, ["x"], **options)
    assert len(list(output.glob("*.tfrecord"))) == 4
    assert not list(output.rglob("*.tmp"))
    _convert(videos, output, ["x"], **options)
    assert _contents(output) == _contents(whole)


def test_the_number_of_workers_may_change(folder, tmp_path, monkeypatch):
    _interrupt(folder, tmp_path, monkeypatch, num_shards=None)
    # Three workers would want three shards of each split; one shard that is left needs no pool.
    manifest = _write(folder, tmp_path, num_shards=None, num_workers=3)
    assert manifest["options"]["shards"] == {"train": 1, "test": 1}
    assert len(_records(tmp_path, "train")) == 6


CHANGES = [
    ({"frame_size": (24, 32)}, r"size: \[48, 64\] there, \[24, 32\] wanted"),
    ({"frame_size": 48}, r"size: .* short_side: None there, 48 wanted"),
    ({"jpeg_quality": 80}, "jpeg_quality: 90 there, 80 wanted"),
    ({"seed": 1}, "seed: 0 there, 1 wanted"),
    ({"flow": "dis"}, "flow: none there, dis wanted"),
    ({"num_shards": 3}, "shards: 2 train and 2 test there, 3 train and 3 test wanted"),
]


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("finished")
    _write(folder, output)
    return output


@pytest.fixture(scope="module")
def unfinished(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("unfinished")
    with pytest.MonkeyPatch.context() as monkeypatch:
        _interrupt(folder, output, monkeypatch)
    return output


@pytest.mark.parametrize("state", ["finished", "unfinished"])
@pytest.mark.parametrize(("options", "difference"), CHANGES)
def test_other_options_are_refused(folder, state, options, difference, request):
    output = request.getfixturevalue(state)
    before = {p: p.read_bytes() for p in output.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=f"shards of other options .*{difference}.*choose another"):
        _write(folder, output, **options)
    assert {p: p.read_bytes() for p in output.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_other_videos_are_refused(folder, state, request):
    output = request.getfixturevalue(state)
    videos = folders.read_folder(folder).videos
    labels = sources.label_names(videos)
    options = {"root": folder, "frame_size": (48, 64), "num_workers": 1, "num_shards": 2}
    for other, count in ((videos[1:], 8), ([videos[0]._replace(label="red"), *videos[1:]], 9)):
        with pytest.raises(ValueError, match=f"videos or labels: 9 there, {count} other ones"):
            _convert(other, output, labels, **options)


def test_options_may_change_before_the_first_shard(folder, tmp_path, monkeypatch):
    _interrupt(folder, tmp_path, monkeypatch, shards_written=0)
    assert _write(folder, tmp_path, frame_size=(24, 32))["options"]["size"] == [24, 32]


def test_a_finished_folder_is_left_alone(folder, finished, monkeypatch):
    before = _contents(finished)
    monkeypatch.setattr(shards, "_write_missing", lambda *_: pytest.fail("it writes"))
    assert shard_plan.finished(finished)
    assert _write(folder, finished) == json.loads((finished / "dataset.json").read_text())
    assert _contents(finished) == before


def test_a_finished_folder_that_lost_a_shard(folder, tmp_path):
    _write(folder, tmp_path)
    (tmp_path / "test-00001-of-00002.tfrecord").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks test-00001-of-00002.tfrecord; delete"):
        _write(folder, tmp_path)


def test_foreign_folders_are_refused(folder, tmp_path):
    (tmp_path / "train-00000-of-00001.tfrecord").touch()
    with pytest.raises(
        ValueError, match=r"holds train-00000-of-00001.tfrecord but no dataset.json"
    ):
        _write(folder, tmp_path)
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(ValueError, match=r"dataset.json. is no manifest of shards"):
        _write(folder, tmp_path)
    assert len(_contents(tmp_path)) == 2
    with pytest.raises(OSError):
        _write(folder, tmp_path / "dataset.json" / "below")


def test_two_runs_at_once_are_refused(folder, unfinished):
    pytest.importorskip("fcntl")
    lock = unfinished / ".make_tfrecords" / "lock"
    message = "`output` is being written by another run"
    with shards._lock(lock, unfinished), pytest.raises(ValueError, match=message):
        _write(folder, unfinished)


def test_a_killed_decoding_process_is_reported(folder, tmp_path, monkeypatch):
    encode = decoder.Decoder.encode

    def fail(self, path, **times):
        if path.endswith("train/red/0.mp4"):
            raise OSError(f"the process that decoded {path} was killed; memory may be short")
        return encode(self, path, **times)

    with monkeypatch.context() as patch:
        patch.setattr(decoder.Decoder, "encode", fail)
        with pytest.raises(OSError, match=r"red/0\.mp4 was killed"):
            _write(folder, tmp_path, num_workers=2)
    assert not (tmp_path / "dataset.json").exists() and not list(tmp_path.rglob("*.tmp"))
    assert _write(folder, tmp_path)["rejected"] == 0


def test_an_error_of_one_worker_ends_the_others(folder, tmp_path, monkeypatch):
    def fail(shard, settings, *_):
        if shard.name.startswith("train-00000"):
            raise OSError("no space left")
        return write_shard(shard, settings, *_)

    write_shard = local_engine.write_shard
    monkeypatch.setattr(local_engine, "write_shard", fail)
    with pytest.raises(OSError, match="no space left"):
        _write(folder, tmp_path, num_workers=2)
    assert not (tmp_path / "train-00000-of-00002.tfrecord").exists()


def test_flow_lies_beside_the_frames(folder, tmp_path):
    import tensorflow as tf

    manifest = _write(folder, tmp_path, frame_size=(96, 128), flow="dis")
    assert manifest["options"]["flow"] == "dis"
    path = next(str(path) for path in sorted(tmp_path.glob("test-*.tfrecord")))
    serialized = next(iter(tf.data.TFRecordDataset(path)))
    _, sequence = tf.io.parse_single_sequence_example(
        serialized,
        None,
        {
            "image/encoded": tf.io.FixedLenSequenceFeature([], tf.string),
            "FORWARD_FLOW/image/encoded": tf.io.FixedLenSequenceFeature([], tf.string),
        },
    )
    frames = np.stack([tf.io.decode_jpeg(j) for j in sequence["image/encoded"]])
    pictures = np.stack([tf.io.decode_jpeg(j) for j in sequence["FORWARD_FLOW/image/encoded"]])
    assert pictures.shape == frames.shape == (7, 96, 128, 3)
    fields = flow.from_levels(pictures[..., :2])
    # The square moves right by 4 of 64 pixels, here 8 of 128.
    moving = np.ptp(frames[2].astype(int), axis=-1) > 60  # on a grey background
    assert moving.sum() > 300
    np.testing.assert_allclose(np.median(fields[2][moving], axis=0), (8, 0), atol=0.5)
    np.testing.assert_array_equal(pictures[-1], pictures[-2])  # nothing follows the last frame


def test_official_splits_share_one_set_of_shards(folder, tmp_path):
    sides = {"0": ("train", "test"), "1": ("test", "train"), "2": ("unused", "train")}
    videos = [
        video._replace(split=sides[video.path[-5]][0], splits=sides[video.path[-5]])
        for video in folders.read_folder(folder).videos
    ]
    manifest = _convert(
        videos,
        tmp_path,
        list(COLOURS),
        folder,
        (48, 64),
        num_shards=1,
        rejected=[("x", "no such file")],
    )
    assert {side: counts["clips"] for side, counts in manifest["splits"].items()} == {
        "train": 3,
        "test": 3,
        "unused": 3,
    }
    assert manifest["official_splits"] == {
        "1": {"train": 3, "test": 3, "unused": 3},
        "2": {"train": 6, "test": 3, "unused": 0},
    }
    assert manifest["rejected"] == 1
    assert (tmp_path / "rejected.csv").read_text() == "path,reason\nx,no such file\n"
    assert sorted(_records(tmp_path, "unused")) == [f"test/{label}/2.mp4" for label in COLOURS]


def test_remote_folders(folder, tmp_path):
    """Shards in, and videos from, a file system that only TensorFlow knows."""
    import tensorflow as tf

    for path in folder.rglob("*.mp4"):
        target = f"ram://data/videos/{path.relative_to(folder)}"
        tf.io.gfile.makedirs(target.rpartition("/")[0])
        tf.io.gfile.copy(str(path), target)
    videos = folders.read_folder("ram://data/videos").videos
    assert videos == folders.read_folder(folder).videos
    output = "ram://data/shards"
    options = {"frame_size": (48, 64), "num_workers": 1, "num_shards": 2}
    videos = [*videos, Video("train/blue/none.mp4", "blue", "train")]
    manifest = _convert(videos, output, list(COLOURS), "ram://data/videos", **options)
    assert manifest["rejected"] == 1 and shard_plan.finished(output)
    names = [name for name in files.list_folder(output) if name.endswith(".tfrecord")]
    _convert(videos, tmp_path, list(COLOURS), folder, **options)
    assert len(names) == 4
    for name in names:
        assert files.read_bytes(f"{output}/{name}") == (tmp_path / name).read_bytes()
    assert _convert(videos, output, list(COLOURS), "ram://data/videos", **options) == manifest
    files.remove("ram://data")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_size": (0, 5)}, "`frame_size` must be an integer of at least 1"),
        ({"frame_size": (1, 2, 3)}, r"`frame_size` must be \(height, width\) or an integer"),
        ({"frame_size": 0}, "`frame_size` must be .* Received: 0"),
        ({"jpeg_quality": 101}, "`jpeg_quality` must be .* at most 100. Received: 101"),
        ({"num_shards": 0}, "`num_shards` must be .* Received: 0"),
        ({"num_workers": 0}, "`num_workers` must be .* Received: 0"),
        ({"seed": 0.5}, "`seed` must be an integer. Received: 0.5"),
        ({"flow": "farneback"}, "`flow` must be one of none, tvl1, dis. Received: 'farneback'"),
        ({"engine": "spark"}, "`engine` must be one of local, beam. Received: 'spark'"),
    ],
)
def test_bad_arguments_are_refused(folder, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        _write(folder, tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("videos", "labels", "message"),
    [
        ([], ["x"], "at least one video"),
        (
            [Video("a", "run fsat", "train")],
            ["sit", "x", "run fast"],
            "`labels` must hold the label .* Received: 'run fsat' of a, but 'run fast', ...",
        ),
        ([Video("a", "x", "train")] * 2, ["x"], "list each video once. Received: 'a' twice"),
        ([Video("a", "x", "train")], ["x", "x"], "`labels` must differ"),
        ([Video("a", "x", "train")], ["x", "y\nz"], "a label must be one line"),
        ([Video("a", "\udce9", "train")], ["\udce9"], "a label must be UTF-8 text"),
    ],
)
def test_bad_videos_are_refused(tmp_path, videos, labels, message):
    with pytest.raises(ValueError, match=message):
        _convert(videos, tmp_path / "new", labels)
    assert not (tmp_path / "new").exists()


def test_segments_of_one_file_and_a_validation_part(folder, tmp_path):
    path = "train/red/1.mp4"  # 6 frames, 11 a second
    videos = [
        Video(path, "red", "train", (), 0.0, 0.3),
        Video(path, "blue", "train", (), 0.3, None),
        Video("test/red/2.mp4", "red", "val"),
    ]
    manifest = _convert(videos, tmp_path, ["blue", "red"], folder, (48, 64), num_workers=1)
    assert list(manifest["splits"]) == ["train", "val"]
    assert manifest["options"]["shards"] == {"train": 1, "val": 1, "test": 0}
    assert "val-00000-of-00001.tfrecord" in _names(tmp_path)
    found = _records(tmp_path, "train")
    assert {name: len(record["frames"]) for name, record in found.items()} == {
        f"{path}#t=0,0.3": 4,
        f"{path}#t=0.3": 2,
    }
    times = found[f"{path}#t=0.3"]["image/timestamp"]
    np.testing.assert_allclose(times, [4e6 / 11, 5e6 / 11], atol=100)
    ends = {
        name: (record["clip/start/timestamp"], record["clip/end/timestamp"])
        for name, record in found.items()
    }
    np.testing.assert_allclose(ends[f"{path}#t=0,0.3"], (0, 4e6 / 11), atol=200)
    np.testing.assert_allclose(ends[f"{path}#t=0.3"], (4e6 / 11, 6e6 / 11), atol=200)
    info = read_manifest(str(tmp_path))
    assert info.clips == {"train": 2, "val": 1}
    assert [os.path.basename(p) for p in shard_files(info, "val")] == [
        "val-00000-of-00001.tfrecord"
    ]


def test_repaired_and_missing_files_are_added(folder, tmp_path, monkeypatch):
    root, output = tmp_path / "videos", tmp_path / "shards"
    shutil.copytree(folder, root)
    films = {name: (root / name).read_bytes() for name in ("train/red/0.mp4", "test/red/2.mp4")}
    videos = folders.read_folder(root).videos
    (root / "train/red/0.mp4").write_bytes(b"half")
    (root / "test/red/2.mp4").unlink()

    def write():
        labels = ["blue", "green", "red"]
        manifest = _convert(videos, output, labels, root, (48, 64), num_workers=1)
        return manifest, {path.name: path.read_bytes() for path in output.glob("*.tfrecord")}

    manifest, before = write()
    assert manifest["rejected"] == 2 and _contents(output).keys() >= before.keys()
    everything = _contents(output)
    assert write()[0] == manifest and _contents(output) == everything

    (root / "train/red/0.mp4").write_bytes(films["train/red/0.mp4"])
    manifest, after = write()
    assert after.keys() - before.keys() == {"train-00001-of-00002.tfrecord"} == {*manifest["added"]}
    assert all(after[name] == content for name, content in before.items())
    assert manifest["rejected"] == 1
    assert manifest["splits"]["train"]["clips_per_label"] == dict.fromkeys(COLOURS, 2)
    assert len(_records(output, "train")) == 6

    monkeypatch.setattr(pictures, "library", lambda: "a newer one")
    assert write() == (manifest, after)  # of the missing file nothing has changed
    (root / "test/red/2.mp4").write_bytes(b"no film")
    manifest, again = write()
    assert again == after and manifest["retry"]["files"]["test/red/2.mp4"][0] == 7
    tried = _contents(output)
    assert write()[1] == after and _contents(output) == tried
    monkeypatch.setattr(pictures, "library", lambda: "a still newer one")
    assert write()[0]["retry"]["decoder"] == "a still newer one"
    (root / "test/red/2.mp4").write_bytes(films["test/red/2.mp4"])
    manifest, _ = write()
    assert manifest["rejected"] == 0 and "retry" not in manifest
    assert manifest["splits"]["test"]["clips"] == 3
    assert (output / "rejected.csv").read_text() == "path,reason\n"
    clips, problems = inspection.scan(read_manifest(output))
    assert len(clips) == 9 and problems == []
    assert inspection.compare(read_manifest(output), clips) == []
    everything = _contents(output)
    assert write()[0] == manifest and _contents(output) == everything


def test_videos_that_appear_are_added(folder, tmp_path):
    videos = folders.read_folder(folder).videos
    labels = sources.label_names(videos)
    late = videos[0]
    options = {"root": folder, "frame_size": (48, 64), "num_workers": 1}
    missing = [("late", "no such file")]
    _convert(videos[1:], tmp_path, labels, rejected=missing, **options)
    for _ in range(2):
        manifest = _convert(videos, tmp_path, labels, **options)
        assert manifest["rejected"] == 0 and len(manifest["added"]) == 1
    assert late.path in _records(tmp_path, late.split)


def test_rejected_files_are_replaced_or_deleted(folder, tmp_path):
    root, output = tmp_path / "videos", tmp_path / "shards"
    shutil.copytree(folder, root)
    film = (root / "train/red/0.mp4").read_bytes()
    for name in ("train/red/bad.avi", "train/red/worse.avi", "train/red/note"):
        (root / name).write_bytes(b"no film")

    def write(**options):
        data = folders.read_folder(root)
        return _convert(
            data.videos,
            output,
            ["blue", "green", "red"],
            root,
            (48, 64),
            rejected=data.rejected,
            num_workers=1,
            **options,
        )

    assert write(num_shards=8)["rejected"] == 3
    before = _contents(output)
    (root / "train/red/bad.avi").unlink()
    (root / "train/red/bad.mp4").write_bytes(film)
    for _ in range(2):
        manifest = write(num_shards=8)
        assert (manifest["rejected"], manifest["splits"]["train"]["clips"]) == (2, 7)
    after = _contents(output)
    assert all(after[name] == before[name] for name in before if name.endswith(".tfrecord"))
    assert set(_records(output, "train")) >= {"train/red/bad.mp4", "train/red/0.mp4"}

    (root / "train/red/worse.avi").unlink()
    for _ in range(2):
        manifest = write(num_shards=8)
        assert manifest["rejected"] == 1 and "retry" not in manifest
    assert (output / "rejected.csv").read_text().splitlines()[1:] == [
        "train/red/note,cannot be opened as a video: Invalid data found when processing input"
    ]
    (root / "train/red/note").unlink()
    (root / "train/red/note.mkv").write_bytes(film)
    assert write(num_shards=8)["splits"]["train"]["clips"] == 8

    with pytest.raises(ValueError, match=r"no longer those of labels.txt: red, blue, green\)"):
        _convert(
            folders.read_folder(root).videos,
            output,
            ["red", "blue", "green"],
            root,
            (48, 64),
            num_workers=1,
        )
    (root / "train/red/more.mp4").write_bytes(film)
    (root / "train/red/0.mp4").unlink()
    with pytest.raises(
        ValueError, match=r"11 other ones wanted \(gone: train/red/0.mp4\).*another `output`"
    ):
        write(num_shards=8)


def test_a_repaired_set_keeps_the_splits_that_were_drawn(folder, tmp_path):
    root, output = tmp_path / "videos", tmp_path / "shards"
    for label in COLOURS:
        for index in range(6):
            (root / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / f"train/{label}/{index % 2}.mp4", root / label / f"{index}.mp4")
    film = (root / "red/0.mp4").read_bytes()

    def draw(fraction):
        return folders.read_folder(root, Drawing(fraction)).videos

    def write(fraction=0.5):
        options = {"root": root, "frame_size": (48, 64), "num_workers": 1, "drawn": True}
        return _convert(draw(fraction), output, [*COLOURS], **options)

    tested = [v.path for v in draw(0.5) if v.split == "test"]
    for name in tested[:2]:
        (root / name).write_bytes(b"no film")
    assert write()["splits"]["test"]["clips"] == 7
    sides = {v.path: v.split for v in draw(0.5)}
    with pytest.raises(ValueError, match="other labels or splits"):
        write(0.2)
    (root / tested[0]).write_bytes(film)
    (root / tested[1]).unlink()
    assert any(sides.get(v.path, v.split) != v.split for v in draw(0.5))
    for _ in range(2):
        manifest = write()
        assert manifest["splits"]["test"]["clips"] == 8 and manifest["rejected"] == 0
        assert manifest["splits"]["train"]["clips"] == 9
    # What is new could be of a recording that is in another split.
    (root / "red/more.mp4").write_bytes(film)
    with pytest.raises(ValueError, match=r"new, where splits are drawn: red/more\.mp4"):
        write()


def test_a_missing_file_of_a_similar_name(folder, tmp_path):
    videos = [Video("train/red/0.mp4", "x", "train"), Video("train/red/1.MP4", "x", "train")]
    videos += [Video("train/red/1.avi", "x", "train"), Video("none.avi", "x", "train")]
    _convert(videos, tmp_path, ["x"], folder, (48, 64), num_workers=1)
    assert (tmp_path / "rejected.csv").read_text().splitlines()[1:] == [
        "none.avi,no such file",
        "train/red/1.MP4,no such file (1.mp4 is there)",
        "train/red/1.avi,no such file (1.mp4 is there)",
    ]


def test_folders_of_pictures(tmp_path):
    import cv2

    root, pixels = tmp_path / "videos", moving_square(12)
    (root / "clip").mkdir(parents=True)
    for i, frame in enumerate(pixels, 1):
        cv2.imwrite(str(root / f"clip/{i}.png"), frame[..., ::-1])
    (root / "clip/4.png").write_bytes(b"damaged")
    (root / "clip/notes.txt").touch()
    videos = [Video("clip", "x", "train"), Video("clip", "x", "test", (), 0.5, 1.0)]
    videos.append(Video("clip", "x", "val", (), 0.8, 3.0))
    output = tmp_path / "shards"
    manifest = _convert(videos, output, ["x"], root, (48, 64), frame_rate=10, num_workers=1)
    notes = sorted(entry["note"] for entry in manifest["notes"])
    assert notes == ["11 of 12 pictures decoded", "ends at 1.10 s of 3"]
    assert manifest["options"]["frame_rate"] == 10
    record = _records(output, "train")["clip"]
    order = [i for i in range(12) if i != 3]
    assert np.abs(record["frames"].astype(int) - pixels[order]).mean() < 2
    assert list(record["image/timestamp"]) == [100_000 * i for i in order]
    assert list(_records(output, "test")["clip#t=0.5,1"]["image/timestamp"]) == [
        100_000 * i for i in range(5, 10)
    ]
    with pytest.raises(ValueError, match=r"frame_rate: 10\.0 there, 12\.0 wanted"):
        _convert(videos, output, ["x"], root, (48, 64), num_workers=1)
    with pytest.raises(ValueError, match="`frame_rate` must be a finite number above 0"):
        _convert(videos, output, ["x"], root, frame_rate=0)
