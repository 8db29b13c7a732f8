"""Serve a web page to try exported models. Needs the extra `[serve]`.

from keras_videorel import serving

serving.serve("saved_models", port=7860)
"""

from keras_videorel.serving.labeling import Limits
from keras_videorel.serving.models import load_models
from keras_videorel.serving.server import serve

__all__ = ["Limits", "load_models", "serve"]
