"""A run's folder: its config, checkpoints, logs and results.

WORKDIR/config.json                       what was run
WORKDIR/history.json                      which keys changed, and after which epoch
WORKDIR/frames.json                       the `ClipSpec`: how samples are taken from videos
WORKDIR/labels.txt                        names of the classes, in index order
WORKDIR/checkpoints/epoch-0012.weights.h5 weights and optimizer after 12 epochs
WORKDIR/checkpoints/epoch-0012-step-000500.weights.h5  and 500 steps of the next one
WORKDIR/logs/                             train.csv, TensorBoard events
WORKDIR/figures/                          curves.png, confusion.png
WORKDIR/results.json                      what evaluate measured
"""

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
_OVERRIDABLE = ("data.", "train.", "eval.")


class Checkpoint(NamedTuple):
    """A checkpoint: whole epochs done, steps done of the next one, and the file."""

    epochs: int
    steps: int
    path: str


NOTHING = Checkpoint(0, 0, "")  # of a run that has none yet


def open_run(workdir, config, info, write=True, override=False):
    """Begin a run in a folder, or find the run of the same config there.

    Args:
        workdir: The folder.
        config: The run's config.
        info: The `Manifest` of its shards: their labels and frame size are kept, so that the
            run can be exported where the shards are not.
        write: Whether to write what the folder lacks; a worker that does not only compares.
        override: Whether keys of `config.data`, `config.train` and `config.eval` may differ.

    Raises:
        ValueError: If the folder holds a run of another config, or of other shards.
    """
    path = os.path.join(workdir, "config.json")
    ours = json.loads(config.to_json())
    if os.path.exists(path):
        theirs = _stored_config(path)
        changes = list(_differences(theirs, ours))
        refused = [
            (key, *values)
            for key, *values in changes
            if key not in _FREE_KEYS  # a finished run may go on
            and not (override and key.startswith(_OVERRIDABLE))
        ]
        if refused:
            differences = "; ".join(f"{key} is {a!r} there and {b!r} here" for key, a, b in refused)
            remedy = "Choose another --workdir, or delete that one"
            if all(key.startswith(_OVERRIDABLE) for key, *_ in refused):
                remedy = "Choose another --workdir, or go on with these values by --override"
            raise ValueError(f"{workdir!r} holds a run of another config: {differences}. {remedy}")
        check_shards(workdir, info)
    elif write:
        write_class_names(os.path.join(workdir, "labels.txt"), info.labels)
    if write and os.path.exists(path) and changes:
        _note_changes(workdir, changes)
    if write:
        clip = clip_spec(config, info.frame_size)
        write_json(os.path.join(workdir, "frames.json"), clip.to_json())
        write_json(path, ours)


def check_shards(workdir, info):
    """Check that shards have the classes and the frames that a run was trained on.

    Args:
        workdir: The run's folder.
        info: The `Manifest` of the shards.

    Raises:
        ValueError: If class names, their order, or the size of the frames differ.
    """
    labels, size = read_labels(workdir), read_frame_size(workdir)
    if info.labels != labels:
        raise ValueError(
            f"the shards in {info.path!r} have other classes than the run in {workdir!r} was "
            f"trained on: {_first_difference(info.labels, labels)}"
        )
    if info.frame_size != size:
        raise ValueError(
            f"the shards in {info.path!r} have frames of another size than the run in {workdir!r} "
            f"was trained on: {_size(info.frame_size)} against {_size(size)}. Make shards of that "
            f"size from the same videos: `videorel make-tfrecords --{_size(size)}`"
        )


def _first_difference(theirs, ours):
    if len(theirs) != len(ours):
        return f"{len(theirs)} classes against {len(ours)}"
    place = next(i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b)
    return f"class {place} is {theirs[place]!r} against {ours[place]!r}"


def _size(size):
    """The size of stored frames as make-tfrecords takes it."""
    return f"short_side {size}" if isinstance(size, int) else "resize {}x{}".format(*size)


def _note_changes(workdir, changes):
    """Add to the run's history which keys have other values from here on."""
    path = os.path.join(workdir, "history.json")
    history = read_json(path) if os.path.exists(path) else []
    if not isinstance(history, list):
        raise ValueError(f"{path!r} is damaged: it must hold a list. Received: {history!r:.50}")
    done = [(found.epochs, found.steps) for found in checkpoints(workdir)[:1]] or [(0, 0)]
    note = {"epochs": done[0][0], "steps": done[0][1]}
    note["changes"] = {key: {"from": before, "to": after} for key, before, after in changes}
    write_json(path, [*history, note])


def read_config(workdir):
    """The config of a run, locked.

    Raises:
        FileNotFoundError: If the folder holds no run.
    """
    path = os.path.join(workdir, "config.json")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{workdir!r} holds no training run (no config.json)")
    return as_config(_tuples(_stored_config(path)))


def read_labels(workdir):
    """Names of a run's classes, in index order."""
    return read_class_names(os.path.join(workdir, "labels.txt"))


