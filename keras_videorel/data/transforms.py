"""Cropping, mirroring and normalization of clips.

A box is an int32 tensor `(top, left, height, width)`.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_videorel.checks import check_choice, check_number
from keras_videorel.clip_spec import TEST_SCALE, ClipSpec

CROP_SCALES = (1.0, 0.875, 0.75, 0.66)  # both papers
# TSN's 13 fixed crops: corners and center, middles of the edges, and halfway between the center and
# each corner. Numbers are quarters of the space (down, right) that a box leaves in its frame.
FIXED_POSITIONS = (
    (0, 0), (0, 4), (4, 0), (4, 4), (2, 2),
    (2, 0), (2, 4), (4, 2), (0, 2),
    (1, 1), (1, 3), (3, 1), (3, 3),
)  # fmt: skip
CROP_POSITIONS = ("random", "fixed")


def multi_scale_box(
    height,
    width,
    scales: Sequence[float] = CROP_SCALES,
    max_distort: int = 1,
    positions: str = "random",
    size=(1, 1),
    *,
    seed,
) -> tf.Tensor:
    """A random box for multi-scale cropping (TSN; ARTNet's training).

    Start from the largest box in the frame with the aspect ratio of the network's input. Multiply
    its height and its width each by one of `scales`. The crop is then resized to the input.

    Args:
        height: Height of the frame, a scalar. `width` is its width.
        scales: Scales, sorted.
        max_distort: How many places in `scales` the two scales of a box may be apart.
        positions: `"random"` for any position in the frame (ARTNet's authors), or `"fixed"` for one
            of TSN's 13 `FIXED_POSITIONS`.
        size: `(height, width)` of the network's input. Only the aspect ratio matters.
        seed: Two integers. The same seed gives the same box.
    """
    check_choice("positions", positions, CROP_POSITIONS)
    pairs = [
        (a, b)
        for i, a in enumerate(scales)
        for j, b in enumerate(scales)
        if abs(i - j) <= max_distort
    ]
    choice, top, left = tf.unstack(tf.random.stateless_uniform((3,), seed))
    pair = tf.gather(pairs, tf.cast(choice * len(pairs), tf.int32))
    frame = tf.stack([height, width])
    box = tf.minimum(tf.cast(tf.round(pair * _largest_box(frame, size)), tf.int32), frame)
    if positions == "fixed":
        place = tf.gather(FIXED_POSITIONS, tf.cast(top * len(FIXED_POSITIONS), tf.int32))
        corner = place * ((frame - box) // 4)  # rounded like in TSN
    else:
        room = tf.cast(frame - box + 1, tf.float32)
        corner = tf.cast(tf.stack([top, left]) * room, tf.int32)
    return tf.concat([corner, box], axis=0)


def _largest_box(frame, size):
    """Float32 height and width of the largest box in a frame with the aspect ratio of `size`."""
    size = tf.constant(size)
    return tf.cast(tf.reduce_min(frame * size[::-1]), tf.float32) / tf.cast(size[::-1], tf.float32)


def check_crops(crops: int) -> None:
    """Raise a `ValueError` if `crops` is not 1, 5 or 10."""
    if crops not in (1, 5, 10):
        raise ValueError(
            "`crops` must be 1 (center), 5 (corners and center) or 10 (those and their mirror "
            f"images). Received: crops={crops!r}"
        )


def view_boxes(height, width, size, crops: int, scale: float = TEST_SCALE) -> tf.Tensor:
    """Boxes of the test views, `(1 or 5, 4)` (ARTNet, Sec. 3.3; relational LSTM, Sec. 5.2).

    `resize_box` resizes the boxes to the network's input, as training resizes its crops, so objects
    have the same size in both. The papers' frames need no resizing: 7/8 of 128 pixels are 112, and
    7/8 of 256 are 224.

    Args:
        height: Height of the frame, a scalar. `width` is its width.
        size: Height and width of the network's input, an integer or a pair. The boxes have the
            same aspect ratio.
        crops: 1 (center), 5 (corners and center) or 10. For 10 the boxes are those for 5, and the
            caller mirrors the crops.
        scale: Side length of a box as a share of the largest box. 1.0 shows a whole square frame.
    """
    check_crops(crops)
    check_number("test_scale", scale, above=0, max_value=1)
    size = (size, size) if isinstance(size, int) else tuple(size)
    largest = _largest_box(tf.stack([height, width]), size)
    box = tf.unstack(tf.maximum(tf.cast(tf.round(scale * largest), tf.int32), 1))
    bottom, right = height - box[0], width - box[1]
    center = (bottom // 2, right // 2)
    corners = [] if crops == 1 else [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    return tf.stack([tf.stack([top, left, *box]) for top, left in [*corners, center]])


def resize_box(frames, box, size) -> tf.Tensor:
    """Crop frames `(..., height, width, channels)` to a box, and resize the crop to `size`, a pair.

    The result is float32, rounded to whole numbers like training crops.
    """
    top, left, height, width = tf.unstack(box)
    part = frames[..., top : top + height, left : left + width, :]
    part = tf.reshape(part, tf.concat([[-1], tf.shape(part)[-3:]], axis=0))
    part = tf.round(tf.cast(tf.image.resize(part, size), tf.float32))
    shape = tf.concat([tf.shape(frames)[:-3], size, tf.shape(frames)[-1:]], axis=0)
    return tf.ensure_shape(tf.reshape(part, shape), (*frames.shape[:-3], *size, frames.shape[-1]))


def resize(frames, size) -> tf.Tensor:
    """Resize whole frames, as similar as possible to `video.to_rgb`, which resizes for shards.

    Both use an antialiased bicubic filter. FFmpeg's filter sharpens slightly more.

    Args:
        frames: `(count, height, width, channels)` with values from 0 to 255.
        size: `(height, width)`, or an integer for the shorter side at the same aspect ratio.

    Returns:
        A float32 tensor of the new size, rounded to whole numbers.
    """
    if isinstance(size, int):
        sides = tf.cast(tf.shape(frames)[1:3], tf.float32)
        size = tf.cast(tf.round(sides * (size / tf.reduce_min(sides))), tf.int32)
    x = tf.image.resize(frames, size, "bicubic", antialias=True)
    return tf.round(tf.clip_by_value(x, 0.0, 255.0))


def mirror(clip, stream: str = "rgb") -> tf.Tensor:
    """Flip a clip `(..., height, width, channels)` left to right.

    In a clip of flow (uint8 levels, channels x, y or x1, y1, x2, y2, ...), x also changes its sign
    to `255 - level`.
    """
    shape = tf.shape(clip)
    # TensorFlow reverses the middle axis of three several times faster than other axes.
    flipped = tf.reverse(tf.reshape(clip, (-1, shape[-2], shape[-1])), axis=[1])
    if stream == "flow":
        rows = tf.reshape(flipped, (-1, shape[-2] * shape[-1]))
        x_alone = tf.tile(tf.constant([255, 0], tf.uint8), [tf.shape(rows)[1] // 2])
        flipped = tf.bitwise.bitwise_xor(rows, x_alone)  # 255 - x
    return tf.ensure_shape(tf.reshape(flipped, shape), clip.shape)


def normalize(clip, mean, std=1.0) -> tf.Tensor:
    """Normalize a uint8 or float clip to float32 `(clip - mean) / std`.

    Args:
        clip: `(..., width, channels)`.
        mean: One number per channel. Fewer numbers repeat, such as two numbers for the channels
            x1, y1, x2, y2, ... of stacked flow.
        std: One number, or as many as `mean` has.
    """
    channels = clip.shape[-1]
    for name, numbers in (("mean", mean), ("std", std)):
        if channels % np.size(numbers):
            raise ValueError(
                f"`{name}` must have a number for each of the {channels} channels. "
                f"Received: {name}={tuple(numbers)}"
            )
    # Process whole rows. Broadcasting along three channels takes three times as long.
    shape = tf.shape(clip)
    rows = tf.cast(tf.reshape(clip, (-1, shape[-2] * channels)), tf.float32)

    def row(numbers):
        numbers = tf.reshape(tf.constant(numbers, tf.float32), [-1])
        return tf.tile(numbers, [shape[-2] * channels // numbers.shape[0]])

    return tf.ensure_shape(tf.reshape((rows - row(mean)) / row(std), shape), clip.shape)


def prepare_frames(images, clip: ClipSpec) -> tf.Tensor:
    """Prepare frames of a video for a trained model: resize, center crop and normalize.

    Args:
        images: uint8 `(count, height, width, channels)`, of any size. Flow is measured in pixels of
            that size.
        clip: A `ClipSpec` with a `frame_size`.

    Returns:
        A float32 tensor `(count, *clip.crop_size, channels)`.
    """
    x = resize(images, clip.frame_size)
    if clip.stream == "flow":  # flow is in pixels, so it scales with the frame
        scale = tf.shape(x)[1:3] / tf.shape(images)[1:3]  # of y and x
        still = 127.5
        x = (x - still) * tf.cast(scale[::-1], tf.float32) + still
    height, width = tf.unstack(tf.shape(x)[1:3])
    (box,) = tf.unstack(view_boxes(height, width, clip.crop_size, 1, clip.test_scale))
    return normalize(resize_box(x, box, clip.crop_size), clip.mean, clip.std)


def join_frames(prepared, shape: tuple[int, ...]) -> tf.Tensor:
    """Group the prepared frames of consecutive samples into samples `(count, *shape)`.

    `shape` is `ClipSpec.shape` or the shape of a snippet.
    """
    channels = prepared.shape[-1]
    if shape[-1] != channels:  # stacked flow: x1, y1, x2, y2, ... of a snippet are channels
        x = tf.reshape(prepared, (-1, shape[-1] // channels, *shape[-3:-1], channels))
        prepared = tf.transpose(x, (0, 2, 3, 1, 4))
    return tf.reshape(prepared, (-1, *shape))
