"""Datasets in one call: finite, of known length, with class names."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_videorel as kv
from keras_videorel.data import pipeline
from keras_videorel.data.manifest import read_manifest
from tests.shards import gray_video, write_shards

CLIP = kv.ClipSpec(frames=3, crop_size=16, std=255.0)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    size = (24, 32)
    videos = [(gray_video(5, size, first=10 * i), i % 2) for i in range(10)]
    folder = tmp_path_factory.mktemp("shards")
    parts = {"train": videos, "test": videos[:5], "val": videos[:3]}
    return str(write_shards(folder, parts, ["dark", "bright"], size))


def test_datasets_are_the_batches_of_the_pipeline(shards):
    info = read_manifest(shards)
    train = kv.data.train_dataset(shards, CLIP, 4, seed=3, mirror=False)
    test = kv.data.test_dataset(shards, CLIP, 2)
    assert train.class_names == test.class_names == ["dark", "bright"]
    assert train.clip.frame_size == (24, 32) and train.clip.shape == CLIP.shape
    assert (len(train), len(test), len(kv.data.val_dataset(shards, CLIP, 2))) == (2, 3, 2)
    expected = pipeline.training_batches(info, CLIP, 4, seed=3, mirror=False, epochs=2)
    found = [batch for _ in range(2) for batch in train]  # each iteration is the next epoch
    for (x, y), (x_expected, y_expected) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, x_expected)
        np.testing.assert_array_equal(y, y_expected)
    views = pipeline.evaluation_views(info, CLIP, clips=1, crops=1)
    expected = [(view[0], label) for view, label, _ in views]
    assert len(expected) == 5
    for (x, y), (x_expected, y_expected) in zip(test.unbatch(), expected, strict=True):
        np.testing.assert_array_equal(x, x_expected)
        assert y == y_expected


def test_fit_and_evaluate_without_numbers_of_steps(shards):
    train = kv.data.train_dataset(shards, CLIP, 4)
    test = kv.data.test_dataset(shards, CLIP, 2)
    clips = keras.Input(CLIP.shape)
    scores = keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(clips))
    model = keras.Model(clips, scores)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(train, validation_data=test, epochs=2, verbose=0)
    right = model.evaluate(test, verbose=0, return_dict=True)["accuracy"]
    found = kv.evaluation.evaluate_videos(model, shards, CLIP, clips=1, crops=1)
    assert found["top1"] == pytest.approx(right) and found["videos"] == 5
    assert kv.evaluation.evaluate_videos(model, shards, CLIP, 2, 10, "val")["videos"] == 3


def test_augment_takes_the_frames_before_they_are_normalized(shards):
    def inverted(frames):
        assert frames.dtype == tf.uint8 and frames.shape == CLIP.shape
        return 255 - frames

    plain, other = (
        kv.data.train_dataset(shards, CLIP, 4, augment=augment) for augment in (None, inverted)
    )
    mean = np.array(CLIP.mean, np.float32)
    for (x, y), (x_inverted, y_inverted) in zip(plain, other, strict=True):
        np.testing.assert_allclose(x_inverted, (255 - 2 * mean) / 255 - x, atol=1e-6)
        np.testing.assert_array_equal(y, y_inverted)
    for augment in (lambda frames: frames[:2], lambda frames: tf.cast(frames, tf.float32)):
        with pytest.raises(ValueError, match=r"`augment` must return a uint8 tensor of the shape"):
            kv.data.train_dataset(shards, CLIP, 4, augment=augment)


def test_what_does_not_fit_is_refused(shards):
    model = keras.Sequential([keras.Input((3, 16, 16, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="`model` must have the 2 classes"):
        kv.evaluation.evaluate_videos(model, shards, CLIP)
    with pytest.raises(ValueError, match=r"shape of `clip`, \(16, 112.*: input_shape=\(None, 3, "):
        kv.evaluation.evaluate_videos(model, shards, kv.ClipSpec())
    other = kv.ClipSpec(frames=3, crop_size=16, frame_size=(24, 24))
    for make in (kv.data.train_dataset, kv.data.test_dataset):
        with pytest.raises(ValueError, match=r"`frame_size` of `clip` must be.*\(24, 32\), or"):
            make(shards, other, 2)
    with pytest.raises(ValueError, match="`batch_size` must be an integer of at least 1"):
        kv.data.test_dataset(shards, CLIP, 0)
