"""The embedded data set (videorel render-videos), small enough for two cores.

    python tools/train.py --config configs/demo.py:model=artnet_s --workdir demo/artnet_s

16 classes in pairs that share their frames: chance is 6.25%. A frame tells nothing, and the
order of two far-apart halves cannot be seen in a clip of 16 frames. What this config reaches
is in docs/results.md.
"""

from keras_videorel.config import base, parse_argument, video_resnet



def get_config(argument=None):
    argument = parse_argument(argument, model="artnet_s")
    config = base(model=video_resnet(argument["model"], width=16))
    config.data.path = "demo/shards"  # made with --resize 56x56
    config.data.crop_size = 48
    config.data.crop_scales = (1.0, 0.875)
    config.data.mirror = False  # left and right are classes
    config.data.shuffle_buffer = 1024
    config.train.epochs = 15
    config.train.batch_size = 16
    config.train.learning_rate = 0.05
    config.train.warmup_epochs = 1
    config.train.decay_epochs = (10, 13)
    config.eval.clips = 4
    config.eval.crops = 1
    return config
