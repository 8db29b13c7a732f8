"""The base config, whose keys are locked. A config file changes some of its values.

# configs/mine.py
from keras_videorel.runs.config import base, video_resnet

def get_config():
    config = base(model=video_resnet("artnet_s", width=16))
    config.data.path = "shards/mine"
    config.train.epochs = 20
    return config
"""

import functools
import hashlib
import json
import sys

from ml_collections import ConfigDict

from keras_videorel.checks import (
    check_choice,
    check_integer,
    check_number,
    check_numbers,
    did_you_mean,
)
from keras_videorel.clip_spec import MEAN, TEST_SCALE, ClipSpec

# The rows of ARTNet's Table 2, by the names that config arguments use.
VIDEO_RESNETS = {
    "c2d": {"name": "C2DResNet18"},
    "c3d": {"name": "C3DResNet18"},
    "c3d_34": {"name": "C3DResNet34"},
    "relation_s": {"name": "RelationResNet18", "variant": "s"},
    "relation_d": {"name": "RelationResNet18", "variant": "d"},
    "artnet_s": {"name": "ARTNetResNet18", "variant": "s"},
    "artnet_d": {"name": "ARTNetResNet18", "variant": "d"},
}

# The networks of Relational LSTM's Tables 1 and 3, which take `config.data.segments` snippets.
RELATIONAL_LSTMS = {
    "two_branch": {"name": "RelationalLSTMResNet", "branches": ("local", "nonlocal")},
    "local": {"name": "RelationalLSTMResNet", "branches": ("local",)},
    "nonlocal": {"name": "RelationalLSTMResNet", "branches": ("nonlocal",)},
    "tsn": {"name": "SnippetClassifier"},
}


def table2_key(model, variant=""):
    """The key in `VIDEO_RESNETS`. Both `"artnet", "d"` and `"artnet_d"` give `"artnet_d"`.

    `variant` is `"s"` or `"d"` (default). Only for `"artnet"` and `"relation"`.
    """
    if model in ("artnet", "relation"):
        return f"{model}_{check_choice('variant', variant or 'd', ('s', 'd'))}"
    if variant:
        raise ValueError(
            "`variant` is only for model=artnet and model=relation. "
            f"Received: model={model}, variant={variant}"
        )
    return check_choice("model", model, VIDEO_RESNETS)


def video_resnet(key, width=64, dropout=0.2):
    """The `model` of a config: a row of ARTNet's Table 2, by its key in `VIDEO_RESNETS`."""
    check_choice("model", key, VIDEO_RESNETS)
    return {**VIDEO_RESNETS[key], "width": width, "dropout": dropout}


def relational_lstm(key="two_branch", **arguments):
    """The `model` of a config: a network of `RELATIONAL_LSTMS` and constructor arguments."""
    check_choice("model", key, RELATIONAL_LSTMS)
    return {**RELATIONAL_LSTMS[key], **arguments}


# Older names of config keys, of config file arguments and of flags. They work for one release.
_RENAMED = {
    "split": "fold",
    "lanes": "num_readers",
    "stacked": "flow_as_channels",
    "averaged": "average",
    "least_agreement": "min_agreement",
}
_RENAMED_VALUES = {"before": "logits", "after": "probabilities"}  # of `average`


def present_name(known, name, value=None):
    """`(name, value)` of a setting. An older name is replaced, with a line on stderr.

    A name in `known`, the valid names, is returned as it is.
    """
    new = _RENAMED.get(name)
    if name in known or new not in known:
        return name, value
    _tell_once(f"`{name}` is now called `{new}`; the old name goes with the next release")
    return new, _RENAMED_VALUES.get(value, value) if new == "average" else value


@functools.cache
def _tell_once(line):
    print(line, file=sys.stderr)


class Config(ConfigDict):
    """A `ConfigDict` whose keys can be set by their older names."""

    def __setitem__(self, key, value):
        super().__setitem__(*present_name(self, key, value))


def as_config(values):
    """A locked config from a dict. Each nested dict becomes a group of keys."""
    groups = {k: Config(v) if isinstance(v, dict) else v for k, v in values.items()}
    return Config(groups).lock()


