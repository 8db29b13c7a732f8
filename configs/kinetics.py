"""ARTNet on Kinetics-400, from scratch: Tables 2, 3 and 4.

https://arxiv.org/abs/1711.09125, Sec. 3.3 and 4.2

    videorel make-tfrecords --dataset kinetics --videos k400 --annotations train.csv,validate.csv \\
        --resize 128x170 --flow tvl1 --output shards/kinetics400
    videorel train --config configs/kinetics.py:model=artnet,variant=d \\
        --workdir runs/kinetics/artnet_d
    videorel evaluate --workdir runs/kinetics/artnet_d --scores runs/kinetics/artnet_d/scores.npz
    videorel train --config configs/kinetics.py:model=artnet,variant=d,modality=flow \\
        --workdir runs/kinetics/artnet_d_flow
    videorel evaluate --workdir runs/kinetics/artnet_d_flow \\
        --scores runs/kinetics/artnet_d_flow/scores.npz
    videorel fuse --scores runs/kinetics/artnet_d/scores.npz \\
        --scores runs/kinetics/artnet_d_flow/scores.npz

`model` is c2d, c3d, c3d_34, relation or artnet, the last two with `variant` s or d (artnet_d is
short for model=artnet,variant=d); `modality` is rgb or flow; `segments` is 1, or 2 for TSN. Runs of
TSN are tested as the others are, on 25 clips: `evaluate ... --config.data.segments=1`.

Frames are stored as 128x170; 250,000 steps of 256 clips; 25 clips x 10 crops. The paper tells
neither weight decay nor the steps at which it divided the rate ("when validation loss saturates"):
they are those of the authors' files (https://github.com/wanglimin/ARTNet, `models/`), which also
have the multi-scale crops, at random places. For flow and for TSN it tells nothing of its own, so
they are trained like the rest; fused with equal weights, which it does not tell either.

Top-1, top-5 on the validation part (average of the two: Tables 2 to 4); ours: not run, needs the
data set.

| model, variant | modality | segments | paper      | ours    | table   |
|----------------|----------|----------|------------|---------|---------|
| c2d            | rgb      | 1        | 61.2, 82.6 | not run | 2       |
| c3d            | rgb      | 1        | 65.6, 85.7 | not run | 2, 3    |
| c3d_34         | rgb      | 1        | 67.1, 86.9 | not run | 2       |
| relation, s    | rgb      | 1        | 67.5, 87.0 | not run | 2       |
| relation, d    | rgb      | 1        | 67.1, 86.7 | not run | 2       |
| artnet, s      | rgb      | 1        | 67.7, 87.1 | not run | 2       |
| artnet, d      | rgb      | 1        | 69.2, 88.3 | not run | 2, 3, 4 |
| c3d            | flow     | 1        | 57.5, 80.6 | not run | 3       |
| c3d            | fusion   | 1        | 68.7, 87.8 | not run | 3       |
| artnet, d      | flow     | 1        | 59.8, 82.3 | not run | 3, 4    |
| artnet, d      | fusion   | 1        | 71.3, 89.5 | not run | 3, 4    |
| artnet, d      | rgb      | 2        | 70.7, 89.3 | not run | 4       |
| artnet, d      | flow     | 2        | 60.6, 83.1 | not run | 4       |
| artnet, d      | fusion   | 2        | 72.4, 90.4 | not run | 4       |

Table 5 compares with networks of others. Its two rows of ARTNet are artnet, d on rgb with 1 and 2
segments, 78.7 and 80.0 as the average of top-1 and top-5; on the test part 77.3 and 78.7
(`--config.data.fold=1`, for shards of all three tables; with those, 2 is the validation part).
"""

from keras_videorel.runs.config import MEAN, base, parse_argument, table2_key, video_resnet

TRAINING_VIDEOS = 240_000  # "around", Sec. 4.1
STEPS = 250_000  # Sec. 3.3
DECAY_STEPS = (70_000, 140_000, 180_000, 220_000)  # the authors' files


def get_config(argument=None):
    argument = parse_argument(
        argument, model="artnet", variant="", modality=("rgb", "flow"), segments=(1, 2)
    )
    row = table2_key(argument["model"], argument["variant"])
    config = base(model=video_resnet(row, width=64, dropout=0.2))
    config.data.path = "shards/kinetics400"
    config.data.stream = argument["modality"]
    config.data.mean = MEAN[argument["modality"]]
    config.data.flow_as_channels = False  # clips of flow
    config.data.segments = argument["segments"] if argument["segments"] > 1 else 0
    config.train.batch_size = 256
    config.train.learning_rate = 0.1
    steps = TRAINING_VIDEOS // config.train.batch_size  # of an epoch
    config.train.epochs = round(STEPS / steps)
    config.train.decay_epochs = tuple(round(step / steps) for step in DECAY_STEPS)
    return config
