"""Crops, mirror and normalization of clips; boxes are int32 `(top, left, height, width)`."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_videorel.checks import check_choice, check_number
from keras_videorel.clip_spec import TEST_SCALE, ClipSpec

CROP_SCALES = (1.0, 0.875, 0.75, 0.66)  # of both papers
# TSN's 13 fixed crops, in quarters of the room (down, right) that a box has in its frame: corners
# and center, the middles of the edges, and halfway between the center and each corner.
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

    Height and width of the box are two of `scales`, at most `max_distort` places apart, times
    those of the largest box of the input's aspect: for a square input, times the shorter side of
    the frame. The crop is then resized to the network's input.

    Args:
        height: Height of the frame, a scalar.
        width: Width of the frame, a scalar.
        scales: Ratios, in order.
        max_distort: How many places apart the two ratios may be.
        positions: `"random"`: anywhere in the frame, as ARTNet's authors trained; `"fixed"`: one
            of TSN's 13 `FIXED_POSITIONS`.
        size: `(height, width)` of the network's input, whose aspect counts.
        seed: Two integers: the same seed gives the same box.
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
        corner = place * ((frame - box) // 4)  # whole steps, as TSN counts them
    else:
        room = tf.cast(frame - box + 1, tf.float32)
        corner = tf.cast(tf.stack([top, left]) * room, tf.int32)
    return tf.concat([corner, box], axis=0)


def _largest_box(frame, size):
    """Height and width, float32, of the largest box in a frame with the aspect of `size`."""
    size = tf.constant(size)
    return tf.cast(tf.reduce_min(frame * size[::-1]), tf.float32) / tf.cast(size[::-1], tf.float32)


def check_crops(crops: int) -> None:
    """Raise a `ValueError` if `crops` is not a number of test crops."""
    if crops not in (1, 5, 10):
        raise ValueError(
            "`crops` must be 1 (center), 5 (corners and center) or 10 (those and their mirror "
            f"images). Received: crops={crops!r}"
        )


def view_boxes(height, width, size, crops: int, scale: float = TEST_SCALE) -> tf.Tensor:
    """Boxes of the test views, `(1 or 5, 4)` (ARTNet, Sec. 3.3; relational LSTM, Sec. 5.2).

    `resize_box` then resizes them to the network's input, as training resizes its crops, so that
    a network sees things at one size. The papers' frames need no resizing: 7/8 of 128 pixels are
    112, and 7/8 of 256 are 224.

    Args:
        height: Height of the frame, a scalar.
        width: Width of the frame, a scalar.
        size: Height and width of the network's input, an integer or a pair. The boxes have its
            aspect.
        crops: 1 (center), 5 (corners, center) or 10 (the same boxes as 5: mirror the crops).
        scale: Side of a box as a share of the largest box's. 1.0 shows all of a square frame.
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
    """Crop frames `(..., height, width, channels)` to a box; resize that to `size`, a pair.

    The result is float32 with whole numbers, as training crops are.
    """
    top, left, height, width = tf.unstack(box)
    part = frames[..., top : top + height, left : left + width, :]
    part = tf.reshape(part, tf.concat([[-1], tf.shape(part)[-3:]], axis=0))
    part = tf.round(tf.cast(tf.image.resize(part, size), tf.float32))
    shape = tf.concat([tf.shape(frames)[:-3], size, tf.shape(frames)[-1:]], axis=0)
    return tf.ensure_shape(tf.reshape(part, shape), (*frames.shape[:-3], *size, frames.shape[-1]))


def resize(frames, size) -> tf.Tensor:
    """Resize whole frames as `video.to_rgb` does for shards, as nearly as TensorFlow can.

    Both are bicubic filters that cover more pixels the more a frame shrinks. FFmpeg's sharpens a
    little more.

    Args:
        frames: `(count, height, width, channels)`, levels of 8 bits.
        size: `(height, width)`, or an integer: the shorter side, keeping the aspect.

    Returns:
        float32 tensor of the new size, with whole numbers.
    """
    if isinstance(size, int):
        sides = tf.cast(tf.shape(frames)[1:3], tf.float32)
        size = tf.cast(tf.round(sides * (size / tf.reduce_min(sides))), tf.int32)
    x = tf.image.resize(frames, size, "bicubic", antialias=True)
    return tf.round(tf.clip_by_value(x, 0.0, 255.0))