def base(model=None):
    """Settings of a training run, with the values of ARTNet on Kinetics (Sec. 3.3).

    Args:
        model: Dict with the `name` of a constructor in `keras_videorel.models` and its
            arguments, except `classes` and `input_shape`.

    Returns:
        A locked `ConfigDict`: setting an unknown key is an error.
    """
    model = video_resnet("artnet_d") if model is None else model
    return as_config(
        {
            "seed": 0,  # of weights, samples and dropout
            "dtype_policy": "float32",  # or "mixed_bfloat16", "mixed_float16"
            "model": model,  # a constructor's name and its arguments
            "data": {
                "path": "shards",  # folder written by make-tfrecords
                "fold": 0,  # number of the official split; 0: the one the shards were made for
                "stream": "rgb",  # or "flow", for shards made with --flow
                "flow_as_channels": True,  # fields of a snippet; False: clips of flow (ARTNet)
                "segments": 0,  # 0: clips; T: a snippet of `frames` frames from each of T segments
                "frames": 16,  # of a clip, or of each snippet
                "frame_stride": 1,  # step from one of these frames to the next
                "crop_size": 112,  # height and width of a sample, in pixels
                "crop_scales": (1.0, 0.875, 0.75, 0.66),  # crop sides / frame's shorter side
                "test_scale": 0.0,  # share of the shorter side in a test view; 0: 7/8, as in papers
                "crop_positions": "random",  # or "fixed": the 13 of TSN
                "mirror": True,  # at random; False if left and right are different classes
                "mean": MEAN["rgb"],  # of the channels
                "std": 1.0,  # frames are (x - mean) / std
                "shuffle_buffer": 256,  # samples that are shuffled at a time
                "deterministic": True,  # False: samples come in the order in which they are ready
                "num_readers": 1,  # parts of a batch, each from its own shards; 1: one a worker
                "service": "",  # "grpc://host:port": workers of a tf.data service make the batches
            },
            "train": {
                "initialize_from": "",  # a run's folder or .keras file: weights by layers' names
                "epochs": 100,  # passes over the training clips
                "batch_size": 256,  # clips of a step, on all devices together
                "accumulation_steps": 1,  # parts in which a device computes its share of a batch
                "synchronized_batch_norm": False,  # statistics of the whole batch, not a device's
                "learning_rate": 0.1,  # the highest rate
                "warmup_epochs": 0,  # first epochs, in which the rate rises linearly
                "schedule": "step",  # decay at decay_epochs; or "plateau": if the loss saturates
                "decay_epochs": (28, 56, 72, 88),  # 70, 140, 180, 220 of 250 thousand steps
                "decay_factor": 0.1,  # factor of the rate at each decay
                "plateau_epochs": 5,  # epochs without a new lowest loss before the rate decays
                "plateau_delta": 1e-4,  # how much lower a new lowest validation loss must be
                "momentum": 0.9,  # of SGD
                "nesterov": False,  # Nesterov's momentum
                "weight_decay": 5e-4,  # L2 on matrices
                "gradient_clip_norm": 0.0,  # largest norm of the gradient; 0: no limit
                "ema_momentum": 0.0,  # of moving averages of the weights, such as 0.999; 0: off
                "jit_compile": "auto",  # XLA: only on GPUs; or "on", "off"
                "checkpoint_steps": 0,  # steps between checkpoints; 0: only at the end of an epoch
            },
            "eval": {
                "clips": 25,  # of each video, or groups of snippets
                "crops": 10,  # of each clip: 1, 5 or 10
                "batch_size": 64,  # views that the model takes at once
                "average": "logits",  # of the views; or "probabilities", after the softmax
            },
        }
    )


