"""A run's folder: its config, checkpoints, logs and results.

WORKDIR/config.json                       what was run
WORKDIR/frames.json                       size of the stored frames
WORKDIR/labels.txt                        names of the classes, in index order
WORKDIR/checkpoints/epoch-0012.weights.h5 weights and optimizer after 12 epochs
WORKDIR/logs/                             train.csv, TensorBoard events
WORKDIR/figures/                          curves.png, confusion.png
WORKDIR/results.json                      what evaluate measured
"""

import glob
import json
import os
import re
import warnings

from ml_collections import ConfigDict

from keras_videorel.config import base
from keras_videorel.files import read_json, write_json, written_whole


def open_run(workdir, config, info, write=True):
    """Begin a run in a folder, or find the run of the same config there.

    Args:
        workdir: The folder.
        config: The run's config.
        info: The `ShardInfo` of its shards: their labels and frame size are kept, so that the
            run can be exported where the shards are not.
        write: Whether to write what the folder lacks; a worker that does not only compares.

    Raises:
        ValueError: If the folder holds a run of another config or other labels.
    """
    path = os.path.join(workdir, "config.json")
    ours = json.loads(config.to_json())
    if os.path.exists(path):
        theirs = _with_defaults(read_json(path))
        differences = [
            f"{key} is {theirs_value!r} there and {ours_value!r} here"
            for key, theirs_value, ours_value in _differences(theirs, ours)
            if key != "train.epochs"  # a finished run may go on
        ]
        if differences:
            raise ValueError(
                f"{workdir!r} holds a run of another config: {'; '.join(differences)}. "
                "Choose another --workdir, or delete that one"
            )
        if read_labels(workdir) != info.labels:
            raise ValueError(
                f"{workdir!r} holds a run with other classes than the shards have. "
                "Choose another --workdir, or delete that one"
            )
    elif write:
        labels = os.path.join(workdir, "labels.txt")
        with written_whole(labels) as beside, open(beside, "w", encoding="utf-8") as file:
            file.writelines(f"{label}\n" for label in info.labels)
        write_json(os.path.join(workdir, "frames.json"), {"frame_size": info.frame_size})
    if write:
        write_json(path, ours)


def read_config(workdir):
    """The config of a run, locked.

    Raises:
        FileNotFoundError: If the folder holds no run.
    """
    path = os.path.join(workdir, "config.json")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{workdir!r} holds no training run (no config.json)")
    return ConfigDict(_tuples(_with_defaults(read_json(path)))).lock()


def read_labels(workdir):
    """Names of a run's classes, in index order."""
    with open(os.path.join(workdir, "labels.txt"), encoding="utf-8") as file:
        return file.read().splitlines()


def read_frame_size(workdir):
    """Size of the frames that a run was trained on: `(height, width)`, or the shorter side."""
    size = read_json(os.path.join(workdir, "frames.json"))["frame_size"]
    return size if isinstance(size, int) else tuple(size)


def checkpoints(workdir):
    """A run's checkpoints as `(epochs done, path)`, newest first."""
    found = []
    for path in glob.glob(os.path.join(workdir, "checkpoints", "epoch-*.weights.h5")):
        match = re.fullmatch(r"epoch-(\d+)\.weights\.h5", os.path.basename(path))
        if match:
            found.append((int(match.group(1)), path))
    return sorted(found, reverse=True)


def checkpoint_path(workdir, epochs):
    """Where the checkpoint after a number of epochs lies."""
    return os.path.join(workdir, "checkpoints", f"epoch-{epochs:04d}.weights.h5")


def load_checkpoint(model, workdir):
    """Load the newest checkpoint that is whole into a model, with the optimizer if compiled.

    Returns:
        The number of epochs it was trained for; 0, and the model as it was, if there is none.

    Raises:
        ValueError: If the checkpoints are of another model.
    """
    reasons = []
    for epochs, path in checkpoints(workdir):
        try:
            with warnings.catch_warnings():
                # Keras only warns where a file lacks a layer, and leaves its weights random.
                warnings.simplefilter("error", UserWarning)
                model.load_weights(path)
            return epochs
        except OSError as error:  # a file cut short by a full disk: the one before it is whole
            reasons.append(f"{path}: {error}")
        except (ValueError, UserWarning) as error:
            raise ValueError(
                f"{path!r} is a checkpoint of another model than {model.name!r}: {error}"
            ) from error
    if reasons:
        raise ValueError(f"no checkpoint can be read: {'; '.join(reasons)}")
    return 0


def _with_defaults(config):
    """A stored config with the keys that it lacks: those that came later, at their defaults."""
    defaults = json.loads(base(model=config.get("model")).to_json())
    for group, values in defaults.items():
        if isinstance(values, dict) and group != "model":
            config[group] = {**values, **config.get(group, {})}
    return config


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
