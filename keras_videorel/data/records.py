"""The record of a clip: a `tf.train.SequenceExample` with the keys of MediaSequence and DMVR.

Other readers of these keys (MediaPipe, DMVR, the video tasks of the TensorFlow Model Garden) find
the JPEG frames in the feature list `image/encoded` and everything else where they expect it.
Optical flow lies beside them in `FORWARD_FLOW/image/encoded`, as pictures of three channels: x, y
and a constant (`flow` says how numbers become levels).
"""

import os
import struct

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_videorel import files

HEADER = struct.Struct("<QI")  # of a record in a TFRecord file: its length and its checksum

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
    microseconds = [round(1e6 * timestamp) for timestamp in timestamps]
    label = label.encode()
    context = {
        IMAGE_FORMAT: _bytes(b"JPEG"),
        IMAGE_CHANNELS: _int64(3),
        IMAGE_HEIGHT: _int64(height),
        IMAGE_WIDTH: _int64(width),
        IMAGE_FRAME_RATE: tf.train.Feature(float_list=tf.train.FloatList(value=[frame_rate])),
        # A file name need not be text.
        CLIP_DATA_PATH: _bytes(path.encode("utf-8", "surrogateescape")),
        CLIP_START: _int64(microseconds[0]),
        CLIP_END: _int64(microseconds[-1] + round(1e6 / frame_rate)),
        CLIP_LABEL_INDEX: _int64(label_index),
        CLIP_LABEL_STRING: _bytes(label),
        CLIP_LABEL_TEXT: _bytes(label),
    }
    if splits:
        names = tf.train.BytesList(value=[split.encode() for split in splits])
        context[CLIP_SPLITS] = tf.train.Feature(bytes_list=names)
    if flow is not None:
        context[FLOW_FORMAT] = _bytes(b"JPEG")
    example = tf.train.SequenceExample(context=tf.train.Features(feature=context))
    times = tf.train.FeatureLists()
    times.feature_list[IMAGE_TIMESTAMP].feature.extend(map(_int64, microseconds))
    # The frames of an hour of video are hundreds of megabytes, of which protocol buffers and
    # their serialization would make five copies.
    lists = [times.SerializeToString(), *_entry(IMAGE_ENCODED, jpegs)]
    if flow is not None:
        lists += _entry(FLOW_ENCODED, flow)
    head = _field(2, sum(map(len, lists)))  # SequenceExample.feature_lists
    return b"".join([example.SerializeToString(deterministic=True), head, *lists])


def _entry(key, values):
    """Serialized entry of `FeatureLists.feature_list`, a map, in parts: a list of bytes."""
    features, total = [], 0
    for value in values:
        content = _field(1, len(value))  # BytesList.value
        bytes_list = _field(1, len(content) + len(value))  # Feature.bytes_list
        feature = _field(1, len(bytes_list) + len(content) + len(value))  # FeatureList.feature
        features += [feature + bytes_list + content, value]
        total += len(features[-2]) + len(value)
    entry = _field(1, len(key)) + key.encode() + _field(2, total)
    return [_field(1, len(entry) + total) + entry, *features]


def _field(number, length):
    """What precedes the content of a message, or of bytes, of that length in a protocol buffer."""
    head = bytearray([number << 3 | 2])
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    head.append(length)
    return bytes(head)


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


