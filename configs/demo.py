"""The embedded data set (videorel render-videos), small enough for two cores.

    python tools/train.py --config configs/demo.py:model=artnet_s --workdir runs/artnet_s
    python tools/train.py --config configs/demo.py:model=two_branch --workdir runs/two_branch \\
        --config.train.initialize_from=runs/artnet_s

20 classes in pairs that share their frames: chance is 5%. A clip is every fourth frame of 29.
The networks of the relational LSTM (two_branch, local, nonlocal) take such a clip of each half of a
video and begin with a trained artnet_s. What each network reaches is in docs/results.md.
"""

from keras_videorel.runs.config import (
    RELATIONAL_LSTMS,
    base,
    parse_argument,
    relational_lstm,
    video_resnet,
)


def get_config(argument=None):
    argument = parse_argument(argument, model="artnet_s")
    key = argument["model"]
    of_segments = key in RELATIONAL_LSTMS
    if of_segments:
        model = relational_lstm(
            key, backbone="artnet_resnet18_s", weights=None, width=16, dropout=0.2
        )
    else:
        model = video_resnet(key, width=16)
    config = base(model=model)
    config.data.path = "demo/shards"  # made with --resize 56x56
    config.data.segments = 2 if of_segments else 0
    config.data.frames = 8
    config.data.frame_stride = 4
    config.data.crop_size = 48
    config.data.crop_scales = (1.0, 0.875)
    config.data.mirror = False  # left and right are classes
    config.data.shuffle_buffer = 1024
    config.train.epochs = 4 if of_segments else 8
    config.train.batch_size = 8
    config.train.learning_rate = 0.006
    config.train.warmup_epochs = 1
    config.train.decay_epochs = (3,) if of_segments else (6, 7)
    config.eval.clips = 4
    config.eval.crops = 1
    return config
