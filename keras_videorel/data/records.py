"""The record of a clip: a `tf.train.SequenceExample` with the keys of MediaSequence and DMVR.

Other readers of these keys (MediaPipe, DMVR, the video tasks of the TensorFlow Model Garden) find
the JPEG frames in the feature list `image/encoded` and everything else where they expect it.
Optical flow lies beside them in `FORWARD_FLOW/image/encoded`, as pictures of three channels: x, y
and a constant (`flow` says how numbers become levels).
"""

import tensorflow as tf

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
CLIP_SPLITS = "clip/splits"  # of data sets with several official splits: the side in each
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
        splits: Side of the clip, `"train"`, `"test"` or `"unused"`, in each official split of its
            data set; nothing where there is one split.

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
        sides = tf.train.BytesList(value=[side.encode() for side in splits])
        context[CLIP_SPLITS] = tf.train.Feature(bytes_list=sides)
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


def _bytes(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _int64(value):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
