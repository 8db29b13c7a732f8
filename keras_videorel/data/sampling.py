"""Which frames of a video a clip takes, or the snippets of its segments.

A clip is a run of frames; a snippet is the same inside one of the equal segments of a video. The
functions share these arguments:

    num_frames      Frames in the video, a scalar.
    length, stride  Frames in a clip or snippet, and the step from each to the next.
    segments        Equal parts that the video is divided into, one snippet from each.
    seed            Two integers: the same seed gives the same sample.

They return int32 tensors of frame indices.
"""

import tensorflow as tf


def clip_indices(starts, num_frames, length, stride=1):
    """Clips that begin at `starts`; the last frame repeats past the end of the video.

    Args:
        starts: Integer tensor of any shape: index of each clip's first frame.

    Returns:
        The shape of `starts` with `length` added at the end.
    """
    offsets = stride * tf.range(length, dtype=tf.int32)
    indices = tf.cast(starts, tf.int32)[..., tf.newaxis] + offsets
    return tf.minimum(indices, tf.cast(num_frames, tf.int32) - 1)


def last_start(num_frames, length, stride=1):
    """The last start at which a whole clip fits; 0 if the video is shorter than a clip."""
    span = (length - 1) * stride + 1
    return tf.maximum(tf.cast(num_frames, tf.int32) - span, 0)


def random_clip(num_frames, length, stride=1, *, seed):
    """One clip at a random place, `(length,)` (ARTNet, Sec. 3.3, training)."""
    limit = last_start(num_frames, length, stride) + 1
    start = tf.random.stateless_uniform((), seed, maxval=limit, dtype=tf.int32)
    return clip_indices(start, num_frames, length, stride)


def uniform_clips(num_frames, clips, length, stride=1):
    """Clips at equal distances over the whole video (ARTNet, Sec. 3.3, testing).

    The first clip begins at the first frame and the last clip ends at the last frame. A single clip
    lies in the middle.

    Args:
        clips: Number of clips, an integer or a scalar tensor; 25 in the paper.

    Returns:
        `(clips, length)`.
    """
    last = tf.cast(last_start(num_frames, length, stride), tf.float32)
    places = tf.range(clips)
    gaps = tf.shape(places)[0] - 1
    position = tf.where(gaps > 0, places / tf.maximum(gaps, 1), 0.5)
    starts = tf.floor(tf.cast(position, tf.float32) * last + 0.5)
    return clip_indices(starts, num_frames, length, stride)


def segment_bounds(num_frames, segments):
    """First frame and number of frames of each segment, two tensors `(segments,)`.

    Segment k begins at frame k * num_frames // segments. In a video of fewer frames than segments
    some segments are empty and begin where the next one does.
    """
    bounds = tf.range(segments + 1) * tf.cast(num_frames, tf.int32) // segments
    return bounds[:-1], bounds[1:] - bounds[:-1]


def random_snippets(num_frames, segments, length, stride=1, *, seed):
    """A snippet at a random place of each segment (relational LSTM, Sec. 3, after TSN; training).

    A snippet lies inside its segment. If it is longer than the segment, it begins with the segment
    and runs on.

    Returns:
        `(segments, length)`.
    """
    first, room = segment_bounds(num_frames, segments)
    places = tf.cast(last_start(room, length, stride) + 1, tf.float32)
    chosen = tf.floor(tf.random.stateless_uniform((segments,), seed) * places)
    return clip_indices(first + tf.cast(chosen, tf.int32), num_frames, length, stride)


def uniform_snippets(num_frames, groups, segments, length, stride=1):
    """Groups of snippets from the same position of each segment (relational LSTM, Sec. 5.2).

    A segment has a number of places where a snippet fits. They are divided into `groups` equal
    parts, and group p takes the middle of part p. The groups are thus equally spaced over the whole
    video too, and a single group lies in the middle of each segment.

    Args:
        groups: Number of positions, an integer or a scalar tensor; 4 in the paper, of 8 segments.

    Returns:
        `(groups, segments, length)`.
    """
    first, room = segment_bounds(num_frames, segments)
    places = last_start(room, length, stride) + 1
    position = tf.range(groups)[:, tf.newaxis]
    starts = first + (2 * position + 1) * places // (2 * groups)
    return clip_indices(starts, num_frames, length, stride)


def random_sample(num_frames, clip, *, seed):
    """Frames of a training sample, int32 `(clip.num_frames,)`.

    Args:
        num_frames: Frames in the video, a scalar.
        clip: A `ClipSpec`.
        seed: Two integers.
    """
    if not clip.segments:
        return random_clip(num_frames, clip.frames, clip.frame_stride, seed=seed)
    snippets = random_snippets(num_frames, clip.segments, clip.frames, clip.frame_stride, seed=seed)
    return tf.reshape(snippets, [-1])


def uniform_samples(num_frames, count, clip):
    """Frames of the test samples of a video, int32 `(count, clip.num_frames)`.

    Args:
        num_frames: Frames in the video, a scalar.
        count: Number of clips, or of groups of snippets, an integer or a scalar tensor.
        clip: A `ClipSpec`.
    """
    if not clip.segments:
        return uniform_clips(num_frames, count, clip.frames, clip.frame_stride)
    indices = uniform_snippets(num_frames, count, clip.segments, clip.frames, clip.frame_stride)
    return tf.reshape(indices, (-1, clip.num_frames))


def distinct_samples(num_frames, count, clip):
    """`uniform_samples`, but fewer of a short video, so that none is there twice."""
    longest = -(-tf.cast(num_frames, tf.int32) // max(clip.segments, 1))  # of the segments
    places = last_start(longest, clip.frames, clip.frame_stride) + 1
    return uniform_samples(num_frames, tf.minimum(count, places), clip)
