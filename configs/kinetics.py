"""ARTNet on Kinetics-400, RGB, from scratch: the rows of Table 2.

https://arxiv.org/abs/1711.09125

    python tools/train.py --config configs/kinetics.py:model=artnet_d --workdir runs/artnet_d
    python tools/evaluate.py --workdir runs/artnet_d

Frames are stored as 128x170; 250,000 steps of 256 clips; 25 clips x 10 crops.

| model      | top-1, top-5 (paper) | ours                        |
|------------|----------------------|-----------------------------|
| c2d        | 61.2, 82.6           | not run: needs the data set |
| c3d        | 65.6, 85.7           | not run: needs the data set |
| c3d_34     | 67.1, 86.9           | not run: needs the data set |
| relation_s | 67.5, 87.0           | not run: needs the data set |
| relation_d | 67.1, 86.7           | not run: needs the data set |
| artnet_s   | 67.7, 87.1           | not run: needs the data set |
| artnet_d   | 69.2, 88.3           | not run: needs the data set |
"""

from keras_videorel.config import base, parse_argument, video_resnet

TRAINING_VIDEOS = 240_000  # "around", Sec. 4.1


def get_config(argument=None):
    argument = parse_argument(argument, model="artnet_d")
    config = base(model=video_resnet(argument["model"], width=64))
    config.data.path = "shards/kinetics400"
    steps = TRAINING_VIDEOS // config.train.batch_size
    config.train.epochs = round(250_000 / steps)
    # The paper divides the rate when the loss saturates; its authors did so at these steps.
    config.train.decay_epochs = tuple(
        round(step / steps) for step in (70_000, 140_000, 180_000, 220_000)
    )
    return config
