"""The record of a clip: a `tf.train.SequenceExample` with the keys of MediaSequence and DMVR.

MediaPipe, DMVR and the video tasks of the TensorFlow Model Garden can therefore read the records.
The feature list `image/encoded` holds the JPEG frames, and `FORWARD_FLOW/image/encoded` the optical
flow as JPEGs with the channels x, y and a constant (see `flow`).
"""

from collections.abc import Iterator, Sequence

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_videorel import files

# Feature lists, with an entry per frame.
IMAGE_ENCODED = "image/encoded"  # JPEG, bytes
IMAGE_TIMESTAMP = "image/timestamp"  # microseconds
FLOW_ENCODED = "FORWARD_FLOW/image/encoded"  # JPEG, bytes; from this frame to the next

# Context, with a value per clip.
IMAGE_FORMAT = "image/format"  # "JPEG"
IMAGE_CHANNELS = "image/channels"  # 3
IMAGE_HEIGHT = "image/height"
IMAGE_WIDTH = "image/width"
IMAGE_FRAME_RATE = "image/frame_rate"  # frames per second, float
CLIP_DATA_PATH = "clip/data_path"
CLIP_START = "clip/start/timestamp"  # microseconds
CLIP_END = "clip/end/timestamp"  # microseconds; the end of the last frame
CLIP_LABEL_INDEX = "clip/label/index"
CLIP_LABEL_STRING = "clip/label/string"  # MediaSequence
CLIP_LABEL_TEXT = "clip/label/text"  # DMVR
CLIP_SPLITS = "clip/splits"  # the split in each fold, if the data set has several folds
FLOW_FORMAT = "FORWARD_FLOW/image/format"  # "JPEG"

# Names (in manifests and flags) of the keys that may differ in records of other writers.
NAMED = {
    "frames": IMAGE_ENCODED,
    "flow": FLOW_ENCODED,
    "label": CLIP_LABEL_INDEX,
    "path": CLIP_DATA_PATH,
}

CONTEXT_FEATURES = {
    CLIP_LABEL_INDEX: tf.io.FixedLenFeature([], tf.int64),
    CLIP_LABEL_STRING: tf.io.FixedLenFeature([], tf.string, default_value=""),
    CLIP_DATA_PATH: tf.io.FixedLenFeature([], tf.string, default_value=""),
    IMAGE_FRAME_RATE: tf.io.FixedLenFeature([], tf.float32, default_value=0.0),
    CLIP_SPLITS: tf.io.RaggedFeature(tf.string),
}
SEQUENCE_FEATURES = {
    IMAGE_ENCODED: tf.io.FixedLenSequenceFeature([], tf.string),
    IMAGE_TIMESTAMP: tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
    FLOW_ENCODED: tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True),
}


def encode(
    jpegs: Sequence[bytes],
    timestamps: Sequence[float],
    label_index: int,
    label: str,
    path: str,
    height: int,
    width: int,
    frame_rate: float,
    flow: Sequence[bytes] | None = None,
    splits: Sequence[str] = (),
) -> bytes:
    """Serialize a clip as a `tf.train.SequenceExample`.

    Args:
        jpegs: JPEG of each frame.
        timestamps: Time of each frame in seconds.
        path: Path of the video, which is the unique name of the clip.
        height: Height of the frames in pixels. `width` is their width.
        frame_rate: Frames per second.
        flow: JPEG of the optical flow of each frame, or None.
        splits: Split of the clip (`"train"`, `"test"` or `"unused"`) in each fold, if the data set
            has several folds.

    Raises:
        ValueError: If there are no frames, or the number of timestamps or of flow fields differs.
    """
    for name, values in (("timestamps", timestamps), ("flow", flow)):
        if not jpegs or (values is not None and len(values) != len(jpegs)):
            raise ValueError(
                f"`jpegs` and `{name}` must have an entry per frame. Received: "
                f"{len(jpegs)} frames and {len(values or ())} {name}"
            )
    example = tf.train.SequenceExample()

    def put(key, kind, *values):
        getattr(example.context.feature[key], kind).value.extend(values)

    def put_list(key, kind, values):
        features = example.feature_lists.feature_list[key].feature
        for value in values:
            getattr(features.add(), kind).value.append(value)

    microseconds = [round(1e6 * timestamp) for timestamp in timestamps]
    put(IMAGE_FORMAT, "bytes_list", b"JPEG")
    put(IMAGE_CHANNELS, "int64_list", 3)
    put(IMAGE_HEIGHT, "int64_list", height)
    put(IMAGE_WIDTH, "int64_list", width)
    put(IMAGE_FRAME_RATE, "float_list", frame_rate)
    # The name of a file is not always valid text.
    put(CLIP_DATA_PATH, "bytes_list", path.encode("utf-8", "surrogateescape"))
    put(CLIP_START, "int64_list", microseconds[0])
    put(CLIP_END, "int64_list", microseconds[-1] + round(1e6 / frame_rate))
    put(CLIP_LABEL_INDEX, "int64_list", label_index)
    put(CLIP_LABEL_STRING, "bytes_list", label.encode())
    put(CLIP_LABEL_TEXT, "bytes_list", label.encode())
    if splits:
        put(CLIP_SPLITS, "bytes_list", *(split.encode() for split in splits))
    put_list(IMAGE_ENCODED, "bytes_list", jpegs)
    put_list(IMAGE_TIMESTAMP, "int64_list", microseconds)
    if flow is not None:
        put(FLOW_FORMAT, "bytes_list", b"JPEG")
        put_list(FLOW_ENCODED, "bytes_list", flow)
    return example.SerializeToString(deterministic=True)


