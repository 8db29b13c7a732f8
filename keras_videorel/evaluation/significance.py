"""Bootstrap intervals of the metrics, and McNemar's test of two models.

A model is a list of `Scores`, one for each official split, and a metric is the mean of the splits'
metrics, as UCF-101 and HMDB-51 are reported.

References:
    B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    Q. McNemar, Psychometrika 12, 1947; M. Fagerland et al., BMC Medical Research Methodology 13,
    2013 (mid-p).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_videorel.checks import check_integer
from keras_videorel.evaluation import fusion, metrics
from keras_videorel.evaluation.score_files import Scores

METRICS = tuple(metrics.NAMES)

_BLOCK = 1 << 21  # counts drawn at once: 16 MB


class Result(NamedTuple):
    """The metrics of a model."""

    name: str
    mean: dict[str, float]  # of `metrics.accuracy`, over the splits
    intervals: dict[str, tuple[float, float]]  # 95% percentile intervals of `mean`
    splits: list[dict[str, float]]  # the metrics of each split


class Comparison(NamedTuple):
    """How one model differs from another on the same clips."""

    differences: dict[str, float]  # first less second model in each metric, means over the splits
    intervals: dict[str, tuple[float, float]]  # 95% percentile intervals of `differences`
    gained: int  # videos that only the first gets right (top-1)
    lost: int  # videos that only the second gets right
    exact: float  # p-value of `mcnemar`
    mid_p: float  # its mid-p value, which is less conservative


def measure(name: str, splits: Sequence[Scores], resamples: int = 10_000, seed: int = 0) -> Result:
    """The `Result` of a model: its metrics with bootstrap intervals."""
    found = bootstrap(splits, resamples, seed)
    each, mean = _means(splits)
    intervals = {key: _interval(found[key].mean(axis=1)) for key in mean}
    return Result(name, mean, intervals, each)


def compare(
    ours: Sequence[Scores], theirs: Sequence[Scores], resamples: int = 10_000, seed: int = 0
) -> Comparison:
    """Differences between two models with bootstrap intervals, and McNemar's test.

    Each resample has the same videos for both models. A video that is in the test lists of several
    splits counts once in McNemar's test, with its result in the first of these splits.

    Args:
        ours: `Scores` of one model, one for each split.
        theirs: `Scores` of the other model, on the same clips in any order.
        resamples: Number of resamples of the videos.
        seed: Seed of the resamples.
    """
    if len(ours) != len(theirs) or not ours:
        raise ValueError(
            "`theirs` must have as many splits as `ours`, at least one. "
            f"Received: {len(theirs)} against {len(ours)}"
        )
    pairs = [fusion.align(pair, ["ours", "theirs"]) for pair in zip(ours, theirs, strict=True)]
    ours, theirs = ([pair[i] for pair in pairs] for i in (0, 1))
    found = bootstrap([*ours, *theirs], resamples, seed)
    half = len(ours)
    gains = {key: (found[key][:, :half] - found[key][:, half:]).mean(axis=1) for key in METRICS}
    right: dict[str, list[bool]] = {}
    for one, other in pairs:
        both = np.stack([metrics.ranks(s.logits, s.labels) < 1 for s in (one, other)], axis=1)
        right = {**dict(zip(one.paths, both.tolist(), strict=True)), **right}
    gained = sum(mine and not other for mine, other in right.values())
    lost = sum(other and not mine for mine, other in right.values())
    (_, mine), (_, other) = _means(ours), _means(theirs)
    return Comparison(
        {key: mine[key] - other[key] for key in mine},
        {key: _interval(gains[key]) for key in mine},
        gained,
        lost,
        *mcnemar(gained, lost),
    )


def mcnemar(gained: int, lost: int) -> tuple[float, float]:
    """McNemar's test from the numbers of videos that only one of two models gets right.

    Returns `(exact, mid_p)`, two-sided p-values: the probability of a difference of at least this
    size between `gained` and `lost` if a coin decided which of the models gets each video right.
    """
    gained = check_integer("gained", gained, 0)
    lost = check_integer("lost", lost, 0)
    videos, fewer = gained + lost, min(gained, lost)
    # Python's integers have any size, so that no small p-value is rounded to 0.
    ways, tail = 1, 1
    for chosen in range(fewer):
        ways = ways * (videos - chosen) // (chosen + 1)
        tail += ways
    everything = 1 << videos
    return min(1.0, 2 * tail / everything), min(1.0, (2 * tail - ways) / everything)


def bootstrap(
    columns: Sequence[Scores], resamples: int = 10_000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Metrics of resamples of the videos, drawn with replacement, float64 `(resamples, columns)`.

    A column holds the `Scores` of a model on a split. Videos are drawn for all columns together,
    so that columns of the same videos stay paired. If a class has no video in a resample, the mean
    class accuracy leaves it out. If a column has no video, its metrics are NaN.
    """
    resamples = check_integer("resamples", resamples, 1)
    rng = np.random.default_rng(check_integer("seed", seed, 0))
    # Metrics depend only on the class of a video and on whether it ranks first or in the top 5 in
    # each column. Drawing counts of these kinds equals drawing videos, with fewer numbers.
    outcomes = _outcomes(columns)
    kinds, counts = np.unique(outcomes, axis=0, return_counts=True)
    found = {key: np.empty((resamples, len(columns))) for key in METRICS}
    block = max(1, _BLOCK // len(kinds))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.multinomial(len(outcomes), counts / len(outcomes), size)
        for column, kind in enumerate(kinds.T):
            values = _metrics_of_kinds(drawn, kind)
            for key in METRICS:
                found[key][start : start + size, column] = values[key]
    return found


def _outcomes(columns):
    """Integers `(videos, columns)`: 3 * label + (2 if right, 1 if in the top 5); -1 if absent."""
    if not columns:
        raise ValueError("`columns` must hold at least one `Scores`. Received: none")
    if any(scores.classes != columns[0].classes for scores in columns):
        raise ValueError("`columns` must be of the same classes. Received: several lists of them")
    rows = {}
    for scores in columns:
        for path in scores.paths:
            rows.setdefault(path, len(rows))
    outcomes = np.full((len(rows), len(columns)), -1)
    for column, scores in enumerate(columns):
        rank = metrics.ranks(scores.logits, scores.labels)
        places = [rows[path] for path in scores.paths]
        outcomes[places, column] = 3 * np.asarray(scores.labels) + (rank < 1) + (rank < 5)
    return outcomes


def _metrics_of_kinds(drawn, kind):
    """The metrics, each `(resamples,)`, from counts `(resamples, kinds)`."""
    order = np.argsort(kind, kind="stable")[(kind < 0).sum() :]
    label, hit = np.divmod(kind[order], 3)
    drawn = drawn[:, order]
    _, starts = np.unique(label, return_index=True)
    videos = np.add.reduceat(drawn, starts, axis=1)
    right = np.add.reduceat(drawn * (hit == 2), starts, axis=1)
    total = videos.sum(axis=1)
    with np.errstate(invalid="ignore"):  # no video drawn
        top1 = right.sum(axis=1) / total
        top5 = (drawn @ (hit >= 1).astype(drawn.dtype)) / total
        share = np.divide(right, videos, out=np.zeros(videos.shape), where=videos > 0)
        per_class = share.sum(axis=1) / (videos > 0).sum(axis=1)
    return dict(zip(METRICS, (top1, top5, (top1 + top5) / 2, per_class), strict=True))


def _means(splits):
    """`(metrics of each split, their means)`."""
    each = [metrics.accuracy(scores.logits, scores.labels) for scores in splits]
    return each, {key: float(np.mean([values[key] for values in each])) for key in each[0]}


def _interval(values):
    low, high = np.nanquantile(values, (0.025, 0.975))
    return float(low), float(high)
