"""Shards to batches: the right frames, the right crops, the same for a seed."""

import collections
import json
import math
import shutil

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_videorel.data import pipeline
from keras_videorel.data.manifest import read_manifest, shard_files
from tests.clips import evaluation_views, split_options, training_batches
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
    return read_manifest(str(folder))


def frame_numbers(clips):
    """Frame numbers back from the middle pixel, which no crop of a gray frame changes."""
    middle = clips.shape[-3] // 2
    return (np.asarray(clips)[..., middle, middle, 0] - LEVELS["first"]) / LEVELS["step"]


OPTIONS = {"frames": 16, "crop_size": 16, "mean": (0.0, 0.0, 0.0)}


def epochs_of(info, count, **options):
    options = {**OPTIONS, "shuffle_buffer": 16, **options}
    batches = training_batches(info, 8, epochs=math.inf, **options)
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


def test_the_order_alone_may_differ(gray):
    """What is ready first comes first, but the samples of an epoch are the same."""
    samples = []
    for deterministic in (True, False):
        batches = training_batches(
            gray, 8, seed=3, epochs=1, deterministic=deterministic, **OPTIONS
        )
        assert batches.options().deterministic is deterministic
        clips = np.concatenate([clips for clips, _ in batches.as_numpy_iterator()])
        samples.append(sorted(clip.tobytes() for clip in clips))
    assert len(samples[0]) == 40 and samples[0] == samples[1]


def test_batches_from_the_middle_of_an_epoch(gray):
    whole = epochs_of(gray, 2)
    part = training_batches(
        gray, 8, shuffle_buffer=16, first_epoch=0, first_step=3, epochs=2, **OPTIONS
    )
    expected = whole[0][3:] + whole[1]
    for (clips, labels), (others, other_labels) in zip(
        part.as_numpy_iterator(), expected, strict=True
    ):
        np.testing.assert_array_equal(clips, others)
        np.testing.assert_array_equal(labels, other_labels)


def test_paths_are_those_of_the_batch(tmp_path):
    """Each video is of one gray level, which tells its number."""
    videos = [(gray_video(3, (16, 16), first=8 * i, step=0), 0) for i in range(30)]
    info = read_manifest(str(write_shards(tmp_path, {"train": videos}, ["a"], (16, 16))))
    options = {"shuffle_buffer": 8, "seed": 5}
    batches = training_batches(info, 7, first_epoch=2, epochs=4, **OPTIONS, **options)
    for number, (clips, _) in enumerate(batches.as_numpy_iterator()):
        epoch, step = 2 + number // 4, number % 4
        paths = pipeline.training_paths(info, 7, epoch, step, **options)
        levels = np.rint(clips[:, 0, 8, 8, 0] / 8).astype(int)
        assert paths == [f"train/{level}.mp4" for level in levels]
    assert number == 7


def test_epochs_end(gray):
    taken = list(training_batches(gray, 16, first_epoch=2, epochs=5, **OPTIONS))
    assert len(taken) == 3 * pipeline.steps_per_epoch(gray, 16) == 6


def test_fit_takes_an_epoch_from_each_iteration(gray):
    """A finite dataset whose iterations are the epochs of `epochs=...`, also under `fit`."""
    rows = [
        (clips.sum((1, 2, 3, 4)).tolist(), labels.tolist())
        for clips, labels in training_batches(
            gray, 8, first_epoch=1, epochs=4, seed=3, **OPTIONS
        ).as_numpy_iterator()
    ]
    batches = training_batches(gray, 8, first_epoch=1, seed=3, **OPTIONS)
    steps = pipeline.steps_per_epoch(gray, 8)
    assert len(batches) == steps == len(rows) // 3
    seen = []

    class Model(keras.Model):
        def train_step(self, data):
            seen.append(
                (tf.reduce_sum(data[0], (1, 2, 3, 4)).numpy().tolist(), data[1].numpy().tolist())
            )
            return {"loss": 0.0}

    model = Model()
    model.compile(run_eagerly=True)
    model.fit(batches, epochs=3, verbose=0)
    assert [labels for _, labels in seen] == [labels for _, labels in rows]
    np.testing.assert_allclose([s for s, _ in seen], [s for s, _ in rows], rtol=1e-5)
    assert rows[:steps] != rows[steps : 2 * steps]
    endless = training_batches(gray, 8, epochs=math.inf, **OPTIONS)
    assert endless.cardinality() == tf.data.INFINITE_CARDINALITY
    with pytest.raises(ValueError, match=r"`epochs` must be a number.*first_step=2"):
        training_batches(gray, 8, first_step=2, **OPTIONS)


