"""Relation maps as pictures: where a position of X_t looks in H_{t-1}."""

import numpy as np

from keras_videorel.checks import check_choice
from keras_videorel.clip_spec import ClipSpec
from keras_videorel.data import transforms

GATES = ("i", "f", "g", "o")  # of the LSTM, in the order of the maps
HEAT = "inferno"  # colour map, of matplotlib and OpenCV
_FAINTEST_FULL = 2.0  # times uniform; full colour for less would be a picture of rounding


def check_options(predictor, position, gate):
    """Raise a `ValueError` for a position or gate that a model's relation maps do not have."""
    check_choice("gate", gate, (*GATES, "mean"))
    if predictor.has_relations:
        height, width = grid(predictor.settings)[1:]
        if position is not None and not (0 <= position[0] < height and 0 <= position[1] < width):
            raise ValueError(
                f"`position` must be a row below {height} and a column below {width}. "
                f"Received: {position[0]},{position[1]}"
            )
    elif position is not None or gate != "mean":
        raise ValueError("`position` and `gate` are for models with a relational LSTM")


def grid(settings):
    """`(times, height, width)`: networks of clips have the maps of times, one below the other."""
    rows, columns = settings["spatial_shape"]
    times = settings.get("feature_times", 1)
    return times, rows // times, columns


def where_it_looks(relations, settings, position=None, gate="mean"):
    """What a position takes from each position of the state before.

    Args:
        relations: `(T, 4, positions, positions)`, of a `Window`.
        settings: The model's.
        position: `(row, column)` on the feature map; by default the one that takes the most from
            a single place.
        gate: One of `GATES`, or `"mean"` of the four.

    Returns:
        `(maps, position)`: float32 `(T, height, width)`, weights as multiples of uniform ones,
        which are 1 (the mean is 1, too), and the position. Those of a first step are uniform: its
        state before is zero. Of a network of clips they are the mean over the times of X_t and the
        sum over those of H_{t-1}.
    """
    weights = relations.mean(axis=1) if gate == "mean" else relations[:, GATES.index(gate)]
    times, height, width = grid(settings)
    weights = weights.reshape(-1, times, height, width, times, height, width)
    weights = weights.mean(axis=1).sum(axis=3) * (height * width)  # (T, h, w, h, w)
    if position is None:
        strongest = weights.max(axis=(0, 3, 4))
        position = tuple(int(i) for i in np.unravel_index(strongest.argmax(), strongest.shape))
    return weights[:, position[0], position[1]].astype(np.float32), tuple(position)


def full_heat(largest):
    """The multiple of uniform that gets the full colour, of the largest that there is."""
    return max(float(largest), _FAINTEST_FULL)


def heat(maps, full):
    """Maps of `where_it_looks` from 0, uniform or less, to 1, the full colour."""
    return np.clip((maps - 1) / (full - 1), 0, 1)


def seen_box(height, width, settings):
    """`(top, left, bottom, right)` of the part of a frame that the model sees, in its pixels."""
    clip = ClipSpec.from_json(settings)
    size = clip.frame_size
    if isinstance(size, int):
        scale = size / min(height, width)
        size = round(height * scale), round(width * scale)
    ((top, left, rows, columns),) = transforms.view_boxes(
        *size, clip.crop_size, crops=1, scale=clip.test_scale
    ).numpy()
    down, across = height / size[0], width / size[1]
    return (
        round(top * down), round(left * across),
        round((top + rows) * down), round((left + columns) * across),
    )  # fmt: skip
