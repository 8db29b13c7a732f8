"""Runs: a config, the folder that a run writes, and what is done with both.

    from keras_videorel import runs

    config = runs.config.base(model=runs.config.video_resnet("artnet_s"))
    runs.train(config, "runs/mine")
    runs.evaluate(config, "runs/mine")
    runs.export(config, "runs/mine", "saved_models/mine")

Config files import `keras_videorel.runs.config`, which needs no TensorFlow: the functions load
when they are used.
"""

from keras_videorel import lazy

__getattr__, __dir__ = lazy.attributes(
    __name__,
    ("config", "config_files", "workdir"),
    {
        "build_model": "networks",
        "dry_run": "cost",
        "evaluate": "evaluator",
        "export": "exporter",
        "load_model": "networks",
        "read_config": "workdir",
        "train": "trainer",
    },
)
