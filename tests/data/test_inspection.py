import json

import cv2
import numpy as np
import pytest
import tensorflow as tf

from keras_videorel.data import flow, inspection, record_checks, records, shards, sources
from keras_videorel.data.manifest import read_manifest
from tests.clips import evaluation_views, training_batches
from tests.videos import moving_square, write_video

SIZE = (16, 24)
LABELS = ["left", "right"]


def jpeg(level=100, size=SIZE):
    picture = np.full((*size, 3), level, np.uint8)
    picture[: size[0] // 2] += 20
    return cv2.imencode(".jpg", picture)[1].tobytes()


def field(size=SIZE):
    return flow.encode_jpeg(np.full((*size, 2), 140, np.uint8), 90)


def record(number, change=None, **values):
    """A record that fits `write`, but for `values` of `records.encode`, and `change` of it."""
    frames = 3 + number % 3
    values = {
        "jpegs": [jpeg(10 * i) for i in range(frames)],
        "timestamps": [i / 25 for i in range(frames)],
        "label_index": number % 2,
        "label": LABELS[number % 2],
        "path": f"{number}.avi",
        "height": SIZE[0],
        "width": SIZE[1],
        "frame_rate": 25.0,
        "flow": [field()] * frames,
        "splits": ("train", "test") if number < 8 else ("test", "unused"),
        **values,
    }
    serialized = records.encode(**values)
    if change is None:
        return serialized
    example = tf.train.SequenceExample.FromString(serialized)
    change(example)
    return example.SerializeToString(deterministic=True)


def write_file(path, serialized):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for one in serialized:
            writer.write(one)


def write(folder, **changed):
    """Eight clips to train with, four in each of two shards, and three to test.

    Args:
        folder: A `pathlib.Path`.
        changed: Records to write in the place of others: `_0` is that of the first.
    """
    serialized = [changed.get(f"_{number}", record(number)) for number in range(11)]
    write_file(folder / "train-00000-of-00002.tfrecord", serialized[:4])
    write_file(folder / "train-00001-of-00002.tfrecord", serialized[4:8])
    write_file(folder / "test-00000-of-00001.tfrecord", serialized[8:])
    (folder / "labels.txt").write_text("left\nright\n")
    manifest = {
        "schema_version": 2,
        "options": {
            "size": SIZE,
            "short_side": None,
            "flow": "dis",
            "split": 1,
            "shards": {"train": 2, "test": 1},
        },
        "splits": {
            "train": {
                "clips": 8,
                "frames": 3 + 4 + 5 + 3 + 4 + 5 + 3 + 4,
                "shards": 2,
                "clips_per_label": {"left": 4, "right": 4},
            },
            "test": {
                "clips": 3,
                "frames": 5 + 3 + 4,
                "shards": 1,
                "clips_per_label": {"left": 2, "right": 1},
            },
        },
        "official_splits": {
            "1": {"train": 8, "test": 3, "unused": 0},
            "2": {"train": 0, "test": 8, "unused": 3},
        },
    }
    (folder / "dataset.json").write_text(json.dumps(manifest))
    return folder


def inspect(folder, decode="all"):
    """Clips, problems of the records, and those of the manifest."""
    layout = inspection.read_layout(folder)
    clips, problems = inspection.scan(layout, decode)
    return clips, problems, inspection.compare(layout, clips)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write(tmp_path_factory.mktemp("whole"))


def offsets(path):
    """Where each record of a file begins, and its end."""
    found = [0]
    for serialized in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        found.append(found[-1] + 16 + len(serialized))
    assert found[-1] == path.stat().st_size
    return found


def test_whole_shards_have_no_problems(whole):
    clips, problems, different = inspect(whole)
    assert problems == different == []
    assert [clip.path for clip in clips] == [f"{n}.avi" for n in range(11)]
    assert [clip.frames for clip in clips] == [3 + n % 3 for n in range(11)]
    assert [clip.label for clip in clips] == [n % 2 for n in range(11)]
    starts = offsets(whole / "train-00001-of-00002.tfrecord")
    assert clips[5] == inspection.Clip(
        split="train",
        file="train-00001-of-00002.tfrecord",
        record=1,
        offset=starts[1],
        bytes=starts[2] - starts[1],
        label=1,
        path="5.avi",
        frames=5,
        size=SIZE,
        seconds=0.2,
        flow=True,
        sides=("train", "test"),
    )


def test_counts_are_those_of_the_manifest(whole):
    layout = inspection.read_layout(whole)
    for workers in (1, 3):
        clips, _ = inspection.scan(layout, "none", workers)
        splits, official = inspection.count(layout, clips)
        manifest = json.loads((whole / "dataset.json").read_text())
        assert (splits, official) == (manifest["splits"], manifest["official_splits"])


def test_a_folder_behind_a_scheme(whole):
    for path in whole.iterdir():
        tf.io.gfile.copy(str(path), f"ram://whole/{path.name}", overwrite=True)
    assert inspect("ram://whole") == inspect(whole)


def test_pictures_are_found_again(whole):
    layout = inspection.read_layout(whole)
    clips, _ = inspection.scan(layout, "none")
    jpegs, fields = inspection.read_pictures(layout, clips[6])
    assert jpegs == [jpeg(0), jpeg(10), jpeg(20)] and fields == [field()] * 3


# --- Damaged files --------------------------------------------------------------------------


def test_each_flipped_bit_is_found(tmp_path):
    """A payload is lost alone; with a header goes the rest of the file, as its length does."""
    path = tmp_path / "file"
    write_file(path, [b"abc", b"", b"defgh"])
    good, starts = path.read_bytes(), offsets(path)
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        number = sum(start <= place for start in starts) - 1
        found = list(record_checks.read_records(str(path)))
        expected = [b"abc", b"", b"defgh"]
        expected[number] = None
        in_header = place - starts[number] < 12
        if in_header:
            expected = expected[: number + 1]
        assert [serialized for _, _, serialized, _ in found] == expected
        assert [offset for _, offset, _, _ in found] == starts[: len(expected)]
        assert [n for n, *_ in found] == list(range(len(expected)))
        damage = found[number][3]
        assert damage.startswith("has a damaged header" if in_header else "is damaged")


def test_each_cut_is_found(tmp_path):
    """But one between two records, which only counts can tell."""
    path = tmp_path / "file"
    write_file(path, [b"abc", b"", b"defgh"])
    good, starts = path.read_bytes(), offsets(path)
    for length in range(len(good)):
        path.write_bytes(good[:length])
        found = list(record_checks.read_records(str(path)))
        intact = sum(start <= length for start in starts) - 1
        damages = [damage for *_, damage in found]
        assert damages[:intact] == [None] * intact
        if length in starts:
            assert len(found) == intact
        else:
            (damage,) = damages[intact:]
            missing = starts[intact + 1] - length
            in_header = length - starts[intact] < 12
            assert damage == "is cut off: the file ends " + (
                "in its header" if in_header else f"{missing} bytes early"
            )


def test_the_rest_is_checked_after_damage(tmp_path):
    """Flipped bits in the first two records of a shard, and a label that is wrong in another."""
    folder = write(tmp_path, _9=record(9, label_index=0))
    path = folder / "train-00000-of-00002.tfrecord"
    content, starts = bytearray(path.read_bytes()), offsets(path)
    content[starts[0] + 500] ^= 4
    content[starts[1] + 500] ^= 4
    path.write_bytes(content)
    clips, problems, different = inspect(folder)
    assert [clip.path for clip in clips] == [f"{n}.avi" for n in range(2, 11)]
    assert [(p.file, p.record, p.offset, p.path) for p in problems[:2]] == [
        (path.name, 0, 0, ""),
        (path.name, 1, starts[1], ""),
    ]
    assert {p.problem for p in problems[:2]} == {"is damaged: its checksum does not fit"}
    assert {(p.record, p.path) for p in problems[2:]} == {(1, "9.avi")}
    assert [(p.file, p.problem) for p in different] == [
        ("dataset.json", "8 clips of train, found are 6"),
        ("dataset.json", f"31 frames of train, found are {31 - 3 - 4}"),
        ("dataset.json", "4 train clips of left, found are 3"),
        ("dataset.json", "4 train clips of right, found are 3"),
        ("dataset.json", "2 test clips of left, found are 3"),
        ("dataset.json", "1 test clips of right, found are 0"),
        ("dataset.json", "8 train clips in official split 1, found are 6"),
        ("dataset.json", "8 test clips in official split 2, found are 6"),
    ]


def test_a_cut_between_records_shows_in_the_counts(tmp_path):
    folder = write(tmp_path)
    path = folder / "test-00000-of-00001.tfrecord"
    path.write_bytes(path.read_bytes()[: offsets(path)[2]])
    clips, problems, different = inspect(folder)
    assert len(clips) == 10 and problems == []
    assert "3 clips of test, found are 2" in {p.problem for p in different}


@pytest.mark.parametrize("content", [b"", b"no TFRecord file at all"])
def test_a_file_that_holds_nothing(tmp_path, content):
    folder = write(tmp_path)
    path = folder / "train-00001-of-00002.tfrecord"
    path.write_bytes(content)
    clips, problems, different = inspect(folder)
    assert len(clips) == 7
    assert [p.problem for p in problems] == (
        ["has a damaged header: the rest of the file cannot be read"] if content else []
    )
    assert "8 clips of train, found are 4" in {p.problem for p in different}


def test_shards_that_are_missing_or_left_over(tmp_path):
    folder = write(tmp_path)
    (folder / "train-00001-of-00002.tfrecord").rename(folder / "train-00001-of-00003.tfrecord")
    _, problems, different = inspect(folder)
    assert problems == []
    assert [(p.file, p.problem) for p in different] == [
        ("train-00001-of-00002.tfrecord", "is missing"),
        ("train-00001-of-00003.tfrecord", "is no shard of this data set"),
    ]
    for path in folder.glob("train-*"):
        path.unlink()
    assert ("8 clips of train, found are 0") in {p.problem for p in inspect(folder)[2]}


# --- Records that do not hold what they should ----------------------------------------------


def drop(key):
    def change(example):
        example.context.feature.pop(key, None)
        example.feature_lists.feature_list.pop(key, None)

    return change


def put(key, *values):
    def change(example):
        feature = example.context.feature[key]
        feature.Clear()
        kind = feature.bytes_list if isinstance(values[0], bytes) else feature.int64_list
        kind.value.extend(values)

    return change


def entries(key, values):
    """Another list; `values` of each frame are a list of bytes."""

    def change(example):
        feature_list = example.feature_lists.feature_list[key]
        del feature_list.feature[:]
        for value in values:
            feature_list.feature.add().bytes_list.value.extend(value)

    return change


JPEGS = [[jpeg(10 * i)] for i in range(5)]
PNG = cv2.imencode(".png", np.zeros((*SIZE, 3), np.uint8))[1].tobytes()
BROKEN = {  # what is wrong with record 2, of five frames: the values of `record`, what is said
    "index out of range": (
        {"label_index": 2},
        "label 2 is out of range: there are 2 labels",
    ),
    "negative index": ({"label_index": -1}, "label -1 is out of range: there are 2 labels"),
    "text": (
        {"change": put("clip/label/text", b"right")},
        "clip/label/text is 'right', but label 0 is 'left'",
    ),
    "two labels": (
        {"change": put("clip/label/index", 0, 1)},
        "clip/label/index must hold one integer. Received: 2 of type integer",
    ),
    "no label": (
        {"change": drop("clip/label/index")},
        "clip/label/index must hold one integer. Received: none",
    ),
    "label as text": (
        {"change": put("clip/label/index", b"left")},
        "clip/label/index must hold one integer. Received: 1 of type string",
    ),
    "no path": (
        {"change": drop("clip/data_path")},
        "clip/data_path must hold one string. Received: none",
    ),
    "no frames": (
        {"change": drop("image/encoded")},
        "image/encoded must hold one string per frame. Received: no frames",
    ),
    "two pictures in a frame": (
        {"change": entries("image/encoded", [JPEGS[0], [jpeg(), jpeg()]])},
        "image/encoded must hold one string per frame. Received: 2 of type string",
    ),
    "no timestamps": (
        {"change": drop("image/timestamp")},
        "image/timestamp must hold one integer per frame. Received: no frames",
    ),
    "a frame without timestamp": (
        {"change": entries("image/encoded", [*JPEGS, JPEGS[0]])},
        "6 frames, but 5 of image/timestamp",
        "6 frames, but 5 of FORWARD_FLOW/image/encoded",
    ),
    "flow shorter": (
        {"change": entries("FORWARD_FLOW/image/encoded", [[field()]] * 4)},
        "5 frames, but 4 of FORWARD_FLOW/image/encoded",
    ),
    "no flow": (
        {"flow": None},
        "FORWARD_FLOW/image/encoded must hold one string per frame. Received: no frames",
    ),
    "no JPEG": (
        {"change": entries("image/encoded", [*JPEGS[:3], [b"no JPEG"], JPEGS[4]])},
        "frame 3 does not decode",
    ),
    "a PNG, which training does not read": (
        {"change": entries("image/encoded", [*JPEGS[:3], [PNG], JPEGS[4]])},
        "frame 3 is PNG, not JPEG",
    ),
    "JPEGs cut off": (
        {"change": entries("image/encoded", [JPEGS[0], *([j[0][:-1]] for j in JPEGS[1:])])},
        "frame 1 does not decode (and 3 more)",
    ),
    "flow cut off": (
        {"change": entries("FORWARD_FLOW/image/encoded", [*[[field()]] * 4, [field()[:-1]]])},
        "flow 4 does not decode",
    ),
    "a frame of another size": (
        {"change": entries("image/encoded", [*JPEGS[:4], [jpeg(size=(17, 24))]])},
        "frame 4 is of 17x24, not 16x24",
    ),
    "flow of another size": (
        {"flow": [field((8, 12))] * 5},
        "flow 0 is of 8x12x3, not 16x24x3 (and 4 more)",
    ),
    "flow in one channel": (
        {"flow": [cv2.imencode(".jpg", np.zeros(SIZE, np.uint8))[1].tobytes()] * 5},
        "flow 0 is of 16x24x1, not 16x24x3 (and 4 more)",
    ),
    "another height": ({"height": 12}, "frames are of 16x24, the record says 12x24"),
    "frames of another size": (
        {"jpegs": [jpeg(size=(24, 16))] * 5, "flow": [field((24, 16))] * 5},
        "frames are of 24x16, the record says 16x24",
        "frames are of 24x16, dataset.json says 16x24",
    ),
    "path twice": (
        {"path": "9.avi"},
        # Of the two records the later is named.
    ),
    "no sides": ({"splits": ()}, "clip/splits has 0 sides, dataset.json 2 splits"),
    "an unknown side": (
        {"splits": ("train", "dev")},
        "clip/splits must hold some of train, val, test, unused. Received: 'dev'",
    ),
    "another side than the shard": (
        {"splits": ("test", "train")},
        "is 'test' in official split 1, but in a train shard",
    ),
}


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_each_problem_of_a_record(tmp_path, broken):
    values, *messages = BROKEN[broken]
    folder = write(tmp_path, _2=record(2, **values))
    clips, problems, _ = inspect(folder)
    if broken == "path twice":
        (problem,) = problems
        assert (problem.file, problem.record) == ("test-00000-of-00001.tfrecord", 1)
        assert problem.problem == "has the path of record 2 of train-00000-of-00002.tfrecord"
        return
    file = "train-00000-of-00002.tfrecord"
    start = offsets(folder / file)[2]
    assert [p[:3] for p in problems] == [(file, 2, start)] * len(messages)
    assert [p.problem for p in problems] == messages
    assert {"0.avi", "1.avi", *(f"{n}.avi" for n in range(3, 11))} <= {c.path for c in clips}


@pytest.mark.parametrize("serialized", [b"\xff\xff", b"\x0a\x05ab"])
def test_a_record_that_is_none(tmp_path, serialized):
    clips, problems, _ = inspect(write(tmp_path, _2=serialized))
    assert len(clips) == 10
    assert [p.problem for p in problems] == ["is no SequenceExample"]


def test_decoding_less_finds_less(tmp_path):
    cut = JPEGS[0][0][:-1]
    folder = write(
        tmp_path,
        _2=record(2, entries("image/encoded", [[cut], *JPEGS[1:]])),
        _5=record(5, entries("image/encoded", [*JPEGS[:3], [cut], JPEGS[4]])),
        _8=record(8, entries("image/encoded", [[b"no JPEG"], *JPEGS[1:]])),
    )
    found = {d: [p.path for p in inspect(folder, d)[1]] for d in inspection.DECODE}
    assert found == {
        "all": ["2.avi", "5.avi", "8.avi"],
        "first": ["2.avi", "8.avi"],
        "none": ["8.avi"],
    }
    sizes = {clip.path: clip.size for clip in inspect(folder, "none")[0]}
    assert sizes["8.avi"] is None and sizes["2.avi"] == SIZE


def test_shards_of_the_first_version(tmp_path):
    folder = write(tmp_path, **{f"_{n}": record(n, flow=None, splits=()) for n in range(11)})
    manifest = json.loads((folder / "dataset.json").read_text())
    del manifest["official_splits"], manifest["options"]["flow"], manifest["options"]["split"]
    (folder / "dataset.json").write_text(json.dumps({**manifest, "schema_version": 1}))
    clips, problems, different = inspect(folder)
    assert len(clips) == 11 and problems == different == []
    assert not any(clip.flow or clip.sides for clip in clips)


def test_the_shorter_side(tmp_path):
    folder = write(tmp_path, _3=record(3, jpegs=[jpeg(size=(24, 16))] * 3, height=24, width=16))
    manifest = json.loads((folder / "dataset.json").read_text())
    manifest["options"].update(size=None, short_side=16)
    (folder / "dataset.json").write_text(json.dumps(manifest))
    assert [p.problem for p in inspect(folder, "none")[1]] == ["flow 0 is of 16x24x3, not 24x16x3"]
    manifest["options"]["short_side"] = 20
    (folder / "dataset.json").write_text(json.dumps(manifest))
    found = {p.problem for p in inspect(folder, "none")[1]}
    assert "frames are of 16x24, dataset.json says a shorter side of 20" in found


def test_our_own_shards(tmp_path):
    """What `write_shards` writes, whatever way, has no problems."""
    paths = [f"{label}/{number}.mp4" for label in LABELS for number in range(3)]
    for number, path in enumerate(paths):
        write_video(tmp_path / "videos" / path, moving_square(4 + number, 40, 48))
    videos = [
        sources.Video(path, path.split("/")[0], sides[0], sides)
        for path, sides in zip(paths, [("train", "test"), ("test", "train")] * 3, strict=True)
    ]
    shards.write_shards(
        sources.DataSet(videos, LABELS),
        tmp_path / "shards",
        tmp_path / "videos",
        32,
        flow="dis",
        num_workers=1,
        num_shards=2,
    )
    clips, problems, different = inspect(tmp_path / "shards")
    assert problems == different == [] and len(clips) == 6
    assert all(clip.flow and min(clip.size) == 32 for clip in clips)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dataset.json", None, "no dataset.json"),
        ("dataset.json", "{", "is no manifest of shards"),
        ("dataset.json", "[1]", "is no manifest of shards"),
        ("dataset.json", '{"splits": {}}', "is no manifest of shards"),
        ("labels.txt", None, "labels.txt"),
        ("labels.txt", "", "`labels` must be"),
        ("labels.txt", "left\nleft\n", "`labels` must be"),
        ("labels.txt", "left\n\nright\n", "`labels` must be"),
        ("labels.txt", b"left\nr\xe9ght\n", "`labels` must be"),
    ],
)
def test_bad_folders(tmp_path, name, content, message):
    path = write(tmp_path) / name
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        inspection.read_layout(tmp_path)