def read_frame_size(workdir):
    """Size of the frames that a run was trained on: `(height, width)`, or the shorter side."""
    path = os.path.join(workdir, "frames.json")
    content = read_json(path)
    size = content.get("frame_size") if isinstance(content, dict) else None
    sides = size if isinstance(size, list) and len(size) == 2 else [size]
    if not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(
            f"{path!r} is damaged: its frame_size must be the shorter side, or [height, width]. "
            f"Received: {content!r:.50}"
        )
    return size if isinstance(size, int) else tuple(size)


def read_clip_spec(workdir, config=None):
    """The `ClipSpec` of a run.

    Args:
        workdir: The run's folder.
        config: The run's config as a command was given it, which must take the same samples.

    Raises:
        ValueError: If the config takes others.
    """
    size = read_frame_size(workdir)
    clip = clip_spec(read_config(workdir), size)
    if config is not None and clip_spec(config, size) != clip:
        raise ValueError(
            f"the config must take samples as the run in {workdir!r} was trained on: {clip}. "
            f"Received: {clip_spec(config, size)}"
        )
    return clip


def checkpoints(workdir):
    """A run's `Checkpoint`s, newest first."""
    found = []
    folder = os.path.join(workdir, "checkpoints")
    for name in list_folder(folder):
        match = re.fullmatch(r"epoch-(\d+)(?:-step-(\d+))?\.weights\.h5", name)
        if match:
            path = os.path.join(folder, name)
            found.append(Checkpoint(int(match[1]), int(match[2] or 0), path))
    return sorted(found, reverse=True)


def save_checkpoint(model, workdir, epochs, steps=0, metrics=()):
    """Save weights and optimizer; inside an epoch, also its sums of loss and metrics.

    The file is written beside and renamed: a kill at any moment leaves those before it.

    Args:
        model: The compiled `keras.Model`.
        workdir: The run's folder.
        epochs: Whole epochs done.
        steps: Steps done of the next one.
        metrics: Values of the metrics' variables after them.

    Raises:
        OSError: If it cannot be written.
    """
    part = f"-step-{steps:06d}" if steps else ""
    path = os.path.join(workdir, "checkpoints", f"epoch-{epochs:04d}{part}.weights.h5")
    try:
        with atomic_write(path) as temporary:
            preallocate(temporary, _checkpoint_size(model))  # HDF5 crashes where a write fails
            model.save_weights(temporary)
            if steps:
                with h5py.File(temporary, "a") as file:
                    file[_METRICS] = metrics
    except OSError as error:
        raise OSError(
            f"the checkpoint {path!r} could not be written ({error}). Those before it are kept: "
            "make room, and the same command goes on from them"
        ) from error


def _checkpoint_size(model):
    """Bytes that a checkpoint takes, or somewhat more."""
    optimizer = model.optimizer
    stored = [*model.variables, *optimizer.variables]
    if hasattr(optimizer, "inner_optimizer"):  # of loss scaling
        stored += optimizer.inner_optimizer.variables  # Keras stores them twice
    return sum(math.prod(v.shape) * 4 + 8192 for v in stored)


def load_checkpoint(model, workdir):
    """Load the newest checkpoint that is whole into a model, with the optimizer if compiled.

    Returns:
        The `Checkpoint`; one of 0 epochs and 0 steps, and the model as it was, if there is none.

    Raises:
        ValueError: If the checkpoints are of another model.
    """
    reasons = []
    for checkpoint in checkpoints(workdir):
        try:
            with warnings.catch_warnings():
                # Keras only warns where a file lacks a layer, and leaves its weights random.
                warnings.simplefilter("error", UserWarning)
                model.load_weights(checkpoint.path)
            return checkpoint
        except OSError as error:  # a file cut short by a full disk: the one before it is whole
            reasons.append(f"{checkpoint.path}: {error}")
        except (ValueError, UserWarning) as error:
            raise ValueError(
                f"{checkpoint.path!r} is a checkpoint of another model than {model.name!r}: {error}"
            ) from error
    if reasons:
        raise ValueError(f"no checkpoint can be read: {'; '.join(reasons)}")
    return NOTHING


def epoch_metrics(checkpoint):
    """Sums of loss and metrics over the epoch that a checkpoint is inside of, or nothing."""
    if not checkpoint.steps:
        return []
    with h5py.File(checkpoint.path) as file:
        return list(file[_METRICS])


def _stored_config(path):
    """A stored config with the keys that it lacks: those that came later, at their defaults."""
    config = read_json(path)
    if not isinstance(config, dict) or not all(
        isinstance(config.get(group, {}), dict) for group in ("data", "train", "eval")
    ):
        raise ValueError(f"{path!r} is damaged: it must hold a config. Received: {config!r:.50}")
    model = config.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("name"), str):
        raise ValueError(f"{path!r} is damaged: it must hold a model. Received: {model!r:.50}")
    defaults = json.loads(base(model=model).to_json())
    for group, values in defaults.items():
        if isinstance(values, dict) and group != "model":
            stored = config.get(group, {}).items()
            config[group] = {**values, **dict(present_name(values, *item) for item in stored)}
    return {**defaults, **config}


def _differences(theirs, ours, prefix=""):
    for key in sorted({*theirs, *ours}):
        a, b = theirs.get(key), ours.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            yield f"{prefix}{key}", a, b


def _tuples(value):
    """JSON has lists where configs have tuples."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
