"""Optical flow: how it is estimated, stored in 8 bits, and shown.

A field is float32 `(height, width, 2)`: how many pixels each pixel moves to the next frame, to the
right (x) and down (y). It is stored as levels, uint8 of the same shape, which divide [-20, 20]
pixels into 256 steps, in the red and green channels of a JPEG. So does TSN, which both papers
follow (Wang et al. 2016, Sec. 3.2; the bound is from its code).
"""

from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np

from keras_videorel.checks import check_choice

BOUND = 20.0  # pixels per frame; what moves further is stored as this
METHODS = ("tvl1", "dis")

# Frames are padded to this: DIS of OpenCV 4.10 to 5.0 crashes the process at sizes such as 8x64 and
# 15x40, where a level of its pyramid is smaller than a patch.
_MIN_SIDE = 16
_BLUE = 128  # the third channel of a stored field
# Baker et al.: seven colors, and how many of 55 hues lie between each and the one before.
_WHEEL_STEPS = np.cumsum([0, 15, 6, 4, 11, 13, 6])
_WHEEL_COLORS = np.array(
    [(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0)], float
)


def estimator(method: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function that estimates flow, for the frames of one video.

    TV-L1 (`"tvl1"`, Zach et al. 2007) is what both papers use. DIS (`"dis"`, Kroeger et al. 2016)
    is some two hundred times as fast. Both are OpenCV's, with its default parameters.

    Returns:
        A function from two uint8 arrays `(height, width)`, a frame and the next one in `gray`, to
        the field between them. It raises a `ValueError` if their size differs from the first pair,
        whose size OpenCV's estimators remember.
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
    """An RGB frame `(height, width, 3)` as uint8 `(height, width)`."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def with_flow(frames: Iterable[np.ndarray], method: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield `(frame, levels)`: RGB frames of one size with the flow from each to the next.

    The last frame repeats the field before it; the only frame of a video gets zeros. Two frames are
    held at most.
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
    """Levels of a field of zeros, uint8 `(height, width, 2)`."""
    return to_levels(np.zeros((*size, 2), np.float32))


def to_levels(field: np.ndarray) -> np.ndarray:
    """Levels of a field, half a step (0.078 pixels) off; 0 and 255 are 20 pixels and more."""
    return np.rint((np.clip(field, -BOUND, BOUND) + BOUND) * (255 / (2 * BOUND))).astype(np.uint8)


def from_levels(levels: np.ndarray) -> np.ndarray:
    """The field of stored levels.

    Zero lies between two levels, so a pixel at rest comes back as 0.078 pixels. In a mirrored frame
    x has the levels `255 - levels`, which come back as exactly the negative motion.
    """
    # Whole numbers up to the division, so that both signs are rounded alike.
    doubled = 2 * levels.astype(np.float32) - 255
    return doubled * np.float32(BOUND) / np.float32(255)


def encode_jpeg(levels: np.ndarray, quality: int) -> bytes:
    """Levels as the bytes of a JPEG: x in red, y in green, blue constant.

    All three channels keep their resolution (4:4:4). The usual halved chroma would blur the edges
    of moving objects.
    """
    x, y = cv2.split(levels)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    # Most of a picture is at rest: Huffman codes fitted to it save a quarter of the bytes.
    options += [cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return cv2.imencode(".jpg", cv2.merge([np.full_like(x, _BLUE), y, x]), options)[1].tobytes()


def decode_jpeg(jpeg: bytes) -> np.ndarray:
    """The levels in a JPEG of `encode_jpeg`."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return picture[..., :0:-1]  # type: ignore[index]  # of blue, green, red


def color_wheel(field: np.ndarray, largest: float) -> np.ndarray:
    """A field as an RGB picture, uint8: hue is direction, white is rest (Baker et al. 2011).

    Right is red, down yellow, left cyan to blue, up violet. Lengths from `largest` pixels on have
    the full color.
    """
    x, y = field[..., 0], field[..., 1]
    length = np.minimum(np.hypot(x, y) / largest, 1)[..., np.newaxis]
    hue = np.arctan2(y, x) / (2 * np.pi) % 1 * _WHEEL_STEPS[-1]
    color = np.stack([np.interp(hue, _WHEEL_STEPS, c) for c in _WHEEL_COLORS.T], axis=-1)
    return np.rint(255 * (1 - length * (1 - color))).astype(np.uint8)
