"""Attention maps as pictures: where a position of X_t looks in H_{t-1}."""

from __future__ import annotations

import numpy as np

from keras_videorel.checks import check_choice
from keras_videorel.clip_spec import ClipSpec
from keras_videorel.data import transforms
from keras_videorel.data.video import keep_aspect
from keras_videorel.prediction.predictor import Predictor

GATES = ("i", "f", "g", "o")  # of the LSTM, in the order of the maps
HEAT = "inferno"  # color map, of matplotlib and OpenCV
_MIN_FULL = 2.0  # times uniform; full color for less would be a picture of rounding


def check_options(predictor: Predictor, position: tuple[int, int] | None, gate: str) -> None:
    """Raise a `ValueError` for a position or gate that a model's attention maps do not have."""
    check_choice("gate", gate, (*GATES, "mean"))
    if predictor.has_attention_maps:
        height, width = grid(predictor.settings)[1:]
        if position is not None and not (0 <= position[0] < height and 0 <= position[1] < width):
            raise ValueError(
                f"`position` must be a row below {height} and a column below {width}. "
                f"Received: {position[0]},{position[1]}"
            )
    elif position is not None or gate != "mean":
        raise ValueError("`position` and `gate` are for models with a relational LSTM")


def grid(settings: dict) -> tuple[int, int, int]:
    """`(times, height, width)`: networks of clips have the maps of times, one below the other."""
    rows, columns = settings["spatial_shape"]
    times = settings.get("feature_times", 1)
    return times, rows // times, columns


def select(
    attention_maps: np.ndarray,
    settings: dict,
    position: tuple[int, int] | None = None,
    gate: str = "mean",
) -> tuple[np.ndarray, tuple[int, int]]:
    """What a position takes from each position of the state before.

    The maps of a first step are uniform, because its state before is zero. Those of a network of
    clips are the mean over the times of X_t and the sum over those of H_{t-1}.

    Args:
        attention_maps: `(T, 4, positions, positions)`, of a `Window`.
        settings: The model's.
        position: `(row, column)` on the feature map; by default the one that takes the most from
            a single place.
        gate: One of `GATES`, or `"mean"` of the four.

    Returns:
        `(maps, position)`: float32 `(T, height, width)`, weights as multiples of uniform ones,
        whose mean is 1, and the position.
    """
    weights = (
        attention_maps.mean(axis=1) if gate == "mean" else attention_maps[:, GATES.index(gate)]
    )
    times, height, width = grid(settings)
    weights = weights.reshape(-1, times, height, width, times, height, width)
    weights = weights.mean(axis=1).sum(axis=3) * (height * width)  # (T, h, w, h, w)
    if position is None:
        strongest = weights.max(axis=(0, 3, 4))
        row, column = np.unravel_index(strongest.argmax(), strongest.shape)
        position = int(row), int(column)
    return weights[:, position[0], position[1]].astype(np.float32), position


def full_heat(largest: float) -> float:
    """The multiple of uniform that gets the full color, of the largest that there is."""
    return max(float(largest), _MIN_FULL)


def heat(maps: np.ndarray, full: float) -> np.ndarray:
    """Maps of `select` from 0, uniform or less, to 1, the full color."""
    return np.clip((maps - 1) / (full - 1), 0, 1)


def seen_box(height: int, width: int, clip: ClipSpec) -> tuple[int, int, int, int]:
    """`(top, left, bottom, right)` of the part of a frame that the model sees, in its pixels."""
    size = clip.frame_size
    if isinstance(size, int):
        size = keep_aspect(height, width, size)
    rows, columns = size or (height, width)
    (box,) = transforms.view_boxes(
        rows, columns, clip.crop_size, crops=1, scale=clip.test_scale
    ).numpy()
    down, across = height / rows, width / columns
    corners = *box[:2], *(box[:2] + box[2:])
    return tuple(round(x * scale) for x, scale in zip(corners, (down, across) * 2, strict=True))
