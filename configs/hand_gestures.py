"""17 dynamic hand gestures, drawn as hand skeletons: 880 clips of 60 frames (MIT licence).

https://github.com/pesala111/dynamic-hand-gesture-recognition

    python tools/make_tfrecords.py --dataset csv --videos HAND_GESTURES/videos \\
        --annotations HAND_GESTURES/videos.csv --output shards/hand_gestures --resize 56x56
    python tools/train.py --config configs/hand_gestures.py:model=artnet_s --workdir runs/artnet_s
    python tools/evaluate.py --workdir runs/artnet_s

A clip is every third frame of 46, most of a gesture. What this config reaches with each network
is in docs/results.md.
"""

from keras_videorel.runs.config import base, parse_argument, video_resnet


def get_config(argument=None):
    argument = parse_argument(argument, model="artnet_s")
    config = base(model=video_resnet(argument["model"], width=16))
    config.data.path = "shards/hand_gestures"
    config.data.frame_stride = 3
    config.data.crop_size = 48
    config.data.crop_scales = (1.0, 0.875)
    config.data.mirror = False  # gestures to the left and to the right are different classes
    config.data.mean = (0.0, 0.0, 0.0)  # lines on black: zero padding then continues the picture
    config.data.shuffle_buffer = 1024
    config.train.epochs = 20
    config.train.batch_size = 8
    config.train.learning_rate = 0.005
    config.train.warmup_epochs = 1
    config.train.decay_epochs = (15, 18)
    config.eval.clips = 4
    config.eval.crops = 5
    return config
