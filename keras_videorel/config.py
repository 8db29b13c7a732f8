"""The base config. A config file starts from it and sets what differs; its keys are locked.

# configs/mine.py
from keras_videorel.config import base, video_resnet

def get_config():
    config = base(model=video_resnet("artnet_s", width=16))
    config.data.path = "shards/mine"
    config.train.epochs = 20
    return config
"""

from ml_collections import ConfigDict

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

# Of the levels of the channels; that of flow, in the middle of 0 to 255, is rest.
MEAN = {"rgb": (123.0, 117.0, 104.0), "flow": (127.5, 127.5)}


def row_of(model, variant=""):
    """The key of a row of ARTNet's Table 2: `"artnet", "d"` and `"artnet_d"` are `"artnet_d"`.

    Args:
        model: One of `VIDEO_RESNETS`, or `"artnet"` or `"relation"`.
        variant: Of these two: `"s"`, or `"d"`, which is also meant by none.

    Returns:
        A key of `VIDEO_RESNETS`.

    Raises:
        ValueError: If there is no such row.
    """
    if model not in ("artnet", "relation"):
        if variant:
            raise ValueError(
                "`variant` is for model=artnet and model=relation alone. "
                f"Received: model={model}, variant={variant}"
            )
        return video_resnet(model) and model
    if variant not in ("", "s", "d"):
        raise ValueError(f"`variant` must be s or d. Received: {variant!r}")
    return f"{model}_{variant or 'd'}"


def video_resnet(key, width=64, dropout=0.2):
    """The `model` of a config: a row of ARTNet's Table 2.

    Args:
        key: One of `VIDEO_RESNETS`.
        width: Channels of conv1.
        dropout: Rate before the classifier.

    Returns:
        A dict.

    Raises:
        ValueError: If there is no such row.
    """
    if key not in VIDEO_RESNETS:
        raise ValueError(f"`model` must be one of {', '.join(VIDEO_RESNETS)}. Received: {key!r}")
    return {**VIDEO_RESNETS[key], "width": width, "dropout": dropout}


def relational_lstm(key="two_branch", **arguments):
    """The `model` of a config: the two-branch network, one of its branches, or TSN.

    Args:
        key: One of `RELATIONAL_LSTMS`.
        **arguments: Further arguments of the constructor.

    Returns:
        A dict.

    Raises:
        ValueError: If there is no such network.
    """
    if key not in RELATIONAL_LSTMS:
        raise ValueError(f"`model` must be one of {', '.join(RELATIONAL_LSTMS)}. Received: {key!r}")
    return {**RELATIONAL_LSTMS[key], **arguments}


def base(model=None):
    """Settings of a training run, with the values of ARTNet on Kinetics (Sec. 3.3).

    Args:
        model: Dict with the `name` of a constructor in `keras_videorel.models` and its
            arguments, other than `classes` and `input_shape`.

    Returns:
        A locked `ConfigDict`: setting a key that is not there is an error.
    """
    model = video_resnet("artnet_d") if model is None else model
    config = ConfigDict(
        {
            "seed": 0,
            "dtype_policy": "float32",  # or "mixed_bfloat16", "mixed_float16"
            "model": model,
            "data": {
                "path": "shards",  # folder written by make-tfrecords
                "split": 0,  # number of the official split; 0: that which the shards were made for
                "stream": "rgb",  # or "flow", for shards made with --flow
                "stacked": True,  # fields of a snippet on channels; False: clips of flow (ARTNet)
                "segments": 0,  # T: a sample is a snippet of `frames` frames of each of T segments
                "frames": 16,
                "frame_stride": 1,
                "crop_size": 112,
                "crop_scales": (1.0, 0.875, 0.75, 0.66),
                # Share of a frame's shorter side that a test view shows, resized to crop_size; 1.0
                # is all of it. 0: 7/8, as in the papers, or the nearest that crop_scales have.
                "test_scale": 0.0,
                "crop_positions": "random",  # or "fixed": the 13 of TSN
                "mirror": True,  # off where left and right are different classes
                "mean": MEAN["rgb"],
                "std": 1.0,  # frames are (x - mean) / std
                "shuffle_buffer": 256,
                "deterministic": True,  # False: what is ready first comes first
                "lanes": 1,  # parts of a batch that read shards of their own; one a worker or more
                "service": "",  # "grpc://host:port": workers of a tf.data service make the batches
            },
            "train": {
                "initialize_from": "",  # another run's folder: weights of layers of equal name
                "epochs": 100,
                "batch_size": 256,  # clips of an update, on all devices together
                "accumulation_steps": 1,  # parts that a device's share of them is computed in
                "synchronized_batch_norm": False,  # statistics of the whole batch, not a device's
                "learning_rate": 0.1,
                "warmup_epochs": 0,
                "schedule": "step",  # or "plateau": where the validation loss saturates
                "decay_epochs": (28, 56, 72, 88),  # 70, 140, 180 and 220 of 250 thousand steps
                "decay_factor": 0.1,
                "plateau_epochs": 5,  # without a new lowest loss, and the rate decays
                "plateau_delta": 1e-4,  # by how much lower that must be
                "momentum": 0.9,
                "nesterov": False,
                "weight_decay": 5e-4,  # L2 on matrices
                "gradient_clip_norm": 0.0,  # 0: none
                "ema_momentum": 0.0,  # of moving averages of the weights, 0.999 say; 0: none
                "jit_compile": "auto",  # XLA: on GPUs; or "on", "off"
                "checkpoint_steps": 0,  # steps between checkpoints inside an epoch; 0: its end only
            },
            "eval": {
                "clips": 25,  # or groups of snippets
                "crops": 10,
                "batch_size": 64,  # views at once
                "averaged": "before",  # scores of views, "before" or "after" the softmax
            },
        }
    )
    return config.lock()


def parse_argument(argument, **defaults):
    """The argument of a config file, `configs/FILE.py:key=value,key=value`, as a dict.

    Args:
        argument: The text after the colon, or `None`.
        **defaults: Every key with its default, whose type the value takes; or with a tuple of
            the values that it may take, the default first.

    Returns:
        A dict with the keys of `defaults`.

    Raises:
        ValueError: If a key is unknown, or a value none of these or not of its type.
    """
    choices = {key: value for key, value in defaults.items() if isinstance(value, tuple)}
    values = {key: choices[key][0] if key in choices else defaults[key] for key in defaults}
    for part in filter(None, (argument or "").split(",")):
        key, _, text = part.partition("=")
        if key not in defaults:
            raise ValueError(
                f"the config's argument must be of the keys {sorted(defaults)}. Received: {part!r}"
            )
        kind = type(values[key])
        if key in choices:
            named = {str(choice): choice for choice in choices[key]}
            if text not in named:
                raise ValueError(f"`{key}` must be one of {', '.join(named)}. Received: {text!r}")
            values[key] = named[text]
            continue
        try:
            values[key] = kind(text)
        except ValueError:
            raise ValueError(
                f"`{key}` must be of type {kind.__name__}. Received: {text!r}"
            ) from None
    return values
