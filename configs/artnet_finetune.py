"""ARTNet on UCF-101 and HMDB-51, fine-tuned from Kinetics with TSN of two segments: Table 6.

https://arxiv.org/abs/1711.09125, Sec. 4.3

    videorel make-tfrecords --dataset ucf101 --videos UCF-101 --annotations ucfTrainTestlist \\
        --resize 128x170 --output shards/ucf101_128x170
    videorel train --config configs/artnet_finetune.py:data=ucf101,model=artnet,fold=1 \\
        --workdir runs/ucf101/artnet_d/1
    videorel evaluate --workdir runs/ucf101/artnet_d/1 --config.data.segments=1 \\
        --scores runs/ucf101/artnet_d/1/scores.npz
    videorel fuse --fold runs/ucf101/artnet_d/1/scores.npz \\
        --fold runs/ucf101/artnet_d/2/scores.npz --fold runs/ucf101/artnet_d/3/scores.npz

`data` is ucf101 or hmdb51, `split` 1, 2 or 3; `model` is artnet (`variant` s or d) or c3d, begun
with the run of configs/kinetics.py in runs/kinetics/artnet_d or runs/kinetics/c3d; that of
segments=2 in runs/kinetics/artnet_d_tsn with `pretraining=tsn`. For other runs there is
`--config.train.initialize_from=RUN`.
`graph=caffe` begins with the authors' own weights, artnet_d_kinetics.keras or c3d_kinetics.keras of
`videorel convert-caffe`, or artnet_d_tsn_kinetics.keras with `pretraining=tsn`.

The paper says: TSN with two segments, otherwise "the common practice" of TSN. Batch (8 x 15),
steps (3500, a tenth of the rate each 1500; half of these for HMDB-51), rate, dropout and the bound
on gradients are those of the authors' files (https://github.com/wanglimin/ARTNet, `fine_tune/`).
Tested on 25 clips x 10 crops, as on Kinetics.

Top-1 on RGB, mean of the three splits; ours: not run, needs the data sets and a run on Kinetics.

| model  | pretraining | UCF-101 | HMDB-51 | ours    |
|--------|-------------|---------|---------|---------|
| c3d    | clips       | 89.8    | 62.1    | not run |
| artnet | clips       | 93.5    | 67.6    | not run |
| artnet | tsn         | 94.3    | 70.9    | not run |

The other rows of Table 6 are networks of others.
"""

from keras_videorel.runs.config import base, parse_argument, table2_key, video_resnet

# Training videos of split 1; steps, and steps between two decays, of the authors' files.
DATA = {
    "ucf101": (9537, 3500, 1500),
    "hmdb51": (3570, 1750, 750),
}


def get_config(argument=None):
    argument = parse_argument(
        argument,
        data=tuple(DATA),
        model="artnet",
        variant="",
        pretraining=("clips", "tsn"),
        fold=(1, 2, 3),
        graph=("paper", "caffe"),
    )
    videos, total_steps, decay_steps = DATA[argument["data"]]
    row = table2_key(argument["model"], argument["variant"])
    model = video_resnet(row, width=64, dropout=0.5)
    source = row if argument["pretraining"] == "clips" else f"{row}_tsn"
    if argument["graph"] == "caffe":
        config = base(model={"name": "CaffeResNet18", "network": row, "width": 64, "dropout": 0.5})
        config.train.initialize_from = f"{source}_kinetics.keras"
    else:
        config = base(model=model)
        config.train.initialize_from = f"runs/kinetics/{source}"
    config.data.path = f"shards/{argument['data']}_128x170"
    config.data.fold = argument["fold"]
    config.data.segments = 2
    config.train.batch_size = 8 * 15
    steps = videos // config.train.batch_size  # of an epoch
    config.train.epochs = round(total_steps / steps)
    config.train.decay_epochs = tuple(
        round(step / steps) for step in range(decay_steps, total_steps, decay_steps)
    )
    config.train.learning_rate = 0.001
    config.train.gradient_clip_norm = 40.0
    return config
