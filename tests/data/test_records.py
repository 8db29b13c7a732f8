import cv2
import numpy as np
import pytest
import tensorflow as tf

from keras_videorel.data import records
from tests.videos import moving_square

PIXELS = moving_square(3)
JPEGS = [cv2.imencode(".jpg", frame[..., ::-1])[1].tobytes() for frame in PIXELS]
TIMES = [0.5, 0.54, 0.5800004]


def _encode(**changes):
    arguments = {
        "jpegs": JPEGS,
        "timestamps": TIMES,
        "label_index": 7,
        "label": "wäve",
        "path": "a/b.mp4",
        "height": 48,
        "width": 64,
        "frame_rate": 25.0,
    }
    return records.encode(**{**arguments, **changes})


def test_a_reader_of_the_public_keys():
    # Keys as MediaSequence and DMVR document them, written out.
    scalar = tf.io.FixedLenFeature
    context, sequence = tf.io.parse_single_sequence_example(
        _encode(),
        {
            "clip/label/index": scalar([], tf.int64),
            "clip/label/string": scalar([], tf.string),
            "clip/label/text": scalar([], tf.string),
            "clip/data_path": scalar([], tf.string),
            "clip/start/timestamp": scalar([], tf.int64),
            "clip/end/timestamp": scalar([], tf.int64),
            "image/height": scalar([], tf.int64),
            "image/width": scalar([], tf.int64),
            "image/channels": scalar([], tf.int64),
            "image/frame_rate": scalar([], tf.float32),
            "image/format": scalar([], tf.string),
        },
        {
            "image/encoded": tf.io.FixedLenSequenceFeature([], tf.string),
            "image/timestamp": tf.io.FixedLenSequenceFeature([], tf.int64),
        },
    )
    assert {name: value.numpy() for name, value in context.items()} == {
        "clip/label/index": 7,
        "clip/label/string": "wäve".encode(),
        "clip/label/text": "wäve".encode(),
        "clip/data_path": b"a/b.mp4",
        "clip/start/timestamp": 500_000,
        "clip/end/timestamp": 620_000,
        "image/height": 48,
        "image/width": 64,
        "image/channels": 3,
        "image/frame_rate": 25.0,
        "image/format": b"JPEG",
    }
    assert sequence["image/timestamp"].numpy().tolist() == [500_000, 540_000, 580_000]
    frames = np.stack([tf.io.decode_jpeg(jpeg).numpy() for jpeg in sequence["image/encoded"]])
    assert np.abs(frames.astype(int) - PIXELS).mean() < 3


def test_parse_in_a_pipeline():
    dataset = tf.data.Dataset.from_tensors(_encode()).map(records.parse)
    context, sequence = next(iter(dataset))
    assert context["clip/label/index"].numpy() == 7
    assert context["clip/label/string"].numpy() == "wäve".encode()
    assert context["clip/data_path"].numpy() == b"a/b.mp4"
    assert context["image/frame_rate"].numpy() == 25.0
    assert sequence["image/encoded"].numpy().tolist() == JPEGS
    assert sequence["image/timestamp"].numpy().tolist() == [500_000, 540_000, 580_000]


def test_parse_reads_records_of_others():
    # What a DMVR record holds at the least.
    example = tf.train.SequenceExample()
    example.context.feature["clip/label/index"].int64_list.value.append(3)
    for jpeg in JPEGS:
        frame = example.feature_lists.feature_list["image/encoded"].feature.add()
        frame.bytes_list.value.append(jpeg)
    context, sequence = records.parse(example.SerializeToString())
    assert context["clip/label/index"].numpy() == 3
    assert context["clip/data_path"].numpy() == b""
    assert sequence["image/encoded"].numpy().tolist() == JPEGS
    assert sequence["image/timestamp"].shape == (0,)


# Levels of x and y, which slope, and the constant that fills the third channel.
LEVELS = np.stack(np.broadcast_arrays(20 + 3 * np.arange(64), 200 - 3 * np.arange(48)[:, None]), -1)
FIELDS = [LEVELS + 5 * i for i in range(3)]
FLOW = [
    cv2.imencode(
        ".jpg",
        np.dstack([np.full((48, 64), 128), f[..., 1], f[..., 0]]).astype(np.uint8),
        [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111],
    )[1].tobytes()
    for f in FIELDS
]


def model_garden(serialized):
    """As official/vision/dataloaders/video_input.py of the TensorFlow Model Garden reads it."""
    context, sequences = tf.io.parse_single_sequence_example(
        serialized,
        {"clip/label/index": tf.io.VarLenFeature(tf.int64)},
        {"image/encoded": tf.io.FixedLenSequenceFeature((), tf.string)},
    )
    image = tf.map_fn(
        lambda jpeg: tf.image.decode_jpeg(jpeg, channels=3),
        sequences["image/encoded"],
        fn_output_signature=tf.uint8,
    )
    return image, tf.sparse.to_dense(context["clip/label/index"])


