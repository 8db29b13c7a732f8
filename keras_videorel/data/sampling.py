"""Frame indices of clips, and of snippets: short clips inside the equal segments of a video.

The functions return int32 tensors of frame indices and share these arguments:

    num_frames      Frames in the video, an integer or a scalar tensor.
    length, stride  Frames in a clip or snippet, and the step from one to the next.
    segments        Number of equal segments of the video. Each gives one snippet.
    seed            Two integers. The same seed gives the same sample.
"""

import tensorflow as tf

from keras_videorel.clip_spec import ClipSpec


def clip_indices(starts, num_frames, length: int, stride: int = 1) -> tf.Tensor:
    """Clips that begin at `starts`, `(*starts.shape, length)`.

    Beyond the end of the video, the last frame repeats.
    """
    offsets = stride * tf.range(length, dtype=tf.int32)
    indices = tf.cast(starts, tf.int32)[..., tf.newaxis] + offsets
    return tf.minimum(indices, tf.cast(num_frames, tf.int32) - 1)


def last_start(num_frames, length: int, stride: int = 1) -> tf.Tensor:
    """The last start at which a whole clip fits, or 0 if the video is shorter than a clip."""
    span = (length - 1) * stride + 1
    return tf.maximum(tf.cast(num_frames, tf.int32) - span, 0)


def random_clip(num_frames, length: int, stride: int = 1, *, seed) -> tf.Tensor:
    """One clip at a random place, `(length,)` (ARTNet, Sec. 3.3, training)."""
    limit = last_start(num_frames, length, stride) + 1
    start = tf.random.stateless_uniform((), seed, maxval=limit, dtype=tf.int32)
    return clip_indices(start, num_frames, length, stride)


def uniform_clips(num_frames, clips, length: int, stride: int = 1) -> tf.Tensor:
    """`clips` equally spaced clips, `(clips, length)` (ARTNet, Sec. 3.3, testing; 25 clips).

    The first clip begins at the first frame and the last clip ends at the last frame. A single clip
    is in the middle of the video.
    """
    last = tf.cast(last_start(num_frames, length, stride), tf.float32)
    places = tf.range(clips)
    gaps = tf.shape(places)[0] - 1
    position = tf.where(gaps > 0, places / tf.maximum(gaps, 1), 0.5)
    starts = tf.floor(tf.cast(position, tf.float32) * last + 0.5)
    return clip_indices(starts, num_frames, length, stride)


def segment_bounds(num_frames, segments: int) -> tuple[tf.Tensor, tf.Tensor]:
    """First frame and number of frames of each segment, two tensors `(segments,)`.

    Segment k begins at frame k * num_frames // segments. If the video has fewer frames than
    segments, some segments are empty and begin where the next segment begins.
    """
    bounds = tf.range(segments + 1) * tf.cast(num_frames, tf.int32) // segments
    return bounds[:-1], bounds[1:] - bounds[:-1]


def random_snippets(num_frames, segments: int, length: int, stride: int = 1, *, seed) -> tf.Tensor:
    """A snippet at a random place of each segment, `(segments, length)`.

    Relational LSTM, Sec. 3, after TSN (training). A snippet that is longer than its segment begins
    with the segment and continues after it.
    """
    first, room = segment_bounds(num_frames, segments)
    places = tf.cast(last_start(room, length, stride) + 1, tf.float32)
    chosen = tf.floor(tf.random.stateless_uniform((segments,), seed) * places)
    return clip_indices(first + tf.cast(chosen, tf.int32), num_frames, length, stride)


def uniform_snippets(num_frames, groups, segments: int, length: int, stride: int = 1) -> tf.Tensor:
    """Groups of snippets from the same position of each segment, `(groups, segments, length)`.

    Relational LSTM, Sec. 5.2 (testing): 4 groups, 8 segments. The possible starts of a snippet in
    its segment are divided into `groups` equal parts, and group p takes the middle of part p. The
    groups are thus equally spaced, and a single group takes the middle of each segment.
    """
    first, room = segment_bounds(num_frames, segments)
    places = last_start(room, length, stride) + 1
    position = tf.range(groups)[:, tf.newaxis]
    starts = first + (2 * position + 1) * places // (2 * groups)
    return clip_indices(starts, num_frames, length, stride)


def random_sample(num_frames, clip: ClipSpec, *, seed) -> tf.Tensor:
    """Frame indices of a training sample, `(clip.num_frames,)`."""
    if not clip.segments:
        return random_clip(num_frames, clip.frames, clip.frame_stride, seed=seed)
    snippets = random_snippets(num_frames, clip.segments, clip.frames, clip.frame_stride, seed=seed)
    return tf.reshape(snippets, [-1])


def uniform_samples(num_frames, count, clip: ClipSpec) -> tf.Tensor:
    """Frame indices of `count` test samples (clips or groups), `(count, clip.num_frames)`."""
    if not clip.segments:
        return uniform_clips(num_frames, count, clip.frames, clip.frame_stride)
    indices = uniform_snippets(num_frames, count, clip.segments, clip.frames, clip.frame_stride)
    return tf.reshape(indices, (-1, clip.num_frames))


def distinct_samples(num_frames, count, clip: ClipSpec) -> tf.Tensor:
    """Like `uniform_samples`, but with fewer samples if a short video would repeat samples."""
    longest = -(-tf.cast(num_frames, tf.int32) // max(clip.segments, 1))  # longest segment
    places = last_start(longest, clip.frames, clip.frame_stride) + 1
    return uniform_samples(num_frames, tf.minimum(count, places), clip)