def test_samples_are_whole_levels(gray):
    """They travel in 8 bits, and are normalized last."""
    options = {**OPTIONS, "crop_scales": (0.75,)}  # 18 pixels become 16
    clips, _ = next(iter(training_batches(gray, 8, **options)))
    assert clips.dtype == tf.float32
    np.testing.assert_array_equal(clips, np.rint(clips))


def test_an_epoch_mixes_the_classes(gray):
    (batches,) = epochs_of(gray, 1)
    assert all(len(set(labels)) > 1 for _, labels in batches)


def test_mean_is_subtracted_and_std_divides(gray):
    options = {**OPTIONS, "mean": (100.0, 50.0, 25.0)}
    batch = next(iter(training_batches(gray, 8, **options)))[0].numpy()
    plain = next(iter(training_batches(gray, 8, **OPTIONS)))[0].numpy()
    np.testing.assert_allclose(plain - batch, np.broadcast_to([100, 50, 25], batch.shape))
    scaled = next(iter(training_batches(gray, 8, std=127.5, **options)))[0].numpy()
    np.testing.assert_allclose(scaled, batch / 127.5, rtol=1e-6)
    views, scaled = (
        next(iter(evaluation_views(gray, clips=1, crops=1, std=std, **options)))[0]
        for std in (1.0, 127.5)
    )
    np.testing.assert_allclose(scaled, views / 127.5, rtol=1e-6)


def test_mirror_turns_half_of_the_clips(tmp_path):
    """Left halves dark, right halves bright, and the other way round in about half of the clips."""
    frames = np.zeros((16, 24, 24, 3), np.uint8)
    frames[:, :, 12:] = 200
    info = read_manifest(
        str(write_shards(tmp_path, {"train": [(frames, 0)] * 64}, ["a"], (24, 24)))
    )
    options = {**OPTIONS, "crop_scales": (1.0,)}
    for mirror, low, high in ((True, 15, 49), (False, 0, 0)):
        clips, _ = next(iter(training_batches(info, 64, mirror=mirror, **options)))
        mirrored = int((clips.numpy()[:, 0, 8, 2, 0] > 100).sum())
        assert low <= mirrored <= high


def test_views_are_uniform_clips_times_crops(gray):
    views = list(evaluation_views(gray, clips=4, crops=10, **OPTIONS))
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
    info = read_manifest(str(write_shards(tmp_path, {"test": [(frames, 0)]}, ["a"], (24, 32))))
    views = evaluation_views(info, clips=1, crops=10, test_scale=2 / 3, **OPTIONS)
    view = next(iter(views))[0].numpy()
    corner = view[:, 0, 0, 0, :2] / [8, 6]
    tops_lefts = [[0, 0], [0, 16], [8, 0], [8, 16], [4, 8]]
    np.testing.assert_allclose(corner[:5], tops_lefts, atol=1)
    np.testing.assert_allclose(corner[5:], [[t, x + 15] for t, x in tops_lefts], atol=1)
    np.testing.assert_allclose(view[5:], view[:5, :, :, ::-1])


