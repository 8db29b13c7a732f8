"""Train, evaluate and export from a config and the folder that a run writes.

    from keras_videorel import runs

    config = runs.config.base(model=runs.config.video_resnet("artnet_s"))
    runs.train(config, "runs/mine")
    runs.evaluate(config, "runs/mine")
    runs.export(config, "runs/mine", "saved_models/mine")

Config files import `keras_videorel.runs.config`, which needs no TensorFlow. The other modules load
when a function is used.
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
