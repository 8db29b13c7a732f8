"""Metrics that evaluation does not test already."""

import math

import numpy as np
import pytest

from keras_videorel.evaluation import metrics


def test_ranks_by_hand():
    logits = [[3, 1, 2], [1, 1, 1], [0, np.nan, 1], [np.nan] * 3, [-np.inf, 0, 0]]
    assert metrics.ranks(logits, [2, 2, 1, 2, 0]).tolist() == [1, 2, 2, 2, 2]
    assert metrics.ranks(logits, [0, 0, 2, 0, 1]).tolist() == [0, 0, 0, 0, 0]


def test_ranks_are_places_of_a_stable_sort():
    rng = np.random.default_rng(0)
    logits, labels = rng.integers(4, size=(200, 9)), rng.integers(9, size=200)
    order = np.argsort(-logits, axis=1, kind="stable")
    np.testing.assert_array_equal(
        metrics.ranks(logits.astype(float), labels), (order == labels[:, None]).argmax(axis=1)
    )


def test_class_accuracy():
    logits = [[1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0]]
    np.testing.assert_array_equal(metrics.class_accuracy(logits, [0, 0, 0, 2]), [2 / 3, np.nan, 0])


def test_losses():
    found = metrics.losses([[0, math.log(3)], [1000, 0], [0, 1000]], [0, 0, 0])
    np.testing.assert_allclose(found, [math.log(4), 0, 1000], atol=1e-12)
    assert metrics.losses(np.zeros((1, 400), np.float32), [7]) == pytest.approx(math.log(400))


def test_precision_recall_and_f1():
    labels = [0, 0, 0, 1, 1, 3]
    logits = np.eye(5)[[0, 0, 1, 1, 2, 2]]
    precision, recall, f1 = metrics.precision_recall_f1(logits, labels)
    np.testing.assert_allclose(precision, [1, 1 / 2, 0, np.nan, np.nan])
    np.testing.assert_allclose(recall, [2 / 3, 1 / 2, np.nan, 0, np.nan])
    np.testing.assert_allclose(f1, [4 / 5, 1 / 2, 0, 0, np.nan])


def test_top5_is_a_metric_from_six_classes_on():
    assert list(metrics.names(5)) == ["top1", "mean_class_accuracy"]
    assert list(metrics.names(6)) == ["top1", "top5", "average", "mean_class_accuracy"]
    assert metrics.chance(20) == {
        "top1": 0.05, "top5": 0.25, "average": 0.15, "mean_class_accuracy": 0.05,
    }  # fmt: skip
