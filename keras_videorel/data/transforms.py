"""Crops, mirror and normalization of clips; boxes are int32 `(top, left, height, width)`."""

import numpy as np
import tensorflow as tf

from keras_videorel.checks import check_choice, check_number
from keras_videorel.clip_spec import TEST_SCALE

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
    scales=(1.0, 0.875, 0.75, 0.66),
    max_distort=1,
    positions="random",
    size=(1, 1),
    *,
    seed,
):
    """A random box for multi-scale cropping (TSN; ARTNet's training).

    Height and width of the box are two of `scales`, at most `max_distort` places apart, times
    those of the largest box of the input's aspect: for a square input, times the shorter side of
    the frame. The crop is then resized to the network's input.

    Args:
        height: Height of the frame, a scalar.
        width: Its width.
        scales: Ratios, in order.
        max_distort: How many places apart the two ratios may be.
        positions: `"random"`: anywhere in the frame, as ARTNet's authors trained; `"fixed"`: one
            of TSN's 13 `FIXED_POSITIONS`.
        size: `(height, width)` of the network's input, whose aspect counts.
        seed: Two integers: the same seed gives the same box.

    Returns:
        int32 tensor `(4,)`: top, left, height, width.
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


def check_crops(crops):
    """Raise a `ValueError` if `crops` is not a number of test crops."""
    if crops not in (1, 5, 10):
        raise ValueError(
            "`crops` must be 1 (center), 5 (corners and center) or 10 (those and their mirror "
            f"images). Received: crops={crops!r}"
        )


def view_boxes(height, width, size, crops, scale=TEST_SCALE):
    """Boxes of the test views (ARTNet, Sec. 3.3; relational LSTM, Sec. 5.2).

    A box is then resized to the network's input (`resize_box`), as a crop is in training, so
    that a network sees things at one size. In the papers' frames nothing is resized: 7/8 of 128
    pixels are 112, and 7/8 of 256 are 224.

    Args:
        height: Height of the frame, a scalar.
        width: Its width.
        size: Height and width of the network's input, an integer or a pair; the boxes have its
            aspect.
        crops: 1 (center), 5 (corners, center) or 10 (those and their mirror images).
        scale: The share of the shorter side that a box has; of the largest box of the input's
            aspect where that is no square. 1.0 shows all of a square frame.

    Returns:
        int32 tensor `(1 or 5, 4)`; mirroring is left to the caller, on decoded crops.
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


def resize_box(frames, box, size):
    """The part of frames inside a box, as large as the network's input.

    Resized as a crop in training is; not touched where it has that size already.

    Args:
        frames: `(..., height, width, channels)`, of any type.
        box: Top, left, height, width: int32 `(4,)`.
        size: `(height, width)`.

    Returns:
        float32 tensor `(..., *size, channels)`.
    """
    top, left, height, width = tf.unstack(box)
    part = frames[..., top : top + height, left : left + width, :]
    part = tf.reshape(part, tf.concat([[-1], tf.shape(part)[-3:]], axis=0))
    part = tf.cond(
        tf.reduce_all(box[2:] == tf.constant(size)),
        lambda: tf.cast(part, tf.float32),
        lambda: tf.image.resize(part, size),
    )
    shape = tf.concat([tf.shape(frames)[:-3], size, tf.shape(frames)[-1:]], axis=0)
    return tf.ensure_shape(tf.reshape(part, shape), (*frames.shape[:-3], *size, frames.shape[-1]))


def resize(frames, size):
    """Resize whole frames, as nearly as TensorFlow can to `video.to_rgb`, which makes the shards.

    Both are bicubic filters that cover more pixels the more a frame shrinks, with results in whole
    levels. FFmpeg's sharpens a little more.

    Args:
        frames: `(count, height, width, channels)`, levels of 8 bits.
        size: `(height, width)`, or an integer: the shorter side, keeping the aspect.

    Returns:
        float32 tensor of the new size, whole numbers.
    """
    if isinstance(size, int):
        sides = tf.cast(tf.shape(frames)[1:3], tf.float32)
        size = tf.cast(tf.round(sides * (size / tf.reduce_min(sides))), tf.int32)
    x = tf.image.resize(frames, size, "bicubic", antialias=True)
    return tf.round(tf.clip_by_value(x, 0.0, 255.0))


def mirror(clip, stream="rgb"):
    """A clip flipped left to right; what moved to the right moves to the left then.

    Args:
        clip: `(..., height, width, channels)`. For `stream="flow"` levels, uint8, with channels
            x, y, or x1, y1, x2, y2, ...
        stream: `"rgb"`, or `"flow"` for optical flow, whose x changes its sign: `255 - level`.
    """
    shape = tf.shape(clip)
    # TensorFlow reverses the middle one of three axes several times as fast as others.
    flipped = tf.reverse(tf.reshape(clip, (-1, shape[-2], shape[-1])), axis=[1])
    if stream == "flow":
        rows = tf.reshape(flipped, (-1, shape[-2] * shape[-1]))
        x_alone = tf.tile(tf.constant([255, 0], tf.uint8), [tf.shape(rows)[1] // 2])
        flipped = tf.bitwise.bitwise_xor(rows, x_alone)  # 255 - x
    return tf.ensure_shape(tf.reshape(flipped, shape), clip.shape)


def normalize(clip, mean, std=1.0):
    """A uint8 or float clip as float32 `(clip - mean) / std`.

    Args:
        clip: `(..., width, channels)`.
        mean: A number for each channel, or for each of a group that the channels repeat: two for
            stacks of flow, x1, y1, x2, y2, ...
        std: A number, or as many as of `mean`.
    """
    channels = clip.shape[-1]
    for name, numbers in (("mean", mean), ("std", std)):
        if np.ndim(numbers) and channels % len(numbers):
            raise ValueError(
                f"`{name}` must have a number for each of the {channels} channels. "
                f"Received: {name}={tuple(numbers)}"
            )
    # Whole rows at a time: broadcasting along three channels takes three times as long.
    shape = tf.shape(clip)
    rows = tf.cast(tf.reshape(clip, (-1, shape[-2] * channels)), tf.float32)

    def row(numbers):
        repeats = shape[-2] * channels // len(numbers) if np.ndim(numbers) else 1
        return tf.tile(tf.reshape(tf.constant(numbers, tf.float32), [-1]), [repeats])

    return tf.ensure_shape(tf.reshape((rows - row(mean)) / row(std), shape), clip.shape)


def prepare_frames(images, clip):
    """Frames as a trained model takes them: resized, the test view in the middle, normalized.

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
    x = tf.round(resize_box(x, box, clip.crop_size))  # levels, as in training
    return normalize(x, clip.mean, clip.std)


def join_frames(prepared, shape):
    """Prepared frames, one sample after the other, as samples `(count, *shape)`.

    Args:
        prepared: `(count * frames of a sample, height, width, channels)`.
        shape: `ClipSpec.shape`, or that of a snippet.
    """
    channels = prepared.shape[-1]
    if shape[-1] != channels:  # stacks of flow: x1, y1, x2, y2, ... of a snippet are channels
        x = tf.reshape(prepared, (-1, shape[-1] // channels, *shape[-3:-1], channels))
        prepared = tf.transpose(x, (0, 2, 3, 1, 4))
    return tf.reshape(prepared, (-1, *shape))
