"""Where relation maps lie and what they say."""

import numpy as np
import pytest

from keras_videorel import ClipSpec
from keras_videorel.prediction import maps
from tests.prediction.conftest import MULTIPLE, SEGMENTS, SHARPEST, attention_maps

SETTINGS = {"spatial_shape": [2, 2]}


def test_the_strongest_position_and_its_weights():
    shown, position = maps.select(attention_maps(), SETTINGS)
    assert position == SHARPEST
    np.testing.assert_allclose(shown[0], np.ones((2, 2)))
    np.testing.assert_allclose(shown[1:, 0, 0], MULTIPLE)
    np.testing.assert_allclose(shown.mean(axis=(1, 2)), np.ones(SEGMENTS))
    shown, _ = maps.select(attention_maps(), SETTINGS, gate="i")
    np.testing.assert_allclose(shown[2], [[4, 0], [0, 0]])
    np.testing.assert_allclose(maps.select(attention_maps(), SETTINGS, gate="o")[0], 1)
    np.testing.assert_allclose(maps.select(attention_maps(), SETTINGS, (0, 1))[0], 1)


def test_frames_of_clips_lie_one_below_the_other():
    """What the copies of a position in each frame take, on average, from those of another."""
    rng = np.random.default_rng(0)
    frames, height, width, steps = 2, 3, 4, 2
    count = frames * height * width
    settings = {"spatial_shape": [frames * height, width], "feature_times": frames}
    assert maps.grid(settings) == (frames, height, width)
    weights = rng.dirichlet(np.ones(count), (steps, 4, count))
    expected = np.zeros((steps, height, width))
    row, column = 1, 2
    for step in range(steps):
        for gate in range(4):
            for asks in range(frames):
                query = (asks * height + row) * width + column
                for key in range(count):
                    place = key // width % height, key % width
                    expected[step][place] += weights[step, gate, query, key] / (4 * frames)
    shown, _ = maps.select(weights, settings, (row, column))
    np.testing.assert_allclose(shown, expected * height * width, rtol=1e-5)


def test_the_part_of_a_frame_that_the_model_sees():
    clip = ClipSpec(crop_size=24, frame_size=(28, 36))
    assert maps.seen_box(280, 360, clip) == (20, 60, 260, 300)
    # A frame of 32x64: 24x24 from (4, 20).
    clip = ClipSpec(crop_size=24, frame_size=32, test_scale=0.75)
    assert maps.seen_box(64, 128, clip) == (8, 40, 56, 88)


def test_heat_is_none_up_to_uniform():
    assert maps.full_heat(1.2) == 2 and maps.full_heat(5) == 5
    np.testing.assert_allclose(maps.heat(np.array([0, 1, 3, 5, 9]), 5.0), [0, 0, 0.5, 1, 1])


def test_errors(predictor):
    with pytest.raises(ValueError, match=r"`position` must be a row below 2 .*Received: 2,0"):
        maps.check_options(predictor, (2, 0), "mean")
    with pytest.raises(ValueError, match="`gate` must be one of i, f, g, o, mean"):
        maps.check_options(predictor, None, "z")
    maps.check_options(predictor, (1, 1), "f")
