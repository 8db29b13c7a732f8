"""Video files to records, and records to batches of clips.

Modules are imported when first used, so that decoding and rendering processes start without
TensorFlow.
"""

from keras_videorel import lazy

__getattr__, __dir__ = lazy.attributes(
    __name__,
    (
        "contact_sheet", "datasets", "decoder", "flow", "inspection", "manifest", "official",
        "pipeline", "records", "rendering", "sampling", "shards", "sources", "synthetic",
        "transforms", "video",
    ),
    {
        "convert_folder": "shards",
        "test_dataset": "datasets",
        "train_dataset": "datasets",
        "val_dataset": "datasets",
    },
)  # fmt: skip
