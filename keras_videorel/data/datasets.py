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
    """Training samples of one epoch, of known length. Each iteration has new crops and a new order.

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
        clip: How to sample each video.
        batch_size: Samples in a batch. An incomplete last batch of an epoch is dropped.
        mirror: Whether to mirror half of the samples. In mirrored flow, x changes its sign. Turn
            mirroring off if the classes depend on left and right.
        crop_scales: Side lengths of the random crops, as shares of a frame's shorter side.
        crop_positions: `"random"`, or `"fixed"` for the 13 crops of TSN. See
            `transforms.multi_scale_box`.
        augment: Optional function that transforms a sample after cropping and mirroring, in
            TensorFlow. It maps a uint8 tensor of shape `clip.shape` to another one. The sample is
            normalized afterwards.
        shuffle_buffer: Number of samples that are shuffled together. The order of the shards is
            also shuffled.
        seed: Seed of order, crops and mirroring. It does not seed `augment`.
        split: The split to read.
        fold: Number of the official split. 0 takes the fold that the shards were made for.

    Returns:
        A `tf.data.Dataset` of `(samples, labels)`: float32 `(batch_size, *clip.shape)` and int64
        `(batch_size,)`. The attribute `class_names` of the dataset is a list of class names, and
        the attribute `clip` is `clip` with the `frame_size` of the shards.

    Raises:
        FileNotFoundError: If `path` has no shards of the split.
        ValueError: If an argument is out of range, the shards do not fit `clip`, `augment` changes
            the shape or type, or the split has fewer clips than `batch_size`.
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

    To average many views of each video, use `keras_videorel.evaluation.evaluate_videos`. The other
    arguments are as for `train_dataset`.

    Args:
        batch_size: Samples in a batch. The last batch may be smaller.

    Returns:
        A `tf.data.Dataset` of `(samples, labels)` of known length, with the attributes
        `class_names` and `clip` as for `train_dataset`.

    Raises:
        FileNotFoundError: If `path` has no shards of the split.
        ValueError: If an argument is out of range or the shards do not fit `clip`.
    """
    info = read_manifest(path, fold)
    check_integer("batch_size", batch_size, min_value=1)
    views = pipeline.centered_views(info, clip, split).batch(batch_size)
    return _described(views.prefetch(tf.data.AUTOTUNE), info, clip)


def val_dataset(
    path: str | os.PathLike, clip: ClipSpec, batch_size: int, *, fold: int = 0
) -> tf.data.Dataset:
    """Like `test_dataset`, for the split `"val"`."""
    return test_dataset(path, clip, batch_size, split="val", fold=fold)


def _described(dataset, info, clip):
    dataset.class_names = info.labels
    dataset.clip = dataclasses.replace(clip, frame_size=info.frame_size)
    return dataset
