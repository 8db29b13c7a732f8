import json

import cv2
import numpy as np
import pytest
import tensorflow as tf

from keras_videorel.data import flow, inspection, records, shards, sources
from keras_videorel.data.manifest import read_manifest
from tests.clips import evaluation_views, training_batches
from tests.videos import moving_square, write_video

SIZE = (16, 24)
LABELS = ["left", "right"]
TRAIN_0 = "train-00000-of-00002.tfrecord"


def jpeg(level=100, size=SIZE):
    picture = np.full((*size, 3), level, np.uint8)
    picture[: size[0] // 2] += 20
    return cv2.imencode(".jpg", picture)[1].tobytes()


def field(size=SIZE):
    return flow.encode_jpeg(np.full((*size, 2), 140, np.uint8), 90)


JPEGS = [jpeg(10 * i) for i in range(5)]
PICTURE = np.zeros((*SIZE, 3), np.uint8)
PNG = cv2.imencode(".png", PICTURE)[1].tobytes()


def record(number, change=None, **values):
    """A record that fits `write`, but for `values` of `records.encode`, and `change` of it."""
    frames = 3 + number % 3
    values = {
        "jpegs": JPEGS[:frames],
        "timestamps": [i / 25 for i in range(frames)],
        "label_index": number % 2,
        "label": LABELS[number % 2],
        "path": f"{number}.avi",
        "height": SIZE[0],
        "width": SIZE[1],
        "frame_rate": 25.0,
        "flow": [field()] * frames,
        **values,
    }
    example = tf.train.SequenceExample.FromString(records.encode(**values))
    if change is not None:
        change(example)
    return example.SerializeToString()


def write_file(path, serialized, compression=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for one in serialized:
            writer.write(one)


def write(folder, **changed):
    """Eight clips to train with, four in each of two shards, and three to test.

    Args:
        folder: A `pathlib.Path`.
        changed: Records to write in the place of others: `_0` is that of the first.
    """
    serialized = [changed.get(f"_{number}", record(number)) for number in range(11)]
    write_file(folder / TRAIN_0, serialized[:4])
    write_file(folder / "train-00001-of-00002.tfrecord", serialized[4:8])
    write_file(folder / "test-00000-of-00001.tfrecord", serialized[8:])
    (folder / "labels.txt").write_text("left\nright\n")
    content = {
        "schema_version": 2,
        "options": {"size": SIZE, "short_side": None, "flow": "dis"},
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
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def inspect(folder, decode=True):
    """Clips, problems of the records, and what is said of the manifest."""
    manifest = read_manifest(str(folder))
    clips, problems = inspection.scan(manifest, decode)
    return clips, problems, [problem.problem for problem in inspection.compare(manifest, clips)]


def test_whole_shards_have_no_problems(tmp_path):
    clips, problems, different = inspect(write(tmp_path))
    assert problems == different == []
    assert [clip.path for clip in clips] == [f"{n}.avi" for n in [*range(8), 8, 9, 10]]
    assert clips[5] == inspection.Clip(
        split="train",
        file="train-00001-of-00002.tfrecord",
        record=1,
        bytes=len(record(5)),
        label=1,
        path="5.avi",
        frames=5,
        size=SIZE,
        seconds=0.2,
    )
    manifest = read_manifest(str(tmp_path))
    content = json.loads((tmp_path / "dataset.json").read_text())
    assert inspection.count(manifest, clips) == content["splits"]


def test_a_folder_behind_a_scheme(tmp_path):
    for path in write(tmp_path).iterdir():
        tf.io.gfile.copy(str(path), f"ram://whole/{path.name}", overwrite=True)
    assert inspect("ram://whole") == inspect(tmp_path)


def test_our_own_shards(tmp_path):
    paths = [f"{label}/{number}.mp4" for label in LABELS for number in range(2)]
    for number, path in enumerate(paths):
        write_video(tmp_path / "videos" / path, moving_square(4 + number, 40, 48))
    videos = [
        sources.Video(path, path.split("/")[0], split)
        for path, split in zip(paths, ["train", "test"] * 2, strict=True)
    ]
    data, options = sources.DataSet(videos, LABELS), {"flow": "dis", "num_workers": 1}
    shards.write_shards(data, tmp_path / "shards", tmp_path / "videos", 32, **options)
    clips, problems, different = inspect(tmp_path / "shards")
    assert problems == different == [] and [clip.size for clip in clips] == [(32, 38)] * 4


def test_a_damaged_shard(tmp_path):
    """The rest of its file is lost; other files are still checked."""
    folder = write(tmp_path, _9=record(9, label_index=0))
    content = bytearray((folder / TRAIN_0).read_bytes())
    content[16 + len(record(0)) + 500] ^= 4
    (folder / TRAIN_0).write_bytes(content)
    clips, problems, different = inspect(folder)
    assert [clip.path for clip in clips] == ["0.avi", *(f"{n}.avi" for n in range(4, 11))]
    assert [problem[:3] for problem in problems] == [
        (TRAIN_0, 1, ""),
        ("test-00000-of-00001.tfrecord", 1, "9.avi"),
    ]
    assert problems[0].problem.startswith("is damaged or cut off")
    assert problems[1].problem == "label 0 is 'left', but the record says 'right'"
    assert "8 clips in train, found 5" in different
    assert "1 clips of right in test, found 0" in different


@pytest.mark.parametrize("lost", [1, 100, 1000])
def test_a_shard_that_is_cut_off(tmp_path, lost):
    folder = write(tmp_path)
    (folder / TRAIN_0).write_bytes((folder / TRAIN_0).read_bytes()[:-lost])
    _, problems, different = inspect(folder)
    assert [problem.record for problem in problems] == [3]
    assert "8 clips in train, found 7" in different


def test_a_shard_that_is_missing(tmp_path):
    folder = write(tmp_path)
    (folder / TRAIN_0).unlink()
    assert "2 shards in train, found 1" in inspect(folder)[2]


def put(key, kind, *values):
    """A change of a record: `values` in the place of those of a key."""

    def change(example):
        example.context.feature[key].Clear()
        getattr(example.context.feature[key], kind).value.extend(values)

    return change


def entries(key, *values):
    """A change of a record: another list; `values` of each frame are a list of bytes."""

    def change(example):
        feature_list = example.feature_lists.feature_list[key]
        del feature_list.feature[:]
        for value in values:
            feature_list.feature.add().bytes_list.value.extend(value)

    return change


INDEX, FRAMES, FLOW = "clip/label/index", "image/encoded", "FORWARD_FLOW/image/encoded"
FOUR = [[j] for j in JPEGS[:4]]
BROKEN = {  # what is wrong with record 2, of five frames: the values of `record`, what is said
    "index out of range": ({"label_index": 2}, "label 2 is out of range: there are 2 labels"),
    "negative index": ({"label_index": -1}, "label -1 is out of range: there are 2 labels"),
    "text": ({"label": "right"}, "label 0 is 'left', but the record says 'right'"),
    "two labels": (
        {"change": put(INDEX, "int64_list", 0, 1)},
        "clip/label/index must hold one int",
    ),
    "no label": ({"change": put(INDEX, "int64_list")}, "clip/label/index must hold one integer"),
    "label as text": (
        {"change": put(INDEX, "bytes_list", b"left")},
        "clip/label/index must hold one integer",
    ),
    "no path": ({"path": ""}, "clip/data_path must hold one string"),
    "path twice": ({"path": "1.avi"}, f"has the path of record 1 of {TRAIN_0}"),
    "no frames": ({"change": entries(FRAMES)}, "image/encoded must hold one string per frame"),
    "two pictures in a frame": (
        {"change": entries(FRAMES, *FOUR, JPEGS[:2])},
        "image/encoded must hold one string per frame",
    ),
    "flow shorter": (
        {"change": entries(FLOW, *[[field()]] * 4)},
        "5 frames, but 4 of flow",
    ),
    "no flow": ({"flow": None}, "FORWARD_FLOW/image/encoded must hold one string per frame"),
    "no JPEG": (
        {"change": entries(FRAMES, *FOUR, [b"no JPEG"])},
        "a frame is not a JPEG that decodes",
    ),
    "a PNG, which training does not read": (
        {"change": entries(FRAMES, *FOUR, [PNG])},
        "a frame is not a JPEG that decodes",
    ),
    "a JPEG cut off": (
        {"change": entries(FRAMES, *FOUR, [JPEGS[4][:-1]])},
        "a frame is not a JPEG that decodes",
    ),
    "flow cut off": (
        {"change": entries(FLOW, *[[field()]] * 4, [field()[:-1]])},
        "a flow field is not a JPEG that decodes",
    ),
    "a frame of another size": (
        {"change": entries(FRAMES, *FOUR, [jpeg(size=(17, 24))])},
        "a frame is of 17x24, not 16x24",
    ),
    "flow of another size": ({"flow": [field((8, 12))] * 5}, "a flow field is of 8x12, not 16x24"),
    "frames of another size than the data set": (
        {"jpegs": [jpeg(size=(24, 16))] * 5, "flow": [field((24, 16))] * 5},
        "a frame is of 24x16, not 16x24",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_each_problem_of_a_record(tmp_path, broken):
    values, message = BROKEN[broken]
    clips, problems, _ = inspect(write(tmp_path, _2=record(2, **values)))
    ((file, number, _, problem),) = problems
    assert (file, number) == (TRAIN_0, 2) and problem.startswith(message)
    assert {"0.avi", "1.avi", *(f"{n}.avi" for n in range(3, 11))} <= {c.path for c in clips}


@pytest.mark.parametrize("serialized", [b"\xff\xff", b"\x0a\x05ab"])
def test_a_record_that_is_not_one(tmp_path, serialized):
    clips, problems, _ = inspect(write(tmp_path, _2=serialized))
    assert len(clips) == 10
    assert [p.problem for p in problems] == ["is not a SequenceExample"]


def test_without_decoding_the_first_frame_is_checked(tmp_path):
    broken = {
        "_2": record(2, entries(FRAMES, [JPEGS[0][:-1]], *FOUR)),
        "_5": record(5, entries(FRAMES, *FOUR, [JPEGS[0][:-1]])),
    }
    found = [[p.path for p in inspect(write(tmp_path, **broken), d)[1]] for d in (True, False)]
    assert found == [["2.avi", "5.avi"], ["2.avi"]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dataset.json", None, "no dataset.json"),
        ("dataset.json", '{"splits": {}}', "is not a valid manifest"),
        ("labels.txt", None, "labels.txt"),
        ("labels.txt", "left\nleft\n", "`labels` must be"),
        (TRAIN_0, None, "no shards of the 'train' split"),
    ],
)
def test_bad_folders(tmp_path, name, content, message):
    write(tmp_path)
    (tmp_path / "train-00001-of-00002.tfrecord").unlink()
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        inspect(tmp_path)


# --- Shards that others wrote ---------------------------------------------------------------

KEYS = {"frames": "video/jpegs", "label": "class", "path": "video/name"}
PATTERNS = {"train": ["train.?"], "test": ["held_out/val*"]}


def foreign(number, frames=None):
    """A record of another writer, without much that ours have."""
    example = tf.train.SequenceExample()
    example.context.feature["class"].int64_list.value.append(number % 2)
    example.context.feature["video/name"].bytes_list.value.append(b"%d" % number)
    pictures = {"video/jpegs": JPEGS[:3] if frames is None else frames, FLOW: [jpeg()]}
    for key, values in pictures.items():
        for value in values:
            feature = example.feature_lists.feature_list[key].feature.add()
            feature.bytes_list.value.append(value)
    return example.SerializeToString()


@pytest.fixture
def others(tmp_path):
    folder = tmp_path / "others"
    write_file(folder / "train.1", [foreign(n) for n in range(4)])
    write_file(folder / "train.2", [foreign(n) for n in range(4, 7)])
    write_file(folder / "held_out" / "val.rec", [foreign(n) for n in range(7, 9)])
    (folder / "names.txt").write_bytes(b"\xef\xbb\xbfleft \r\nright\r\n\r\n")
    return folder


def scan_others(folder, patterns=PATTERNS, keys=KEYS):
    manifest = inspection.foreign_manifest(folder, folder / "names.txt", patterns, keys)
    return manifest, *inspection.scan(manifest)


def test_described_shards_train(others, tmp_path):
    manifest, clips, problems = scan_others(others)
    assert problems == [] and [clip.path for clip in clips] == [f"{n}" for n in range(9)]
    inspection.describe(manifest, clips, tmp_path / "described")
    content = json.loads((tmp_path / "described/dataset.json").read_text())
    assert content["files"] == {
        "train": [str(others / "train.?")],
        "test": [str(others / "held_out/val*")],
    }
    assert content["keys"] == KEYS
    assert content["options"] == {
        "size": list(SIZE),
        "short_side": None,
        "flow": "none",
        "shards": {"train": 2, "test": 1},
    }
    assert content["splits"]["train"] == {
        "clips": 7,
        "frames": 21,
        "shards": 2,
        "clips_per_label": {"left": 4, "right": 3},
    }
    assert (tmp_path / "described/labels.txt").read_bytes() == b"left\nright\n"
    again = [clip._replace(file=str(others / clip.file)) for clip in clips]
    assert inspect(tmp_path / "described") == (again, [], [])

    manifest = read_manifest(str(tmp_path / "described"))
    assert (manifest.labels, manifest.frame_size, manifest.clips) == (
        LABELS,
        SIZE,
        {"train": 7, "test": 2},
    )
    batches = training_batches(manifest, 7, frames=3, crop_size=12, mean=(0.0,) * 3)
    samples, labels = next(iter(batches))
    assert samples.shape == (7, 3, 12, 12, 3) and sorted(labels.numpy()) == [0] * 4 + [1] * 3


@pytest.mark.parametrize("compression", ["GZIP", "ZLIB"])
def test_described_in_their_own_folder_and_compressed(others, compression):
    _, expected, _ = scan_others(others)
    for path in (others / "train.1", others / "train.2", others / "held_out/val.rec"):
        write_file(path, [*tf.data.TFRecordDataset(str(path)).as_numpy_iterator()], compression)
    manifest, clips, problems = scan_others(others)
    assert (clips, problems) == (expected, [])
    inspection.describe(manifest, clips, others)
    manifest = read_manifest(str(others))
    assert (manifest.files, manifest.compression) == (PATTERNS, compression)
    views = evaluation_views(manifest, clips=1, crops=1, frames=3, crop_size=12)
    assert [path.numpy() for _, _, path in views] == [b"7", b"8"]
    content = (others / "train.2").read_bytes()
    (others / "train.2").write_bytes(content[: len(content) // 2])
    assert "7 clips in train, found 4" in inspect(others)[2]
    write_file(others / "train.2", [foreign(4)])
    with pytest.raises(ValueError, match=rf"the same compression. Received: {compression} in"):
        scan_others(others)


def test_frames_of_many_sizes(others):
    write_file(others / "train.1", [foreign(n, [jpeg(size=(20 + n, 30))]) for n in range(4)])
    write_file(others / "train.2", [foreign(4, [jpeg(size=(40, 18))])])
    manifest, clips, problems = scan_others(others, {"train": ["train.*"]})
    options = inspection.describe(manifest, clips, others)["options"]
    assert problems == [] and (options["size"], options["short_side"]) == (None, 18)
    assert inspect(others)[1:] == ([], [])


def test_foreign_flow_counts_if_it_is_named(others):
    _, clips, problems = scan_others(others, keys={**KEYS, "flow": FLOW})
    assert clips == [] and {p.problem for p in problems} == {"3 frames, but 1 of flow"}
    write_file(others / "train.1", [foreign(0, JPEGS[:1])])
    manifest, clips, problems = scan_others(others, {"train": ["train.1"]}, {**KEYS, "flow": FLOW})
    assert problems == [] and inspection.describe(manifest, clips, others)["keys"]["flow"] == FLOW
    assert read_manifest(str(others)).flow


def test_what_cannot_be_described(others, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'train' split: nothing in .* matches tain"):
        scan_others(others, {"train": ["tain"]})
    with pytest.raises(ValueError, match="a shard must belong to one split"):
        scan_others(others, {"train": ["train.*"], "test": ["*.1"]})
    manifest, clips, _ = scan_others(others)
    with pytest.raises(ValueError, match="must not be a folder of `make-tfrecords`"):
        inspection.describe(manifest, clips, write(tmp_path / "ours"))
    with pytest.raises(ValueError, match="no clip"):
        inspection.describe(manifest, [], others)


def of_numbers():
    example = tf.train.SequenceExample()
    feature = example.feature_lists.feature_list["video/jpegs"].feature.add()
    feature.int64_list.value.extend(range(48))
    return example.SerializeToString()


def plain_example():
    example = tf.train.Example()
    example.features.feature["video/jpegs"].bytes_list.value.extend(JPEGS)
    example.features.feature["class"].int64_list.value.append(0)
    return example.SerializeToString()


OTHER_KINDS = {
    r"frames that begin with b'\x89PNG": foreign(0, [PNG] * 3),
    "frames that begin with b'RIFF": foreign(0, [cv2.imencode(".webp", PICTURE)[1].tobytes()] * 3),
    r"frames that begin with b'\x00\x00\x00 ftypisom": foreign(0, [b"\0\0\0\x20ftypisom" * 9]),
    r"frames that begin with b'\x00\x00\x00": foreign(0, [PICTURE.tobytes()] * 3),
    "raw pixels (numbers in int64_list)": of_numbers(),
    "tf.train.Example, with all of a clip in its features": plain_example(),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_records_of_a_kind_that_is_not_read_say_what_they_are(others, kind):
    manifest, clips, _ = scan_others(others)
    inspection.describe(manifest, clips, others)
    write_file(others / "train.1", [OTHER_KINDS[kind]])
    for read in (lambda: scan_others(others), lambda: read_manifest(str(others))):
        with pytest.raises(ValueError, match=r"must be tf\.train\.SequenceExample") as error:
            read()
        assert f"Received: {kind}" in str(error.value) and "train.1'; write" in str(error.value)
        assert "\n" not in str(error.value)


def test_a_kind_that_is_not_read_among_others(tmp_path):
    folder = write(tmp_path, _2=record(2, jpegs=[jpeg(), *[PNG] * 4]), _4=plain_example())
    assert [p.problem for p in inspect(folder)[1]] == [
        "a frame is not a JPEG that decodes",
        "is a tf.train.Example, not a tf.train.SequenceExample",
    ]


def test_a_length_that_begins_like_a_compressed_file(tmp_path):
    for length in (0x9C78, 0x8B1F):
        write_file(tmp_path / "shard", [bytes(length)])
        assert (tmp_path / "shard").read_bytes()[:2] in (b"\x78\x9c", b"\x1f\x8b")
        assert records.compression(str(tmp_path / "shard")) == ""
