"""A run's folder: its config, checkpoints, logs and results.

WORKDIR/config.json                       the config
WORKDIR/history.json                      which keys changed, and after which epoch
WORKDIR/frames.json                       the `ClipSpec`: how samples are taken from videos
WORKDIR/labels.txt                        names of the classes, in index order
WORKDIR/checkpoints/epoch-0012.weights.h5 weights and optimizer after 12 epochs
WORKDIR/checkpoints/epoch-0012-step-000500.weights.h5  and 500 steps of the next one
WORKDIR/logs/                             train.csv, TensorBoard events
WORKDIR/figures/                          curves.png, confusion.png
WORKDIR/results.json                      the metrics of the last evaluation
"""

import contextlib
import csv
import json
import math
import os
import re
import warnings
from typing import NamedTuple

import h5py

from keras_videorel.data.manifest import read_class_names, write_class_names
from keras_videorel.files import atomic_write, list_folder, preallocate, read_json, write_json
from keras_videorel.runs.config import as_config, base, clip_spec, present_name

_METRICS = "epoch_metrics"  # in the file of a checkpoint
# Keys of the config that may change from one start of a run to the next.
_FREE_KEYS = ("train.epochs", "train.checkpoint_steps")
_GROUPS = ("data", "train", "eval")


class Checkpoint(NamedTuple):
    """A checkpoint: whole epochs done, steps done of the next one, and the file."""

    epochs: int
    steps: int
    path: str


NOTHING = Checkpoint(0, 0, "")  # of a run without checkpoints


def open_run(folder, config, info, write=True, override=False):
    """Begin a run in a folder, or check that the folder holds a run of the same config.

    Args:
        folder: The run's folder.
        config: The run's config.
        info: The `Manifest` of the shards. The run stores the labels and the frame size, so that
            it can be exported without the shards.
        write: Whether to write files that the folder lacks.
        override: Whether keys of `config.data`, `config.train` and `config.eval` may differ.

    Raises:
        ValueError: If the folder holds a run of another config, or of other shards.
    """
    path = os.path.join(folder, "config.json")
    content, changes = json.loads(config.to_json()), []
    if os.path.exists(path):
        changes = list(_differences(_stored_config(path), content))
        _check_changes(folder, changes, override)
        check_shards(folder, info)
    elif write:
        write_class_names(os.path.join(folder, "labels.txt"), info.labels)
    if write:
        if changes:
            _note_changes(folder, changes)
        clip = clip_spec(config, info.frame_size)
        write_json(os.path.join(folder, "frames.json"), clip.to_json())
        write_json(path, content)


def _check_changes(folder, changes, override):
    refused = [change for change in changes if change[0] not in _FREE_KEYS]
    fixed = [change for change in refused if change[0].split(".")[0] not in _GROUPS]
    refused = fixed if override else refused
    if refused:
        differences = "; ".join(f"{key} is {a!r} there and {b!r} here" for key, a, b in refused)
        remedy = "delete that one" if fixed else "go on with these values by --override"
        raise ValueError(
            f"{folder!r} holds a run of another config: {differences}. "
            f"Choose another --workdir, or {remedy}"
        )


def check_shards(folder, info):
    """Refuse shards whose classes or frame size differ from the shards a run was trained on."""
    labels, size = read_labels(folder), read_frame_size(folder)
    if info.labels != labels:
        difference = f"{len(info.labels)} classes against {len(labels)}"
        if len(info.labels) == len(labels):
            pairs = enumerate(zip(info.labels, labels, strict=True))
            difference = next(f"class {i} is {a!r} against {b!r}" for i, (a, b) in pairs if a != b)
        raise ValueError(
            f"the shards in {info.path!r} have other classes than the run in {folder!r} was "
            f"trained on: {difference}"
        )
    if info.frame_size != size:
        own, needed = (
            f"short_side {size}" if isinstance(size, int) else "resize {}x{}".format(*size)
            for size in (info.frame_size, size)
        )
        raise ValueError(
            f"the shards in {info.path!r} have frames of another size than the run in {folder!r} "
            f"was trained on: {own} against {needed}. Make shards of that size from the same "
            f"videos: `videorel make-tfrecords --{needed}`"
        )


def _note_changes(folder, changes):
    """Note in the run's history which keys have other values from now on."""
    path = os.path.join(folder, "history.json")
    history = read_json(path) if os.path.exists(path) else []
    if not isinstance(history, list):
        raise ValueError(f"{path!r} is damaged: it must hold a list. Received: {history!r:.50}")
    done = next(iter(checkpoints(folder)), NOTHING)
    note = {"epochs": done.epochs, "steps": done.steps}
    note["changes"] = {key: {"from": before, "to": after} for key, before, after in changes}
    write_json(path, [*history, note])


def read_config(folder):
    """The config of a run, a locked `ConfigDict`."""
    path = os.path.join(folder, "config.json")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{folder!r} holds no training run (no config.json)")
    return as_config(_tuples(_stored_config(path)))


def read_labels(folder):
    """Names of a run's classes, in index order."""
    return read_class_names(os.path.join(folder, "labels.txt"))


def read_frame_size(folder):
    """Size of the stored frames of a run: `(height, width)`, or the shorter side."""
    path = os.path.join(folder, "frames.json")
    content = read_json(path)
    size = content.get("frame_size") if isinstance(content, dict) else None
    sides = size if isinstance(size, list) and len(size) == 2 else [size]
    if not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(
            f"{path!r} is damaged: its frame_size must be the shorter side, or [height, width]. "
            f"Received: {content!r:.50}"
        )
    return size if isinstance(size, int) else tuple(size)