def test_bad_arguments(whole):
    layout = inspection.read_layout(whole)
    with pytest.raises(ValueError, match="`decode` must be one of all, first, none"):
        inspection.scan(layout, "some")
    with pytest.raises(ValueError, match="`workers` must be an integer of at least 1"):
        inspection.scan(layout, workers=0)


def test_a_file_that_cannot_be_read(whole):
    layout = inspection.read_layout(whole)
    layout = layout._replace(files={"train": ["gone.tfrecord"]})
    with pytest.raises(OSError, match=r"gone\.tfrecord"):
        inspection.scan(layout)


# --- Shards that others wrote ---------------------------------------------------------------

KEYS = {"frames": "video/jpegs", "label": "class", "path": "video/name"}


def foreign(number, size=SIZE):
    """A record of another writer, without much that ours have."""
    example = tf.train.SequenceExample()
    example.context.feature["class"].int64_list.value.append(number % 2)
    example.context.feature["video/name"].bytes_list.value.append(b"%d" % number)
    # What others keep under keys of ours is theirs.
    example.context.feature["image/height"].int64_list.value.extend([1, 2])
    for key in ("video/jpegs", "FORWARD_FLOW/image/encoded"):
        pictures = example.feature_lists.feature_list[key]
        for level in range(3 if key == "video/jpegs" else 1):
            pictures.feature.add().bytes_list.value.append(jpeg(10 * level, size))
    return example.SerializeToString()


