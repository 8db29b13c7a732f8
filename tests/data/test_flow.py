"""Optical flow of scenes that move as told, and what is left of it after storage."""

import itertools
import weakref

import cv2
import numpy as np
import pytest
import tensorflow as tf

from keras_videorel.data import flow, video

STEP = 40 / 255  # pixels from a level to the next
INNER = (slice(20, -20), slice(20, -20))  # what moves in from outside is unknown


def scene(mapping=lambda x, y: (x, y), size=(96, 128)):
    """A frame of a smooth scene, seen through a mapping of frame to scene coordinates.

    Without interpolation: the scene is a sum of waves, known everywhere.
    """
    rng = np.random.default_rng(0)
    waves = rng.uniform(-0.35, 0.35, (40, 2))
    phases = rng.uniform(0, 2 * np.pi, 40)
    heights = 1 / (np.hypot(*waves.T) + 0.05)
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    x, y = mapping(x, y)
    waves = zip(waves, phases, heights, strict=True)
    light = sum(h * np.cos(a * x + b * y + phase) for (a, b), phase, h in waves)
    pixels = np.clip(128 + 2.2 * light, 0, 255).astype(np.uint8)
    return np.stack([pixels] * 3, axis=-1)


def moved(dx, dy, size=(96, 128)):
    return scene(lambda x, y: (x - dx, y - dy), size)


def estimate(method, first, second):
    return flow.estimator(method)(flow.gray(first), flow.gray(second))


def errors(found, expected):
    """Distance between two fields at each pixel (endpoint error)."""
    return np.linalg.norm(found - np.asarray(expected, np.float32), axis=-1)


@pytest.mark.parametrize("method", flow.METHODS)
@pytest.mark.parametrize("motion", [(1, 0), (0, -2), (0.5, 0.5), (-1.5, 2.5), (8, 5)])
def test_translation(method, motion):
    found = estimate(method, moved(0, 0), moved(*motion))
    assert found.shape == (96, 128, 2) and found.dtype == np.float32
    error = errors(found, motion)[INNER]
    assert error.mean() < 0.05 and error.max() < 0.25


@pytest.mark.parametrize("method", flow.METHODS)
@pytest.mark.parametrize("angle", [0.04, -0.04])
def test_rotation(method, angle):
    """Clockwise on the screen for a positive angle: y points down."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = np.meshgrid(np.arange(128) - 63.5, np.arange(96) - 47.5)
    turned = scene(
        lambda x, y: (
            cos * (x - 63.5) + sin * (y - 47.5) + 63.5,
            -sin * (x - 63.5) + cos * (y - 47.5) + 47.5,
        )
    )
    expected = np.stack([(cos - 1) * x - sin * y, sin * x + (cos - 1) * y], axis=-1)
    found = estimate(method, scene(), turned)
    error = errors(found, expected)[INNER]
    assert np.linalg.norm(expected[INNER], axis=-1).mean() > 1.1  # against motion of this size
    assert error.mean() < 0.1 and error.max() < 0.35


@pytest.mark.parametrize("method", flow.METHODS)
def test_a_mirrored_scene_moves_the_other_way(method):
    frames = moved(0, 0), moved(2.5, 1)
    found = estimate(method, *frames)
    mirrored = estimate(method, *(np.ascontiguousarray(f[:, ::-1]) for f in frames))[:, ::-1]
    error = errors(mirrored * (-1, 1), found)[INNER]
    assert error.mean() < 0.02 and error.max() < 0.1


@pytest.mark.parametrize("method", flow.METHODS)
def test_the_same_on_any_number_of_threads(method):
    frames = moved(0, 0), moved(3, 1)
    before = cv2.getNumThreads()
    found = []
    try:
        for threads in (1, 2, 5):
            cv2.setNumThreads(threads)
            found += [estimate(method, *frames), estimate(method, *frames)]
    finally:
        cv2.setNumThreads(before)
    assert all(np.array_equal(field, found[0]) for field in found)


@pytest.mark.parametrize("method", flow.METHODS)
def test_a_pair_does_not_depend_on_those_before(method):
    frames = [flow.gray(moved(dx, 0)) for dx in (0, 3, 1)]
    used = flow.estimator(method)
    used(*frames[:2])
    assert np.array_equal(used(*frames[1:]), flow.estimator(method)(*frames[1:]))


@pytest.mark.parametrize("method", flow.METHODS)
@pytest.mark.parametrize(
    "size", [(1, 1), (1, 64), (64, 1), (2, 3), (8, 64), (64, 9), (15, 40), (15, 15), (16, 40)]
)
def test_small_frames(method, size):
    """OpenCV's DIS refuses some of these sizes, and at 8x64 or 15x40 takes the process with it."""
    found = estimate(method, moved(0, 0, size), moved(1, 0, size))
    assert found.shape == (*size, 2) and np.isfinite(found).all()
    assert np.abs(found).max() < 5
    if min(size) >= 15 and max(size) >= 40:
        assert errors(found, (1, 0)).mean() < 0.1


