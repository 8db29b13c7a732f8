"""Runs: a config, the folder that a run writes, and what is done with both.

    from keras_videorel import runs

    config = runs.config.base(model=runs.config.video_resnet("artnet_s"))
    runs.train(config, "runs/mine")
    runs.evaluate(config, "runs/mine")
    runs.export(config, "runs/mine", "saved_models/mine")

Config files import `keras_videorel.runs.config`, which needs no TensorFlow: the functions load
when they are used.
"""

import importlib

_MODULES = {
    "build_model": "networks",
    "dry_run": "cost",
    "evaluate": "evaluator",
    "export": "exporter",
    "load_model": "networks",
    "read_config": "workdir",
    "train": "trainer",
}
_SUBMODULES = ("config", "config_files", "workdir")


def __getattr__(name):
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_MODULES, *_SUBMODULES})
