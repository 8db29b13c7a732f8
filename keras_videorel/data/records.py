"""The record of a clip: a `tf.train.SequenceExample` with the keys of MediaSequence and DMVR.

Other readers of these keys (MediaPipe, DMVR, the video tasks of the TensorFlow Model Garden) find
the JPEG frames in the feature list `image/encoded` and everything else where they expect it.
"""

import tensorflow as tf

# Feature lists: an entry per frame.
IMAGE_ENCODED = "image/encoded"  # JPEG, bytes
IMAGE_TIMESTAMP = "image/timestamp"  # microseconds

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

CONTEXT_FEATURES = {
    CLIP_LABEL_INDEX: tf.io.FixedLenFeature([], tf.int64),
    CLIP_LABEL_STRING: tf.io.FixedLenFeature([], tf.string, default_value=""),
    CLIP_DATA_PATH: tf.io.FixedLenFeature([], tf.string, default_value=""),
    IMAGE_FRAME_RATE: tf.io.FixedLenFeature([], tf.float32, default_value=0.0),
}
SEQUENCE_FEATURES = {
    IMAGE_ENCODED: tf.io.FixedLenSequenceFeature([], tf.string),
    IMAGE_TIMESTAMP: tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
}


def encode(jpegs, timestamps, label_index, label, path, height, width, frame_rate):
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

    Returns:
        The serialized `tf.train.SequenceExample`, bytes.

    Raises:
        ValueError: If there are no frames, or not a timestamp for each.
    """
    if not jpegs or len(jpegs) != len(timestamps):
        raise ValueError(
            "`jpegs` and `timestamps` must have an entry per frame. Received: "
            f"{len(jpegs)} frames and {len(timestamps)} timestamps"
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
    lists = {
        IMAGE_ENCODED: tf.train.FeatureList(feature=map(_bytes, jpegs)),
        IMAGE_TIMESTAMP: tf.train.FeatureList(feature=map(_int64, microseconds)),
    }
    example = tf.train.SequenceExample(
        context=tf.train.Features(feature=context),
        feature_lists=tf.train.FeatureLists(feature_list=lists),
    )
    return example.SerializeToString(deterministic=True)


def parse(serialized):
    """Parse a record; for use in `tf.data`.

    Records of other writers are read, too, if they hold one label index and the frames.

    Args:
        serialized: A serialized `tf.train.SequenceExample`, a string scalar.

    Returns:
        `(context, sequence)`: dicts from the keys of `CONTEXT_FEATURES` to scalars and from those
        of `SEQUENCE_FEATURES` to tensors of shape `(frames,)`. What a record need not have is
        empty, or 0.
    """
    return tf.io.parse_single_sequence_example(serialized, CONTEXT_FEATURES, SEQUENCE_FEATURES)


def _bytes(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _int64(value):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
