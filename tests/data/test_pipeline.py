"""Shards to batches: the right frames, the right crops, the same for a seed."""

import numpy as np
import pytest
import tensorflow as tf

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
    options = {**OPTIONS, "shuffle_buffer": 16, **options}
    batches = pipeline.training_batches(info, 8, **options)
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


@pytest.mark.parametrize("taken", [{}, {"segments": 4, "frames": 2}])
def test_batches_are_a_function_of_seed_and_epoch(gray, taken):
    first, second = epochs_of(gray, 2, seed=0, **taken)
    again = epochs_of(gray, 1, seed=0, first_epoch=1, **taken)[0]
    for (clips, labels), (clips_again, labels_again) in zip(second, again, strict=True):
        np.testing.assert_array_equal(clips, clips_again)
        np.testing.assert_array_equal(labels, labels_again)
    other = epochs_of(gray, 1, seed=1, **taken)[0]
    for different in (second, other):
        assert any((a[0] != b[0]).any() for a, b in zip(first, different, strict=True))
        assert any((a[1] != b[1]).any() for a, b in zip(first, different, strict=True))


def test_an_epoch_mixes_the_classes(gray):
    (batches,) = epochs_of(gray, 1)
    assert all(len(set(labels)) > 1 for _, labels in batches)


def test_mean_is_subtracted_and_std_divides(gray):
    options = {**OPTIONS, "mean": (100.0, 50.0, 25.0)}
    batch = next(iter(pipeline.training_batches(gray, 8, **options)))[0].numpy()
    plain = next(iter(pipeline.training_batches(gray, 8, **OPTIONS)))[0].numpy()
    np.testing.assert_allclose(plain - batch, np.broadcast_to([100, 50, 25], batch.shape))
    scaled = next(iter(pipeline.training_batches(gray, 8, std=127.5, **options)))[0].numpy()
    np.testing.assert_allclose(scaled, batch / 127.5, rtol=1e-6)
    views, scaled = (
        next(iter(pipeline.evaluation_views(gray, clips=1, crops=1, std=std, **options)))[0]
        for std in (1.0, 127.5)
    )
    np.testing.assert_allclose(scaled, views / 127.5, rtol=1e-6)


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
    for segments in (-1, 2.0, None, True):
        with pytest.raises(ValueError, match=r"`segments` must be 0 \(clips\) or"):
            pipeline.evaluation_views(gray, segments=segments, **OPTIONS)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """Videos of 21 frames: red tells the frame, green the column and blue the row."""
    y, x = np.mgrid[0:24, 0:32]
    frames = np.stack(
        [np.stack([np.full_like(x, 20 + 11 * i), 6 * x, 8 * y], -1) for i in range(21)]
    ).astype(np.uint8)
    folder = tmp_path_factory.mktemp("mapped")
    splits = {"train": [(frames, 0)] * 24, "test": [(frames, 0)]}
    return pipeline.read_info(str(write_shards(folder, splits, ["a"], (24, 32))))


def mapped_numbers(samples):
    """Frame numbers back from the red of the middle pixel."""
    middle = samples.shape[-3] // 2
    numbers = (samples[..., middle, middle, 0] - 20) / 11
    np.testing.assert_allclose(numbers, np.rint(numbers), atol=0.4)
    return np.rint(numbers).astype(int)


SEGMENT_OPTIONS = {"crop_size": 16, "mean": (0.0, 0.0, 0.0)}


