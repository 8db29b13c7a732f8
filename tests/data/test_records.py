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
