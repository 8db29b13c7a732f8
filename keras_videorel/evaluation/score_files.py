"""Files of a model's scores for each video of a split, for fusion and comparison.

A file is an `.npz` of plain arrays (no pickles): the fields of `Scores`, with text as NumPy's
strings and the settings as JSON. `config_hash` and `settings` are optional.
"""

import io
import json
import os
from typing import NamedTuple

import numpy as np

from keras_videorel.files import atomic_write, read_bytes


class Scores(NamedTuple):
    """A model's scores of videos."""

    paths: list[str]  # names of the clips, unique within a split
    labels: np.ndarray  # int64 (videos,)
    # float32 (videos, classes), before the softmax. If views are averaged after the softmax, they
    # are the logarithms of the mean probabilities.
    logits: np.ndarray
    classes: list[str]  # names of the classes
    config_hash: str  # `runs.config.config_hash` of the run's config; empty if unknown
    # How the scores were made: clips, crops, split, fold, stream, average ("logits" or
    # "probabilities" of the views), and other facts.
    settings: dict


def write_scores(path: str | os.PathLike, scores: Scores) -> None:
    """Write a file of `Scores`; a `ValueError` if the fields do not fit together."""
    _check(scores)
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            paths=np.array(scores.paths, np.str_),
            labels=np.asarray(scores.labels, np.int64),
            logits=np.asarray(scores.logits, np.float32),
            classes=np.array(scores.classes, np.str_),
            config_hash=np.array(scores.config_hash, np.str_),
            settings=np.array(json.dumps(scores.settings), np.str_),
        )


def read_scores(path: str | os.PathLike) -> Scores:
    """The `Scores` of a local or remote file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file holds no valid scores.
    """
    content = read_bytes(path)
    try:
        scores = _parse(content)
        _check(scores)
    except Exception as error:  # damaged files raise many kinds of errors
        reason = str(error) or type(error).__name__
        raise ValueError(f"{str(path)!r} is not a file of scores: {reason}") from error
    return scores


def _parse(content):
    arrays = np.load(io.BytesIO(content), allow_pickle=False)
    if isinstance(arrays, np.ndarray):
        raise ValueError("it holds a single array")
    missing = [key for key in ("paths", "labels", "logits", "classes") if key not in arrays]
    if missing:
        raise ValueError(f"it has no {', '.join(missing)}")
    arrays = {key: arrays[key] for key in Scores._fields if key in arrays}
    text = ("paths", "classes", "config_hash", "settings")
    wrong = [key for key, array in arrays.items() if (array.dtype.kind == "U") != (key in text)]
    if wrong:
        raise ValueError(f"its {wrong[0]} are of type {arrays[wrong[0]].dtype}")
    return Scores(
        arrays["paths"].tolist(),
        arrays["labels"],
        arrays["logits"],
        arrays["classes"].tolist(),
        str(arrays.get("config_hash", "")),
        _current(json.loads(str(arrays.get("settings", "{}")))),
    )


def _current(settings):
    """Settings with older names replaced."""
    if not isinstance(settings, dict):
        return settings
    found = {key: value for key, value in settings.items() if key not in ("side", "averaged")}
    if "side" in settings:
        found |= {"fold": settings.get("split"), "split": settings["side"]}
    if "averaged" in settings:
        found["average"] = "logits" if settings["averaged"] == "before" else "probabilities"
    if "fused" in settings:
        found["fused"] = [_current(member) for member in settings["fused"]]
    return found


def _check(scores):
    """Raise a `ValueError` if the fields do not fit together."""
    labels, logits = np.asarray(scores.labels), np.asarray(scores.logits)
    expected = (len(scores.paths), len(scores.classes))
    if logits.shape != expected or not np.issubdtype(logits.dtype, np.floating):
        raise ValueError(
            "`logits` must be floats of shape (videos, classes) = "
            f"{expected}. Received: {logits.dtype} of shape {logits.shape}"
        )
    if labels.shape != expected[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"`labels` must be integers of shape {expected[:1]}. "
            f"Received: {labels.dtype} of shape {labels.shape}"
        )
    if not len(labels):
        raise ValueError("`paths` must name at least one video. Received: none")
    if labels.min() < 0 or labels.max() >= expected[1]:
        raise ValueError(
            f"`labels` must lie between 0 and {expected[1] - 1}. "
            f"Received: {labels.min()} to {labels.max()}"
        )
    if not isinstance(scores.settings, dict):
        raise ValueError(f"`settings` must be a dict. Received: {scores.settings!r}")
