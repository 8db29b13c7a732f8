"""Scores of videos, metrics, fusion, and comparison of models."""

from keras_videorel import lazy

__getattr__, __dir__ = lazy.attributes(
    __name__,
    ("fusion", "metrics", "score_files", "significance", "videos"),
    {"evaluate_videos": "videos"},  # which needs Keras and TensorFlow
)