@pytest.mark.parametrize("method", flow.METHODS)
@pytest.mark.parametrize("levels", [(0, 0), (90, 90), (0, 255)])
def test_frames_of_one_color(method, levels):
    first, second = (np.full((40, 48, 3), level, np.uint8) for level in levels)
    assert np.array_equal(estimate(method, first, second), np.zeros((40, 48, 2)))


def test_errors():
    with pytest.raises(ValueError, match=r"`method` must be one of tvl1, dis. Received: 'farn'"):
        flow.estimator("farn")
    frames = [np.zeros(size, np.uint8) for size in ((20, 30, 3), (20, 30, 3), (30, 20, 3))]
    with pytest.raises(ValueError, match=r"size of the first, \(20, 30\). Received: \(20, 30\) an"):
        list(flow.with_flow(frames, "dis"))


def test_each_frame_goes_with_the_field_to_the_next():
    frames = [moved(dx, 0) for dx in (0, 1, 4)]
    pairs = list(flow.with_flow(iter(frames), "dis"))
    assert all(frame is given for (frame, _), given in zip(pairs, frames, strict=True))
    for (_, levels), (first, second) in zip(pairs, itertools.pairwise(frames), strict=False):
        assert np.array_equal(levels, flow.to_levels(estimate("dis", first, second)))
    assert np.array_equal(pairs[2][1], pairs[1][1])
    for (_, levels), dx in zip(pairs, (1, 3, 3), strict=True):
        assert np.median(flow.from_levels(levels)[..., 0]) == pytest.approx(dx, abs=0.1)


def test_a_video_of_one_frame_stands_still():
    [(_, levels)] = flow.with_flow([moved(0, 0)], "tvl1")
    assert np.array_equal(levels, np.full((96, 128, 2), 128))
    assert list(flow.with_flow([], "tvl1")) == []


def test_two_frames_are_held_at_most():
    """Between two pulls: the one whose successor is wanted, and the one that the caller has."""
    given = []

    def frames():
        for level in range(6):
            frame = np.full((16, 16, 3), level, np.uint8)
            given.append(weakref.ref(frame))
            yield frame
            del frame
            assert sum(reference() is not None for reference in given) <= 2

    assert sum(1 for _ in flow.with_flow(frames(), "dis")) == 6


def test_levels_are_half_a_step_off_at_most():
    field = np.linspace(-20, 20, 200_001).reshape(-1, 1, 1).repeat(2, -1).astype(np.float32)
    levels = flow.to_levels(field)
    assert levels.dtype == np.uint8 and levels.min() == 0 and levels.max() == 255
    error = np.abs(flow.from_levels(levels) - field)
    assert STEP / 2 * 0.999 < error.max() <= STEP / 2 + 2e-6
    assert (np.diff(levels[:, 0, 0].astype(int)) >= 0).all()


def test_levels_by_hand():
    field = np.array([[[-20, -19.9], [-10, 0], [0.1, 10], [19.9, 20]]], np.float32)
    expected = [[[0, 1], [64, 128], [128, 191], [254, 255]]]
    assert flow.to_levels(field).tolist() == expected
    assert flow.to_levels(np.float32([[[-20.1, 1e9], [-np.inf, np.inf]]])).tolist() == [
        [[0, 255], [0, 255]]
    ]
    back = flow.from_levels(np.array([[[0, 255], [51, 204]]], np.uint8))
    assert back.dtype == np.float32 and back.tolist() == [[[-20, 20], [-12, 12]]]


def test_levels_come_back_and_mirror_exactly():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 8, 2)
    assert np.array_equal(flow.to_levels(flow.from_levels(levels)), levels)
    assert np.array_equal(flow.from_levels(255 - levels), -flow.from_levels(levels))
    # Halves aside, which rounding takes to the even level.
    field = np.random.default_rng(0).normal(scale=8, size=(64, 64, 2)).astype(np.float32)
    assert np.array_equal(flow.to_levels(-field), 255 - flow.to_levels(field))


