"""`tf.data` from shards to batches: parse, sample, decode, transform, batch.

Frames are chosen before any JPEG is decoded, and only the crop's part of a JPEG is decoded.
"""

import glob
import json
import os
from typing import NamedTuple

import tensorflow as tf

from keras_videorel.data import records, sampling, transforms


class ShardInfo(NamedTuple):
    """What a folder of shards holds.

    Attributes:
        path: The folder.
        labels: Names of the classes, in index order.
        frame_size: `(height, width)` of the stored frames, or an integer: their shorter side.
        clips: Number of records of each split, a dict.
    """

    path: str
    labels: list
    frame_size: tuple | int
    clips: dict


def read_info(path):
    """Read the manifest and the labels of a folder of shards.

    Args:
        path: A folder written by `make-tfrecords`.

    Returns:
        A `ShardInfo`.

    Raises:
        FileNotFoundError: If the folder is no finished folder of shards.
    """
    manifest = os.path.join(path, "dataset.json")
    if not tf.io.gfile.exists(manifest):
        raise FileNotFoundError(
            f"{path!r} holds no finished shards (no dataset.json): make them with "
            "`videorel make-tfrecords`, or run it again if it was interrupted"
        )
    with tf.io.gfile.GFile(manifest) as file:
        info = json.load(file)
    with tf.io.gfile.GFile(os.path.join(path, "labels.txt")) as file:
        labels = file.read().splitlines()
    size = info["options"]["size"] or info["options"]["short_side"]
    return ShardInfo(
        path=path,
        labels=labels,
        frame_size=size if isinstance(size, int) else tuple(size),
        clips={split: counts["clips"] for split, counts in info["splits"].items()},
    )


def shard_files(path, split):
    """The shards of a split, sorted.

    Raises:
        FileNotFoundError: If there are none.
    """
    pattern = os.path.join(path, f"{split}-?????-of-?????.tfrecord")
    files = sorted(glob.glob(pattern) if os.path.isdir(path) else tf.io.gfile.glob(pattern))
    if not files:
        raise FileNotFoundError(f"no shards of the {split!r} split: nothing matches {pattern!r}")
    return files


def sample_shape(segments, frames, size, stream="rgb"):
    """Shape of a sample: what a model takes of one video, without the batch.

    Args:
        segments: 0 for a clip of consecutive frames; T > 0 for a snippet of each of T segments.
        frames: Frames in the clip, or in each snippet.
        size: Height and width, an integer or a pair.
        stream: `"rgb"`, or `"flow"` for optical flow in x and y.

    Returns:
        `(frames, height, width, 3)` for a clip; `(segments, height, width, 3)` for snippets of
        one frame, which are images; `(segments, frames, height, width, 3)` for longer ones. Of
        flow a clip has 2 channels, and snippets are stacks of all their fields, `(segments,
        height, width, 2 * frames)` (two-stream networks; relational LSTM, Sec. 3).

    Raises:
        ValueError: If `segments` is no number of segments, or the stream is unknown.
    """
    if stream not in ("rgb", "flow"):
        raise ValueError(f'`stream` must be "rgb" or "flow". Received: stream={stream!r}')
    if isinstance(segments, bool) or not isinstance(segments, int) or segments < 0:
        raise ValueError(
            "`segments` must be 0 (clips) or the number of segments. "
            f"Received: segments={segments!r}"
        )
    height, width = (size, size) if isinstance(size, int) else size
    if not segments:
        return (frames, height, width, 3 if stream == "rgb" else 2)
    if stream == "flow":
        return (segments, height, width, 2 * frames)
    return (segments, *((frames,) if frames > 1 else ()), height, width, 3)


