"""The record of a clip: a `tf.train.SequenceExample` with the keys of MediaSequence and DMVR.

Other readers of these keys (MediaPipe, DMVR, the video tasks of the TensorFlow Model Garden) find
the JPEG frames in the feature list `image/encoded` and everything else where they expect it.
Optical flow lies beside them in `FORWARD_FLOW/image/encoded`, as pictures of three channels: x, y
and a constant (`flow` says how numbers become levels).
"""

import struct

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_videorel import files

# Feature lists: an entry per frame.
IMAGE_ENCODED = "image/encoded"  # JPEG, bytes
IMAGE_TIMESTAMP = "image/timestamp"  # microseconds
FLOW_ENCODED = "FORWARD_FLOW/image/encoded"  # JPEG, bytes: from this frame to the next

# Context: one value per clip.
IMAGE_FORMAT = "image/format"  # "JPEG"
IMAGE_CHANNELS = "image/channels"  # 3
IMAGE_HEIGHT = "image/height"
IMAGE_WIDTH = "image/width"
IMAGE_FRAME_RATE = "image/frame_rate"  # frames per second, float
CLIP_DATA_PATH = "clip/data_path"
CLIP_START = "clip/start/timestamp"  # microseconds
CLIP_END = "clip/end/timestamp"  # microseconds, the end of the last frame
CLIP_LABEL_INDEX = "clip/label/index"
CLIP_LABEL_STRING = "clip/label/string"  # MediaSequence
CLIP_LABEL_TEXT = "clip/label/text"  # DMVR
CLIP_SPLITS = "clip/splits"  # of data sets with several folds: the split in each
FLOW_FORMAT = "FORWARD_FLOW/image/format"  # "JPEG"

# What manifests, and flags, call the keys that shards of other writers may name otherwise.
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
    jpegs,
    timestamps,
    label_index,
    label,
    path,
    height,
    width,
    frame_rate,
    flow=None,
    splits=(),
):
    """Serialize a clip.

    Args:
        jpegs: JPEG of each frame, bytes.
        timestamps: Time of each frame in seconds.
        label_index: Index of the clip's class.
        label: Name of the class.
        path: What identifies the clip: the path of its video.
        height: Height of the frames in pixels.
        width: Width of the frames in pixels.
        frame_rate: Frames per second.
        flow: JPEG of the optical flow of each frame, bytes; None for none.
        splits: Split of the clip, `"train"`, `"test"` or `"unused"`, in each fold of its data set;
            nothing where there is one fold.

    Returns:
        The serialized `tf.train.SequenceExample`, bytes.

    Raises:
        ValueError: If there are no frames, or not a timestamp, or flow, for each.
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


def parse(serialized, wanted=(*CONTEXT_FEATURES, *SEQUENCE_FEATURES), keys=None):
    """Parse a record; for use in `tf.data`.

    Records of other writers are read, too, if they hold one label index and the frames. What is
    not wanted is skipped, at next to no cost: the flow when frames are, and the other way round.

    Args:
        serialized: A serialized `tf.train.SequenceExample`, a string scalar.
        wanted: Which of the keys of `CONTEXT_FEATURES` and `SEQUENCE_FEATURES`.
        keys: Dict from keys of ours to those that stand for them in records of other writers.

    Returns:
        `(context, sequence)`: dicts from the keys of `CONTEXT_FEATURES` to scalars, of
        `CLIP_SPLITS` to a tensor of shape `(splits,)`, and from those of `SEQUENCE_FEATURES` to
        tensors of shape `(frames,)`. What a record need not have is empty, or 0.
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


def compression(path):
    """How a TFRecord file is compressed, from its first bytes.

    Args:
        path: The file.

    Returns:
        `"GZIP"`, `"ZLIB"` or `""`, as `tf.data.TFRecordDataset` takes it.

    Raises:
        OSError: If the file cannot be read.
    """
    head = files.read_bytes(path, 8)
    if head.startswith(b"\x1f\x8b\x08"):
        return "GZIP"
    # A plain file begins with the length of the first record. Records are shorter than 4 GiB, so
    # four of these eight bytes are 0, which no ZLIB file (RFC 1950) has in this place.
    is_plain = head[4:] == bytes(4)
    if not is_plain and head.startswith(b"\x78") and int.from_bytes(head[:2], "big") % 31 == 0:
        return "ZLIB"
    return ""


def clip_contexts(path):
    """The clips of a shard that `encode` made; their frames are not read.

    Args:
        path: The shard, a TFRecord file without compression.

    Yields:
        `(name, label, splits)`: what identifies a clip, its class, and its split in each fold.
    """
    with tf.io.gfile.GFile(path, "rb") as file:
        end, place = file.size(), 0
        while place < end:
            file.seek(place)
            (length,) = struct.unpack("<Q4x", file.read(12))
            head = file.read(min(length, 1 << 16))
            size, start = 0, 1  # of the context, which comes first: a tag, its size, its content
            while head[start] > 127:
                size |= (head[start] & 127) << 7 * (start - 1)
                start += 1
            size |= head[start] << 7 * (start - 1)
            context = tf.train.Features.FromString(head[start + 1 : start + 1 + size])
            keys = (CLIP_DATA_PATH, CLIP_LABEL_STRING, CLIP_SPLITS)
            values = (context.feature[key].bytes_list.value for key in keys)
            (name,), (label,), splits = (
                [value.decode("utf-8", "surrogateescape") for value in own] for own in values
            )
            yield name, label, tuple(splits)
            place += 12 + length + 4


def first_record(path):
    """The first record of a TFRecord file, bytes; None if it has none or the first is damaged."""
    try:
        found = tf.data.TFRecordDataset(path, compression(path)).take(1)
        return next(found.as_numpy_iterator(), None)
    except tf.errors.DataLossError:
        return None


def check_readable(path, serialized, frames=IMAGE_ENCODED):
    """Refuse records of a kind that this package does not read, and say what they are.

    Args:
        path: Their file, for the message.
        serialized: One of its records, bytes. A damaged record passes.
        frames: Key of the feature list of the frames.

    Raises:
        ValueError: If the record is a `tf.train.Example`, or its frames are not JPEGs.
    """
    try:
        example = tf.train.SequenceExample.FromString(serialized)
    except DecodeError:
        return
    received = None
    if is_plain_example(example):
        received = "tf.train.Example, with all of a clip in its features"
    elif frames in example.feature_lists.feature_list:
        for feature in example.feature_lists.feature_list[frames].feature[:1]:
            received = _other_frame(feature)
    if received is not None:
        raise ValueError(
            "records must be tf.train.SequenceExample with a JPEG for each frame in the feature "
            f"list {frames!r}. Received: {received}, in {path!r}; write the frames anew with "
            "tf.io.encode_jpeg, or make shards of the videos with `videorel make-tfrecords`"
        )


def is_plain_example(example):
    """Whether a `SequenceExample` was parsed from a `tf.train.Example`.

    Both keep their features in the first field, and an `Example` has no other.
    """
    return bool(example.context.feature) and not example.feature_lists.feature_list


def _other_frame(feature):
    """What a frame is that is not a JPEG; None if it is one, or empty."""
    kind = feature.WhichOneof("kind")
    if kind in ("int64_list", "float_list"):
        return f"raw pixels (numbers in {kind})"
    for content in feature.bytes_list.value[:1]:
        if content and not content.startswith(b"\xff\xd8"):
            return f"frames that begin with {content[:12]!r}"
    return None
