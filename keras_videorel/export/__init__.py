"""Export trained models to folders in `saved_models/`, for use without this package."""

from keras_videorel.export.folder import (
    FORMATS,
    ExportError,
    check_formats,
    export_model,
    export_saved_model,
)
from keras_videorel.export.litert import export_litert
from keras_videorel.export.streaming import export_stream

__all__ = [
    "FORMATS",
    "ExportError",
    "check_formats",
    "export_litert",
    "export_model",
    "export_saved_model",
    "export_stream",
]