@pytest.mark.parametrize(
    ("crop_size", "scales"), [(16, (1.0, 0.75)), (64, (1.0, 0.75)), ((12, 24), (1.0, 0.75))]
)
def test_things_are_as_large_in_views_as_in_training(tmp_path, crop_size, scales):
    """Brightness grows to the right by a step a pixel; in a crop, by as much as it was scaled."""
    ramp = np.broadcast_to(np.arange(48)[:, None] + 2 * np.arange(64), (1, 48, 64))
    frames = np.repeat(ramp[..., None], 3, axis=-1).astype(np.uint8)
    shards = write_shards(
        tmp_path, {"train": [(frames, 0)] * 8, "test": [(frames, 0)]}, "a", (48, 64)
    )
    info = read_manifest(str(shards))
    options = {"frames": 1, "crop_size": crop_size, "mean": (0.0,) * 3}

    def steps(crops):  # down and right, over the inner part of the picture
        crops = np.asarray(crops)[..., 0].reshape(-1, *np.asarray(crops).shape[-3:-1])
        inner = crops[:, 2:-2, 2:-2]
        down = (inner[:, -1] - inner[:, 0]).mean(-1) / (inner.shape[1] - 1)
        right = (inner[..., -1] - inner[..., 0]).mean(-1) / (inner.shape[2] - 1)
        return down, right

    batches = training_batches(
        info, 8, crop_scales=scales, mirror=False, shuffle_buffer=8, **options
    )
    trained = np.concatenate([steps(x) for x, _ in batches.take(6)], axis=1)
    height, width = np.broadcast_to(crop_size, 2)
    box = min(48 / height, 64 / width)  # of the largest one, pixels for one of the input
    for scale in (0.875, 1.0):
        views = evaluation_views(info, clips=1, crops=1, test_scale=scale, **options)
        down, right = steps(next(iter(views))[0])
        np.testing.assert_allclose([down[0], right[0]], [scale * box, 2 * scale * box], rtol=0.06)
        assert (trained.min(axis=1) * 0.95 < [down[0], right[0]]).all()
        assert (trained.max(axis=1) * 1.05 > [down[0], right[0]]).all()


