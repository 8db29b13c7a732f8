"""Relational LSTM on UCF-101 and HMDB-51, one stream at a time: Tables 1 to 5 and Fig. 3.

https://arxiv.org/abs/1811.07059, Sec. 5

    videorel make-tfrecords --dataset ucf101 --videos UCF-101 --annotations ucfTrainTestlist \\
        --short_side 256 --flow tvl1 --output shards/ucf101
    videorel train --config configs/relational_lstm.py:data=ucf101,stream=rgb,fold=1 \\
        --workdir runs/ucf101/two_branch/rgb1
    videorel train --config configs/relational_lstm.py:data=ucf101,stream=flow,fold=1 \\
        --workdir runs/ucf101/two_branch/flow1
    videorel evaluate --workdir runs/ucf101/two_branch/rgb1 \\
        --scores runs/ucf101/two_branch/rgb1/scores.npz
    videorel evaluate --workdir runs/ucf101/two_branch/flow1 \\
        --scores runs/ucf101/two_branch/flow1/scores.npz
    videorel fuse --scores runs/ucf101/two_branch/rgb1/scores.npz:0.45 \\
        --scores runs/ucf101/two_branch/flow1/scores.npz:0.55

`model` is two_branch, local (Table 3), nonlocal (the R-LSTM of Table 1) or tsn; `stream` is rgb,
the spatial one, or flow, the temporal one; `split` is 1, 2 or 3. Folders are
runs/DATA/MODEL/STREAMSPLIT, or runs/DATA/MODEL_SEGMENTS/STREAMSPLIT if segments are not 8: there
the temporal stream looks for the run that it begins with, the spatial one, and for model=nonlocal
the temporal one of model=tsn (Sec. 5.3); `--config.train.initialize_from=RUN` for others. The
spatial stream begins with ImageNet's weights.

Frames are stored with a shorter side of 256, beside them TV-L1 flow; the temporal stream takes 10
fields of each segment. Tested on 4 positions x 5 crops. Mirror and multi-scale crops at fixed
places are TSN's, as the paper says. It tells the batch for 8 segments; with others a step has
about as many snippets, 192. It does not tell the segments of its TSN: here they are 8, as in its
own networks.

Top-1 on split 1 of UCF-101; ours: not run, needs the data set.

| model, segments     | weights  | spatial | temporal | two-stream | ours    | table   |
|---------------------|----------|---------|----------|------------|---------|---------|
| tsn                 | .35, .65 | 87.0    | 88.5     | 93.8       | not run | 1       |
| nonlocal            | .5, .5   | 86.9    | 87.5     | 93.8       | not run | 1       |
| tsn + nonlocal      | equal    | 88.6    | 89.1     | 94.2       | not run | 1       |
| two_branch, 6       | .45, .55 | 87.2    | 87.9     | 94.2       | not run | 2       |
| two_branch, 8       | .45, .55 | 88.7    | 88.1     | 94.4       | not run | 2, 3    |
| two_branch, 10      | .45, .55 | 88.1    | 87.5     | 94.1       | not run | 2       |
| two_branch, 12      | .45, .55 | 87.4    | 87.4     | 93.5       | not run | 2       |
| local               | .45, .55 | 87.4    | 87.3     | 94.0       | not run | 3       |

Weights, of the spatial and the temporal scores before the softmax, are printed for Table 1 and for
two_branch, 8; for the other rows of Tables 2 and 3 the latter are assumed ("around 0.5", Sec. 5.2).
Fig. 3, the ten classes with the largest gain of two_branch over tsn, is on the page of
`fuse ... --against 'TSN_RGB.npz:0.35 TSN_FLOW.npz:0.65' --report DIR`.

Two-stream, mean of the three splits; ours: not run, needs the data sets.

| model      | data   | weights  | paper | ours    | table     |
|------------|--------|----------|-------|---------|-----------|
| two_branch | ucf101 | .45, .55 | 94.8  | not run | 4, 5      |
| two_branch | hmdb51 | .33, .67 | 71.4  | not run | 4, 5      |
| nonlocal   | ucf101 | .5, .5   | 94.2  | not run | Sec. 5.5  |

The other rows of Tables 4 and 5 are networks of others.
"""

from keras_videorel.runs.config import base, parse_argument, relational_lstm

# Sec. 5.2: epochs, epochs of decay, dropout.
STREAMS = {
    "rgb": (50, (35, 45), 0.8),
    "flow": (60, (45, 55), 0.7),
}


def get_config(argument=None):
    argument = parse_argument(
        argument,
        data=("ucf101", "hmdb51"),
        stream=tuple(STREAMS),
        model="two_branch",
        segments=8,
        fold=(1, 2, 3),
    )
    data, stream, segments = argument["data"], argument["stream"], argument["segments"]
    if segments < 1:
        raise ValueError(f"`segments` must be a positive integer. Received: {segments}")
    epochs, decay_epochs, dropout = STREAMS[stream]

    config = base(
        model=relational_lstm(
            argument["model"],
            stream=stream,
            backbone="resnet101v2",
            weights="imagenet" if stream == "rgb" else None,
            dropout=dropout,
            progressive_momentum=0.999,  # 1 - 0.001; "0.001, 0.0005", Sec. 5.2
        )
    )
    config.data.path = f"shards/{data}"
    config.data.fold = argument["fold"]
    config.data.stream = stream
    config.data.segments = segments
    config.data.frames = 1 if stream == "rgb" else 10  # an image, or 10 flow fields
    config.data.crop_size = 224
    config.data.crop_positions = "fixed"
    config.data.mean = (127.5,) * (3 if stream == "rgb" else 2)  # one scale for both streams, so
    config.data.std = 127.5  # that the weights of the one fit the other
    if stream == "flow":
        source = "tsn/flow" if argument["model"] == "nonlocal" else f"{argument['model']}/rgb"
        if segments != 8:
            source = source.replace("/", f"_{segments}/")
        config.train.initialize_from = f"runs/{data}/{source}{argument['fold']}"
    config.train.epochs = epochs
    config.train.decay_epochs = decay_epochs
    config.train.batch_size = 24 * 8 // segments  # 24 of 8 segments
    config.train.learning_rate = 0.0005
    config.eval.clips = 4
    config.eval.crops = 5
    config.eval.batch_size = 4  # of 8 images each
    return config