def read_clip_spec(folder, config=None):
    """The `ClipSpec` of a run; a `ValueError` if the one of `config` differs."""
    size = read_frame_size(folder)
    clip = clip_spec(read_config(folder), size)
    if config is not None and clip_spec(config, size) != clip:
        raise ValueError(
            f"the config must take samples as the run in {folder!r} was trained on: {clip}. "
            f"Received: {clip_spec(config, size)}"
        )
    return clip


def checkpoints(folder):
    """A run's `Checkpoint`s, newest first."""
    found = []
    folder = os.path.join(folder, "checkpoints")
    for name in list_folder(folder):
        match = re.fullmatch(r"epoch-(\d+)(?:-step-(\d+))?\.weights\.h5", name)
        if match:
            path = os.path.join(folder, name)
            found.append(Checkpoint(int(match[1]), int(match[2] or 0), path))
    return sorted(found, reverse=True)


def save_checkpoint(model, folder, epochs, steps=0, metrics=()):
    """Save weights and optimizer, and delete all checkpoints but the last two.

    Inside an epoch, `metrics`, the values of the metrics' variables, are saved too. If the process
    is killed here, the older checkpoints remain.
    """
    part = f"-step-{steps:06d}" if steps else ""
    path = os.path.join(folder, "checkpoints", f"epoch-{epochs:04d}{part}.weights.h5")
    try:
        with atomic_write(path) as temporary:
            preallocate(temporary, _checkpoint_size(model))  # HDF5 crashes if a write fails
            model.save_weights(temporary)
            if steps:
                with h5py.File(temporary, "a") as file:
                    file[_METRICS] = metrics
    except OSError as error:
        raise OSError(
            f"the checkpoint {path!r} could not be written ({error}). Older ones are kept: "
            "make room, and the same command goes on from them"
        ) from error
    for checkpoint in checkpoints(folder)[2:]:
        os.remove(checkpoint.path)


def _checkpoint_size(model):
    """Bytes of a checkpoint, rounded up."""
    optimizer = model.optimizer
    stored = [*model.variables, *optimizer.variables]
    if hasattr(optimizer, "inner_optimizer"):  # loss scaling: Keras stores its variables twice
        stored += optimizer.inner_optimizer.variables
    return sum(math.prod(v.shape) * 4 + 8192 for v in stored)


def load_checkpoint(model, folder):
    """Load the newest readable checkpoint into a model and, if it is compiled, its optimizer.

    Returns:
        The `Checkpoint`, or `NOTHING` if there is none. The model is then left as it was.
    """
    reasons = []
    for checkpoint in checkpoints(folder):
        try:
            with warnings.catch_warnings():
                # If a file lacks a layer, Keras only warns and leaves the weights random.
                warnings.simplefilter("error", UserWarning)
                model.load_weights(checkpoint.path)
            return checkpoint
        except OSError as error:  # a full disk cut the file short; the one before it is whole
            reasons.append(f"{checkpoint.path}: {error}")
        except (ValueError, UserWarning) as error:
            raise ValueError(
                f"{checkpoint.path!r} is a checkpoint of another model than {model.name!r}: {error}"
            ) from error
    if reasons:
        raise ValueError(f"no checkpoint can be read: {'; '.join(reasons)}")
    return NOTHING


def epoch_metrics(checkpoint):
    """The metrics' totals of the unfinished epoch of a checkpoint."""
    if not checkpoint.steps:
        return []
    with h5py.File(checkpoint.path) as file:
        return list(file[_METRICS])


def log_path(folder):
    """The CSV log of a run."""
    return os.path.join(folder, "logs", "train.csv")


def read_log(folder):
    """The log of a run: a dict from columns to lists of `(epoch, value)`, epochs from 1."""
    path, columns = log_path(folder), {}
    header, rows = _log_rows(path) if os.path.exists(path) else ([], [])
    for epoch, *row in rows:
        for name, text in zip(header[1:], row, strict=True):
            with contextlib.suppress(ValueError):  # "NA" of a metric that a row lacks
                columns.setdefault(name, []).append((int(epoch) + 1, float(text)))
    return columns


def truncate_log(folder, first_epoch):
    """Drop the rows of a log from `first_epoch` on, which training will write again."""
    path = log_path(folder)
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return
    header, rows = _log_rows(path)
    kept = [row for row in rows if int(row[0]) < first_epoch]
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows([header, *kept] if kept else [])


def _log_rows(path):
    """`(header, rows)` of a log, without a row that a killed process left incomplete."""
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    return header, [row for row in rows if len(row) == len(header) and row[0].isdecimal()]


def _stored_config(path):
    """A stored config, with the defaults of keys that were introduced later."""
    config = read_json(path)
    try:
        model = {**config["model"], "name": str(config["model"]["name"])}
        defaults = json.loads(base(model=model).to_json())
        groups = {
            name: defaults[name]
            | dict(present_name(defaults[name], *item) for item in config.get(name, {}).items())
            for name in _GROUPS
        }
    except (KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{path!r} is damaged: it must hold a config with a model. Received: {config!r:.50}"
        ) from None
    return {**defaults, **config, **groups}


def _differences(theirs, ours, prefix=""):
    for key in sorted({*theirs, *ours}):
        a, b = theirs.get(key), ours.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            yield f"{prefix}{key}", a, b


def _tuples(value):
    """Turn the lists of JSON into tuples, which configs hold."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
