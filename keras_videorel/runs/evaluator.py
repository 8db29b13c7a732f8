"""Scores of videos over their test views, and the metrics of both papers."""

import heapq
import json
import os

import keras
import numpy as np
from tqdm import tqdm

from keras_videorel.checks import check_choice
from keras_videorel.data import pipeline
from keras_videorel.evaluation import score_files
from keras_videorel.evaluation.metrics import accuracy, confusion_matrix, log_softmax, losses
from keras_videorel.files import read_json, write_json
from keras_videorel.reporting import figures, report
from keras_videorel.runs import workdir
from keras_videorel.runs.config import config_hash
from keras_videorel.runs.networks import load_model
from keras_videorel.runs.trainer import view_settings


def video_scores(
    model, views, batch_size=64, total=None, clips=1, averaged="before", on_video=None
):
    """Scores of each video: the mean of its views' logits, before any softmax.

    Args:
        model: A `keras.Model` from clips, or groups of snippets, to logits.
        views: A dataset of `(views, label, path)` as `pipeline.clip_views` gives it.
        batch_size: Views in a batch of the model.
        total: Number of videos, for the progress bar.
        clips: Consecutive elements of `views` that belong to a video.
        averaged: `"before"` the softmax, as in both papers, or `"after"`: then the scores are the
            logarithms of the mean probabilities.
        on_video: Optional function, called with logits, label, path and the first clip's views.

    Returns:
        `(logits, labels, paths)`: float32 `(videos, classes)`, int64 `(videos,)` and a list of
        strings.

    Raises:
        ValueError: If `averaged` is neither.
    """
    check_choice("averaged", averaged, ("before", "after"))
    score = _compiled(model)
    logits, labels, paths, clip_scores = [], [], [], []
    with tqdm(total=total, unit="video", desc="evaluate") as bar:
        for taken, label, path in views:
            batches = range(0, len(taken), batch_size)
            scored = np.concatenate([np.asarray(score(taken[i : i + batch_size])) for i in batches])
            scored = scored.astype(np.float32)
            if not clip_scores:
                first = taken
            clip_scores.append(
                scored.mean(axis=0)
                if averaged == "before"
                else np.exp(log_softmax(scored)).mean(axis=0)
            )
            if len(clip_scores) < clips:
                continue
            video = np.mean(clip_scores, axis=0)
            video = video if averaged == "before" else np.log(np.maximum(video, 1e-30))
            clip_scores = []
            logits.append(video)
            labels.append(int(label))
            paths.append(path.numpy().decode("utf-8", "surrogateescape"))
            if on_video is not None:
                on_video(video, labels[-1], paths[-1], first)
            bar.update()
    return np.array(logits, np.float32), np.array(labels, np.int64), paths


def _compiled(model):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda clips: model(clips, training=False), reduce_retracing=True)
    return model.predict_on_batch


def evaluate(
    config,
    folder,
    scores_path=None,
    split="test",
    report_folder=None,
    on_results=None,
    model=None,
):
    """Evaluate a run's newest checkpoint on the test views of its shards.

    Args:
        config: The run's config; `config.eval` and `config.data.path` may differ from training.
        folder: The run's folder. Gains `results.json` and `figures/confusion.png`.
        scores_path: Optional `.npz` to write, see `keras_videorel.evaluation.score_files`.
        split: The split to read.
        report_folder: Optional folder for `report.html` and its figures.
        on_results: Optional function, called with what is returned before it is written, so that
            it is not lost where that fails.
        model: As of `train`, where the run was trained with one.

    Returns:
        A dict: the metrics of `accuracy`, `videos`, `views`, `epochs`, `chance`.

    Raises:
        ValueError, OSError: On bad input, with one line that says what to do.
    """
    info = pipeline.read_info(config.data.path, config.data.split)
    labels = workdir.read_labels(folder)
    workdir.check_shards(folder, info)
    model, epochs = load_model(folder, config, model)
    views = pipeline.clip_views(
        info, split, clips=config.eval.clips, crops=config.eval.crops, **view_settings(config)
    )
    hardest = None if report_folder is None else _HardestClips(config.data)
    logits, targets, paths = video_scores(
        model,
        views,
        config.eval.batch_size,
        info.clips.get(split),
        config.eval.clips,
        config.eval.averaged,
        hardest,
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
    if on_results is not None:
        on_results(results)
    settings = {
        "model": model.name,
        "clips": config.eval.clips,
        "crops": config.eval.crops,
        "split": config.data.split,
        "side": split,
        "stream": config.data.stream,
        "averaged": config.eval.averaged,
        "epochs": epochs,
    }
    scores = score_files.Scores(paths, targets, logits, labels, config_hash(config), settings)
    if scores_path is not None:
        score_files.write_scores(scores_path, scores)
    if report_folder is not None:
        report.write_report(
            report_folder,
            os.path.basename(os.path.abspath(folder)),
            [scores],
            log=workdir.log_path(folder),
            thumbnail=hardest.thumbnail,
            config=json.loads(config.to_json()),
            training_clips=_training_clips(folder),
        )
    # Last, since the run may be in a folder that is only read.
    write_json(os.path.join(folder, "results.json"), results)
    figures.save_confusion(
        confusion_matrix(logits, targets), labels, os.path.join(folder, "figures", "confusion.png")
    )
    return results


def _training_clips(folder):
    """Clips of each class that a run was trained on, a dict; None where its shards are gone."""
    data = workdir.read_config(folder).data
    try:
        manifest = read_json(os.path.join(data.path, "dataset.json"))
        if data.split not in (0, manifest["options"].get("split", 1)):
            return None
        return manifest["splits"]["train"]["clips_per_label"]
    except (OSError, ValueError, KeyError):
        return None


class _HardestClips:
    """Keeps pictures of the videos of highest loss, from their views: `on_video`."""

    def __init__(self, data, count=12, frames=3):
        self._data, self._count, self._frames = data, count, frames
        self._kept = []  # a heap of (loss, path, picture)

    def __call__(self, logits, label, path, views):
        loss = float(losses(logits[None], [label])[0])
        if self._data.stream != "rgb" or (
            len(self._kept) == self._count and loss <= self._kept[0][0]
        ):
            return
        view = np.asarray(views[0])
        view = view.reshape(-1, *view.shape[-3:])  # (frames of all snippets, height, width, 3)
        chosen = [(2 * i + 1) * len(view) // (2 * self._frames) for i in range(self._frames)]
        pixels = view[chosen] * np.asarray(self._data.std) + np.asarray(self._data.mean)
        picture = report.strip(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
        push = heapq.heappush if len(self._kept) < self._count else heapq.heappushpop
        push(self._kept, (loss, path, picture))

    def thumbnail(self, path):
        return next((picture for _, kept, picture in self._kept if kept == path), None)
