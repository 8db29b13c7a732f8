"""A run's newest checkpoint on the test views of its shards: metrics, scores, a report."""

import heapq
import json
import os

import numpy as np

from keras_videorel.data import pipeline
from keras_videorel.data.manifest import read_content, read_manifest
from keras_videorel.evaluation import scores
from keras_videorel.evaluation.metrics import confusion_matrix, losses
from keras_videorel.evaluation.videos import video_metrics, video_scores
from keras_videorel.files import write_json
from keras_videorel.reporting import charts, report
from keras_videorel.runs import workdir
from keras_videorel.runs.config import clip_spec
from keras_videorel.runs.train import load_model


def evaluate(config, folder, scores_path=None, split="test", report_folder=None, on_results=None):
    """Evaluate a run's newest checkpoint on the test views of its shards.

    Args:
        config: The run's config; `config.eval` and `config.data.path` may differ from training.
        folder: The run's folder. Gains `results.json` and `figures/confusion.png`.
        scores_path: Optional `.npz` to write, see `keras_videorel.evaluation.scores`.
        split: The split to read.
        report_folder: Optional folder for `report.html` and its charts.
        on_results: Optional function, called with what is returned before it is written, so that
            it is not lost where that fails.

    Returns:
        A dict: the metrics of `accuracy`, `videos`, `views`, `epochs`, `chance`.

    Raises:
        ValueError, OSError: On bad input, with one line that says what to do.
    """
    info = read_manifest(config.data.path, config.data.fold)
    labels = workdir.read_labels(folder)
    workdir.check_shards(folder, info)
    model, epochs = load_model(folder, config)
    views = pipeline.clip_views(
        info, clip_spec(config), split, clips=config.eval.clips, crops=config.eval.crops
    )
    hardest = None if report_folder is None else _HardestClips(config.data)
    logits, targets, paths = video_scores(
        model,
        views,
        config.eval.clips,
        config.eval.batch_size,
        config.eval.average,
        info.clips.get(split),
        hardest,
    )
    results = {
        **video_metrics(logits, targets, config.eval.clips, config.eval.crops),
        "epochs": epochs,
    }
    if on_results is not None:
        on_results(results)
    found = scores.Scores(
        paths,
        targets,
        logits,
        labels,
        scores.config_hash(config),
        {
            "model": model.name,
            "clips": config.eval.clips,
            "crops": config.eval.crops,
            "fold": config.data.fold,
            "split": split,
            "stream": config.data.stream,
            "average": config.eval.average,
            "epochs": epochs,
        },
    )
    if scores_path is not None:
        scores.write(scores_path, found)
    if report_folder is not None:
        report.write_report(
            report_folder,
            os.path.basename(os.path.abspath(folder)),
            [found],
            log=os.path.join(folder, "logs", "train.csv"),
            thumbnail=hardest.thumbnail,
            config=json.loads(config.to_json()),
            training_clips=_training_clips(folder),
        )
    # Last, since the run may be in a folder that is only read.
    write_json(os.path.join(folder, "results.json"), results)
    confusion = charts.confusion(confusion_matrix(logits, targets), labels)
    charts.save(confusion, os.path.join(folder, "figures", "confusion.png"))
    return results


def _training_clips(folder):
    """Clips of each class that a run was trained on, a dict; None where its shards are gone."""
    data = workdir.read_config(folder).data
    try:
        content = read_content(data.path)
        if data.fold not in (0, content["options"].get("split", 1)):
            return None
        return content["splits"]["train"]["clips_per_label"]
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
