"""Fusion of scores that can be added by hand."""

import itertools

import numpy as np
import pytest

from keras_videorel.evaluation import fusion, metrics
from keras_videorel.evaluation.score_files import Scores


def make(logits, labels=None, paths=None, classes=None):
    logits = np.asarray(logits, np.float32)
    videos, count = logits.shape
    labels = np.zeros(videos, np.int64) if labels is None else np.asarray(labels)
    paths = [f"{i}.avi" for i in range(videos)] if paths is None else list(paths)
    classes = [f"class {i}" for i in range(count)] if classes is None else classes
    return Scores(paths, labels, logits, classes, "", {"stream": "rgb"})


def shuffled(scores, seed):
    order = np.random.default_rng(seed).permutation(len(scores.paths))
    return scores._replace(
        paths=[scores.paths[i] for i in order],
        labels=scores.labels[order],
        logits=scores.logits[order],
    )


def random_pair(seed=0, videos=60, classes=7):
    """Two models that are right on different videos."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=videos)
    truth = np.eye(classes)[labels]
    strength = rng.uniform(0, 2, size=(2, videos, 1))
    first, second = strength * truth + rng.normal(size=(2, videos, classes))
    return make(first, labels), make(second, labels)


def test_two_streams_with_the_weights_of_the_papers():
    """Spatial and temporal scores of three videos of class 0, each fused by hand."""
    rgb = make([[4, 1, 0], [0, 2, 0], [1, 3, 0]])
    flow = make([[0, 3, 0], [2, 0, 0], [2, 0, 0]])
    fused = fusion.fuse([rgb, flow], [0.45, 0.55])
    expected = [[1.8, 2.1, 0], [1.1, 0.9, 0], [1.55, 1.35, 0]]
    np.testing.assert_allclose(fused.logits, expected, rtol=1e-6)
    assert fused.logits.dtype == np.float32
    assert fused.logits.argmax(1).tolist() == [1, 0, 0]
    assert fusion.fuse([rgb, flow], [0.33, 0.67]).logits.argmax(1).tolist() == [1, 0, 0]
    assert fusion.fuse([rgb, flow], [0.6, 0.4]).logits.argmax(1).tolist() == [0, 1, 1]
    np.testing.assert_allclose(
        fusion.fuse([rgb, flow]).logits, (rgb.logits + flow.logits) / 2, rtol=1e-6
    )
    assert [part["weight"] for part in fused.settings["fused"]] == [0.45, 0.55]
    assert fused.settings["softmax"] is False and fused.settings["fused"][0]["stream"] == "rgb"


def test_an_ensemble_of_ensembles_is_one_sum():
    """Table 1: two streams of two models."""
    (a, b), (c, d) = random_pair(0), random_pair(1)
    c, d = c._replace(labels=a.labels), d._replace(labels=a.labels)
    nested = fusion.fuse([fusion.fuse([a, b], [0.5, 0.5]), fusion.fuse([c, d], [0.35, 0.65])])
    flat = fusion.fuse([a, b, c, d], [0.25, 0.25, 0.175, 0.325])
    np.testing.assert_allclose(nested.logits, flat.logits, rtol=1e-5, atol=1e-6)


def test_probabilities():
    rng = np.random.default_rng(0)
    a, b = (make(30 * rng.normal(size=(20, 5))) for _ in range(2))

    def softmax(scores):
        e = np.exp(scores.logits.astype(np.float64))
        return e / e.sum(axis=1, keepdims=True)

    def fused(weights):
        return np.exp(fusion.fuse([a, b], weights, softmax=True).logits.astype(np.float64))

    np.testing.assert_allclose(fused([0.3, 0.7]), 0.3 * softmax(a) + 0.7 * softmax(b), rtol=1e-5)
    np.testing.assert_allclose(fused([1, 0]), softmax(a), rtol=1e-5)


def test_the_order_of_the_videos_does_not_matter():
    a, b = random_pair()
    fused, mixed = fusion.fuse([a, b]), fusion.fuse([shuffled(a, 1), shuffled(b, 2)])
    assert mixed.paths != fused.paths
    order = [mixed.paths.index(path) for path in fused.paths]
    np.testing.assert_array_equal(mixed.logits[order], fused.logits)
    np.testing.assert_array_equal(mixed.labels[order], fused.labels)


def test_the_order_of_the_classes_does_not_matter():
    a, b = random_pair(videos=20)
    order = np.array([3, 0, 6, 1, 2, 5, 4])
    other = b._replace(
        classes=[b.classes[i] for i in order],
        logits=b.logits[:, order],
        labels=np.argsort(order)[b.labels],
    )
    expected, found = fusion.fuse([a, b]), fusion.fuse([a, other])
    assert found.classes == expected.classes
    np.testing.assert_array_equal(found.logits, expected.logits)
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_members_that_do_not_fit():
    a, b = random_pair(videos=5)
    names = ["a.npz", "b.npz"]

    def error(*members):
        with pytest.raises(ValueError) as caught:
            fusion.align(list(members), names[: len(members)])
        return str(caught.value)

    short = b._replace(paths=b.paths[:2], labels=b.labels[:2], logits=b.logits[:2])
    assert error(a, short) == (
        "'a.npz' and 'b.npz' must be of the same clips. "
        "Received: only in 'a.npz': 3 clips ('2.avi', '3.avi', '4.avi')"
    )
    assert "only in 'b.npz': 3 clips" in error(short, b).replace("'a.npz':", "'?':")
    renamed = b._replace(paths=["x.avi", *b.paths[1:]])
    assert "only in 'a.npz': 1 clip ('0.avi'); only in 'b.npz': 1 clip ('x.avi')" in error(
        a, renamed
    )
    other = b._replace(paths=[f"x{path}" for path in b.paths])
    assert "5 clips ('0.avi', '1.avi', '2.avi', ...)" in error(a, other)
    labels = np.add(b.labels, [0, 1, 0, 1, 0]) % 7
    assert "the same label. Received: others for 2 clips ('1.avi', '3.avi')" in error(
        a, b._replace(labels=labels)
    )
    classes = [*b.classes[:3], "other", *b.classes[4:]]
    assert "only in 'a.npz': 1 class ('class 3'); only in 'b.npz': 1 class ('other')" in error(
        a, b._replace(classes=classes)
    )
    assert "of the same classes. Received: only in 'a.npz': 1 class ('class 6')" in error(
        a, b._replace(classes=b.classes[:6], logits=b.logits[:, :6], labels=b.labels % 6)
    )
    twice = b._replace(paths=["0.avi", "0.avi", *b.paths[2:]])
    assert "'b.npz' must name each clip once. Received: 1 clip ('0.avi') again" in error(a, twice)
    odd = b._replace(logits=np.where(np.arange(7) == 3, np.nan, b.logits))
    assert "the scores of 'b.npz' must be finite. Received: 5 clips" in error(a, odd)
    assert "at least one" in error()


@pytest.mark.parametrize("weights", [[1], [1, 2, 3], [-0.1, 1.1], [0, 0], [np.nan, 1], [np.inf, 1]])
def test_invalid_weights(weights):
    with pytest.raises(ValueError, match="`weights` must be 2 finite numbers"):
        fusion.fuse(random_pair(), weights)


def test_two_weights_are_searched_exhaustively():
    a, b = random_pair()

    def top1(w):
        return metrics.accuracy(fusion.fuse([a, b], [w, 1 - w]).logits, a.labels)["top1"]

    grid = np.linspace(0, 1, 101)
    found = [top1(w) for w in grid]
    weights = fusion.search_weights([shuffled(a, 3), shuffled(b, 4)])
    assert sum(weights) == pytest.approx(1)
    assert top1(weights[0]) == max(found) > max(found[0], found[50], found[100])
    best = grid[np.array(found) == max(found)]
    assert abs(weights[0] - 0.5) == pytest.approx(abs(best - 0.5).min())


def test_search_finds_the_good_one_among_three():
    rng = np.random.default_rng(0)
    labels = rng.integers(5, size=80)
    good = make(np.eye(5)[labels], labels)
    bad = [make(20 * rng.normal(size=(80, 5)), labels) for _ in range(2)]
    members = [bad[0], good, bad[1]]
    assert (fusion.fuse(members).logits.argmax(1) == labels).mean() < 0.5
    for softmax in (False, True):
        weights = fusion.search_weights(members, softmax=softmax)
        fused = fusion.fuse(members, weights, softmax=softmax)
        assert (fused.logits.argmax(1) == labels).all()
        assert sum(weights) == pytest.approx(1) and min(weights) >= 0


def test_search_of_three_reaches_the_best_of_a_grid():
    a, b = random_pair(5)
    c = random_pair(6)[0]._replace(labels=a.labels)

    def right(weights):
        return (fusion.fuse([a, b, c], weights).logits.argmax(1) == a.labels).sum()

    grid = [w for w in itertools.product(range(11), repeat=3) if sum(w) == 10]
    assert right(fusion.search_weights([a, b, c])) >= max(map(right, grid)) - 1


def test_equal_weights_stay_where_nothing_is_better():
    a = make([[1, 0], [1, 0]])
    assert fusion.search_weights([a, a, a]) == pytest.approx([1 / 3] * 3)
    assert fusion.search_weights([a]) == [1]
    with pytest.raises(ValueError, match="`step`"):
        fusion.search_weights([a, a], step=0)


def test_weights_are_not_searched_on_what_is_reported():
    a, b = random_pair()
    with pytest.raises(ValueError, match=r"`search`.*60 clips \('0\.avi'.*in both"):
        fusion.check_apart([a, b], [a, b])
    other = a._replace(paths=["0.avi", *(f"v{i}" for i in range(59))])
    with pytest.raises(ValueError, match=r"1 clip \('0\.avi'\) in both"):
        fusion.check_apart([other], [a, b])
    fusion.check_apart([other._replace(paths=[f"v{i}" for i in range(60)])], [a, b])
