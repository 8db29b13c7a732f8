"""Trained models for use elsewhere: folders in `saved_models/`."""

from keras_videorel.export.litert import export_litert
from keras_videorel.export.saved_model import export_saved_model

__all__ = ["export_litert", "export_saved_model"]
