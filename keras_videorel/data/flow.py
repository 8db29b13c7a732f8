"""Estimate optical flow, store it in 8 bits, and show it.

A flow field is float32 `(height, width, 2)`: the motion of each pixel to the next frame in pixels,
to the right (x) and down (y). Fields are stored as levels, uint8 of the same shape, which divide
[-20, 20] pixels into 256 steps. JPEGs hold the levels of x in red and of y in green. Both papers
follow TSN in this (Wang et al. 2016, Sec. 3.2; the bound is from TSN's code).
"""

from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np

from keras_videorel.checks import check_choice

BOUND = 20.0  # pixels per frame; larger motion is clipped
METHODS = ("tvl1", "dis")

# Frames are padded to this size. DIS of OpenCV 4.10 to 5.0 crashes the process at sizes such as
# 8x64 and 15x40, where a level of its pyramid is smaller than a patch.
_MIN_SIDE = 16
_BLUE = 128  # the third channel of a stored field
# Color wheel of Baker et al.: seven colors, and the number of hues from the previous color to each.
_WHEEL_STEPS = np.cumsum([0, 15, 6, 4, 11, 13, 6])
_WHEEL_COLORS = np.array(
    [(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0)], float
)


def estimator(method: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function that estimates the flow between frames of one video.

    Both papers use TV-L1 (`"tvl1"`, Zach et al. 2007). DIS (`"dis"`, Kroeger et al. 2016) is about
    two hundred times as fast. Both are OpenCV's implementations with default parameters.

    Returns:
        A function that maps a frame and the next frame (both `gray`, uint8 `(height, width)`) to
        the flow field between them. It raises a `ValueError` if the size differs from the first
        call, because OpenCV's estimators keep state for one size.
    """
    if check_choice("method", method, METHODS) == "tvl1":
        algorithm = cv2.optflow.DualTVL1OpticalFlow_create()  # type: ignore[attr-defined]
    else:
        medium = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
        algorithm = cv2.DISOpticalFlow_create(medium)  # type: ignore[attr-defined]
    size = None

    def estimate(first, second):
        nonlocal size
        size = first.shape if size is None else size
        if not first.shape == second.shape == size:
            raise ValueError(
                f"frames must have the size of the first, {size}. "
                f"Received: {first.shape} and {second.shape}"
            )
        height, width = size
        down, right = max(_MIN_SIDE - height, 0), max(_MIN_SIDE - width, 0)
        padded = (
            cv2.copyMakeBorder(frame, 0, down, 0, right, cv2.BORDER_REPLICATE)
            for frame in (first, second)
        )
        return algorithm.calc(*padded, None)[:height, :width]

    return estimate


def gray(frame: np.ndarray) -> np.ndarray:
    """Convert an RGB frame `(height, width, 3)` to uint8 gray `(height, width)`."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def with_flow(frames: Iterable[np.ndarray], method: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield `(frame, levels)`: RGB frames of one size with the flow from each to the next.

    The last frame repeats the flow of the previous frame. A single frame gets zero flow. At most
    two frames are in memory.
    """
    estimate, frame, levels = estimator(method), None, None
    for next_frame in frames:
        if frame is not None:
            levels = to_levels(estimate(gray(frame), gray(next_frame)))
            yield frame, levels
        frame = next_frame
    if frame is not None:
        yield frame, no_flow(frame.shape[:2]) if levels is None else levels


def no_flow(size: tuple[int, ...]) -> np.ndarray:
    """Levels of zero flow, uint8 `(height, width, 2)`."""
    return to_levels(np.zeros((*size, 2), np.float32))


def to_levels(field: np.ndarray) -> np.ndarray:
    """Levels of a flow field, with an error of at most half a step (0.078 pixels) below `BOUND`."""
    return np.rint((np.clip(field, -BOUND, BOUND) + BOUND) * (255 / (2 * BOUND))).astype(np.uint8)


def from_levels(levels: np.ndarray) -> np.ndarray:
    """The flow field of stored levels.

    Zero lies between two levels, so a pixel at rest becomes 0.078 pixels. Levels `255 - levels`
    (x in a mirrored frame) give exactly the negative motion.
    """
    # Numbers are whole up to the division, so both signs are rounded alike.
    doubled = 2 * levels.astype(np.float32) - 255
    return doubled * np.float32(BOUND) / np.float32(255)


def encode_jpeg(levels: np.ndarray, quality: int) -> bytes:
    """Encode levels as a JPEG: x in red, y in green, blue constant.

    Chroma keeps its full resolution (4:4:4). The usual halved chroma would blur the edges of moving
    objects.
    """
    x, y = cv2.split(levels)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    # Most pixels are at rest, so optimized Huffman codes save a quarter of the bytes.
    options += [cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return cv2.imencode(".jpg", cv2.merge([np.full_like(x, _BLUE), y, x]), options)[1].tobytes()


def decode_jpeg(jpeg: bytes) -> np.ndarray:
    """Decode the levels in a JPEG of `encode_jpeg`."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return picture[..., :0:-1]  # type: ignore[index]  # of blue, green, red


def color_wheel(field: np.ndarray, largest: float) -> np.ndarray:
    """A flow field as a uint8 RGB picture, with hues for directions (Baker et al. 2011).

    Motion to the right is red, down yellow, to the left cyan to blue, and up violet. Rest is white.
    Motion of `largest` pixels or more has the full color.
    """
    x, y = field[..., 0], field[..., 1]
    length = np.minimum(np.hypot(x, y) / largest, 1)[..., np.newaxis]
    hue = np.arctan2(y, x) / (2 * np.pi) % 1 * _WHEEL_STEPS[-1]
    color = np.stack([np.interp(hue, _WHEEL_STEPS, c) for c in _WHEEL_COLORS.T], axis=-1)
    return np.rint(255 * (1 - length * (1 - color))).astype(np.uint8)
