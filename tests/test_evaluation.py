"""Metrics on numbers that can be counted by hand."""

import numpy as np
import pytest

from keras_videorel import evaluation


def test_accuracy_by_hand():
    logits = np.array(
        [
            [9, 1, 2, 3, 4, 5, 6],  # class 0: right
            [9, 1, 2, 3, 4, 5, 6],  # class 2: fifth
            [9, 1, 2, 3, 4, 5, 6],  # class 1: last
            [9, 8, 2, 3, 4, 5, 6],  # class 1: second
            [0, 1, 0, 0, 0, 0, 0],  # class 1: right
        ]
    )
    labels = np.array([0, 2, 1, 1, 1])
    metrics = evaluation.accuracy(logits, labels)
    assert metrics["top1"] == pytest.approx(2 / 5)
    assert metrics["top5"] == pytest.approx(3 / 5)
    assert metrics["average"] == pytest.approx(1 / 2)
    assert metrics["mean_class_accuracy"] == pytest.approx((1 + 0 + 1 / 3) / 3)
    counts = evaluation.confusion_matrix(logits, labels)
    assert counts.sum() == 5 and counts[1, 0] == 2 and counts[1, 1] == 1 and counts[2, 0] == 1


def test_equal_scores_are_no_success():
    """A model that says nothing must not count as right in the top 5 of 10 classes."""
    metrics = evaluation.accuracy(np.zeros((10, 10)), np.arange(10))
    assert metrics["top1"] == pytest.approx(0.1) and metrics["top5"] == pytest.approx(0.5)


def test_scores_that_are_not_numbers_are_no_success():
    metrics = evaluation.accuracy(np.full((10, 10), np.nan), np.arange(10))
    assert metrics["top1"] <= 0.1


def test_views_are_averaged_before_the_softmax():
    import keras
    import tensorflow as tf

    clips = keras.Input((2, 1, 1, 3))
    model = keras.Model(clips, keras.layers.Lambda(lambda x: x[:, 0, 0, 0])(clips))
    views = np.zeros((5, 2, 1, 1, 3), "float32")
    views[:, 0, 0, 0] = [[10, 0, 0], [0, 4, 0], [0, 4, 0], [0, 4, 0], [0, 4, 0]]
    data = tf.data.Dataset.from_tensors((views, np.int64(0), "a.mp4"))
    logits, labels, paths = evaluation.video_scores(model, data, batch_size=2)
    np.testing.assert_allclose(logits, [[2.0, 3.2, 0.0]], rtol=1e-6)
    assert labels.tolist() == [0] and paths == ["a.mp4"]
