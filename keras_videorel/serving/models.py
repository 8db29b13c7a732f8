"""Load the exported models of a folder."""

import logging
import os
import pathlib

from keras_videorel.prediction import Predictor

_log = logging.getLogger(__name__)


def load_models(folder: str | os.PathLike) -> tuple[dict[str, Predictor], list[str]]:
    """Load each exported model of a folder.

    Args:
        folder: A folder that `export` wrote, or a folder of such folders. Hidden folders are
            ignored, because an unfinished export has a hidden folder.

    Returns:
        `(models, broken)`: a dict from folder names to `Predictor`s, and the names of the models
        that cannot be loaded. The log holds the reasons.

    Raises:
        ValueError: If no exported model can be loaded.
    """
    root = pathlib.Path(os.path.abspath(folder))
    files = [root / "export.json", *sorted(root.glob("[!.]*/export.json"))]
    models, broken = {}, []
    for path in [file.parent for file in files if file.exists()]:
        name = os.fsencode(path.name).decode(errors="replace")  # the page can only show Unicode
        try:
            models[name] = Predictor(path)
        except Exception as error:  # TensorFlow raises many kinds of errors; other models work
            reason = " ".join(str(error).split())
            _log.warning("%s cannot be used: %s: %s", name, type(error).__name__, reason)
            broken.append(name)
    if not models:
        raise ValueError(
            "`models` must be a folder with an exported model (a folder with export.json) that "
            f"loads. Received: {os.fspath(folder)!r}"
        )
    return models, broken