@pytest.mark.parametrize(
    ("segments", "frames", "stride", "places"),
    [
        (4, 1, 3, [range(5), range(5, 10), range(10, 15), range(15, 21)]),
        (3, 2, 2, [range(5), range(7, 12), range(14, 19)]),  # two places of seven do not fit
    ],
)
def test_training_snippets(mapped, segments, frames, stride, places):
    """Frames from their segments, every place of them, all under one crop and mirror."""
    options = {**SEGMENT_OPTIONS, "segments": segments, "frames": frames, "frame_stride": stride}
    batches = pipeline.training_batches(mapped, 8, **options)
    shape = pipeline.sample_shape(segments, frames, 16)
    assert batches.element_spec[0].shape == (8, *shape)
    samples = np.concatenate([batch for batch, _ in batches.take(9).as_numpy_iterator()])
    numbers = mapped_numbers(samples).reshape(-1, segments, frames)
    for k, expected in enumerate(places):
        assert set(numbers[:, k, 0]) == set(expected)
    assert (np.diff(numbers, axis=2) == stride).all()
    position = samples.reshape(72, segments * frames, 16, 16, 3)[..., 1:]
    # Chroma is shared between pixels and red changes, so JPEG moves the others a little.
    np.testing.assert_allclose(position, np.broadcast_to(position[:, :1], position.shape), atol=9)
    across = position[:, 0, 8, -1, 0] - position[:, 0, 8, 0, 0]
    assert 20 < (across > 0).sum() < 52, "mirrored or not, together"
    assert np.ptp(position[:, 0, 8, 8, 0]) > 30, "samples have crops of their own"


def test_snippets_of_images_have_no_time_axis():
    assert pipeline.sample_shape(0, 16, 112) == (16, 112, 112, 3)
    assert pipeline.sample_shape(0, 1, 112) == (1, 112, 112, 3)
    assert pipeline.sample_shape(8, 1, 224) == (8, 224, 224, 3)
    assert pipeline.sample_shape(1, 1, 224) == (1, 224, 224, 3)
    assert pipeline.sample_shape(2, 16, (112, 96)) == (2, 16, 112, 96, 3)


def test_views_are_groups_of_snippets_times_crops(gray, mapped):
    options = {**SEGMENT_OPTIONS, "segments": 4, "frames": 1, "clips": 3, "crops": 5}
    by_path = {
        path.decode(): frame_numbers(view)
        for view, _, path in pipeline.evaluation_views(gray, **options).as_numpy_iterator()
    }
    groups = {
        "test/0.mp4": [[0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 2, 4]],  # 5 frames
        "test/1.mp4": [[0, 4, 8, 12], [2, 6, 10, 14], [3, 7, 11, 15]],  # 16
        "test/2.mp4": [[1, 11, 21, 31], [5, 15, 25, 35], [8, 18, 28, 38]],  # 40
    }
    assert set(by_path) == set(groups)
    for path, expected in groups.items():
        np.testing.assert_allclose(by_path[path], np.repeat(expected, 5, axis=0), atol=0.3)

    options.update(segments=3, frames=2, frame_stride=2, clips=2, crops=10)
    views = pipeline.evaluation_views(mapped, **options)
    assert views.element_spec[0].shape == (20, 3, 2, 16, 16, 3)
    view = next(views.as_numpy_iterator())[0]
    numbers = [[[1, 3], [8, 10], [15, 17]], [[3, 5], [10, 12], [17, 19]]]
    np.testing.assert_array_equal(mapped_numbers(view), np.repeat(numbers, 10, axis=0))
    corner = view[..., 0, 0, 1:] / [6, 8]  # (view, segment, frame, column and row)
    columns_rows = [[0, 0], [16, 0], [0, 8], [16, 8], [8, 4]]
    columns_rows += [[column + 15, row] for column, row in columns_rows]
    expected = np.tile(columns_rows, (2, 1))[:, None, None]
    np.testing.assert_allclose(corner, np.broadcast_to(expected, corner.shape), atol=1.5)


def test_each_frame_is_decoded_once(monkeypatch):
    jpegs = tf.stack([tf.io.encode_jpeg(np.full((8, 8, 3), 50 * i, np.uint8)) for i in range(4)])
    decode, decoded = tf.image.decode_and_crop_jpeg, []

    def counted(jpeg, *arguments, **options):
        decoded.append(jpeg)
        return decode(jpeg, *arguments, **options)

    monkeypatch.setattr(tf.image, "decode_and_crop_jpeg", counted)
    frames = pipeline.decode(jpegs, tf.constant([[3, 1, 1], [1, 3, 3]]), (0, 0, 4, 6)).numpy()
    assert frames.shape == (2, 3, 4, 6, 3) and len(decoded) == 2
    np.testing.assert_allclose(frames[..., 0, 0, 0], [[150, 50, 50], [50, 150, 150]], atol=1)