@pytest.fixture
def others(tmp_path):
    folder = tmp_path / "others"
    write_file(folder / "train.1", [foreign(n) for n in range(4)])
    write_file(folder / "train.2", [foreign(n) for n in range(4, 7)])
    write_file(folder / "held_out" / "val.rec", [foreign(n) for n in range(7, 9)])
    (folder / "names.txt").write_text("left\nright\n")
    return folder


PATTERNS = {"train": ["train.?"], "test": ["held_out/val*"]}


def test_describe(others, tmp_path):
    layout = inspection.foreign_layout(others, others / "names.txt", PATTERNS, KEYS)
    clips, problems = inspection.scan(layout)
    assert problems == []
    assert [clip.path for clip in clips] == [f"{n}" for n in range(9)]
    inspection.describe(layout, clips, tmp_path / "described")
    manifest = json.loads((tmp_path / "described/dataset.json").read_text())
    assert manifest["files"] == {
        "train": [str(others / "train.?")],
        "test": [str(others / "held_out/val*")],
    }
    assert manifest["schema_version"] == 2 and manifest["keys"] == KEYS
    assert manifest["options"]["size"] == list(SIZE)
    assert manifest["options"]["short_side"] is None and manifest["options"]["flow"] == "none"
    assert manifest["splits"]["train"] == {
        "clips": 7,
        "frames": 21,
        "shards": 2,
        "clips_per_label": {"left": 4, "right": 3},
    }
    assert (tmp_path / "described/labels.txt").read_text() == "left\nright\n"
    assert inspect(tmp_path / "described") == (
        [clip._replace(file=str(others / clip.file)) for clip in clips],
        [],
        [],
    )