def dmvr(serialized):
    """As dmvr/modalities.py reads it: `add_image` for frames and for flow, `add_label`."""
    context, sequences = tf.io.parse_single_sequence_example(
        serialized,
        {
            "clip/label/index": tf.io.VarLenFeature(tf.int64),
            "clip/label/text": tf.io.VarLenFeature(tf.string),
        },
        {
            "image/encoded": tf.io.FixedLenSequenceFeature((), tf.string),
            "FORWARD_FLOW/image/encoded": tf.io.FixedLenSequenceFeature((), tf.string),
        },
    )
    image, flow = (
        tf.map_fn(
            lambda jpeg: tf.io.decode_jpeg(jpeg, channels=3),
            sequences[key],
            fn_output_signature=tf.uint8,
        )
        for key in ("image/encoded", "FORWARD_FLOW/image/encoded")
    )
    # Zero-centered; the third channel is dropped.
    flow = (tf.image.convert_image_dtype(flow, tf.float32) * 2 - 1)[..., :2]
    index, text = context["clip/label/index"], context["clip/label/text"]
    return image, flow, tf.sparse.to_dense(index), tf.sparse.to_dense(text)


def test_other_readers_read_our_records():
    data = tf.data.Dataset.from_tensors(_encode(flow=FLOW, splits=("train", "test", "unused")))
    image, index = next(iter(data.map(model_garden)))
    assert np.abs(image.numpy().astype(int) - PIXELS).mean() < 3
    assert index.numpy().tolist() == [7]
    image, flow, index, text = next(iter(data.map(dmvr)))
    assert np.abs(image.numpy().astype(int) - PIXELS).mean() < 3
    assert index.numpy().tolist() == [7] and text.numpy().tolist() == ["wäve".encode()]
    pixels = np.array(FIELDS) * 40 / 255 - 20
    np.testing.assert_allclose(20 * flow, pixels, atol=1)
    assert np.abs(20 * flow - pixels).mean() < 40 / 255


def test_parse_takes_what_is_wanted():
    record = _encode(flow=FLOW, splits=("train", "test", "unused"))
    context, sequence = records.parse(record)
    assert context["clip/splits"].numpy().tolist() == [b"train", b"test", b"unused"]
    assert sequence["image/encoded"].numpy().tolist() == JPEGS
    assert sequence["FORWARD_FLOW/image/encoded"].numpy().tolist() == FLOW
    context, sequence = records.parse(record, ("clip/data_path", "FORWARD_FLOW/image/encoded"))
    assert set(context) == {"clip/data_path"} and set(sequence) == {"FORWARD_FLOW/image/encoded"}
    context, sequence = records.parse(record, ["clip/splits"])
    assert context["clip/splits"].shape == (3,) and not sequence
    context, sequence = records.parse(_encode())
    assert context["clip/splits"].shape == sequence["FORWARD_FLOW/image/encoded"].shape == (0,)


def test_parse_knows_other_names_for_the_keys():
    example = tf.train.SequenceExample()
    example.context.feature["label"].int64_list.value.append(5)
    example.feature_lists.feature_list["jpeg"].feature.add().bytes_list.value.append(JPEGS[0])
    keys = {"clip/label/index": "label", "image/encoded": "jpeg"}
    context, sequence = records.parse(example.SerializeToString(), keys=keys)
    assert context["clip/label/index"].numpy() == 5 and context["clip/data_path"].numpy() == b""
    assert sequence["image/encoded"].numpy().tolist() == JPEGS[:1]


def test_encode_repeats_byte_for_byte():
    assert _encode() == _encode()
    assert _encode() != _encode(label_index=8)


def test_a_path_that_is_no_text():
    context, _ = records.parse(_encode(path="\udcff.mp4"))
    assert context["clip/data_path"].numpy() == b"\xff.mp4"


@pytest.mark.parametrize("changes", [{"jpegs": []}, {"timestamps": TIMES[:2]}])
def test_frames_and_timestamps_must_match(changes):
    with pytest.raises(ValueError, match="`jpegs` and `timestamps` must have an entry per frame"):
        _encode(**changes)


def test_contexts_of_a_shard(tmp_path):
    path = str(tmp_path / "shard")
    clips = [
        ("a.mp4", "wäve", ()),
        ("\udcff.mp4", "sit", ("train", "unused")),
        ("b" * 300, "c", ()),
    ]
    with tf.io.TFRecordWriter(path) as writer:
        for name, label, splits in clips:
            writer.write(_encode(path=name, label=label, splits=splits, flow=FLOW))
    assert list(records.clip_contexts(path)) == clips
