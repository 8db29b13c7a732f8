"""Which frames clips take."""

import numpy as np
import pytest

from keras_videorel import ClipSpec
from keras_videorel.data import sampling


def test_random_clip_is_consecutive_and_reaches_both_ends():
    clips = np.array([sampling.random_clip(20, 16, seed=(0, i)).numpy() for i in range(200)])
    assert (np.diff(clips, axis=1) == 1).all()
    assert sorted(set(clips[:, 0])) == [0, 1, 2, 3, 4]
    assert clips.max() == 19
    np.testing.assert_array_equal(clips[7], sampling.random_clip(20, 16, seed=(0, 7)))


def test_stride():
    clips = np.array([sampling.random_clip(50, 16, 3, seed=(1, i)).numpy() for i in range(200)])
    assert (np.diff(clips, axis=1) == 3).all()
    assert sorted(set(clips[:, 0])) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("num_frames", [1, 5, 15])
def test_the_last_frame_repeats_in_short_videos(num_frames):
    expected = np.minimum(np.arange(16), num_frames - 1)
    np.testing.assert_array_equal(sampling.random_clip(num_frames, 16, seed=(0, 0)), expected)
    for clip in sampling.uniform_clips(num_frames, 25, 16).numpy():
        np.testing.assert_array_equal(clip, expected)


def test_uniform_clips_span_the_video():
    clips = sampling.uniform_clips(300, 25, 16).numpy()
    assert clips.shape == (25, 16)
    assert clips[0, 0] == 0 and clips[-1, -1] == 299
    assert set(np.diff(clips[:, 0])) <= {11, 12}  # 284 / 24 = 11.83
    assert (np.diff(clips, axis=1) == 1).all()


def test_a_single_clip_lies_in_the_middle():
    np.testing.assert_array_equal(sampling.uniform_clips(20, 1, 16).numpy(), [range(2, 18)])


@pytest.mark.parametrize(
    ("num_frames", "groups", "segments", "length", "stride", "starts"),
    [
        (80, 1, 8, 1, 1, [[5, 15, 25, 35, 45, 55, 65, 75]]),  # the middle of each
        (40, 4, 2, 1, 1, [[2, 22], [7, 27], [12, 32], [17, 37]]),
        (10, 1, 4, 1, 1, [[1, 3, 6, 8]]),  # segments 0-1, 2-4, 5-6, 7-9
        (24, 4, 2, 3, 2, [[1, 13], [3, 15], [5, 17], [7, 19]]),  # 8 places for 5 frames in 12
        (24, 2, 2, 12, 1, [[0, 12], [0, 12]]),  # room for one
        (24, 2, 2, 13, 1, [[0, 12], [0, 12]]),  # none: into the next segment, past the end
        (3, 2, 8, 1, 1, [[0, 0, 0, 1, 1, 1, 2, 2]] * 2),  # more segments than frames
        (1, 2, 3, 4, 2, [[0, 0, 0]] * 2),
    ],
)
def test_uniform_snippets_by_hand(num_frames, groups, segments, length, stride, starts):
    snippets = sampling.uniform_snippets(num_frames, groups, segments, length, stride).numpy()
    expected = np.array(starts)[..., None] + stride * np.arange(length)
    np.testing.assert_array_equal(snippets, np.minimum(expected, num_frames - 1))
    assert snippets.dtype == np.int32


def test_groups_of_snippets_are_equally_spaced_over_the_video():
    """The paper's testing: one image from each of 8 segments, 4 groups of them."""
    snippets = sampling.uniform_snippets(320, 4, 8, 1).numpy()
    assert snippets.shape == (4, 8, 1)
    assert (snippets - snippets[:, :1] == 40 * np.arange(8)[:, None]).all(), "the same position"
    assert set(np.diff(np.sort(snippets.ravel()))) == {10}


CASES = [
    (num_frames, segments, length, stride)
    for num_frames in (1, 2, 5, 7, 8, 9, 16, 31, 100, 257)
    for segments in (1, 2, 3, 8)
    for length, stride in ((1, 1), (1, 5), (4, 1), (3, 4))
]


def test_snippets_lie_in_their_segments():
    for place, (num_frames, segments, length, stride) in enumerate(CASES):
        random = sampling.random_snippets(num_frames, segments, length, stride, seed=(0, place))
        uniform = sampling.uniform_snippets(num_frames, 5, segments, length, stride)
        assert random.shape == (segments, length) and random.dtype == "int32"
        for snippets in (random.numpy(), *uniform.numpy()):
            for k, snippet in enumerate(snippets):
                first, end = k * num_frames // segments, (k + 1) * num_frames // segments
                if first + (length - 1) * stride < end:  # it fits
                    assert first <= snippet[0] and snippet[-1] < end, (num_frames, segments)
                    assert (np.diff(snippet) == stride).all()
                else:
                    expected = np.minimum(first + stride * np.arange(length), num_frames - 1)
                    np.testing.assert_array_equal(snippet, expected)


def test_random_snippets_reach_every_place_and_repeat_for_a_seed():
    """Segments 0-9, 10-20 of 21 frames have 6 and 7 places for frames s, s + 2, s + 4."""
    taken = [sampling.random_snippets(21, 2, 3, 2, seed=(0, i)).numpy() for i in range(300)]
    starts = np.array(taken)[..., 0]
    for column, places in zip(starts.T, (range(6), range(10, 17)), strict=True):
        numbers, counts = np.unique(column, return_counts=True)
        assert numbers.tolist() == list(places)
        assert counts.min() > 0.5 * 300 / len(places)
    assert abs(np.corrcoef(starts.T)[0, 1]) < 0.2, "each segment draws its own place"
    np.testing.assert_array_equal(taken[7], sampling.random_snippets(21, 2, 3, 2, seed=(0, 7)))


def test_samples_are_clips_or_snippets():
    spec = ClipSpec(frames=8, frame_stride=2)
    clip = sampling.random_sample(50, spec, seed=(1, 2))
    np.testing.assert_array_equal(clip, sampling.random_clip(50, 8, 2, seed=(1, 2)))
    clips = sampling.uniform_samples(50, 3, spec)
    np.testing.assert_array_equal(clips, sampling.uniform_clips(50, 3, 8, 2))
    spec = ClipSpec(segments=4, frames=3, frame_stride=2)
    snippets = sampling.random_sample(50, spec, seed=(1, 2)).numpy()
    expected = sampling.random_snippets(50, 4, 3, 2, seed=(1, 2))
    np.testing.assert_array_equal(snippets.reshape(4, 3), expected)
    groups = sampling.uniform_samples(50, 5, spec).numpy()
    expected = sampling.uniform_snippets(50, 5, 4, 3, 2)
    np.testing.assert_array_equal(groups.reshape(5, 4, 3), expected)


def test_distinct_samples():
    """None repeats another; with one more in equal segments, one does."""
    assert len(sampling.distinct_samples(20, 25, ClipSpec(frames=16))) == 5
    assert len(sampling.distinct_samples(20, 3, ClipSpec(frames=16))) == 3
    for num_frames, segments, length, stride in CASES:
        clip = ClipSpec(segments=segments, frames=length, frame_stride=stride)
        distinct = sampling.distinct_samples(num_frames, 10**4, clip).numpy()
        most = len(distinct)
        assert len(np.unique(distinct, axis=0)) == most, (num_frames, segments, length)
        if num_frames % segments == 0:
            groups = sampling.uniform_samples(num_frames, most + 1, clip).numpy()
            assert len(np.unique(groups, axis=0)) == most, (num_frames, segments, length)