def test_described_shards_train(others, tmp_path):
    layout = inspection.foreign_layout(others, others / "names.txt", PATTERNS, KEYS)
    inspection.describe(layout, inspection.scan(layout)[0], tmp_path / "described")
    info = read_manifest(str(tmp_path / "described"))
    assert (info.labels, info.frame_size, info.clips) == (LABELS, SIZE, {"train": 7, "test": 2})
    batches = training_batches(info, 7, frames=3, crop_size=12, mean=(0.0,) * 3)
    samples, labels = next(iter(batches))
    assert samples.shape == (7, 3, 12, 12, 3) and sorted(labels.numpy()) == [0] * 4 + [1] * 3
    views = evaluation_views(info, clips=1, crops=1, frames=3, crop_size=12)
    assert [path.numpy() for _, _, path in views] == [b"7", b"8"]


def test_describe_in_their_own_folder(others):
    layout = inspection.foreign_layout(others, others / "names.txt", PATTERNS, KEYS)
    clips, _ = inspection.scan(layout, "none")
    manifest = inspection.describe(layout, clips, others)
    assert manifest["files"] == PATTERNS
    assert inspect(others, "none") == (clips, [], [])
    assert read_manifest(str(others)).clips == {"train": 7, "test": 2}
    (others / "train.2").unlink()
    assert "7 clips of train, found are 4" in {p.problem for p in inspect(others)[2]}
    (others / "train.1").unlink()
    assert ("train.?", "matches no file") in {(p.file, p.problem) for p in inspect(others)[2]}


