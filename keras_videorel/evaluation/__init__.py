"""Evaluation of models: scores of videos, metrics, fusion, comparisons."""

import importlib


def __getattr__(name):
    if name == "evaluate_videos":  # imported when used, since it needs Keras and TensorFlow
        return importlib.import_module(f"{__name__}.videos").evaluate_videos
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), "evaluate_videos"})