def test_errors(gray, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no dataset.json.*make-tfrecords"):
        read_manifest(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no shards of the 'val' split"):
        shard_files(gray, "val")
    with pytest.raises(ValueError, match=r"`mean` must.*each of the 3 channels.*mean=\(1, 2\)"):
        training_batches(gray, 8, mean=(1, 2))
    with pytest.raises(ValueError, match=r"`batch_size` must be at most.*batch_size=41, clips=40"):
        pipeline.steps_per_epoch(gray, 41)
    for name, value in (("crop_size", 0), ("crop_size", 1.5), ("frames", 0), ("frames", True)):
        for views in (
            evaluation_views,
            lambda *a, **k: training_batches(*a, 8, **k),
        ):
            with pytest.raises(ValueError, match=rf"`{name}` must be an integer.*{value}"):
                views(gray, **{**OPTIONS, name: value})
    bad = {
        "batch_size": (0, -1, "8", None, 2.5), "std": (0, None, (1, 0)),
        "frame_stride": (0, -1, 1.5),
        "mean": (1.0, (), ("a", 1, 2)), "crop_scales": ((), (0,), 0.5, (2.0,)),
        "shuffle_buffer": (0, -1), "seed": (None, 1.5), "first_epoch": (-1,), "first_step": (9,),
        "epochs": (1.5, "2", -1), "crop_size": ((8, 6, 4), "8"), "num_readers": (0, 1.5),
    }  # fmt: skip
    for name, values in bad.items():
        for value in values:
            options = {"batch_size": 8, "epochs": 1, **OPTIONS, name: value}
            with pytest.raises(ValueError, match=f"^`{name}` must .*Received: [^\n]*$"):
                training_batches(gray, **options)
            if name in ("frame_stride", "std", "mean", "crop_size"):
                with pytest.raises(ValueError, match=f"^`{name}` must .*Received: [^\n]*$"):
                    evaluation_views(gray, **{**OPTIONS, name: value})
    with pytest.raises(ValueError, match="`clips` must be an integer of at least 1"):
        evaluation_views(gray, **OPTIONS, clips=0)
    with pytest.raises(ValueError, match=r"`test_scale` must be.*Received: 0"):
        evaluation_views(gray, test_scale=0)
    for segments in (-1, 2.0, None, True):
        with pytest.raises(ValueError, match=r"`segments` must be an integer of at least 0"):
            evaluation_views(gray, segments=segments, **OPTIONS)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """Videos of 21 frames: red tells the frame, green the column and blue the row."""
    y, x = np.mgrid[0:24, 0:32]
    frames = np.stack(
        [np.stack([np.full_like(x, 20 + 11 * i), 6 * x, 8 * y], -1) for i in range(21)]
    ).astype(np.uint8)
    folder = tmp_path_factory.mktemp("mapped")
    splits = {"train": [(frames, 0)] * 24, "test": [(frames, 0)]}
    return read_manifest(str(write_shards(folder, splits, ["a"], (24, 32))))


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
    batches = training_batches(mapped, 8, epochs=math.inf, **options)
    assert batches.element_spec[0].shape == (8, *split_options(options)[0].shape)
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


def test_views_are_groups_of_snippets_times_crops(gray, mapped):
    options = {**SEGMENT_OPTIONS, "segments": 4, "frames": 1, "clips": 3, "crops": 5}
    options["test_scale"] = 2 / 3  # 16 of 24 pixels
    by_path = {
        path.decode(): frame_numbers(view)
        for view, _, path in evaluation_views(gray, **options).as_numpy_iterator()
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
    views = evaluation_views(mapped, **options)
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
    indices = tf.constant([[3, 1, 1], [1, 3, 3]])
    pictures, places = pipeline.decode_once(jpegs, indices, (0, 0, 4, 6))
    frames = pictures.numpy()[places]
    assert frames.shape == (2, 3, 4, 6, 3) and len(decoded) == len(pictures) == 2
    np.testing.assert_allclose(frames[..., 0, 0, 0], [[150, 50, 50], [50, 150, 150]], atol=1)


def test_frames_are_decoded_to_the_level():
    """As OpenCV does; TensorFlow's default DCT is off by up to twenty levels."""
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (64, 48))
    for quality in (75, 90, 100):
        _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        jpegs = tf.constant([jpeg.tobytes()])
        decoded, _ = pipeline.decode_once(jpegs, tf.constant([0]), (0, 0, 48, 64))
        np.testing.assert_array_equal(decoded[0], cv2.imdecode(jpeg, 1)[..., ::-1])


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """Videos with flow: x is 40 everywhere, y tells the field's number and the column."""
    size, fields = (24, 32), 24
    y = 10 + 5 * np.arange(fields)[:, None, None] + 3 * np.arange(size[1])
    levels = np.stack(np.broadcast_arrays(40, y, np.zeros((1, size[0], 1))), -1)[..., :2]
    video = (gray_video(fields, size), 0, levels.astype(np.uint8))
    folder = tmp_path_factory.mktemp("moving")
    write_shards(folder, {"train": [video] * 32, "test": [video]}, ["a"], size)
    info = read_manifest(str(folder))
    assert info.flow
    return info


FLOW_OPTIONS = {"stream": "flow", "mean": (0.0, 0.0), "crop_size": 16}


def fields_of(flow):
    """Five times the field's number plus three times the column of the left edge, and the mirror.

    Args:
        flow: `(..., 16, 16, 2)` of crops that were not resized.
    """
    x, y = flow[..., 0], flow[..., 1]
    mirrored = x.mean((-1, -2)) > 127.5
    np.testing.assert_allclose(x - np.where(mirrored[..., None, None], 215, 40), 0, atol=2.5)
    # y grows by three a column of the video.
    slope = (y[..., -1] - y[..., 0]).mean(-1) / 15
    np.testing.assert_allclose(slope, np.where(mirrored, -3, 3), atol=0.3)
    return y.mean((-1, -2)) - 3 * 7.5 - 10, mirrored


def test_training_clips_of_flow(moving):
    options = {**FLOW_OPTIONS, "frames": 8, "crop_scales": (16 / 24,)}
    batches = training_batches(moving, 32, epochs=2, **options)
    assert batches.element_spec[0].shape == (32, 8, 16, 16, 2)
    clips = np.concatenate([clips for clips, _ in batches.as_numpy_iterator()])
    left, mirrored = fields_of(clips)
    np.testing.assert_allclose(np.diff(left, axis=1), 5, atol=1)  # a field after the other
    assert 15 < mirrored[:, 0].sum() < 49 and (mirrored == mirrored[:, :1]).all()
    assert left[:, 0].min() > -1 and left[:, 0].max() < 5 * 16 + 3 * 16 + 1
    assert np.ptp(left[:, 0]) > 60
    (plain, _), (scaled, _) = (
        next(iter(training_batches(moving, 8, **{**options, **how})))
        for how in ({}, {"mean": (127.5, 100.0), "std": 2.0})
    )
    np.testing.assert_allclose(scaled, (plain - np.array([127.5, 100.0])) / 2)
    (clips, _) = next(iter(training_batches(moving, 32, mirror=False, **options)))
    assert not fields_of(clips.numpy())[1].any()


@pytest.mark.parametrize("frames", [1, 4])
def test_training_snippets_of_flow(moving, frames):
    """The fields of a snippet are channels: x1, y1, x2, y2, ..."""
    options = {**FLOW_OPTIONS, "segments": 3, "frames": frames, "crop_scales": (16 / 24,)}
    batches = training_batches(moving, 32, **options)
    assert batches.element_spec[0].shape == (32, 3, 16, 16, 2 * frames)
    samples, _ = next(batches.as_numpy_iterator())
    fields = np.moveaxis(samples.reshape(32, 3, 16, 16, frames, 2), 4, 2)
    left, mirrored = fields_of(fields)
    assert 6 < mirrored[:, 0, 0].sum() < 26 and (mirrored == mirrored[:, :1, :1]).all()
    np.testing.assert_allclose(np.diff(left, axis=2), 5, atol=1)
    number = (left[..., 0] - left[:, :1, 0]) / 5
    assert (np.diff(number, axis=1) > 0.9).all(), "segments in order, the same crop"


def test_training_snippets_that_are_clips_of_flow(moving):
    """What ARTNet takes under TSN: a clip of two channels of each segment, not a stack."""
    options = {**FLOW_OPTIONS, "segments": 3, "frames": 4, "crop_scales": (16 / 24,)}
    batches, stacks = (
        training_batches(moving, 32, flow_as_channels=stacked, **options)
        for stacked in (False, True)
    )
    assert batches.element_spec[0].shape == (32, 3, 4, 16, 16, 2)
    clips, _ = next(batches.as_numpy_iterator())
    left, mirrored = fields_of(clips)
    assert 6 < mirrored[:, 0, 0].sum() < 26 and (mirrored == mirrored[:, :1, :1]).all()
    np.testing.assert_allclose(np.diff(left, axis=2), 5, atol=1)
    stacks, _ = next(stacks.as_numpy_iterator())
    stacks = np.moveaxis(stacks.reshape(32, 3, 16, 16, 4, 2), 4, 2)
    np.testing.assert_array_equal(clips, stacks)  # the same fields, laid out another way


def test_fixed_crops(moving):
    """Of 16 x 16 in 24 x 32, TSN's places are at columns 0, 4, 8, 12 and 16."""
    options = {**FLOW_OPTIONS, "frames": 24, "crop_scales": (16 / 24,), "mirror": False}
    for positions, columns in (("fixed", range(0, 17, 4)), ("random", range(17))):
        batches = training_batches(moving, 32, crop_positions=positions, epochs=3, **options)
        clips = np.concatenate([clips for clips, _ in batches.as_numpy_iterator()])
        left, _ = fields_of(clips)
        found = set(np.rint(left[:, 0] / 3))  # three for a column; all begin with field 0
        assert found <= set(columns) and len(found) >= min(len(columns), 10)
    with pytest.raises(ValueError, match=r"`crop_positions` must be one of random, fixed"):
        training_batches(moving, 32, crop_positions="corner", **options)


def test_views_of_flow(moving):
    options = {**FLOW_OPTIONS, "crops": 10, "test_scale": 2 / 3}  # 16 of 24 pixels
    clips = evaluation_views(moving, clips=2, frames=16, **options)
    stacks = evaluation_views(moving, clips=2, segments=2, frames=4, **options)
    snippets = evaluation_views(
        moving, clips=2, segments=2, frames=4, flow_as_channels=False, **options
    )
    clips, stacks, snippets = (
        next(views.as_numpy_iterator())[0] for views in (clips, stacks, snippets)
    )
    assert clips.shape == (20, 16, 16, 16, 2) and stacks.shape == (20, 2, 16, 16, 8)
    unstacked = np.moveaxis(stacks.reshape(20, 2, 16, 16, 4, 2), 4, 2)
    np.testing.assert_array_equal(snippets, unstacked)
    columns = 3 * np.tile([0, 16, 0, 16, 8] * 2, 2)
    left, mirrored = fields_of(clips)
    np.testing.assert_array_equal(mirrored[:, 0], np.tile(np.repeat([False, True], 5), 2))
    starts = 5 * np.repeat([0, 8], 10)
    np.testing.assert_allclose(left[:, 0], starts + columns, atol=1)
    np.testing.assert_allclose(np.diff(left, axis=1), 5, atol=1)
    left, mirrored = fields_of(np.moveaxis(stacks.reshape(20, 2, 16, 16, 4, 2), 4, 2))
    np.testing.assert_array_equal(mirrored[:, 0, 0], np.tile(np.repeat([False, True], 5), 2))
    starts = 5 * np.repeat([[2, 14], [6, 18]], 10, axis=0)
    np.testing.assert_allclose(left[..., 0], starts + columns[:, None], atol=1)


def test_shards_without_flow(gray):
    assert not gray.flow
    for make in (lambda **o: training_batches(gray, 8, **o), pipeline_views(gray)):
        with pytest.raises(ValueError, match=r"`stream` must be 'rgb'.*`--flow tvl1`"):
            make(**FLOW_OPTIONS)
    with pytest.raises(ValueError, match=r"`stream` must be .* Received: 'both'"):
        training_batches(gray, 8, stream="both")


def pipeline_views(info):
    return lambda **options: evaluation_views(info, **options)


@pytest.fixture(scope="module")
def three_folds(tmp_path_factory):
    """Videos whose label is their number, with a split in each of three folds."""
    splits = ["train", "test", "unused"]
    videos = collections.defaultdict(list)
    for label in range(27):
        own = [splits[label // 9], splits[label // 3 % 3], splits[label % 3]]
        videos[own[0]].append((gray_video(9, (24, 24)), label, None, own))
    folder = tmp_path_factory.mktemp("splits")
    return write_shards(folder, videos, [str(i) for i in range(27)], (24, 24))


@pytest.mark.parametrize("fold", [0, 1, 2, 3])
def test_folds(three_folds, fold):
    """A video is stored once; the fold that is read tells its split."""
    info = read_manifest(str(three_folds), fold)
    assert info.clips == {"train": 9, "test": 9, "unused": 9}
    power = {0: 9, 1: 9, 2: 3, 3: 1}[fold]
    expected = {
        split: {label for label in range(27) if label // power % 3 == place}
        for place, split in enumerate(("train", "test"))
    }
    options = {"frames": 2, "crop_size": 16}
    batches = training_batches(info, 3, epochs=2, **options)
    labels = np.concatenate([labels for _, labels in batches.as_numpy_iterator()])
    for epoch in (labels[:9], labels[9:]):
        assert len(epoch) == 9 and set(epoch) == expected["train"]
    views = evaluation_views(info, clips=1, crops=1, **options)
    labels = [int(label) for _, label, _ in views]
    assert len(labels) == 9 and set(labels) == expected["test"]


def test_folds_that_are_not_there(three_folds, gray, tmp_path):
    with pytest.raises(ValueError, match=r"`fold` must be.*one of 1, 2, 3. Received: fold=4"):
        read_manifest(str(three_folds), 4)
    assert read_manifest(gray.path, 1).fold == 0  # there is one only
    with pytest.raises(ValueError, match=r"`fold` must be.*: 0, there is one only.*fold=2"):
        read_manifest(gray.path, 2)


def changed(folder, target, **changes):
    """A copy of shards with another manifest."""
    shutil.copytree(folder, target)
    path = target / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return str(target)


def test_manifests_of_version_1(moving, tmp_path):
    options = {"size": [24, 32], "short_side": None, "jpeg_quality": 95}
    folder = changed(moving.path, tmp_path / "old", schema_version=1, options=options)
    info = read_manifest(folder)
    assert info == moving._replace(path=folder, flow=False, content=info.content)
    assert len(list(evaluation_views(info, frames=8, crop_size=16, crops=1))) == 1
    options["size"], options["short_side"] = None, 24
    folder = changed(moving.path, tmp_path / "short", schema_version=1, options=options)
    assert read_manifest(folder).frame_size == 24


def test_manifests_of_newer_versions(gray, tmp_path):
    folder = changed(gray.path, tmp_path / "new", schema_version=3, library="keras_videorel 9")
    with pytest.raises(ValueError, match=r"newer version \(keras_videorel 9\).*at most 2.*: 3"):
        read_manifest(folder)


@pytest.mark.parametrize("content", ["", "[]", '{"options": {}}'])
def test_an_invalid_manifest(content, tmp_path):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(ValueError, match=r"dataset.json' is not a valid manifest"):
        read_manifest(str(tmp_path))


def test_shards_of_others(tmp_path):
    """Other names of files and keys, and a manifest that tells them, in a folder of its own."""
    data = tmp_path / "data"
    data.mkdir()
    for name in ("clips_a.rec", "clips_b.rec", "check.rec"):
        with tf.io.TFRecordWriter(str(data / name)) as writer:
            for label in range(4):
                example = tf.train.SequenceExample()
                example.context.feature["target"].int64_list.value.append(label)
                pictures = example.feature_lists.feature_list["video/jpeg"]
                for frame in gray_video(6, (24, 32), **LEVELS):
                    jpeg = tf.io.encode_jpeg(frame).numpy()
                    pictures.feature.add().bytes_list.value.append(jpeg)
                writer.write(example.SerializeToString())
    described = tmp_path / "described"
    described.mkdir()
    (described / "labels.txt").write_text("a\nb\nc\nd\n")
    manifest = {
        "schema_version": 2,
        "options": {"size": None, "short_side": 24, "flow": "none", "split": 1},
        "splits": {"train": {"clips": 8}, "test": {"clips": 4}},
        "files": {"train": [str(data / "clips_?.rec")], "test": ["../data/check.rec"]},
        "keys": {"frames": "video/jpeg", "label": "target"},
    }
    (described / "dataset.json").write_text(json.dumps(manifest))
    info = read_manifest(str(described))
    options = {"frames": 3, "crop_size": 16, "mean": (0.0, 0.0, 0.0)}
    clips, labels = next(iter(training_batches(info, 8, **options)))
    assert sorted(labels.numpy()) == [0, 0, 1, 1, 2, 2, 3, 3]
    np.testing.assert_allclose(np.diff(frame_numbers(clips), axis=1), 1, atol=0.3)
    for _, label, path in evaluation_views(info, crops=1, **options):
        assert label.dtype == tf.int64 and path.numpy() == b""
    with pytest.raises(FileNotFoundError, match=r"no shards of the 'train' split.*matches gone\*"):
        shard_files(info._replace(files={"train": ["gone*"]}), "train")


def test_a_remote_folder(gray):
    """TensorFlow's file system in memory stands for that of a cloud."""
    folder = "ram://shards/gray"
    tf.io.gfile.makedirs(folder)
    for name in tf.io.gfile.listdir(gray.path):
        tf.io.gfile.copy(f"{gray.path}/{name}", f"{folder}/{name}")
    info = read_manifest(folder)
    assert info == gray._replace(path=folder)
    patterns = {"train": [f"{folder}/train-*"]}
    assert shard_files(gray._replace(files=patterns), "train") == [
        f"{folder}/train-{i:05d}-of-00002.tfrecord" for i in range(2)
    ]
    here, there = (next(iter(training_batches(i, 8, **OPTIONS))) for i in (gray, info))
    np.testing.assert_array_equal(here[0], there[0])


def test_a_service_of_two_workers(tmp_path):
    """Each record is seen once an epoch, whoever reads it."""
    videos = [(gray_video(9, (24, 24), first=20 + i), i) for i in range(24)]
    labels = [str(i) for i in range(24)]
    info = read_manifest(str(write_shards(tmp_path, {"train": videos}, labels, (24, 24))))
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer(service.DispatcherConfig(port=0))
    address = dispatcher.target.removeprefix("grpc://")
    workers = [
        service.WorkerServer(service.WorkerConfig(dispatcher_address=address, port=0))
        for _ in range(2)
    ]
    options = {"frames": 4, "crop_size": 16, "epochs": 2}
    batches = training_batches(info, 4, service=dispatcher.target, **options)
    assert batches.element_spec[0].shape == (4, 4, 16, 16, 3)
    seen, clips = collections.Counter(), []
    for batch, labels in batches.as_numpy_iterator():
        seen.update(labels.tolist())
        clips += [clip.tobytes() for clip in batch]
    assert seen == {label: 2 for label in range(24)}
    here = training_batches(info, 4, **options).as_numpy_iterator()
    assert sorted(clips) == sorted(clip.tobytes() for batch, _ in here for clip in batch)
    del workers


def test_an_invalid_service(gray):
    for address in ("localhost:5000", "grpc://localhost", "grpc://localhost:port"):
        with pytest.raises(ValueError, match=r"`service` must be.*'grpc://host:port'. Received"):
            training_batches(gray, 8, service=address)
    with pytest.raises(OSError, match=r"no tf.data service answers at 'grpc://localhost:1'"):
        training_batches(gray, 8, service="grpc://localhost:1")
