"""Video files to records, and records to batches of clips.

Modules are imported when first used, so that decoding and rendering processes start without
TensorFlow.
"""

import importlib

_MODULES = (
    "contact_sheet", "datasets", "decoder", "flow", "inspection", "manifest", "official",
    "pipeline", "records", "rendering", "sampling", "shards", "sources", "synthetic", "transforms",
    "video",
)  # fmt: skip
_MODULE_OF = {
    "convert_folder": "shards",
    "test_dataset": "datasets",
    "train_dataset": "datasets",
    "val_dataset": "datasets",
}


def __getattr__(name):
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted((*_MODULES, *_MODULE_OF))
