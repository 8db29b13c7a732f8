"""List all keys of a config, with their values and meanings.

    videorel config
    videorel config --config configs/demo.py:model=artnet_s --config.train.epochs=20

Without a file, the values are the defaults, those of ARTNet on Kinetics. A config file changes some
of them: `config = base()`, `config.train.epochs = 20`, `return config`.
"""

from keras_videorel.cli import Flags

NEEDS_TENSORFLOW = False
TAKES_CONFIG = True
FLAGS = Flags()
FLAGS.string("config", None, "Config file, FILE.py or FILE.py:key=value,...")


def main(arguments):
    from keras_videorel.runs import config_files

    print(config_files.describe(FLAGS.config))
