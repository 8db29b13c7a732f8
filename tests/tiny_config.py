"""Config of `tests.tiny_training`; its model is made there."""

from keras_videorel.runs.config import base


def get_config():
    config = base(model={"name": "C2DResNet18", "dropout": 0.0})
    config.data.update({"frames": 8, "crop_size": 24, "crop_scales": (1.0,), "mirror": False})
    config.train.update({"batch_size": 8, "learning_rate": 0.05, "decay_epochs": (), "epochs": 3})
    return config