def test_describe_frames_of_many_sizes(others):
    write_file(others / "train.1", [foreign(n, (20 + n, 30)) for n in range(4)])
    write_file(others / "train.2", [foreign(4, (40, 18))])
    layout = inspection.foreign_layout(others, others / "names.txt", {"train": ["train.*"]}, KEYS)
    clips, problems = inspection.scan(layout)
    options = inspection.describe(layout, clips, others)["options"]
    assert problems == [] and (options["size"], options["short_side"]) == (None, 18)
    assert inspect(others)[1:] == ([], [])


def test_foreign_flow_counts_if_it_is_named(others):
    keys = {**KEYS, "flow": "FORWARD_FLOW/image/encoded"}
    layout = inspection.foreign_layout(others, others / "names.txt", PATTERNS, keys)
    clips, problems = inspection.scan(layout)
    assert all(clip.flow for clip in clips)
    assert {p.problem for p in problems} == {"3 frames, but 1 of FORWARD_FLOW/image/encoded"}
    described = inspection.describe(layout, clips, others)
    assert described["options"]["flow"] == "unknown"
    assert read_manifest(str(others)).flow


def test_foreign_labels_must_be_in_range(others):
    (others / "names.txt").write_text("only\n")
    layout = inspection.foreign_layout(others, others / "names.txt", PATTERNS, KEYS)
    clips, problems = inspection.scan(layout, "none")
    assert len(clips) == 9
    assert [p.problem for p in problems] == ["label 1 is out of range: there are 1 labels"] * 4


