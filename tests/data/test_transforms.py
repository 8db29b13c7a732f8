"""Crops of clips."""

import numpy as np
import pytest
import tensorflow as tf

from keras_videorel.data import transforms


def test_multi_scale_boxes_are_the_papers():
    """Scales 1, .875, .75 and .66 of 128, at most one step apart, anywhere in 128x170."""
    boxes = np.array([transforms.multi_scale_box(128, 170, seed=(0, i)) for i in range(600)])
    top, left, height, width = boxes.T
    sizes = [128, 112, 96, 84]  # 0.66 * 128 = 84.48
    assert set(height) == set(width) == set(sizes)
    apart = [abs(sizes.index(h) - sizes.index(w)) for h, w in zip(height, width, strict=True)]
    assert set(apart) == {0, 1}
    assert len(set(zip(height, width, strict=True))) == 10
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 128).all() and (left + width <= 170).all()
    assert left.max() > 75 and top.max() > 35, "offsets reach the far side"


@pytest.mark.parametrize("size", [(128, 170), (256, 341), (340, 256)])
def test_fixed_positions_are_tsns(size):
    """Thirteen places for each size of the box, all alike, as TSN lists them."""

    @tf.function
    def many(positions):
        seeds = tf.stack([tf.zeros(1500, tf.int32), tf.range(1500)], axis=1)
        return tf.map_fn(
            lambda seed: transforms.multi_scale_box(*size, positions=positions, seed=seed), seeds
        )

    boxes, free = many("fixed").numpy(), many("random").numpy()
    top, left, height, width = boxes.T
    np.testing.assert_array_equal(boxes[:, 2:], free[:, 2:])  # the sizes are no affair of places
    found = set()
    for box in boxes:
        down, right = (size[0] - box[2]) // 4, (size[1] - box[3]) // 4
        corners = {(0, 0), (0, 4 * right), (4 * down, 0), (4 * down, 4 * right)}
        cross = {(2 * down, 2 * right), (2 * down, 0), (2 * down, 4 * right)}
        cross |= {(4 * down, 2 * right), (0, 2 * right)}
        quarters = {(down, right), (down, 3 * right), (3 * down, right), (3 * down, 3 * right)}
        assert tuple(box[:2]) in corners | cross | quarters
        if down and right:
            found.add((box[0] // down, box[1] // right))
    assert len(found) == 13
    chosen = boxes[(boxes[:, 2] == boxes[0, 2]) & (boxes[:, 3] == boxes[0, 3])]
    assert len(np.unique(chosen[:, :2], axis=0)) > 4
    assert (top + height <= size[0]).all() and (left + width <= size[1]).all()
    with pytest.raises(ValueError, match=r"`positions` must be one of random, fixed.*'corners'"):
        transforms.multi_scale_box(*size, positions="corners", seed=(0, 0))


def test_view_boxes():
    boxes = transforms.view_boxes(128, 170, 112, 10).numpy()
    expected = [[0, 0], [0, 58], [16, 0], [16, 58], [8, 29]]
    np.testing.assert_array_equal(boxes[:, :2], expected)
    assert (boxes[:, 2:] == 112).all()
    np.testing.assert_array_equal(transforms.view_boxes(128, 170, 112, 1), boxes[4:])
    with pytest.raises(ValueError, match=r"`crops` must be 1.*Received: crops=3"):
        transforms.view_boxes(128, 170, 112, 3)
    for scale in (0, 1.5, -1, True, "full", float("nan")):
        with pytest.raises(
            ValueError, match=r"`test_scale` must be a finite number above 0.*Received"
        ):
            transforms.view_boxes(128, 170, 112, 1, scale)


@pytest.mark.parametrize(
    ("frame", "size", "scale", "box"),
    [
        ((128, 170), 56, 0.875, [8, 29, 112, 112]),  # the paper's share, whatever the input
        ((128, 170), 224, 0.875, [8, 29, 112, 112]),
        ((256, 340), 224, 0.875, [16, 58, 224, 224]),
        ((64, 48), 32, 1.0, [8, 0, 48, 48]),  # the shorter side is the width
        ((120, 160), (30, 60), 1.0, [20, 0, 80, 160]),  # the input's aspect
        ((120, 160), (60, 30), 0.5, [30, 65, 60, 30]),
    ],
)
def test_a_view_is_a_share_of_the_shorter_side(frame, size, scale, box):
    np.testing.assert_array_equal(transforms.view_boxes(*frame, size, 1, scale), [box])


def test_training_crops_have_the_aspect_of_the_input():
    for seed in range(20):
        box = transforms.multi_scale_box(
            120, 160, (1.0, 0.5), 0, size=(30, 60), seed=(seed, 0)
        ).numpy()
        assert tuple(box[2:]) in {(80, 160), (40, 80)}
        assert (box[:2] >= 0).all() and (box[:2] + box[2:] <= (120, 160)).all()


def test_a_resized_box_is_what_training_makes_of_it():
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 20, 30, 3), np.uint8)
    part = transforms.resize_box(tf.constant(frames), tf.constant([2, 5, 16, 12]), (8, 9))
    expected = tf.image.resize(frames[..., 2:18, 5:17, :].reshape(-1, 16, 12, 3), (8, 9))
    np.testing.assert_array_equal(part, tf.reshape(tf.round(expected), (2, 3, 8, 9, 3)))
    same = transforms.resize_box(tf.constant(frames), tf.constant([2, 5, 8, 9]), (8, 9))
    np.testing.assert_array_equal(same, frames[..., 2:10, 5:14, :])


