"""Which frames clips take."""

import numpy as np
import pytest

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
