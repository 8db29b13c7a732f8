"""Datasets for `model.fit` and `model.evaluate`, in one call."""

import dataclasses
import os
from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_videorel.checks import check_integer
from keras_videorel.clip_spec import ClipSpec
from keras_videorel.data import pipeline
from keras_videorel.data.manifest import read_manifest
from keras_videorel.data.transforms import CROP_SCALES


def train_dataset(
    path: str | os.PathLike,
    clip: ClipSpec,
    batch_size: int,
    *,
    mirror: bool = True,
    crop_scales: Sequence[float] = CROP_SCALES,
    crop_positions: str = "random",
    augment: Callable | None = None,
    shuffle_buffer: int = 256,
    seed: int = 0,
    split: str = "train",
    fold: int = 0,
) -> tf.data.Dataset:
    """Training samples of shards: one epoch of known length, with new crops at each iteration.

    ```python
    def darker_or_brighter(frames):  # uint8, of clip.shape
        return tf.image.random_brightness(frames, 0.2)

    train = keras_videorel.data.train_dataset(
        "shards/mine", clip, batch_size=8, augment=darker_or_brighter
    )
    model.fit(train, epochs=20)
    ```

    Args:
        path: A folder of shards.
        clip: The `ClipSpec`.
        batch_size: Samples in a batch. The last samples of an epoch, too few for a batch, are
            dropped.
        mirror: Whether to mirror half of the samples; flow in x changes its sign. Turn it off where
            left and right differ.
        crop_scales: Sides of the random crops, as shares of the shorter side of a frame.
        crop_positions: `"random"`, or `"fixed"` for TSN's 13; see `transforms.multi_scale_box`.
        augment: Your own transform of a cropped and mirrored sample, in TensorFlow: a function from
            a uint8 tensor of `clip.shape` to another one. The sample is normalized afterwards.
        shuffle_buffer: Samples that are shuffled at a time. The order of the shards is shuffled,
            too.
        seed: Seed of order, crops and mirroring; a random `augment` has its own.
        split: The split to read.
        fold: Number of the official split; 0: the one that the shards were made for.

    Returns:
        A `tf.data.Dataset` of `(samples, labels)`: float32 `(batch_size, *clip.shape)` and int64
        `(batch_size,)`. Its attribute `class_names` holds the names of the classes, and `clip` the
        `ClipSpec` with the `frame_size` of the shards.

    Raises:
        FileNotFoundError: If there are no such shards.
        ValueError: If an argument is out of range, the shards do not fit `clip`, `augment` changes
            shape or type, or there are fewer clips than `batch_size`.
    """
    info = read_manifest(path, fold)
    batches = pipeline.training_batches(
        info, clip, batch_size, mirror=mirror, crop_scales=crop_scales,
        crop_positions=crop_positions, augment=augment, shuffle_buffer=shuffle_buffer, seed=seed,
        split=split,
    )  # fmt: skip
    return _described(batches, info, clip)


def test_dataset(
    path: str | os.PathLike,
    clip: ClipSpec,
    batch_size: int,
    *,
    split: str = "test",
    fold: int = 0,
) -> tf.data.Dataset:
    """One centered view of each video, in the order of the shards.

    `keras_videorel.evaluation.evaluate_videos` averages many views of each video.

    Args:
        path: A folder of shards.
        clip: The `ClipSpec`.
        batch_size: Samples in a batch; the last one may be smaller.
        split: The split to read.
        fold: Number of the official split; 0: the one that the shards were made for.

    Returns:
        A `tf.data.Dataset` of `(samples, labels)` of known length, with the attributes
        `class_names` and `clip` as of `train_dataset`.

    Raises:
        FileNotFoundError: If there are no such shards.
        ValueError: If an argument is out of range.
    """
    info = read_manifest(path, fold)
    check_integer("batch_size", batch_size, min_value=1)
    views = pipeline.centered_views(info, clip, split).batch(batch_size)
    return _described(views.prefetch(tf.data.AUTOTUNE), info, clip)


def val_dataset(
    path: str | os.PathLike, clip: ClipSpec, batch_size: int, *, fold: int = 0
) -> tf.data.Dataset:
    """`test_dataset` of the split `"val"`."""
    return test_dataset(path, clip, batch_size, split="val", fold=fold)


def _described(dataset, info, clip):
    dataset.class_names = info.labels
    dataset.clip = dataclasses.replace(clip, frame_size=info.frame_size)
    return dataset
