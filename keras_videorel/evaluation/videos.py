"""Scores of videos over their test views, and the metrics of both papers."""

import os
from collections.abc import Callable, Iterable

import keras
import numpy as np
from tqdm import tqdm

from keras_videorel.checks import check_choice, check_integer
from keras_videorel.clip_spec import ClipSpec
from keras_videorel.data import pipeline
from keras_videorel.data.manifest import read_manifest
from keras_videorel.evaluation.metrics import accuracy, log_softmax


def evaluate_videos(
    model: keras.Model,
    path: str | os.PathLike,
    clip: ClipSpec,
    clips: int = 25,
    crops: int = 10,
    split: str = "test",
    batch_size: int = 64,
    average: str = "logits",
    *,
    fold: int = 0,
) -> dict:
    """Evaluate a classifier on many views of each video (ARTNet, Sec. 3.3, testing).

    The scores of a video are the mean of the model's outputs over its views. The class with the
    highest score is the prediction. The outputs may be logits, as in the papers, or probabilities.

    Args:
        model: A Keras model from samples of `clip.shape` to logits or probabilities.
        path: A folder of shards.
        clip: The `ClipSpec` that the model was trained with.
        clips: Number of clips at equal distances (25 in ARTNet's paper), or of groups of snippets
            (4 in Relational LSTM's paper).
        crops: 1, 5 or 10 crops of each clip.
        split: The split to read.
        batch_size: Views in a batch of the model.
        average: `"logits"`: average the model's outputs as they are. `"probabilities"`: apply a
            softmax to logits before averaging.
        fold: Number of the official split; 0: the one that the shards were made for.

    Returns:
        A dict of the metrics of `evaluation.metrics.accuracy`, `chance`, `videos`, `clips` and
        `crops`.

    Raises:
        FileNotFoundError: If the folder holds no shards.
        ValueError: If the model takes other samples or has other classes, or an argument is out of
            range.
    """
    info = read_manifest(path, fold)
    clip.check_model(model)
    if model.output_shape[-1] != len(info.labels):
        raise ValueError(
            f"`model` must have the {len(info.labels)} classes of the shards in {path!r}. "
            f"Received: output_shape={model.output_shape}"
        )
    views = pipeline.clip_views(info, clip, split, clips=clips, crops=crops)
    scores, labels, _ = video_scores(model, views, clips, batch_size, average, info.clips[split])
    return video_metrics(scores, labels, clips, crops)


def video_metrics(scores: np.ndarray, labels: np.ndarray, clips: int, crops: int) -> dict:
    """The result of `evaluate_videos`, from the scores of videos."""
    if not len(labels):
        raise ValueError("`split` must have videos. Received: none")
    return {
        **accuracy(scores, labels),
        "chance": 1 / scores.shape[-1],
        "videos": len(labels),
        "clips": clips,
        "crops": crops,
    }


def video_scores(
    model: keras.Model,
    views: Iterable,
    clips: int = 1,
    batch_size: int = 64,
    average: str = "logits",
    total: int | None = None,
    on_video: Callable | None = None,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Scores of each video: the mean over its views.

    Args:
        model: See `evaluate_videos`.
        views: Elements `(views, label, path)`, as from `pipeline.clip_views`.
        clips: Number of consecutive elements of `views` that belong to a video.
        batch_size: Views in a batch of the model.
        average: See `evaluate_videos`. With `"probabilities"`, scores are the logarithms of the
            mean probabilities.
        total: Number of videos, for the progress bar.
        on_video: Optional function of a video's scores, label, path and views of its first clip.

    Returns:
        `(scores, labels, paths)`: float32 `(videos, classes)`, int64 `(videos,)` and strings.
    """
    check_choice("average", average, ("logits", "probabilities"))
    check_integer("batch_size", batch_size, min_value=1)
    score = _compiled(model)
    scores, labels, paths = [], [], []
    clip_scores: list[np.ndarray] = []  # of the clips of a video so far
    with tqdm(total=total, unit="video", desc="evaluate") as bar:
        for taken, label, path in views:
            batches = range(0, len(taken), batch_size)
            scored = np.concatenate([np.asarray(score(taken[i : i + batch_size])) for i in batches])
            scored = scored.astype(np.float32)
            if not clip_scores:
                first = taken
            if average == "probabilities" and not _are_probabilities(scored):
                scored = np.exp(log_softmax(scored))
            clip_scores.append(scored.mean(axis=0))
            if len(clip_scores) < clips:
                continue
            video = np.mean(clip_scores, axis=0)
            if average == "probabilities":
                video = np.log(np.maximum(video, 1e-30))
            clip_scores = []
            scores.append(video)
            labels.append(int(label))
            paths.append(path.numpy().decode("utf-8", "surrogateescape"))
            if on_video is not None:
                on_video(video, labels[-1], paths[-1], first)
            bar.update()
    return np.array(scores, np.float32), np.array(labels, np.int64), paths


def _are_probabilities(scores):
    """Whether rows are outputs of a softmax, with the precision of 16 bits."""
    return scores.min() >= 0 and np.allclose(scores.sum(axis=-1), 1, atol=0.02)


def _compiled(model):
    """The model's inference as a compiled function."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda clips: model(clips, training=False), reduce_retracing=True)
    return model.predict_on_batch