def mirror(clip, stream: str = "rgb") -> tf.Tensor:
    """Flip a clip `(..., height, width, channels)` left to right.

    In a clip of flow (uint8 levels, channels x, y or x1, y1, x2, y2, ...), x also changes its sign:
    `255 - level`.
    """
    shape = tf.shape(clip)
    # TensorFlow reverses the middle one of three axes several times as fast as others.
    flipped = tf.reverse(tf.reshape(clip, (-1, shape[-2], shape[-1])), axis=[1])
    if stream == "flow":
        rows = tf.reshape(flipped, (-1, shape[-2] * shape[-1]))
        x_alone = tf.tile(tf.constant([255, 0], tf.uint8), [tf.shape(rows)[1] // 2])
        flipped = tf.bitwise.bitwise_xor(rows, x_alone)  # 255 - x
    return tf.ensure_shape(tf.reshape(flipped, shape), clip.shape)


def normalize(clip, mean, std=1.0) -> tf.Tensor:
    """A uint8 or float clip as float32 `(clip - mean) / std`.

    Args:
        clip: `(..., width, channels)`.
        mean: A number for each channel, or for each of a group that the channels repeat: two for
            stacks of flow, x1, y1, x2, y2, ...
        std: One number, or as many as `mean` has.
    """
    channels = clip.shape[-1]
    for name, numbers in (("mean", mean), ("std", std)):
        if channels % np.size(numbers):
            raise ValueError(
                f"`{name}` must have a number for each of the {channels} channels. "
                f"Received: {name}={tuple(numbers)}"
            )
    # Whole rows at a time: broadcasting along three channels takes three times as long.
    shape = tf.shape(clip)
    rows = tf.cast(tf.reshape(clip, (-1, shape[-2] * channels)), tf.float32)

    def row(numbers):
        numbers = tf.reshape(tf.constant(numbers, tf.float32), [-1])
        return tf.tile(numbers, [shape[-2] * channels // numbers.shape[0]])

    return tf.ensure_shape(tf.reshape((rows - row(mean)) / row(std), shape), clip.shape)


def prepare_frames(images, clip: ClipSpec) -> tf.Tensor:
    """Frames of a video as a trained model takes them: resized, cropped to the center, normalized.

    Args:
        images: uint8 `(count, height, width, channels)`, of any size. Levels of flow are in pixels
            of that size.
        clip: A `ClipSpec` with a `frame_size`.

    Returns:
        float32 tensor `(count, *clip.crop_size, channels)`.
    """
    x = resize(images, clip.frame_size)
    if clip.stream == "flow":  # lengths are in pixels
        scale = tf.shape(x)[1:3] / tf.shape(images)[1:3]  # of y and x
        still = 127.5
        x = (x - still) * tf.cast(scale[::-1], tf.float32) + still
    height, width = tf.unstack(tf.shape(x)[1:3])
    (box,) = tf.unstack(view_boxes(height, width, clip.crop_size, 1, clip.test_scale))
    return normalize(resize_box(x, box, clip.crop_size), clip.mean, clip.std)


def join_frames(prepared, shape: tuple[int, ...]) -> tf.Tensor:
    """Prepared frames, one sample after the other, as samples `(count, *shape)`.

    `shape` is `ClipSpec.shape`, or the shape of a snippet.
    """
    channels = prepared.shape[-1]
    if shape[-1] != channels:  # stacks of flow: x1, y1, x2, y2, ... of a snippet are channels
        x = tf.reshape(prepared, (-1, shape[-1] // channels, *shape[-3:-1], channels))
        prepared = tf.transpose(x, (0, 2, 3, 1, 4))
    return tf.reshape(prepared, (-1, *shape))
