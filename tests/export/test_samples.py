"""Samples for the ranges of int8 and for the comparison."""

import numpy as np
import pytest
import tensorflow as tf

from keras_videorel import ClipSpec
from keras_videorel.export import samples
from tests.videos import LOSSLESS, write_video


def test_rendered_samples_are_as_the_model_takes_them(monkeypatch):
    monkeypatch.setattr(samples, "NUM_SAMPLES", 6)
    clip = ClipSpec(segments=2, frames=3, crop_size=24, frame_size=28, std=60.0)
    found = samples.rendered_samples(clip)
    assert len(found) == 3
    for x in found:
        assert x.shape == (1, *clip.shape) and x.dtype == np.float32 and 0.1 < x.std() < 4
    assert not np.array_equal(found[0], found[1])
    with pytest.raises(ValueError, match="`calibration` must be given for tflite_int8 of optical"):
        samples.rendered_samples(ClipSpec(stream="flow"))


def test_samples_of_a_dataset_of_batches():
    x = np.arange(12, dtype="float32").reshape(6, 2)
    batches = tf.data.Dataset.from_tensor_slices((x, range(6))).batch(4)
    np.testing.assert_array_equal(samples.as_samples(batches), x[:, None])
    assert samples.as_samples(iter([x[:1]]))[0].shape == (1, 2)


def test_samples_of_a_video(tmp_path):
    clip = ClipSpec(frames=2, crop_size=28, frame_size=(28, 28), test_scale=1.0, mean=(0, 0, 0))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 3), np.uint8)
    path = write_video(tmp_path / "a.mp4", pixels, **LOSSLESS)
    assert samples.read_samples(path, clip, 10).shape == (3, *clip.shape)  # no more places
    with pytest.raises(ValueError, match="this model takes optical flow"):
        samples.read_samples(path, ClipSpec(stream="flow"), 1)
