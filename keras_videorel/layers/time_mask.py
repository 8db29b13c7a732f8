"""Masks of time steps from masks of any rank."""

from keras import ops


def time_mask(mask):
    """Reduce a mask to `(batch, time)`. A step counts if any of its positions counts.

    `keras.layers.Masking` reduces only the channels. For feature maps `(batch, time, height,
    width, channels)`, it therefore makes a mask of positions.

    Args:
        mask: `(batch, time, ...)`, `None`, or `(batch,)`. `TimeDistributed` passes the last kind,
            which is part of its own mask and does not concern the inner steps.

    Returns:
        Boolean `(batch, time)`, or `None` if steps have no mask.
    """
    if mask is None:
        return None
    mask = ops.cast(ops.convert_to_tensor(mask), "bool")
    if len(mask.shape) < 2:
        return None
    return ops.any(mask, axis=tuple(range(2, len(mask.shape)))) if len(mask.shape) > 2 else mask