# Bounds of the keys' values: integers, and numbers that must be finite.
_INTEGERS = {
    0: ("seed", "data.fold", "data.segments", "train.warmup_epochs", "train.checkpoint_steps"),
    1: (
        "data.frames", "data.frame_stride", "data.crop_size", "data.shuffle_buffer",
        "data.num_readers", "train.epochs", "train.batch_size", "train.accumulation_steps",
        "train.plateau_epochs", "eval.clips", "eval.batch_size",
    ),
}  # fmt: skip
_NUMBERS = {
    "data.std": {"above": 0},
    "data.mean": {},
    "data.crop_scales": {"above": 0, "max_value": 1},
    "data.test_scale": {"min_value": 0, "max_value": 1},
    "train.learning_rate": {"min_value": 0},
    "train.decay_epochs": {"min_value": 0},
    "train.decay_factor": {"above": 0},
    "train.plateau_delta": {"min_value": 0},
    "train.momentum": {"min_value": 0, "below": 1},
    "train.weight_decay": {"min_value": 0},
    "train.gradient_clip_norm": {"min_value": 0},
    "train.ema_momentum": {"min_value": 0, "below": 1},
    "model.dropout": {"min_value": 0, "below": 1},
}
_CHOICES = {
    "dtype_policy": ("float32", "mixed_bfloat16", "mixed_float16"),
    "data.stream": ("rgb", "flow"),
    "data.crop_positions": ("random", "fixed"),
    "train.schedule": ("step", "plateau"),
    "train.jit_compile": ("auto", "on", "off"),
    "eval.crops": (1, 5, 10),
    "eval.average": ("logits", "probabilities"),
}


def check_config(config):
    """Raise a `ValueError` if a value of a config is out of bounds."""
    for min_value, keys in _INTEGERS.items():
        for key in keys:
            check_integer(f"config.{key}", config[key], min_value)
    for key, bounds in _NUMBERS.items():
        group, _, name = key.partition(".")
        value = config[group].get(name)
        if value is None and group == "model":  # not an argument of that network
            continue
        if not isinstance(value, tuple):
            check_number(f"config.{key}", value, **bounds)
        elif value or key != "train.decay_epochs":
            check_numbers(f"config.{key}", value, **bounds)
    for key, choices in _CHOICES.items():
        check_choice(f"config.{key}", config[key], choices)


def clip_spec(config, frame_size=None):
    """The `ClipSpec` of a config, for stored frames of `frame_size`.

    By default a test view shows 7/8 of the shorter side, as in both papers, or the nearest share
    within `crop_scales`: a network is tested at a scale that it was trained at. For flow, the base
    config's mean of RGB is replaced by the mean of flow.
    """
    data, scales = config.data, config.data.crop_scales
    is_default = data.stream == "flow" and data.mean == MEAN["rgb"]
    return ClipSpec(
        stream=data.stream,
        segments=data.segments,
        frames=data.frames,
        frame_stride=data.frame_stride,
        crop_size=data.crop_size,
        mean=None if is_default else data.mean,
        std=data.std,
        flow_as_channels=data.flow_as_channels,
        frame_size=frame_size,
        test_scale=data.test_scale or min(max(scales), max(min(scales), TEST_SCALE)),
    )


def config_hash(config):
    """The hexadecimal SHA-256 of a config or a dict, as JSON with sorted keys."""
    content = json.loads(config.to_json()) if isinstance(config, ConfigDict) else config
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class ArgumentError(ValueError):
    """An error in the argument of a config file, the part after the colon, or in its result."""


def parse_argument(argument, **defaults):
    """The argument of a config file, `configs/FILE.py:key=value,key=value`, as a dict.

    Args:
        argument: The text after the colon, or `None`.
        **defaults: For each key its default value, which gives the type; or a tuple of all
            allowed values, the default first.

    Raises:
        ArgumentError: If a key or a value is not valid.
    """
    values = {k: v[0] if isinstance(v, tuple) else v for k, v in defaults.items()}
    for part in filter(None, (argument or "").split(",")):
        key, _, text = part.partition("=")
        key, text = present_name(defaults, key, text)
        if key not in defaults:
            raise ArgumentError(
                f"the config's argument must be of the keys {', '.join(sorted(defaults))}"
                f"{did_you_mean(key, defaults)}. Received: {part!r}"
            )
        if isinstance(defaults[key], tuple):
            choices = {str(choice): choice for choice in defaults[key]}
            expected = f"one of {', '.join(choices)}{did_you_mean(text, choices)}"
            convert = choices.__getitem__
        else:
            convert = type(defaults[key])
            expected = f"of type {convert.__name__}"
        try:
            values[key] = convert(text)
        except (KeyError, ValueError):
            raise ArgumentError(f"`{key}` must be {expected}. Received: {text!r}") from None
    return values