def test_jpeg_holds_x_in_red_and_y_in_green():
    levels = np.empty((32, 48, 2), np.uint8)
    levels[..., 0], levels[..., 1] = 90, 170
    jpeg = flow.encode_jpeg(levels, 95)
    picture = tf.io.decode_jpeg(jpeg).numpy()  # as the pipeline reads it
    assert picture.shape == (32, 48, 3)
    assert np.abs(picture.astype(int) - (90, 170, 128)).max() <= 2
    assert np.abs(flow.decode_jpeg(jpeg).astype(int) - levels).max() <= 2
    with pytest.raises(ValueError):
        flow.encode_jpeg(levels[..., :1], 95)


def test_jpeg_keeps_the_resolution_of_both():
    """Stripes of one pixel in x over flat y: halved chroma would mix neighbors."""
    levels = np.full((32, 48, 2), 128, np.uint8)
    levels[:, ::2, 0] = 160
    found = flow.decode_jpeg(flow.encode_jpeg(levels, 95)).astype(int)
    assert np.abs(found - levels).max() <= 6


@pytest.mark.parametrize(("quality", "mean", "largest"), [(80, 0.18, 1.1), (90, 0.16, 0.95)])
def test_round_trip_through_jpeg(quality, mean, largest):
    """A disc that moves over a background that turns: a smooth field with an edge."""
    y, x = np.mgrid[:128, :170].astype(np.float32)
    field = np.stack([0.03 * (64 - y), 0.03 * (x - 85)], axis=-1)
    field[np.hypot(x - 60, y - 50) < 30] = (4, -2)
    stored = flow.from_levels(flow.decode_jpeg(flow.encode_jpeg(flow.to_levels(field), quality)))
    error = errors(stored, field)
    assert error.mean() < mean and np.percentile(error, 99) < largest


def test_real_clips(real_clips):
    """A real scene: what is stored is near what was estimated, and undoes the motion."""
    path = sorted((real_clips / "ucf101").rglob("*.avi"))[0]
    with video.iter_frames(path, (128, 170)) as reader:
        frames = [frame for _, frame in itertools.islice(reader, 30)]
    y, x = np.mgrid[:128, :170].astype(np.float32)
    left = []  # differences between frames, with and without motion
    for (first, levels), second in zip(flow.with_flow(frames, "dis"), frames[1:], strict=False):
        field = flow.from_levels(levels)
        stored = flow.from_levels(flow.decode_jpeg(flow.encode_jpeg(levels, 90)))
        assert errors(stored, field).mean() < 0.15
        undone = cv2.remap(second, x + stored[..., 0], y + stored[..., 1], cv2.INTER_LINEAR)
        left.append([np.abs(f.astype(int) - first)[INNER].mean() for f in (second, undone)])
    before, after = np.sum(left, axis=0)
    assert after < 0.7 * before


def test_color_wheel():
    directions = np.array([[(3, 0), (0, 3), (-3, 0), (0, -3)]], np.float32)
    picture = flow.color_wheel(directions, 3)
    assert picture.dtype == np.uint8 and picture.shape == (1, 4, 3)
    right, down, left, up = picture[0].tolist()
    assert right == [255, 0, 0]
    assert down[0] == 255 and down[1] > 200 and down[2] == 0
    assert left[0] == 0 and left[2] == 255
    assert up[1] == 0 and up[2] == 255
    # Colors are continuous all around, white at rest, full from the largest on.
    turn = np.linspace(0, 2 * np.pi, 1000)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=-1)[np.newaxis]
    around = flow.color_wheel(circle, 1).astype(int)[0]
    assert np.abs(np.diff(around, axis=0)).max() <= 20 and np.abs(around[0] - around[-1]).max() <= 1
    assert np.array_equal(flow.color_wheel(np.zeros((2, 3, 2)), 1), np.full((2, 3, 3), 255))
    assert flow.color_wheel(np.full((2, 3, 2), 0.078), 1).min() > 220  # at rest, after 8 bits
    assert flow.color_wheel(directions, 6)[0, 0].tolist() == [255, 128, 128]
    assert flow.color_wheel(directions, 2)[0, 0].tolist() == [255, 0, 0]
