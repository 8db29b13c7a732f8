"""Masks of steps, from masks of any rank."""

from keras import ops


def time_mask(mask):
    """The mask `(batch, time)` that a mask stands for: a step counts if any part of it does.

    `keras.layers.Masking` compares the channels alone, so that of feature maps `(batch, time,
    height, width, channels)` it makes a mask of positions.

    Args:
        mask: `(batch, time, ...)`; or `None`; or `(batch,)`, which `TimeDistributed` cuts from
            its mask of the outer steps, and keeps.

    Returns:
        Boolean `(batch, time)`, or `None` where no step is masked.
    """
    if mask is None:
        return None
    mask = ops.cast(ops.convert_to_tensor(mask), "bool")
    if len(mask.shape) < 2:
        return None
    return ops.any(mask, axis=tuple(range(2, len(mask.shape)))) if len(mask.shape) > 2 else mask
