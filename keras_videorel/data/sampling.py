"""Which frames of a video a clip takes."""

import tensorflow as tf


def clip_indices(starts, num_frames, length, stride=1):
    """Frame indices of clips that begin at `starts`; the last frame repeats past the end.

    Args:
        starts: Integer tensor of any shape: index of each clip's first frame.
        num_frames: Frames in the video, a scalar.
        length: Frames in a clip.
        stride: Step between the frames of a clip.

    Returns:
        int32 tensor, the shape of `starts` with `length` added at the end.
    """
    offsets = stride * tf.range(length, dtype=tf.int32)
    indices = tf.cast(starts, tf.int32)[..., tf.newaxis] + offsets
    return tf.minimum(indices, tf.cast(num_frames, tf.int32) - 1)


def last_start(num_frames, length, stride=1):
    """The last start at which a whole clip fits; 0 if the video is shorter than a clip."""
    span = (length - 1) * stride + 1
    return tf.maximum(tf.cast(num_frames, tf.int32) - span, 0)


def random_clip(num_frames, length, stride=1, *, seed):
    """One clip of consecutive frames at a random place (ARTNet, Sec. 3.3, training).

    Args:
        num_frames: Frames in the video, a scalar.
        length: Frames in a clip; 16 in the paper.
        stride: Step between them.
        seed: Two integers: the same seed gives the same clip.

    Returns:
        int32 tensor `(length,)` of frame indices.
    """
    limit = last_start(num_frames, length, stride) + 1
    start = tf.random.stateless_uniform((), seed, maxval=limit, dtype=tf.int32)
    return clip_indices(start, num_frames, length, stride)


def uniform_clips(num_frames, clips, length, stride=1):
    """Clips at equal distances over the whole video (ARTNet, Sec. 3.3, testing).

    The first begins at the first frame and the last ends at the last frame; a single clip lies
    in the middle.

    Args:
        num_frames: Frames in the video, a scalar.
        clips: Number of clips, an integer or a scalar tensor; 25 in the paper.
        length: Frames in a clip; 16 in the paper.
        stride: Step between them.

    Returns:
        int32 tensor `(clips, length)` of frame indices.
    """
    last = tf.cast(last_start(num_frames, length, stride), tf.float32)
    places = tf.range(clips)
    gaps = tf.shape(places)[0] - 1
    position = tf.where(gaps > 0, places / tf.maximum(gaps, 1), 0.5)
    starts = tf.floor(tf.cast(position, tf.float32) * last + 0.5)
    return clip_indices(starts, num_frames, length, stride)
