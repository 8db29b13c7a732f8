"""Turn attention maps into heat maps: the positions of H_{t-1} that a position of X_t uses."""

from __future__ import annotations

import numpy as np

from keras_videorel.checks import check_choice
from keras_videorel.clip_spec import ClipSpec
from keras_videorel.data import transforms
from keras_videorel.data.video import keep_aspect
from keras_videorel.prediction.predictor import Predictor

GATES = ("i", "f", "g", "o")  # LSTM gates in the order of the maps
HEAT = "inferno"  # name of the color map in matplotlib and OpenCV
# Full color means at least this multiple of a uniform weight. Otherwise maps that are almost
# uniform would show rounding errors.
_MIN_FULL = 2.0


def check_options(predictor: Predictor, position: tuple[int, int] | None, gate: str) -> None:
    """Raise a `ValueError` if a model has no attention maps of a position or gate."""
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
    """Return `(times, height, width)` of the feature map; see `attention.feature_map_sizes`."""
    rows, columns = settings["spatial_shape"]
    times = settings.get("feature_times", 1)
    return times, rows // times, columns


def select(
    attention_maps: np.ndarray,
    settings: dict,
    position: tuple[int, int] | None = None,
    gate: str = "mean",
) -> tuple[np.ndarray, tuple[int, int]]:
    """Select the attention maps of one position of X_t.

    The map of the first step is uniform, because the state before it is zero. If snippets are
    clips, weights are averaged over the times of X_t and summed over the times of H_{t-1}.

    Args:
        attention_maps: `Window.attention_maps`, `(T, 4, positions, positions)`.
        settings: `Predictor.settings` of the model.
        position: `(row, column)` on the feature map. By default, the position that has the
            largest single weight.
        gate: One of `GATES`, or `"mean"` for the mean over the gates.

    Returns:
        `(maps, position)`. The maps are float32 `(T, height, width)`, in multiples of a uniform
        weight, so that their mean is 1.
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
    """Return the weight that gets the full color, from the largest weight; see `select`."""
    return max(float(largest), _MIN_FULL)


def heat(maps: np.ndarray, full: float) -> np.ndarray:
    """Scale maps of `select` to [0, 1]: uniform or less is 0, `full` or more is 1."""
    return np.clip((maps - 1) / (full - 1), 0, 1)


def seen_box(height: int, width: int, clip: ClipSpec) -> tuple[int, int, int, int]:
    """Return the box `(top, left, bottom, right)` that the model sees, in pixels of the frame."""
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