def training_batches(
    info,
    batch_size,
    *,
    segments=0,
    frames=16,
    frame_stride=1,
    crop_size=112,
    crop_scales=(1.0, 0.875, 0.75, 0.66),
    mirror=True,
    mean=(123.0, 117.0, 104.0),
    std=1.0,
    shuffle_buffer=256,
    seed=0,
    first_epoch=0,
    split="train",
):
    """Batches of randomly cropped training samples, clips or snippets, without end.

    Everything random is a function of `seed`, the epoch and the place in it, so the batches of
    an epoch are the same whether training began there or before.

    Args:
        info: A `ShardInfo`.
        batch_size: Samples in a batch. What is left of an epoch is dropped.
        segments: 0 for clips; T > 0 for a snippet of each of T segments of the video.
        frames: Frames in a clip or snippet.
        frame_stride: Step between them.
        crop_size: Height and width of the samples.
        crop_scales: Ratios of the multi-scale crop.
        mirror: Whether to mirror half of the samples. Turn it off where left and right differ.
        mean: Mean of the channels (R, G, B), subtracted.
        std: What they are then divided by.
        shuffle_buffer: Records that are shuffled at a time; shards are shuffled besides.
        seed: Seed.
        first_epoch: Epoch to begin with.
        split: The split to read.

    Returns:
        A `tf.data.Dataset` of `(samples, labels)`: float32 `(batch, *sample_shape(segments,
        frames, crop_size))` and int64 `(batch,)`; `steps_per_epoch(info, batch_size)` batches
        make an epoch.

    Raises:
        ValueError: If the split has fewer clips than a batch, or `segments` is negative.
    """
    shape = sample_shape(segments, frames, crop_size)
    files = shard_files(info.path, split)
    steps = steps_per_epoch(info, batch_size, split)

    def epoch_records(epoch):
        order = _shuffle(tf.constant(files), seed=(seed, epoch, 0))
        serialized = tf.data.Dataset.from_tensor_slices(order).interleave(
            tf.data.TFRecordDataset,
            cycle_length=min(len(files), 8),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        # `Dataset.shuffle` mixes its seed with TensorFlow's global one, and fails when that is 0;
        # shuffling block by block is a function of our seed alone.
        mixed = (
            serialized.batch(shuffle_buffer)
            .enumerate()
            .map(lambda place, block: _shuffle(block, seed=(seed, epoch, 1 + place)))
            .prefetch(1)
            .unbatch()
        )
        places = tf.data.Dataset.range(steps * batch_size)
        seeds = places.map(lambda place: tf.stack([seed, epoch * info.clips[split] + place]))
        return tf.data.Dataset.zip(mixed, seeds)

    def sample(serialized, example_seed):
        context, sequence = records.parse(serialized)
        jpegs = sequence["image/encoded"]
        seeds = tf.unstack(tf.random.split(tf.cast(example_seed, tf.int32), 3))
        indices = sampling.random_sample(
            tf.size(jpegs), segments, frames, frame_stride, seed=seeds[0]
        )
        height, width = tf.unstack(tf.io.extract_jpeg_shape(jpegs[0])[:2])
        box = transforms.multi_scale_box(height, width, crop_scales, seed=seeds[1])
        crop = tf.image.resize(decode(jpegs, indices, box), (crop_size, crop_size))
        if mirror:
            flip = tf.random.stateless_uniform((), seeds[2]) < 0.5
            crop = tf.cond(flip, lambda: transforms.mirror(crop), lambda: crop)
        crop = transforms.normalize(tf.reshape(crop, shape), mean, std)
        return crop, context["clip/label/index"]

    return (
        tf.data.Dataset.range(first_epoch, tf.int64.max)
        .flat_map(epoch_records)
        .map(sample, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def steps_per_epoch(info, batch_size, split="train"):
    """Whole batches in an epoch.

    Raises:
        ValueError: If there is none.
    """
    steps = info.clips.get(split, 0) // batch_size
    if not steps:
        raise ValueError(
            f"`batch_size` must be at most the number of clips of the {split!r} split. "
            f"Received: batch_size={batch_size}, clips={info.clips.get(split, 0)}"
        )
    return steps


def evaluation_views(
    info,
    split="test",
    *,
    clips=25,
    crops=10,
    segments=0,
    frames=16,
    frame_stride=1,
    crop_size=112,
    mean=(123.0, 117.0, 104.0),
    std=1.0,
):
    """The test views of each video: uniform clips times fixed crops (ARTNet, Sec. 3.3).

    With segments, a view is a crop of a group of snippets (relational LSTM, Sec. 5.2).

    Args:
        info: A `ShardInfo`.
        split: The split to read.
        clips: Clips at equal distances, 25 in ARTNet's paper; or groups of snippets, 4 in that
            of the relational LSTM.
        crops: 1, 5 or 10 crops of each; 10 and 5 in the papers.
        segments: 0 for clips; T > 0 for a snippet of each of T segments of the video.
        frames: Frames in a clip or snippet.
        frame_stride: Step between them.
        crop_size: Height and width of the crops.
        mean: Mean of the channels (R, G, B), subtracted.
        std: What they are then divided by.

    Returns:
        A `tf.data.Dataset` of `(views, label, path)` per video, in the order of the shards:
        float32 `(clips * crops, *sample_shape(segments, frames, crop_size))`, the crops of a
        clip together, int64 and string scalars.

    Raises:
        ValueError: If the stored frames are smaller than the crops, `crops` is another number,
            or `segments` negative.
    """
    shape = sample_shape(segments, frames, crop_size)
    transforms.check_crops(crops)
    smallest = info.frame_size if isinstance(info.frame_size, int) else min(info.frame_size)
    if smallest < crop_size:
        raise ValueError(
            "`crop_size` must be at most the shorter side of the stored frames. Received: "
            f"crop_size={crop_size}, frames of {info.frame_size} in {info.path!r}"
        )

    def views(serialized):
        context, sequence = records.parse(serialized)
        jpegs = sequence["image/encoded"]
        indices = sampling.uniform_samples(tf.size(jpegs), clips, segments, frames, frame_stride)
        height, width = tf.unstack(tf.io.extract_jpeg_shape(jpegs[0])[:2])
        whole = decode(jpegs, indices, tf.stack([0, 0, height, width]))
        boxes = transforms.view_boxes(height, width, crop_size, crops)
        crop = [whole[:, :, b[0] : b[0] + b[2], b[1] : b[1] + b[3]] for b in tf.unstack(boxes)]
        if crops == 10:
            crop += [transforms.mirror(c) for c in crop]
        crop = tf.reshape(tf.stack(crop, 1), (clips * crops, *shape))
        label, path = context["clip/label/index"], context["clip/data_path"]
        return transforms.normalize(crop, mean, std), label, path

    return (
        tf.data.TFRecordDataset(shard_files(info.path, split))
        .map(views, num_parallel_calls=tf.data.AUTOTUNE)
        .apply(tf.data.experimental.assert_cardinality(info.clips[split]))
        .prefetch(tf.data.AUTOTUNE)
    )


def decode(jpegs, indices, box):
    """Decode the part inside a box of some of the JPEGs.

    Args:
        jpegs: String tensor `(frames,)`.
        indices: Which of them, of any shape. Clips overlap in short videos and the last frame
            may repeat: each is decoded once.
        box: Top, left, height, width.

    Returns:
        uint8 tensor, the shape of `indices` with `(height, width, 3)` added at the end.
    """
    used, places = tf.unique(tf.reshape(indices, [-1]))
    pictures = tf.map_fn(
        lambda jpeg: tf.image.decode_and_crop_jpeg(jpeg, box, channels=3),
        tf.gather(jpegs, used),
        fn_output_signature=tf.TensorSpec((None, None, 3), tf.uint8),
    )
    return tf.gather(pictures, tf.reshape(places, tf.shape(indices)))


def _shuffle(values, seed):
    """`values` in an order that is a function of three integers."""
    first, *rest = (tf.cast(number, tf.int64) for number in seed)
    key = tf.stack([first, rest[0]])
    return tf.random.experimental.stateless_shuffle(values, tf.random.fold_in(key, rest[1]))
