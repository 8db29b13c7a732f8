"""Functions that take a `ClipSpec`, with its fields among their options."""

import dataclasses

from keras_videorel import ClipSpec
from keras_videorel.data import pipeline

_FIELDS = {field.name for field in dataclasses.fields(ClipSpec)}


def split_options(options):
    """The `ClipSpec` of the options that are fields of one, and the other options."""
    fields = {name: value for name, value in options.items() if name in _FIELDS}
    return ClipSpec(**fields), {k: v for k, v in options.items() if k not in _FIELDS}


def training_batches(info, batch_size, **options):
    clip, options = split_options(options)
    return pipeline.training_batches(info, clip, batch_size, **options)


def evaluation_views(info, split="test", **options):
    clip, options = split_options(options)
    return pipeline.evaluation_views(info, clip, split, **options)


def clip_of(model, segments=0, stream="rgb", **fields):
    """The `ClipSpec` of a model's input, with further fields."""
    shape = model.input_shape[1:]
    is_stack = stream == "flow" and segments > 0 and len(shape) == 4
    frames = shape[-4] if len(shape) == (5 if segments else 4) else 1
    return ClipSpec(
        stream=stream,
        segments=segments,
        frames=shape[-1] // 2 if is_stack else frames,
        crop_size=shape[-3:-1],
        flow_as_channels=is_stack or not segments or stream == "rgb",
        **fields,
    )
