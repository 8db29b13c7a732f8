"""The exported models of a folder, those that load and those that do not."""

import itertools
import logging
import os

from keras_videorel.prediction import Predictor

_log = logging.getLogger(__name__)


def load_models(folder):
    """Load each exported model of a folder.

    Args:
        folder: A folder of folders written by `export`, those with an `export.json`; or one such
            folder. Hidden folders, such as an export that is being written, are left out.

    Returns:
        `(models, broken)`: a dict from names of folders, as text that can be shown, to
        `Predictor`s, and the names of those that do not load, whose reasons are logged; both in
        order.

    Raises:
        ValueError: If the folder holds no exported model that loads.
    """
    folder = os.fspath(folder)
    paths = [folder, *(os.path.join(folder, name) for name in _names(folder))]
    paths = [path for path in paths if os.path.exists(os.path.join(path, "export.json"))]
    if not paths:
        raise ValueError(
            "`models` must be a folder of exported models (folders with export.json). "
            f"Received: {folder!r}"
        )
    models, broken = {}, []
    for path in paths:
        name = _text(os.path.basename(os.path.abspath(path)), (*models, *broken))
        try:
            models[name] = Predictor(path)
        except Exception as error:  # TensorFlow's are of many kinds: one bad folder is no reason
            reason = " ".join(str(error).split())
            _log.warning("%s cannot be used: %s: %s", name, type(error).__name__, reason)
            broken.append(name)
    if not models:
        raise ValueError(f"`models` must hold a model that loads. Received: {folder!r}")
    return models, broken


def _names(folder):
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [name for name in names if not name.startswith(".")]


def _text(name, taken):
    """The name of a folder, which need not be text, as text that no other one has."""
    name = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    name = "".join(c if c.isprintable() else "\ufffd" for c in name)
    numbered = (f"{name} {number}" for number in itertools.count(2))
    return next(n for n in itertools.chain([name], numbered) if n not in taken)
