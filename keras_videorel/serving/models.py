"""The exported models of a folder, those that load and those that do not."""

import logging
import os

from keras_videorel.prediction import Predictor

_log = logging.getLogger(__name__)


def load_models(folder):
    """Load each exported model of a folder.

    Args:
        folder: A folder of folders written by `export`, those with an `export.json`.

    Returns:
        `(models, broken)`: a dict from names of folders to `Predictor`s, and the names of those
        that do not load, whose reasons are logged; both in order.

    Raises:
        ValueError: If the folder holds no exported model that loads.
    """
    folder = os.fspath(folder)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    names = [n for n in names if os.path.exists(os.path.join(folder, n, "export.json"))]
    if not names:
        raise ValueError(
            "`models` must be a folder of exported models (folders with export.json). "
            f"Received: {folder!r}"
        )
    models, broken = {}, []
    for name in names:
        try:
            models[name] = Predictor(os.path.join(folder, name))
        except Exception as error:  # TensorFlow's are of many kinds: one bad folder is no reason
            reason = " ".join(str(error).split())
            _log.warning("%s cannot be used: %s: %s", name, type(error).__name__, reason)
            broken.append(name)
    if not models:
        raise ValueError(f"`models` must hold a model that loads. Received: {folder!r}")
    return models, broken
