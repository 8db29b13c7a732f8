"""The embedded data set (videorel render-videos), small enough for two cores.

    python tools/train.py --config configs/demo.py:model=artnet_s --workdir runs/artnet_s

16 classes in pairs that share their frames: chance is 6.25%. A clip is every second frame of 31.
What this config reaches with each network is in docs/results.md.
"""

from keras_videorel.config import base, parse_argument, video_resnet


def get_config(argument=None):
    argument = parse_argument(argument, model="artnet_s")
    config = base(model=video_resnet(argument["model"], width=16))
    config.data.path = "demo/shards"  # made with --resize 56x56
    config.data.frame_stride = 2
    config.data.crop_size = 48
    config.data.crop_scales = (1.0, 0.875)
    config.data.mirror = False  # left and right are classes
    config.data.shuffle_buffer = 1024
    config.train.epochs = 12
    config.train.batch_size = 8
    config.train.learning_rate = 0.006
    config.train.warmup_epochs = 1
    config.train.decay_epochs = (9, 11)
    config.eval.clips = 4
    config.eval.crops = 1
    return config
