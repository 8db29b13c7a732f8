"""Video files to records, and records to batches of clips.

Modules are imported when first used, so that decoding and rendering processes start without
TensorFlow.
"""

import importlib

_MODULES = (
    "contact_sheet",
    "decoder",
    "flow",
    "inspection",
    "official",
    "pipeline",
    "records",
    "rendering",
    "sampling",
    "shards",
    "sources",
    "synthetic",
    "transforms",
    "video",
)


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(_MODULES)