def test_what_cannot_be_described(others, whole):
    names = others / "names.txt"
    with pytest.raises(FileNotFoundError, match="'tain' matches no file"):
        inspection.foreign_layout(others, names, {"train": ["tain"]}, {})
    with pytest.raises(ValueError, match=r"one split. Received: 'train.1' for train and test"):
        inspection.foreign_layout(others, names, {"train": ["train.*"], "test": ["*.1"]}, {})
    layout = inspection.foreign_layout(others, names, PATTERNS, KEYS)
    with pytest.raises(ValueError, match="must not be a folder of `make-tfrecords`"):
        inspection.describe(layout, inspection.scan(layout, "none")[0], whole)
    with pytest.raises(ValueError, match="no clip"):
        inspection.describe(layout, [], others)


def compress(path, kind):
    """Write a TFRecord file anew, compressed."""
    serialized = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(path), kind) as writer:
        for one in serialized:
            writer.write(one)


@pytest.mark.parametrize("kind", ["GZIP", "ZLIB"])
def test_compressed_shards_are_read(others, kind):
    plain = inspection.foreign_layout(others, others / "names.txt", PATTERNS, KEYS)
    expected, _ = inspection.scan(plain)
    for path in ("train.1", "train.2", "held_out/val.rec"):
        compress(others / path, kind)
        assert records.compression(str(others / path)) == kind
    layout = inspection.foreign_layout(others, others / "names.txt", PATTERNS, KEYS)
    clips, problems = inspection.scan(layout)
    assert (clips, problems) == (expected, [])
    assert inspection.read_pictures(layout, clips[2])[0] == [jpeg(10 * i) for i in range(3)]
    inspection.describe(layout, clips, others)
    info = read_manifest(str(others))
    assert info.compression == kind
    views = evaluation_views(info, clips=1, crops=1, frames=3, crop_size=12)
    assert [path.numpy() for _, _, path in views] == [b"7", b"8"]


