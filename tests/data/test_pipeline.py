"""Shards to batches: the right frames, the right crops, the same for a seed."""

import numpy as np
import pytest

from keras_videorel.data import pipeline
from tests.shards import gray_video, write_shards

LEVELS = {"first": 10, "step": 4}


@pytest.fixture(scope="module")
def gray(tmp_path_factory):
    """40 training and 3 test videos whose gray level is the frame's number."""
    size = (24, 32)
    train = [(gray_video(18 + i % 5, size, **LEVELS), i % 4) for i in range(40)]
    test = [(gray_video(n, size, **LEVELS), n % 4) for n in (5, 16, 40)]
    folder = tmp_path_factory.mktemp("gray")
    write_shards(folder, {"train": train, "test": test}, list("abcd"), size)
    return pipeline.read_info(str(folder))


def frame_numbers(clips):
    """Frame numbers back from the middle pixel, which no crop of a gray frame changes."""
    middle = clips.shape[-3] // 2
    return (np.asarray(clips)[..., middle, middle, 0] - LEVELS["first"]) / LEVELS["step"]


OPTIONS = {"frames": 16, "crop_size": 16, "mean": (0.0, 0.0, 0.0)}


def epochs_of(info, count, **options):
    batches = pipeline.training_batches(info, 8, **OPTIONS, shuffle_buffer=16, **options)
    steps = pipeline.steps_per_epoch(info, 8)
    taken = list(batches.take(count * steps).as_numpy_iterator())
    return [taken[i * steps : (i + 1) * steps] for i in range(count)]


def test_training_clips_are_consecutive_frames(gray):
    (batches,) = epochs_of(gray, 1)
    assert len(batches) == 5
    numbers = np.concatenate([frame_numbers(clips) for clips, _ in batches])
    np.testing.assert_allclose(np.diff(numbers, axis=1), 1, atol=0.3)
    starts = np.rint(numbers[:, 0])
    assert starts.min() == 0 and starts.max() >= 4
    labels = np.concatenate([labels for _, labels in batches])
    assert sorted(labels) == sorted([i % 4 for i in range(40)]), "each clip once an epoch"


def test_batches_are_a_function_of_seed_and_epoch(gray):
    first, second = epochs_of(gray, 2, seed=0)
    again = epochs_of(gray, 1, seed=0, first_epoch=1)[0]
    for (clips, labels), (clips_again, labels_again) in zip(second, again, strict=True):
        np.testing.assert_array_equal(clips, clips_again)
        np.testing.assert_array_equal(labels, labels_again)
    other = epochs_of(gray, 1, seed=1)[0]
    for different in (second, other):
        assert any((a[0] != b[0]).any() for a, b in zip(first, different, strict=True))
        assert any((a[1] != b[1]).any() for a, b in zip(first, different, strict=True))


def test_an_epoch_mixes_the_classes(gray):
    (batches,) = epochs_of(gray, 1)
    assert all(len(set(labels)) > 1 for _, labels in batches)


def test_mean_is_subtracted(gray):
    options = {**OPTIONS, "mean": (100.0, 50.0, 25.0)}
    batch = next(iter(pipeline.training_batches(gray, 8, **options)))[0].numpy()
    plain = next(iter(pipeline.training_batches(gray, 8, **OPTIONS)))[0].numpy()
    np.testing.assert_allclose(plain - batch, np.broadcast_to([100, 50, 25], batch.shape))


def test_mirror_turns_half_of_the_clips(tmp_path):
    """Left halves dark, right halves bright, and the other way round in about half of the clips."""
    frames = np.zeros((16, 24, 24, 3), np.uint8)
    frames[:, :, 12:] = 200
    info = pipeline.read_info(
        str(write_shards(tmp_path, {"train": [(frames, 0)] * 64}, ["a"], (24, 24)))
    )
    options = {**OPTIONS, "crop_scales": (1.0,)}
    for mirror, low, high in ((True, 15, 49), (False, 0, 0)):
        clips, _ = next(iter(pipeline.training_batches(info, 64, mirror=mirror, **options)))
        mirrored = int((clips.numpy()[:, 0, 8, 2, 0] > 100).sum())
        assert low <= mirrored <= high


def test_views_are_uniform_clips_times_crops(gray):
    views = list(pipeline.evaluation_views(gray, clips=4, crops=10, **OPTIONS))
    assert len(views) == 3
    by_path = {path.numpy().decode(): (view.numpy(), int(label)) for view, label, path in views}
    assert set(by_path) == {"test/0.mp4", "test/1.mp4", "test/2.mp4"}
    view, label = by_path["test/2.mp4"]
    assert view.shape == (40, 16, 16, 16, 3) and label == 0
    starts = np.rint(frame_numbers(view)[:, 0]).reshape(4, 10)
    np.testing.assert_array_equal(starts, np.repeat([[0], [8], [16], [24]], 10, axis=1))
    short, _ = by_path["test/0.mp4"]
    np.testing.assert_allclose(
        frame_numbers(short)[0], [0, 1, 2, 3, *[4] * 12], atol=0.3, err_msg="last frame repeats"
    )


def test_views_are_corners_center_and_mirrors(tmp_path):
    """A frame whose pixels tell where they are."""
    y, x = np.mgrid[0:24, 0:32]
    frame = np.stack([8 * y, 6 * x, np.full_like(x, 128)], -1).astype(np.uint8)
    frames = np.broadcast_to(frame, (16, *frame.shape))
    info = pipeline.read_info(str(write_shards(tmp_path, {"test": [(frames, 0)]}, ["a"], (24, 32))))
    view = next(iter(pipeline.evaluation_views(info, clips=1, crops=10, **OPTIONS)))[0].numpy()
    corner = view[:, 0, 0, 0, :2] / [8, 6]
    tops_lefts = [[0, 0], [0, 16], [8, 0], [8, 16], [4, 8]]
    np.testing.assert_allclose(corner[:5], tops_lefts, atol=1)
    np.testing.assert_allclose(corner[5:], [[t, x + 15] for t, x in tops_lefts], atol=1)
    np.testing.assert_allclose(view[5:], view[:5, :, :, ::-1])


def test_errors(gray, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no dataset.json.*make-tfrecords"):
        pipeline.read_info(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no shards of the 'val' split"):
        pipeline.shard_files(gray.path, "val")
    with pytest.raises(ValueError, match=r"`batch_size` must be at most.*batch_size=41, clips=40"):
        pipeline.steps_per_epoch(gray, 41)
    with pytest.raises(ValueError, match=r"`crop_size` must be at most.*crop_size=25"):
        pipeline.evaluation_views(gray, crop_size=25)
