"""Evaluate a run: metrics, scores and a report."""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Callable

import keras
import numpy as np
from ml_collections import ConfigDict

from keras_videorel.data import pipeline
from keras_videorel.data.manifest import read_manifest
from keras_videorel.evaluation import score_files
from keras_videorel.evaluation.metrics import confusion_matrix, losses
from keras_videorel.evaluation.videos import video_metrics, video_scores
from keras_videorel.files import write_json
from keras_videorel.reporting import charts, report
from keras_videorel.runs import workdir
from keras_videorel.runs.config import clip_spec, config_hash
from keras_videorel.runs.networks import load_model


def evaluate(
    config: ConfigDict,
    folder: str | os.PathLike,
    scores_path: str | os.PathLike | None = None,
    split: str = "test",
    report_folder: str | os.PathLike | None = None,
    on_results: Callable[[dict], None] | None = None,
    model: keras.Model | Callable[[], keras.Model] | None = None,
) -> dict:
    """Evaluate a run's newest checkpoint on the test views of its shards.

    Args:
        config: The run's config; `config.eval` and `config.data.path` may differ from training.
        folder: The run's folder. Gains `results.json` and `figures/confusion.png`.
        scores_path: Optional `.npz` file to write, see `keras_videorel.evaluation.score_files`.
        report_folder: Optional folder for `report.html` and its charts.
        on_results: Optional function that gets the results before files are written. The results
            are then not lost if writing fails.
        model: The model that was given to `train`, if one was.

    Returns:
        A dict: the metrics of `evaluation.evaluate_videos`, and `epochs`.

    Raises:
        ValueError, OSError: On bad input, with one line that says what to do.
    """
    info = read_manifest(config.data.path, config.data.fold)
    labels = workdir.read_labels(folder)
    workdir.check_shards(folder, info)
    trained, epochs = load_model(folder, config, model)
    views = pipeline.clip_views(
        info, clip_spec(config), split, clips=config.eval.clips, crops=config.eval.crops
    )
    hardest = None if report_folder is None else _HardestClips(config.data)
    logits, targets, paths = video_scores(
        trained,
        views,
        config.eval.clips,
        config.eval.batch_size,
        config.eval.average,
        info.clips.get(split),
        hardest,
    )
    results = video_metrics(logits, targets, config.eval.clips, config.eval.crops)
    results["epochs"] = epochs
    if on_results is not None:
        on_results(results)
    settings = {
        "model": trained.name,
        "clips": config.eval.clips,
        "crops": config.eval.crops,
        "fold": config.data.fold,
        "split": split,
        "stream": config.data.stream,
        "average": config.eval.average,
        "epochs": epochs,
    }
    scores = score_files.Scores(paths, targets, logits, labels, config_hash(config), settings)
    if scores_path is not None:
        score_files.write_scores(scores_path, scores)
    if hardest is not None:
        report.write_report(
            report_folder,
            os.path.basename(os.path.abspath(folder)),
            [scores],
            log=workdir.read_log(folder),
            thumbnail=hardest.pictures.get,
            config=json.loads(config.to_json()),
            training_clips=_training_clips(folder),
        )
    # Last, since the run's folder may be read-only.
    write_json(os.path.join(folder, "results.json"), results)
    confusion = charts.confusion(confusion_matrix(logits, targets), labels)
    charts.save(confusion, os.path.join(folder, "figures", "confusion.png"))
    return results


def _training_clips(folder):
    """A dict from classes to training clips, or None if the run's shards are gone."""
    data = workdir.read_config(folder).data
    try:
        info = read_manifest(data.path, data.fold)
        # The manifest counts the classes only of the fold that the shards are named by.
        return None if info.fold else info.content["splits"]["train"]["clips_per_label"]
    except (OSError, ValueError, KeyError):
        return None


class _HardestClips:
    """An `on_video` of `video_scores` that keeps pictures of the videos of highest loss."""

    def __init__(self, data, frames=3):
        self._data, self._frames = data, frames
        self._heap = []  # of (loss, path), the lowest loss first
        self.pictures = {}

    def __call__(self, logits, label, path, views):
        loss = float(losses(logits[None], [label])[0])
        full = len(self._heap) == report.HARDEST
        if self._data.stream != "rgb" or (full and loss <= self._heap[0][0]):
            return
        if full:
            self.pictures.pop(heapq.heappop(self._heap)[1], None)
        heapq.heappush(self._heap, (loss, path))
        view = np.asarray(views[0])
        view = view.reshape(-1, *view.shape[-3:])  # (frames of all snippets, height, width, 3)
        chosen = [(2 * i + 1) * len(view) // (2 * self._frames) for i in range(self._frames)]
        pixels = view[chosen] * np.asarray(self._data.std) + np.asarray(self._data.mean)
        self.pictures[path] = report.strip(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