def test_damaged_and_mixed_compression(others):
    layout = inspection.foreign_layout(others, others / "names.txt", PATTERNS, KEYS)
    inspection.describe(layout, inspection.scan(layout)[0], others)
    compress(others / "train.2", "GZIP")
    mixed = inspection.foreign_layout(others, others / "names.txt", PATTERNS, KEYS)
    for read in (
        lambda: read_manifest(str(others)),
        lambda: inspection.describe(mixed, inspection.scan(mixed)[0], others),
    ):
        with pytest.raises(ValueError, match=r"the same compression. Received: none in .* GZIP in"):
            read()
    content = (others / "train.2").read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (content[:-1], content[:-9], content[: len(content) // 2], bytes(flipped)):
        (others / "train.2").write_bytes(damaged)
        _, (problem,) = inspection.scan(inspection.read_layout(others), "none")
        assert problem.problem == "is damaged or cut off: the rest of this GZIP file cannot be read"


def test_a_length_that_begins_like_a_compressed_file(tmp_path):
    for length in (0x9C78, 0x8B1F):
        write_file(tmp_path / "shard", [bytes(length)])
        assert (tmp_path / "shard").read_bytes()[:2] in (b"\x78\x9c", b"\x1f\x8b")
        assert records.compression(str(tmp_path / "shard")) == ""


def test_another_compression_is_named(others):
    (others / "train.2").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(40))
    layout = inspection.foreign_layout(others, others / "names.txt", PATTERNS, KEYS)
    with pytest.raises(ValueError, match=r"train.2', which is Zstandard-compressed"):
        inspection.scan(layout)


def of_pictures(contents):
    example = tf.train.SequenceExample()
    example.context.feature["class"].int64_list.value.append(0)
    example.context.feature["video/name"].bytes_list.value.append(b"a")
    for content in contents:
        example.feature_lists.feature_list["video/jpegs"].feature.add().bytes_list.value.append(
            content
        )
    return example.SerializeToString()


def of_numbers():
    example = tf.train.SequenceExample()
    feature = example.feature_lists.feature_list["video/jpegs"].feature.add()
    feature.int64_list.value.extend(range(48))
    return example.SerializeToString()


def plain_example():
    example = tf.train.Example()
    example.features.feature["video/jpegs"].bytes_list.value.extend([jpeg()] * 3)
    example.features.feature["class"].int64_list.value.append(0)
    return example.SerializeToString()


PICTURE = np.zeros((*SIZE, 3), np.uint8)
OTHER_KINDS = {
    "PNG frames": of_pictures([cv2.imencode(".png", PICTURE)[1].tobytes()] * 3),
    "WebP frames": of_pictures([cv2.imencode(".webp", PICTURE)[1].tobytes()] * 3),
    "BMP frames": of_pictures([cv2.imencode(".bmp", PICTURE)[1].tobytes()]),
    "MP4 frames": of_pictures([b"\0\0\0\x20ftypisom" + bytes(99)]),
    "raw pixels (1,152 bytes a frame)": of_pictures([PICTURE.tobytes()] * 3),
    "raw pixels (numbers in int64_list)": of_numbers(),
    "tf.train.Example, with all of a clip in its features": plain_example(),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_records_of_a_kind_that_is_not_read_say_what_they_are(others, kind):
    layout = inspection.foreign_layout(others, others / "names.txt", PATTERNS, KEYS)
    inspection.describe(layout, inspection.scan(layout)[0], others)
    write_file(others / "train.1", [OTHER_KINDS[kind]])
    for read in (
        lambda: inspection.foreign_layout(others, others / "names.txt", PATTERNS, KEYS),
        lambda: read_manifest(str(others)),
    ):
        with pytest.raises(ValueError, match=r"must be tf\.train\.SequenceExample") as error:
            read()
        assert f"Received: {kind}, in '{others / 'train.1'}'; write" in str(error.value)
        assert "\n" not in str(error.value)


def test_our_own_shards_are_checked_before_training(tmp_path):
    png = cv2.imencode(".png", PICTURE)[1].tobytes()
    with pytest.raises(ValueError, match="Received: PNG frames, in"):
        read_manifest(str(write(tmp_path, _0=record(0, jpegs=[png] * 3))))


def test_a_kind_that_is_not_read_among_others(tmp_path):
    png = cv2.imencode(".png", PICTURE)[1].tobytes()
    folder = write(tmp_path, _2=record(2, jpegs=[jpeg(), *[png] * 4]), _4=plain_example())
    _, problems, _ = inspect(folder)
    assert [p.problem for p in problems] == [
        "frame 1 is PNG, not JPEG (and 3 more)",
        "is a tf.train.Example, not a tf.train.SequenceExample",
    ]


def test_the_mark_of_an_editor_is_not_described(others, tmp_path):
    (others / "names.txt").write_bytes(b"\xef\xbb\xbfleft \r\nright\r\n\r\n")
    layout = inspection.foreign_layout(others, others / "names.txt", PATTERNS, KEYS)
    inspection.describe(layout, inspection.scan(layout)[0], tmp_path / "described")
    assert (tmp_path / "described/labels.txt").read_bytes() == b"left\nright\n"
