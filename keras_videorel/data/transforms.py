"""Crops, mirror and normalization of clips; boxes are int32 `(top, left, height, width)`."""

import numpy as np
import tensorflow as tf


def multi_scale_box(height, width, scales=(1.0, 0.875, 0.75, 0.66), max_distort=1, *, seed):
    """A random box for multi-scale cropping (TSN; ARTNet's training).

    Height and width of the box are two of `scales`, at most `max_distort` places apart, times
    the shorter side of the frame; its place is uniform. The crop is then resized to the
    network's input.

    Args:
        height: Height of the frame, a scalar.
        width: Width of the frame, a scalar.
        scales: Ratios, in order.
        max_distort: How many places apart the two ratios may be.
        seed: Two integers: the same seed gives the same box.

    Returns:
        int32 tensor `(4,)`: top, left, height, width.
    """
    pairs = [
        (a, b)
        for i, a in enumerate(scales)
        for j, b in enumerate(scales)
        if abs(i - j) <= max_distort
    ]
    choice, top, left = tf.unstack(tf.random.stateless_uniform((3,), seed))
    pair = tf.gather(pairs, tf.cast(choice * len(pairs), tf.int32))
    frame = tf.stack([height, width])
    side = tf.cast(tf.minimum(height, width), tf.float32)
    box = tf.minimum(tf.cast(tf.round(pair * side), tf.int32), frame)
    room = tf.cast(frame - box + 1, tf.float32)
    corner = tf.cast(tf.stack([top, left]) * room, tf.int32)
    return tf.concat([corner, box], axis=0)


def check_crops(crops):
    """Raise a `ValueError` if `crops` is no number of test crops."""
    if crops not in (1, 5, 10):
        raise ValueError(
            "`crops` must be 1 (center), 5 (corners and center) or 10 (those and their mirror "
            f"images). Received: crops={crops!r}"
        )


def view_boxes(height, width, size, crops):
    """Boxes of the test views (ARTNet, Sec. 3.3; relational LSTM, Sec. 5.2).

    Args:
        height: Height of the frame, a scalar.
        width: Width of the frame, a scalar.
        size: Height and width of each crop.
        crops: 1 (center), 5 (corners, center) or 10 (those and their mirror images).

    Returns:
        int32 tensor `(1 or 5, 4)`; mirroring is left to the caller, on decoded crops.

    Raises:
        ValueError: If `crops` is another number.
    """
    check_crops(crops)
    bottom, right = height - size, width - size
    center = (bottom // 2, right // 2)
    corners = [] if crops == 1 else [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    return tf.stack([tf.stack([top, left, size, size]) for top, left in [*corners, center]])


def resize(frames, size):
    """Resize whole frames, with antialiasing.

    Args:
        frames: `(count, height, width, channels)`.
        size: `(height, width)`, or an integer: the shorter side, keeping the aspect.

    Returns:
        float32 tensor of the new size.
    """
    if isinstance(size, int):
        sides = tf.cast(tf.shape(frames)[1:3], tf.float32)
        size = tf.cast(tf.round(sides * (size / tf.reduce_min(sides))), tf.int32)
    return tf.image.resize(frames, size, antialias=True)


def center_crop(frames, size):
    """The middle `(height, width)` of `frames`, `(count, height, width, channels)`."""
    height, width = size
    top, left = tf.unstack((tf.shape(frames)[1:3] - tf.constant([height, width])) // 2)
    return frames[:, top : top + height, left : left + width]


def mirror(clip, stream="rgb"):
    """A clip flipped left to right; what moved to the right moves to the left then.

    Args:
        clip: `(..., height, width, channels)`. For `stream="flow"` levels, uint8, with channels
            x, y, or x1, y1, x2, y2, ...
        stream: `"rgb"`, or `"flow"` for optical flow, whose x changes its sign: `255 - level`.

    Returns:
        A tensor like `clip`.
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


def prepare_samples(
    images, *, input_shape, stream, segments, frames, frame_size, crop_size, mean, std
):
    """The frames of samples as a model takes them: resized, cropped in the middle, normalized.

    Args:
        images: uint8 `(samples * sampled, height, width, channels)`: the frames of samples, of
            any size, one after the other; `sampled` is `max(segments, 1) * frames`.
        input_shape: Shape of a sample, without the batch.
        stream: `"rgb"`, or `"flow"`: `images` are levels of fields in pixels of their own size.
        segments: Snippets of a sample, 0 for clips.
        frames: Frames of a clip or snippet.
        frame_size: `(height, width)` or the shorter side that frames are resized to.
        crop_size: `(height, width)` of the crop.
        mean: Mean of the channels, which is subtracted.
        std: What they are then divided by.

    Returns:
        float32 tensor `(samples, *input_shape)`.
    """
    whole = frame_size if isinstance(frame_size, int) else tuple(frame_size)
    height, width = crop_size
    x = resize(images, whole)
    if stream == "flow":  # lengths are in pixels
        scale = tf.shape(x)[1:3] / tf.shape(images)[1:3]  # of y and x
        still = 127.5
        x = (x - still) * tf.cast(scale[::-1], tf.float32) + still
    x = normalize(center_crop(x, (height, width)), mean, std)
    if stream == "flow" and segments:  # x1, y1, x2, y2, ... of a snippet are its channels
        x = tf.reshape(x, (-1, frames, height, width, 2))
        x = tf.transpose(x, (0, 2, 3, 1, 4))
    return tf.reshape(x, (-1, *input_shape))
