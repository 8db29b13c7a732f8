"""Scores of videos over their test views, and the metrics of both papers."""

import os

import keras
import numpy as np
from tqdm import tqdm

from keras_videorel import figures, training, workdir
from keras_videorel.data import pipeline
from keras_videorel.files import write_json, written_whole
from keras_videorel.training import load_model


def video_scores(model, views, batch_size=64, total=None):
    """Scores of each video: the mean of its views' logits, before any softmax.

    Args:
        model: A `keras.Model` from clips, or groups of snippets, to logits.
        views: A dataset of `(views, label, path)` as `pipeline.evaluation_views` gives it.
        batch_size: Views in a batch of the model.
        total: Number of videos, for the progress bar.

    Returns:
        `(logits, labels, paths)`: float32 `(videos, classes)`, int64 `(videos,)` and a list of
        strings.
    """
    score = _compiled(model)
    logits, labels, paths = [], [], []
    for clips, label, path in tqdm(views, total=total, unit="video", desc="evaluate"):
        batches = range(0, len(clips), batch_size)
        scores = np.concatenate([np.asarray(score(clips[i : i + batch_size])) for i in batches])
        logits.append(scores.mean(axis=0))
        labels.append(int(label))
        paths.append(path.numpy().decode())
    return np.array(logits, np.float32), np.array(labels, np.int64), paths


def _compiled(model):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda clips: model(clips, training=False), reduce_retracing=True)
    return model.predict_on_batch


def accuracy(logits, labels):
    """Top-1, top-5, their average, and the mean of the classes' accuracies.

    Args:
        logits: Scores `(videos, classes)`.
        labels: Integers `(videos,)`.

    Returns:
        A dict of fractions: `top1`, `top5`, `average` (the metric of Kinetics, ARTNet
        Sec. 4.1) and `mean_class_accuracy` (over the classes that have a video).
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    # A class ranks behind those that score more, and behind equals of a lower index.
    order = np.argsort(-logits, axis=1, kind="stable")
    rank = np.argmax(order == labels[:, None], axis=1)
    top1, top5 = (rank < 1), (rank < 5)
    per_class = [top1[labels == label].mean() for label in np.unique(labels)]
    return {
        "top1": float(top1.mean()),
        "top5": float(top5.mean()),
        "average": float((top1.mean() + top5.mean()) / 2),
        "mean_class_accuracy": float(np.mean(per_class)),
    }


def pair_accuracy(logits, labels, pair):
    """Accuracy between two classes alone: which of them scores higher, on their videos.

    Args:
        logits: Scores `(videos, classes)`.
        labels: Integers `(videos,)`.
        pair: Indices of the two classes.

    Returns:
        A fraction; 0.5 is chance.

    Raises:
        ValueError: If no video is of either class.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    of_pair = np.isin(labels, pair)
    if not of_pair.any():
        raise ValueError(f"no video is of the classes of `pair`. Received: pair={tuple(pair)}")
    chosen = np.asarray(pair)[logits[of_pair][:, list(pair)].argmax(axis=1)]
    return float((chosen == labels[of_pair]).mean())


def confusion_matrix(logits, labels):
    """Counts `(classes, classes)`: rows are the true classes, columns the predicted ones."""
    logits = np.asarray(logits)
    counts = np.zeros((logits.shape[1],) * 2, np.int64)
    np.add.at(counts, (np.asarray(labels), logits.argmax(axis=1)), 1)
    return counts


def evaluate(config, folder, scores_path=None, split="test"):
    """Evaluate a run's newest checkpoint on the test views of its shards.

    Args:
        config: The run's config; `config.eval` and `config.data.path` may differ from training.
        folder: The run's folder. Gains `results.json` and `figures/confusion.png`.
        scores_path: Optional `.npz` to write: paths, labels, logits, names of the classes.
        split: The split to read.

    Returns:
        A dict: the metrics of `accuracy`, `videos`, `views`, `epochs`, `chance`.

    Raises:
        ValueError, OSError: On bad input, with one line that says what to do.
    """
    info = pipeline.read_info(config.data.path)
    labels = workdir.read_labels(folder)
    if info.labels != labels:
        raise ValueError(
            f"the shards in {info.path!r} have other classes than the run in {folder!r} was "
            f"trained on: {_first_difference(info.labels, labels)}"
        )
    model, epochs = load_model(folder, config)
    views = pipeline.evaluation_views(
        info, split, clips=config.eval.clips, crops=config.eval.crops,
        **training.clip_settings(config),
    )  # fmt: skip
    logits, targets, paths = video_scores(
        model, views, config.eval.batch_size, info.clips.get(split)
    )
    if not len(targets):
        raise ValueError(f"the {split!r} split of {info.path!r} has no videos")
    results = {
        **accuracy(logits, targets),
        "chance": 1 / len(labels),
        "videos": len(targets),
        "clips": config.eval.clips,
        "crops": config.eval.crops,
        "epochs": epochs,
    }
    write_json(os.path.join(folder, "results.json"), results)
    figures.save_confusion(
        confusion_matrix(logits, targets), labels, os.path.join(folder, "figures", "confusion.png")
    )
    if scores_path is not None:
        with written_whole(scores_path) as beside, open(beside, "wb") as file:
            np.savez(file, paths=paths, labels=targets, logits=logits, classes=labels)
    return results


def _first_difference(theirs, ours):
    if len(theirs) != len(ours):
        return f"{len(theirs)} classes against {len(ours)}"
    place = next(i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b)
    return f"class {place} is {theirs[place]!r} against {ours[place]!r}"
