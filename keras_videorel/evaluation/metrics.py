"""Metrics of scored videos, in NumPy, so that files of scores need no framework.

`logits` are scores `(videos, classes)`, and `labels` integers `(videos,)`.
"""

import numpy as np
from numpy.typing import ArrayLike

NAMES = {  # names to show for the metrics of `accuracy`
    "top1": "Top-1",
    "top5": "Top-5",
    "average": "Average of the two",
    "mean_class_accuracy": "Mean class accuracy",
}
TOP5_CLASSES = 6  # with fewer classes, top-5 is always right


def names(classes: int) -> dict[str, str]:
    """Names to show for the metrics that `accuracy` returns for a number of classes."""
    left_out = ("top5", "average") if classes < TOP5_CLASSES else ()
    return {key: name for key, name in NAMES.items() if key not in left_out}


def chance(classes: int) -> dict[str, float]:
    """Each metric of `accuracy` if classes are guessed."""
    top1, top5 = 1 / classes, min(5 / classes, 1.0)
    return {"top1": top1, "top5": top5, "average": (top1 + top5) / 2, "mean_class_accuracy": top1}


def ranks(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """The rank of each video's true class among its scores, 0 for the highest.

    Of classes with equal scores, the lower index ranks first, so that a constant model is right
    only by chance. NaN ranks last.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)[:, None]
    logits = np.where(np.isnan(logits), -np.inf, logits)
    own = np.take_along_axis(logits, labels, axis=1)
    before = np.arange(logits.shape[1]) < labels
    return ((logits > own) | ((logits == own) & before)).sum(axis=1)


def accuracy(logits: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Top-1, top-5, their average, and the mean of the classes' accuracies, as fractions.

    Keys are `top1`, `top5`, `average` (the metric of Kinetics, ARTNet Sec. 4.1) and
    `mean_class_accuracy` (over the classes that have a video). With fewer than six classes, `top5`
    and `average` are left out.
    """
    rank, labels = ranks(logits, labels), np.asarray(labels)
    top1, top5 = (rank < 1), (rank < 5)
    per_class = [top1[labels == label].mean() for label in np.unique(labels)]
    found = {"top1": float(top1.mean())}
    if np.shape(logits)[1] >= TOP5_CLASSES:
        found["top5"] = float(top5.mean())
        found["average"] = float((top1.mean() + top5.mean()) / 2)
    return {**found, "mean_class_accuracy": float(np.mean(per_class))}


def pair_accuracy(logits: ArrayLike, labels: ArrayLike, pair: tuple[int, int]) -> float:
    """Accuracy on the videos of two classes, if the model chooses only between these two."""
    logits, labels = np.asarray(logits), np.asarray(labels)
    of_pair = np.isin(labels, pair)
    if not of_pair.any():
        raise ValueError(f"no video is of the classes of `pair`. Received: pair={tuple(pair)}")
    chosen = np.asarray(pair)[logits[of_pair][:, list(pair)].argmax(axis=1)]
    return float((chosen == labels[of_pair]).mean())


def confusion_matrix(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Counts `(classes, classes)`: rows are the true classes, columns the predicted ones."""
    logits = np.asarray(logits)
    counts = np.zeros((logits.shape[1],) * 2, np.int64)
    np.add.at(counts, (np.asarray(labels), logits.argmax(axis=1)), 1)
    return counts


def class_accuracy(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Top-1 accuracy of each class, `(classes,)`; NaN for a class without a video."""
    labels, classes = np.asarray(labels), np.shape(logits)[1]
    right = np.bincount(labels, ranks(logits, labels) < 1, minlength=classes)
    videos = np.bincount(labels, minlength=classes)
    return np.divide(right, videos, out=np.full(classes, np.nan), where=videos > 0)


def precision_recall_f1(
    logits: ArrayLike, labels: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of each class, `(classes,)`; NaN where 0 is divided by 0."""
    counts = confusion_matrix(logits, labels)
    right, videos, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)

    def share(part, whole):
        return np.divide(part, whole, out=np.full(len(counts), np.nan), where=whole > 0)

    return share(right, predicted), share(right, videos), share(2 * right, videos + predicted)


def losses(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Cross entropy of each video in nats, `(videos,)`."""
    scores = log_softmax(logits)
    return -np.take_along_axis(scores, np.asarray(labels)[:, None], axis=1)[:, 0]


def log_softmax(logits: ArrayLike) -> np.ndarray:
    """Logarithms of the probabilities, float64 `(videos, classes)`."""
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