def masked_crc32c(data):
    """The checksum of TFRecord files. Bit by bit: enough for the 8 bytes of a length."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def compression(path):
    """How a TFRecord file is compressed, from its first bytes.

    Args:
        path: The file.

    Returns:
        `"GZIP"`, `"ZLIB"` or `""`, as `tf.data.TFRecordDataset` takes it.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is compressed in another way.
    """
    head = files.read_bytes(path, HEADER.size)
    if len(head) == HEADER.size and HEADER.unpack(head)[1] == masked_crc32c(head[:8]):
        return ""  # a length may begin like a compressed file
    if head.startswith(b"\x1f\x8b"):
        return "GZIP"
    if head.startswith(b"\x78") and int.from_bytes(head[:2], "big") % 31 == 0:  # RFC 1950
        return "ZLIB"
    other = next((name for start, name in _COMPRESSED if head.startswith(start)), None)
    if other is not None:
        raise ValueError(
            "shards must be TFRecord files, plain or compressed as GZIP or ZLIB. "
            f"Received: {os.fspath(path)!r}, which is {other}-compressed"
        )
    return ""


_COMPRESSED = (
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"BZh", "BZIP2"),
    (b"\xfd7zXZ\0", "XZ"),
    (b"PK\3\4", "ZIP"),
)


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
            length = HEADER.unpack(file.read(HEADER.size))[0]
            head = file.read(min(length, 1 << 16))
            size, start = 0, 1  # of the context, behind its tag
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
            place += HEADER.size + length + 4


_LARGEST_LOOKED_AT = 1 << 26  # bytes of a record


def first_record(path):
    """The first record of a TFRecord file, bytes.

    None if there is none that can be read, or if it is of an hour of video, which takes long.
    """
    kind, head = compression(path), files.read_bytes(path, HEADER.size)
    if not kind and len(head) == HEADER.size and HEADER.unpack(head)[0] > _LARGEST_LOOKED_AT:
        return None
    try:
        found = tf.data.TFRecordDataset(path, kind).take(1)
        return next(found.as_numpy_iterator(), None)
    except tf.errors.DataLossError:
        return None


def check_readable(path, serialized, frames=IMAGE_ENCODED):
    """Refuse records of a kind that this package does not read, and say what they are.

    Args:
        path: Their file, for the message.
        serialized: One of its records, bytes. What is damaged passes.
        frames: Key of the feature list of the frames.

    Raises:
        ValueError: If the record is a `tf.train.Example`, or its frames are no JPEGs.
    """
    try:
        example = tf.train.SequenceExample.FromString(serialized)
    except DecodeError:
        return
    wrong = None
    if is_plain_example(example):
        wrong = "tf.train.Example, with all of a clip in its features"
    elif frames in example.feature_lists.feature_list:
        features = example.feature_lists.feature_list[frames].feature
        wrong = _kind_of_frames(features[:2])
    if wrong is not None:
        raise ValueError(
            "records must be tf.train.SequenceExample with a JPEG for each frame in the feature "
            f"list {frames!r}. Received: {wrong}, in {path!r}; write the frames anew with "
            "tf.io.encode_jpeg, or make shards of the videos with `videorel make-tfrecords`"
        )


def is_plain_example(example):
    """Whether a `SequenceExample` was parsed from a `tf.train.Example`.

    Both keep their features in the first field, and an `Example` has no other.
    """
    return bool(example.context.feature) and not example.feature_lists.feature_list


def picture_format(content):
    """The name of the format of a picture or video that is no JPEG, or None for one not known."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    if content[4:8] == b"ftyp":
        return "AVIF" if content[8:12] == b"avif" else "MP4"
    return next((name for start, name in _FORMATS if content.startswith(start)), None)


_FORMATS = (
    (b"\x89PNG", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cjP", "JPEG 2000"),
    (b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (b"\x93NUMPY", "NumPy array"),
)


def _kind_of_frames(features):
    """What frames are that are no JPEGs; None where they are, or where that cannot be told."""
    if not features:
        return None
    kind = features[0].WhichOneof("kind")
    if kind in ("int64_list", "float_list"):
        return f"raw pixels (numbers in {kind})"
    contents = [content for feature in features for content in feature.bytes_list.value]
    if not contents or contents[0].startswith(b"\xff\xd8"):
        return None
    name = picture_format(contents[0])
    if name is not None:
        return f"{name} frames"
    if len(contents) > 1 and len({*map(len, contents)}) == 1:
        return f"raw pixels ({len(contents[0]):,} bytes a frame)"
    return None


def _bytes(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _int64(value):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
