"""Relational LSTM on UCF-101 and HMDB-51: one stream of the two-branch network, or of a baseline.

https://arxiv.org/abs/1811.07059, Sec. 5

    python tools/train.py --config configs/relational_lstm.py:data=ucf101,stream=rgb \\
        --workdir runs/ucf101_rgb
    python tools/train.py --config configs/relational_lstm.py:data=ucf101,stream=flow \\
        --workdir runs/ucf101_flow --config.train.initialize_from=runs/ucf101_rgb
    python tools/evaluate.py --workdir runs/ucf101_rgb --scores runs/ucf101_rgb/scores.npz

`model` is two_branch, local or nonlocal (the branches of Table 3), or tsn (Table 1). The spatial
stream begins with ImageNet's weights, the temporal stream with the spatial one's across
modalities; the temporal stream of model=nonlocal with that of a trained TSN (Sec. 5.3).
Frames are stored with a shorter side of 256, beside them TV-L1 flow (`--short_side 256 --flow
tvl1`); the temporal stream takes 10 fields of each segment. Tested on 4 positions x 5 crops.

UCF-101, split 1, top-1 (Tables 1 to 3); ours: not run, needs the data set:

| model                  | spatial | temporal | two-stream |
|------------------------|---------|----------|------------|
| tsn                    | 87.0    | 88.5     | 93.8       |
| nonlocal               | 86.9    | 87.5     | 93.8       |
| local                  | 87.4    | 87.3     | 94.0       |
| two_branch             | 88.7    | 88.1     | 94.4       |
| two_branch,segments=6  | 87.2    | 87.9     | 94.2       |
| two_branch,segments=10 | 88.1    | 87.5     | 94.1       |
| two_branch,segments=12 | 87.4    | 87.4     | 93.5       |

Three splits, two_branch, two-stream (Tables 4 and 5): UCF-101 94.8 with scores weighted 0.45
(spatial) to 0.55, HMDB-51 71.4 with 0.33 to 0.67.
"""

from keras_videorel.config import base, parse_argument, relational_lstm

# Sec. 5.2: epochs, epochs of decay, dropout.
STREAMS = {
    "rgb": (50, (35, 45), 0.8),
    "flow": (60, (45, 55), 0.7),
}
DATA = ("ucf101", "hmdb51")


def get_config(argument=None):
    argument = parse_argument(argument, data="ucf101", stream="rgb", model="two_branch", segments=8)
    stream, data = argument["stream"], argument["data"]
    if stream not in STREAMS:
        raise ValueError(f"`stream` must be one of {', '.join(STREAMS)}. Received: {stream!r}")
    if data not in DATA:
        raise ValueError(f"`data` must be one of {', '.join(DATA)}. Received: {data!r}")
    epochs, decay_epochs, dropout = STREAMS[stream]

    config = base(
        model=relational_lstm(
            argument["model"],
            stream=stream,
            backbone="resnet101v2",
            weights="imagenet" if stream == "rgb" else None,
            dropout=dropout,
            progressive_momentum=0.999,
        )
    )
    config.data.path = f"shards/{data}"
    config.data.stream = stream
    config.data.segments = argument["segments"]
    config.data.frames = 1 if stream == "rgb" else 10  # an image, or 10 flow fields
    config.data.crop_size = 224
    config.data.mean = (127.5,) * (3 if stream == "rgb" else 2)  # one scale for both streams, so
    config.data.std = 127.5  # that the weights of the one fit the other
    config.train.epochs = epochs
    config.train.decay_epochs = decay_epochs
    config.train.batch_size = 24
    config.train.learning_rate = 0.0005
    config.eval.clips = 4
    config.eval.crops = 5
    config.eval.batch_size = 4  # of 8 images each
    return config
