"""Intervals and p-values against complete enumeration."""

import itertools
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from keras_videorel.evaluation import metrics, significance
from tests.evaluation.test_fusion import make, random_pair, shuffled


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (3, 3), (1, 4), (7, 2), (0, 9)])
def test_mcnemar_by_all_tosses(gained, lost):
    """Every way in which the videos could have fallen to the two models."""
    videos = gained + lost
    extreme, as_extreme = Fraction(0), Fraction(0)
    for tosses in itertools.product((0, 1), repeat=videos):
        distance = abs(2 * sum(tosses) - videos)
        extreme += Fraction(distance > abs(gained - lost), 2**videos)
        as_extreme += Fraction(distance == abs(gained - lost), 2**videos)
    exact, mid_p = significance.mcnemar(gained, lost)
    assert exact == float(extreme + as_extreme)
    # Half of the table's own probability; the whole of it where both tails meet.
    assert mid_p == float(extreme + as_extreme / 2 if gained != lost else Fraction(1))
    assert significance.mcnemar(lost, gained) == (exact, mid_p)


def test_mcnemar_of_known_tables():
    assert significance.mcnemar(9, 1) == (22 / 1024, 12 / 1024)
    exact, mid_p = significance.mcnemar(10_000, 9_500)
    # The normal approximation: z = 500 / sqrt(19500), two-sided.
    assert exact == pytest.approx(3.43e-4, rel=0.03) and mid_p < exact
    assert 0 <= significance.mcnemar(5_000, 0)[0] < 1e-300
    with pytest.raises(ValueError, match="`lost` must be an integer of at least 0"):
        significance.mcnemar(1, -1)


def test_bootstrap_by_all_resamples():
    """Four videos: the 256 resamples, each as likely, give the metrics' exact distribution."""
    logits = np.zeros((4, 7))
    logits[0, 1], logits[1, 2], logits[2, 1], logits[3, :6] = 1, 1, 2, range(1, 7)
    labels = np.array([1, 1, 1, 0])  # right, behind one other, right, last but one
    scores = make(logits, labels)
    assert metrics.ranks(logits, labels).tolist() == [0, 2, 0, 5]
    exact = {key: Counter() for key in significance.METRICS}
    for chosen in itertools.product(range(4), repeat=4):
        found = metrics.accuracy(logits[list(chosen)], labels[list(chosen)])
        for key in significance.METRICS:
            exact[key][round(found[key], 9)] += 1 / 256
    resamples = 40_000
    drawn = significance.bootstrap([scores], resamples, seed=3)
    for key in significance.METRICS:
        counted = Counter(np.round(drawn[key][:, 0], 9).tolist())
        assert set(counted) <= set(exact[key])
        for value, share in exact[key].items():
            assert counted[value] / resamples == pytest.approx(share, abs=0.01), (key, value)


def test_bootstrap_like_drawing_videos_one_by_one():
    a, b = random_pair(0, videos=150)
    rng = np.random.default_rng(0)
    naive = {key: [] for key in significance.METRICS}
    for _ in range(3000):
        rows = rng.integers(150, size=150)
        mine = metrics.accuracy(a.logits[rows], a.labels[rows])
        theirs = metrics.accuracy(b.logits[rows], b.labels[rows])
        for key in significance.METRICS:
            naive[key].append(mine[key] - theirs[key])
    drawn = significance.bootstrap([a, b], 3000, seed=1)
    for key in significance.METRICS:
        gain = drawn[key][:, 0] - drawn[key][:, 1]
        assert gain.mean() == pytest.approx(np.mean(naive[key]), abs=0.006)
        assert gain.std() == pytest.approx(np.std(naive[key]), rel=0.07)


def test_bootstrap_is_a_function_of_the_seed(monkeypatch):
    a, b = random_pair()
    first = significance.bootstrap([a, b], 50, seed=1)
    monkeypatch.setattr(significance, "_BLOCK", 7)
    again = significance.bootstrap([a, shuffled(b, 1)], 50, seed=1)
    other = significance.bootstrap([a, b], 50, seed=2)
    for key in significance.METRICS:
        np.testing.assert_array_equal(first[key], again[key])
        assert not np.array_equal(first[key], other[key])