def parse(
    serialized,
    wanted: Sequence[str] = (*CONTEXT_FEATURES, *SEQUENCE_FEATURES),
    keys: dict[str, str] | None = None,
) -> tuple[dict, dict]:
    """Parse a record, for use in `tf.data`.

    Records of other writers need a label index and the frames.

    Args:
        serialized: A serialized `tf.train.SequenceExample`, a string scalar.
        wanted: Keys of `CONTEXT_FEATURES` and `SEQUENCE_FEATURES` to read. Skipping the other keys
            saves time.
        keys: Dict from our keys to the keys of other writers.

    Returns:
        `(context, sequence)`. `context` maps keys of `CONTEXT_FEATURES` to scalars (`CLIP_SPLITS`
        to a tensor `(splits,)`). `sequence` maps keys of `SEQUENCE_FEATURES` to tensors
        `(frames,)`. Optional features that a record lacks are empty or 0.
    """
    theirs = {name: name if keys is None else keys.get(name, name) for name in wanted}
    context, sequence = tf.io.parse_single_sequence_example(
        serialized,
        {theirs[name]: CONTEXT_FEATURES[name] for name in wanted if name in CONTEXT_FEATURES},
        {theirs[name]: SEQUENCE_FEATURES[name] for name in wanted if name in SEQUENCE_FEATURES},
    )
    return (
        {name: context[key] for name, key in theirs.items() if name in CONTEXT_FEATURES},
        {name: sequence[key] for name, key in theirs.items() if name in SEQUENCE_FEATURES},
    )


def compression(path: str) -> str:
    """Compression of a TFRecord file, `"GZIP"`, `"ZLIB"` or `""`, from its first bytes."""
    head = files.read_bytes(path, 8)
    if head.startswith(b"\x1f\x8b\x08"):
        return "GZIP"
    # An uncompressed file begins with the length of the first record in eight bytes. Records are
    # shorter than 4 GiB, so the last four bytes are 0. ZLIB files (RFC 1950) differ there.
    is_plain = head[4:] == bytes(4)
    if not is_plain and head.startswith(b"\x78") and int.from_bytes(head[:2], "big") % 31 == 0:
        return "ZLIB"
    return ""


def clip_contexts(path: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield `(name, label, splits)` of each clip of a shard that was written with `encode`."""
    keys = (CLIP_DATA_PATH, CLIP_LABEL_STRING, CLIP_SPLITS)
    contexts = tf.data.TFRecordDataset(path).map(lambda serialized: parse(serialized, keys)[0])
    for context in contexts.as_numpy_iterator():
        values = (context[CLIP_DATA_PATH], context[CLIP_LABEL_STRING], *context[CLIP_SPLITS])
        name, label, *splits = (value.decode("utf-8", "surrogateescape") for value in values)
        yield name, label, tuple(splits)


def check_readable(path: str, frames: str = IMAGE_ENCODED) -> None:
    """Raise a `ValueError` if the first record of a file has a format that cannot be read.

    A damaged record and an empty file pass. `frames` is the key of the frames.
    """
    dataset = tf.data.TFRecordDataset(path, compression(path)).take(1)
    try:
        (serialized,) = dataset.as_numpy_iterator()
        example = tf.train.SequenceExample.FromString(serialized)
    except (ValueError, tf.errors.DataLossError, DecodeError):
        return
    received = None
    if is_plain_example(example):
        received = "tf.train.Example, with all of a clip in its features"
    for feature in example.feature_lists.feature_list[frames].feature[:1]:
        content = b"".join(feature.bytes_list.value[:1])
        if feature.WhichOneof("kind") in ("int64_list", "float_list"):
            received = f"raw pixels (numbers in {feature.WhichOneof('kind')})"
        elif content and not content.startswith(b"\xff\xd8"):
            received = f"frames that begin with {content[:12]!r}"
    if received is not None:
        raise ValueError(
            "records must be tf.train.SequenceExample with a JPEG for each frame in the feature "
            f"list {frames!r}. Received: {received}, in {path!r}; write the frames anew with "
            "tf.io.encode_jpeg, or make shards of the videos with `videorel make-tfrecords`"
        )


def is_plain_example(example: tf.train.SequenceExample) -> bool:
    """Whether a `SequenceExample` was parsed from a `tf.train.Example`."""
    # Both store features in their first field. An `Example` has only this field.
    return bool(example.context.feature) and not example.feature_lists.feature_list
