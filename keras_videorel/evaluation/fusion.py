"""Late fusion: weighted sums of the scores of several models on the same clips.

Both papers sum scores before the softmax. Relational LSTM weights the spatial and the temporal
stream by 0.45 and 0.55 on UCF-101, and by 0.33 and 0.67 on HMDB-51. Its Table 1 also sums models.

`members` are `Scores` of the same clips in any order, and `names` are their names in errors. All
functions raise a `ValueError` if the members do not fit together.
"""

import math
from collections.abc import Sequence

import numpy as np

from keras_videorel.evaluation import metrics
from keras_videorel.evaluation.score_files import Scores

_SINGULAR = {"clips": "clip", "classes": "class"}


def align(members: Sequence[Scores], names: Sequence[str] | None = None) -> list[Scores]:
    """The members, with videos and classes in the order of the first member."""
    if not members:
        raise ValueError("`members` must hold at least one. Received: none")
    names = [f"scores {i + 1}" for i in range(len(members))] if names is None else names
    members = [with_classes(scores, members[0].classes) for scores in members]
    first, aligned = members[0], []
    for scores, name in zip(members, names, strict=True):
        row = {path: i for i, path in enumerate(scores.paths)}
        if len(row) < len(scores.paths):
            again = [path for i, path in enumerate(scores.paths) if row[path] != i]
            raise ValueError(f"{name!r} must name each clip once. Received: {_some(again)} again")
        odd = np.flatnonzero(~np.isfinite(scores.logits).all(axis=1))
        if len(odd):
            odd_paths = _some([scores.paths[i] for i in odd])
            raise ValueError(f"the scores of {name!r} must be finite. Received: {odd_paths}")
        both = f"{names[0]!r} and {name!r}"
        for kind, ours, theirs in (
            ("classes", first.classes, scores.classes),
            ("clips", sorted(first.paths), sorted(scores.paths)),
        ):
            if ours != theirs:
                apart = (names[0], {*ours} - {*theirs}), (name, {*theirs} - {*ours})
                shown = "; ".join(
                    f"only in {o!r}: {_some(sorted(own), kind)}" for o, own in apart if own
                )
                raise ValueError(f"{both} must be of the same {kind}. Received: {shown}")
        order = [row[path] for path in first.paths]
        labels = scores.labels[order]
        if not np.array_equal(labels, first.labels):
            wrong = _some([first.paths[i] for i in np.flatnonzero(labels != first.labels)])
            raise ValueError(
                f"{both} must give each clip the same label. Received: others for {wrong}"
            )
        logits = scores.logits[order]
        aligned.append(scores._replace(paths=first.paths, labels=labels, logits=logits))
    return aligned


def with_classes(scores: Scores, classes: list[str]) -> Scores:
    """`Scores` with their classes in the order of `classes`; unchanged if the classes differ."""
    different = sorted(scores.classes) != sorted(classes) or len(set(classes)) < len(classes)
    if scores.classes == classes or different:
        return scores
    columns = [scores.classes.index(name) for name in classes]
    return scores._replace(
        classes=classes,
        logits=scores.logits[:, columns],
        labels=np.argsort(columns)[scores.labels],
    )


def fuse(
    members: Sequence[Scores],
    weights: Sequence[float] | None = None,
    softmax: bool = False,
    names: Sequence[str] | None = None,
) -> Scores:
    """The weighted sum of the members' scores, in the order of the first member.

    Args:
        members: The `Scores`.
        weights: A number for each member. By default all are equal and sum to 1. They are not
            normalized, since only their ratios decide which class scores highest.
        softmax: Whether to sum probabilities instead of logits. The result then holds the
            logarithms of the sums.
        names: Names of the members in errors and in the settings of the result.
    """
    members = align(members, names)
    weights = check_weights(weights, len(members))
    named = [{}] * len(members) if names is None else [{"name": name} for name in names]
    if softmax:
        with np.errstate(divide="ignore"):  # the logarithm of a weight of 0
            parts = [
                metrics.log_softmax(scores.logits) + np.log(weight)
                for scores, weight in zip(members, weights, strict=True)
            ]
        logits = np.logaddexp.reduce(parts)
    else:
        logits = _sum([scores.logits for scores in members], weights)
    settings = {
        "softmax": softmax,
        "fused": [
            {**name, "weight": weight, "config_hash": scores.config_hash, **scores.settings}
            for name, scores, weight in zip(named, members, weights, strict=True)
        ],
    }
    return members[0]._replace(logits=logits.astype(np.float32), config_hash="", settings=settings)


def check_weights(weights: Sequence[float] | None, count: int) -> list[float]:
    """Weights of `count` members as a list of floats; equal weights for `None`."""
    if weights is None:
        return [1 / count] * count
    weights = [float(weight) for weight in weights]
    good = all(weight >= 0 and math.isfinite(weight) for weight in weights) and any(weights)
    if len(weights) != count or not good:
        raise ValueError(
            f"`weights` must be {count} finite numbers of at least 0, not all 0. "
            f"Received: {weights}"
        )
    return weights


def search_weights(
    members: Sequence[Scores],
    softmax: bool = False,
    step: float = 0.01,
    names: Sequence[str] | None = None,
) -> list[float]:
    """Weights that sum to 1 with the highest top-1 accuracy found, for validation clips.

    The search starts at equal weights. It tries the weights 0, `step`, ..., 1 for one member after
    another, while the other members share the rest in their present ratio. It ends if no change
    helps. For two members it tries every pair. Of equally good weights it takes the nearest.
    """
    if not 0 < step <= 0.5:
        raise ValueError(f"`step` must be above 0 and at most 0.5. Received: {step!r}")
    members = align(members, names)
    labels, logits = members[0].labels, [scores.logits for scores in members]
    parts = [np.exp(metrics.log_softmax(x)) if softmax else x for x in logits]
    grid = np.linspace(0, 1, round(1 / step) + 1)

    def right(scores):
        return (scores.argmax(axis=1) == labels).sum()

    weights = np.full(len(parts), 1 / len(parts))
    best, before = right(_sum(parts, weights)), -1
    while best > before and len(parts) > 1:
        before = best
        for place, part in enumerate(parts):
            others = weights.copy()
            others[place] = 0
            if not others.any():
                others = np.where(np.arange(len(parts)) == place, 0.0, 1.0)
            others /= others.sum()
            rest = _sum(parts, others)
            for weight in grid[np.abs(grid - weights[place]).argsort(kind="stable")]:
                found = right(weight * part + (1 - weight) * rest)
                if found > best:
                    best, weights = found, (1 - weight) * others
                    weights[place] = weight
    return [float(weight) for weight in weights]


def check_apart(searched: Sequence[Scores], reported: Sequence[Scores]) -> None:
    """Raise a `ValueError` if weights are searched on clips that are reported."""
    clips = {path for scores in reported for path in scores.paths}
    shared = sorted({path for scores in searched for path in scores.paths} & clips)
    if shared:
        raise ValueError(
            "`search` must be of other clips than those that are reported: weights chosen on the "
            f"reported clips flatter the result. Received: {_some(shared)} in both"
        )


def _sum(parts, weights):
    total = np.zeros(parts[0].shape)
    for part, weight in zip(parts, weights, strict=True):
        total += np.float64(weight) * part
    return total


def _some(names, plural="clips"):
    """`4 clips ('a', 'b', 'c', ...)`"""
    shown = ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
    return f"{len(names):,} {plural if len(names) != 1 else _SINGULAR[plural]} ({shown})"