def test_metrics_of_one_split():
    a, _ = random_pair(videos=300)
    result = significance.measure("a", [a])
    assert result.name == "a" and result.splits == [metrics.accuracy(a.logits, a.labels)]
    for key in significance.METRICS:
        low, high = result.intervals[key]
        assert result.mean[key] == result.splits[0][key] and low < result.mean[key] < high
    # Top-1 of resamples is binomial.
    top1 = result.mean["top1"]
    half = 1.96 * np.sqrt(top1 * (1 - top1) / 300)
    assert result.intervals["top1"] == pytest.approx((top1 - half, top1 + half), abs=0.006)


def test_metrics_of_three_splits():
    splits = [random_pair(seed, videos=80 + 40 * seed)[0] for seed in range(3)]
    splits = [s._replace(paths=[f"{i}/{path}" for path in s.paths]) for i, s in enumerate(splits)]
    result = significance.measure("a", splits)
    each = [metrics.accuracy(s.logits, s.labels) for s in splits]
    assert result.splits == each
    for key in significance.METRICS:
        assert result.mean[key] == pytest.approx(np.mean([values[key] for values in each]))
    # The variance of a mean of independent shares.
    expected = sum(
        e["top1"] * (1 - e["top1"]) / len(s.paths) for e, s in zip(each, splits, strict=True)
    )
    drawn = significance.bootstrap(splits, 10_000)["top1"].mean(axis=1)
    assert drawn.std() == pytest.approx(np.sqrt(expected) / 3, rel=0.05)
    # Splits that share their videos tell less than as many videos of their own.
    same = significance.bootstrap([splits[0]] * 3, 10_000)["top1"].mean(axis=1)
    top1 = each[0]["top1"]
    assert same.std() == pytest.approx(np.sqrt(top1 * (1 - top1) / 80), rel=0.05)


def test_comparison_by_hand():
    ours = make([[1, 0], [1, 0], [1, 0], [0, 1]], [0, 0, 0, 1])
    theirs = make([[0, 1], [0, 1], [1, 0], [1, 0]], [0, 0, 0, 1])
    found = significance.compare([ours], [shuffled(theirs, 1)])
    assert (found.gained, found.lost) == (3, 0)
    assert (found.exact, found.mid_p) == (0.25, 0.125)
    assert found.differences["top1"] == 0.75
    assert set(found.differences) == {"top1", "mean_class_accuracy"}, "top-5 of two is no news"
    assert found.differences["mean_class_accuracy"] == pytest.approx(1 - 1 / 6)
    assert found.intervals["top1"] == (0.25, 1)
    swapped = significance.compare([theirs], [ours])
    assert (swapped.gained, swapped.lost, swapped.exact) == (0, 3, 0.25)
    assert swapped.differences["top1"] == -0.75
    equal = significance.compare([ours], [ours])
    assert equal.exact == 1 and equal.intervals["top1"] == (0, 0)


def test_a_video_of_two_splits_is_one_video():
    ours = make([[1, 0], [1, 0]])
    theirs = make([[0, 1], [1, 0]])
    found = significance.compare([ours, ours], [theirs, theirs])
    assert (found.gained, found.lost) == (1, 0) and found.differences["top1"] == 0.5
    apart = ours._replace(paths=["x", "y"]), theirs._replace(paths=["x", "y"])
    found = significance.compare([ours, apart[0]], [theirs, apart[1]])
    assert (found.gained, found.lost) == (2, 0)


def test_what_cannot_be_compared():
    a, b = random_pair()
    with pytest.raises(ValueError, match=r"as many splits as `ours`.*Received: 2 against 1"):
        significance.compare([a], [b, b])
    with pytest.raises(ValueError, match="same clips"):
        significance.compare([a], [b._replace(paths=[f"x{p}" for p in b.paths])])
    with pytest.raises(ValueError, match="`resamples`"):
        significance.measure("a", [a], resamples=0)
    with pytest.raises(ValueError, match="at least one"):
        significance.measure("a", [])
    with pytest.raises(ValueError, match="same classes"):
        significance.measure("a", [a, a._replace(classes=a.classes[::-1])])