def test_mirror_and_normalize():
    clip = np.arange(2 * 2 * 3 * 3, dtype=np.uint8).reshape(2, 2, 3, 3)
    np.testing.assert_array_equal(transforms.mirror(tf.constant(clip)), clip[:, :, ::-1])
    values = transforms.normalize(tf.constant(clip), (1.0, 2.0, 3.0)).numpy()
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, clip.astype("float32") - [1, 2, 3])
    scaled = transforms.normalize(tf.constant([[0, 51, 255]], tf.uint8), (127.5,) * 3, 127.5)
    np.testing.assert_allclose(scaled, [[-1, -0.6, 1]], rtol=1e-6)
    for std in (2.0, (2.0, 4.0, 8.0)):
        values = transforms.normalize(tf.constant(clip), (1.0, 2.0, 3.0), std)
        np.testing.assert_allclose(values, (clip - np.array([1.0, 2.0, 3.0])) / std)


@pytest.mark.parametrize("frames", [1, 5])
def test_mirrored_flow(frames):
    """What moves right at the left edge moves left at the right edge; y stays."""
    levels = np.random.default_rng(0).integers(0, 256, (3, 4, 6, frames, 2), np.uint8)
    expected = levels[:, :, ::-1].copy()
    expected[..., 0] = 255 - expected[..., 0]
    stacks = levels.reshape(3, 4, 6, 2 * frames)
    mirrored = transforms.mirror(tf.constant(stacks), "flow")
    np.testing.assert_array_equal(mirrored, expected.reshape(stacks.shape))
    np.testing.assert_array_equal(transforms.mirror(mirrored, "flow"), stacks)


def test_normalize_repeats_the_channels():
    """x1, y1, x2, y2 have two means."""
    stack = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(1, 2, 3, 4)
    values = transforms.normalize(tf.constant(stack), (1.0, 2.0), (2.0, 4.0))
    np.testing.assert_array_equal(values, (stack - np.array([1, 2, 1, 2])) / [2, 4, 2, 4])
    with pytest.raises(ValueError, match=r"`mean` must have.*each of the 4 channels.*\(1, 2, 3\)"):
        transforms.normalize(tf.constant(stack), (1, 2, 3))
    unknown = tf.function(
        lambda clip: transforms.normalize(clip, (1.0, 2.0)),
        input_signature=[tf.TensorSpec((None, None, None, 2), tf.uint8)],
    )
    np.testing.assert_array_equal(unknown(stack[..., :2]), stack[..., :2] - np.array([1.0, 2.0]))


def test_resize_keeps_the_shorter_side():
    frames = tf.zeros((1, 240, 320, 3), tf.uint8)
    assert transforms.resize(frames, 120).shape == (1, 120, 160, 3)
    assert transforms.resize(frames, (128, 170)).shape == (1, 128, 170, 3)
