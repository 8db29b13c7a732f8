"""`tf.data` from shards to batches: parse, sample, shuffle, decode, transform, batch, normalize.

Frames are chosen as soon as a record is parsed: what is shuffled are the JPEGs of the samples, not
whole videos. Only the crop's part of a JPEG is decoded, and samples travel as uint8 up to the
last step.
"""

import math
import os
import socket
import urllib.parse
from itertools import chain
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_videorel import files
from keras_videorel.checks import check_choice, check_integer, check_numbers
from keras_videorel.class_names import read_class_names
from keras_videorel.data import records, sampling, transforms

SIDES = ("train", "val", "test", "unused")
NEWEST_SCHEMA = 2

_FILES = {side: [f"{side}-?????-of-?????.tfrecord"] for side in SIDES}
_CHANNELS = {"rgb": 3, "flow": 2}
_PICTURES = {"rgb": records.IMAGE_ENCODED, "flow": records.FLOW_ENCODED}


class ShardInfo(NamedTuple):
    """What a folder of shards holds.

    Attributes:
        path: The folder.
        labels: Names of the classes, in index order.
        frame_size: `(height, width)` of the stored frames, or an integer: their shorter side.
        clips: Number of records of each side of the split, a dict.
        flow: Whether there is optical flow.
        files: Patterns of the shards of each side, a dict of lists; relative ones start from the
            folder, and wildcards are in the last part.
        split: 0 if each side has shards of its own; otherwise the number of the official split
            that the records tell their side in.
        keys: Dict from keys of `records` to those of shards of other writers; None for ours.
        compression: `"GZIP"` or `"ZLIB"` if the shards are compressed.
    """

    path: str
    labels: list
    frame_size: tuple | int
    clips: dict
    flow: bool = False
    files: dict = _FILES
    split: int = 0
    keys: dict | None = None
    compression: str = ""


def read_info(path, split=0):
    """Read the manifest and the labels of a folder of shards.

    Args:
        path: A folder written by `make-tfrecords`, or one that describes shards of others
            (`inspect-tfrecords --describe`). It may be a remote one, `gs://bucket/folder`.
        split: Number of the official split to read; 0 for that which the shards were made for.

    Returns:
        A `ShardInfo`.

    Raises:
        FileNotFoundError: If the folder is no finished folder of shards.
        ValueError: If the manifest is none, there is no such split, or the records are of a kind
            that is not read.
    """
    manifest = os.path.join(path, "dataset.json")
    if not files.exists(manifest):
        raise FileNotFoundError(
            f"{path!r} holds no finished shards (no dataset.json): make them with "
            "`videorel make-tfrecords`, or run it again if it was interrupted"
        )
    try:
        info = files.read_json(manifest)
        options, keys, _ = info["options"], info.get("keys", {}), info["splits"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{manifest!r} is no manifest of shards") from None
    if info.get("schema_version", 1) > NEWEST_SCHEMA:
        raise ValueError(
            f"{path!r} holds shards of a newer version ({info.get('library')}): schema_version "
            f"must be at most {NEWEST_SCHEMA}. Received: {info['schema_version']}"
        )
    labels = read_class_names(os.path.join(path, "labels.txt"))
    size = options["size"] or options["short_side"]
    patterns = info.get("files", _FILES)
    counts, split = _official_split(info, split, path)
    frames = keys.get("frames", records.IMAGE_ENCODED)
    return ShardInfo(
        path=path,
        labels=labels,
        frame_size=size if isinstance(size, int) else tuple(size),
        clips=counts,
        flow=options.get("flow", "none") != "none" or "flow" in keys,
        files={side: [*chain(*patterns.values())] for side in counts} if split else patterns,
        split=split,
        keys={records.NAMED[name]: key for name, key in keys.items()} if keys else None,
        compression=shard_compression(path, patterns, frames),
    )


def shard_compression(folder, patterns, frames):
    """How the shards of a folder are compressed; the first record of each split is checked, too.

    Args:
        folder: The folder.
        patterns: As `ShardInfo.files`.
        frames: Key of the frames.
    """
    found = {}
    for own in patterns.values():
        paths = [p for pattern in own for p in files.matching(folder, pattern)]
        paths = sorted(files.join(folder, path) for path in paths)
        for path in paths[: 1 if any(map(files.is_remote, paths)) else None]:
            found.setdefault(records.compression(path), path)
        serialized = records.first_record(paths[0]) if paths else None
        if serialized is not None:
            records.check_readable(paths[0], serialized, frames)
    if len(found) > 1:
        shown = ", ".join(f"{kind or 'none'} in {path!r}" for kind, path in found.items())
        raise ValueError(f"shards must all have the same compression. Received: {shown}")
    return next(iter(found), "")


def _official_split(info, split, path):
    """Clips of each side of a split, and the number that records must be filtered by, or 0."""
    if split in (0, info["options"].get("split", 1)):
        return {side: counts["clips"] for side, counts in info["splits"].items()}, 0
    official = info.get("official_splits", {})
    if str(split) not in official:
        there = f"one of {', '.join(sorted(official))}" if official else "0, there is one only"
        raise ValueError(
            f"`split` must be an official split of the shards in {path!r}: {there}. "
            f"Received: split={split!r}"
        )
    return official[str(split)], split


def shard_files(info, side):
    """The shards that hold the records of a side, sorted: `"train"`, `"test"`.

    Raises:
        FileNotFoundError: If there are none.
    """
    patterns = info.files.get(side, ())
    found = {path for pattern in patterns for path in files.matching(info.path, pattern)}
    if not found:
        raise FileNotFoundError(
            f"no shards of the {side!r} split: nothing in {info.path!r} matches "
            f"{', '.join(patterns) or side}"
        )
    return sorted(files.join(info.path, path) for path in found)


def sample_shape(segments, frames, size, stream="rgb", stacked=True):
    """Shape of a sample: what a model takes of one video, without the batch.

    Args:
        segments: 0 for a clip of consecutive frames; T > 0 for a snippet of each of T segments.
        frames: Frames in the clip, or in each snippet.
        size: Height and width, an integer or a pair.
        stream: `"rgb"`, or `"flow"` for optical flow in x and y.
        stacked: Whether a snippet of flow is one image, the stack of its fields (two-stream
            networks; relational LSTM, Sec. 3), and not a clip (ARTNet).

    Returns:
        `(frames, height, width, 3)` for a clip; `(segments, height, width, 3)` for snippets of
        one frame, which are images; `(segments, frames, height, width, 3)` for longer ones. Of
        flow a clip has 2 channels, and a stack those of all its fields: `(segments, height,
        width, 2 * frames)`, x1, y1, x2, y2, ...

    Raises:
        ValueError: If `segments` is no number of segments, or the stream is unknown.
    """
    if stream not in _CHANNELS:
        raise ValueError(f'`stream` must be "rgb" or "flow". Received: stream={stream!r}')
    if isinstance(segments, bool) or not isinstance(segments, int) or segments < 0:
        raise ValueError(
            "`segments` must be 0 (clips) or the number of segments. "
            f"Received: segments={segments!r}"
        )
    check_integer("frames", frames, min_value=1)
    if np.shape(size) not in ((), (2,)):
        raise ValueError(f"`crop_size` must be an integer or two. Received: crop_size={size!r}")
    height, width = (
        check_integer("crop_size", n, min_value=1)
        for n in (size if np.ndim(size) else (size, size))
    )
    if not segments:
        return (frames, height, width, _CHANNELS[stream])
    if stream == "flow" and stacked:
        return (segments, height, width, 2 * frames)
    return (segments, *((frames,) if frames > 1 else ()), height, width, _CHANNELS[stream])


def training_batches(
    info,
    batch_size,
    *,
    stream="rgb",
    stacked=True,
    segments=0,
    frames=16,
    frame_stride=1,
    crop_size=112,
    crop_scales=(1.0, 0.875, 0.75, 0.66),
    crop_positions="random",
    mirror=True,
    mean=(123.0, 117.0, 104.0),
    std=1.0,
    shuffle_buffer=256,
    seed=0,
    first_epoch=0,
    first_step=0,
    epochs=None,
    split="train",
    deterministic=True,
    service="",
    lanes=1,
    own_lanes=None,
):
    """Batches of randomly cropped training samples, clips or snippets.

    The dataset is one epoch, of known length, and each iteration over it is the next one, with new
    crops in a new order: `model.fit(training_batches(info, 32), epochs=20)`. With `epochs` it is
    all of these epochs in a row, each time from the first.

    Everything random is a function of `seed`, the epoch and the place of the record in its
    shard, so the batches of an epoch are the same whether training began there or before.

    Args:
        info: A `ShardInfo`.
        batch_size: Samples in a batch. What is left of an epoch is dropped.
        stream: `"rgb"` for frames, or `"flow"` for the optical flow stored beside them, as levels;
            field i goes from frame i to the next. Mirroring inverts x.
        stacked: Whether snippets of flow are stacks of their fields, or clips; see `sample_shape`.
        segments: 0 for clips; T > 0 for a snippet of each of T segments of the video.
        frames: Frames, or fields, in a clip or snippet.
        frame_stride: Step between them.
        crop_size: Height and width of the samples.
        crop_scales: Ratios of the multi-scale crop.
        crop_positions: `"random"`, or `"fixed"` for TSN's 13; see `transforms.multi_scale_box`.
        mirror: Whether to mirror half of the samples. Turn it off where left and right differ.
        mean: Mean of the channels, (R, G, B) or (x, y), subtracted.
        std: What they are then divided by.
        shuffle_buffer: Samples that are shuffled at a time; shards are shuffled besides.
        seed: Seed.
        first_epoch: Epoch to begin with.
        first_step: Batches of it to leave out, undecoded; needs `epochs`.
        epochs: Epoch to end before, `math.inf` for no end (for `fit` with `steps_per_epoch`). None:
            one epoch an iteration.
        split: The side of the split to read.
        deterministic: Whether the order must be the same each time. If not, what is ready first
            comes first; the crops of a record in an epoch stay the same.
        service: Address of the dispatcher of a `tf.data` service, `"grpc://host:port"`, whose
            workers, which must find the shards under the same path, make the batches; an epoch
            is one worker's, and epochs mix. Needs `epochs`. Empty: this process does.
        lanes: Equal parts that a batch consists of. Each epoch deals the shards, shuffled, to the
            lanes in turn, and a lane reads its own alone: a shard is read in one lane. A lane whose
            shards hold fewer clips than the others' fills up with the first ones of its own.
        own_lanes: The lanes to read, a `range`; by default all of them, one after the other in
            each batch. Processes that read some each make the same batches together.

    Returns:
        A `tf.data.Dataset` of `(samples, labels)`: float32 `(batch, *sample_shape(segments,
        frames, crop_size, stream, stacked))` and int64 `(batch,)`, the own lanes' part of it;
        `steps_per_epoch(info, batch_size)` batches make an epoch.

    Raises:
        ValueError: If the split has fewer clips than a batch, `segments` is negative,
            `crop_positions` neither, there is no flow, the address is none, `lanes` does not
            divide the batch, or there are fewer shards than lanes.
        OSError: If nothing answers at the address.
    """
    shape = sample_shape(segments, frames, crop_size, stream, stacked)
    check_choice("crop_positions", crop_positions, transforms.CROP_POSITIONS)
    check_numbers("crop_scales", crop_scales, above=0, max_value=1)
    check_integer("shuffle_buffer", shuffle_buffer, min_value=1)
    check_integer("seed", seed)
    check_integer("first_epoch", first_epoch, min_value=0)
    if epochs not in (None, math.inf):
        check_integer("epochs", epochs, min_value=first_epoch)
    _check_sampling(info, stream, frame_stride, mean, std)
    wanted = (records.CLIP_LABEL_INDEX, _PICTURES[stream])
    count = max(segments, 1) * frames
    paths = tf.constant(shard_files(info, split))
    steps = steps_per_epoch(info, batch_size, split, lanes)
    check_integer("first_step", first_step, min_value=0, max_value=steps)
    if service:
        _check_service(service)
    if epochs is None and (first_step or service):
        raise ValueError(
            "`epochs` must be a number, or math.inf, with `first_step` or `service`. "
            f"Received: epochs=None, first_step={first_step}, service={service!r}"
        )
    own_lanes = range(lanes) if own_lanes is None else own_lanes
    share = batch_size // lanes

    def choose(place, serialized):
        """JPEGs, label and seeds of a sample."""
        seeds = tf.random.split(tf.stack([tf.cast(seed, tf.int64), place]), 3)
        jpegs, label, _ = _parse(serialized, info, wanted)
        indices = sampling.random_sample(
            tf.size(jpegs), segments, frames, frame_stride, seed=seeds[0]
        )
        return tf.ensure_shape(tf.gather(jpegs, indices), (count,)), label, seeds[1:]

    def epoch_samples(epoch):
        samples = _epoch_order(
            paths, info, split, epoch, choose, steps, share, lanes, own_lanes, shuffle_buffer, seed
        )
        done = tf.where(epoch == first_epoch, tf.cast(first_step, tf.int64), 0)
        return samples.skip(done * share * len(own_lanes))

    def sample(jpegs, label, seeds):
        height, width = tf.unstack(tf.io.extract_jpeg_shape(jpegs[0])[:2])
        box = transforms.multi_scale_box(
            height, width, crop_scales, positions=crop_positions, size=shape[-3:-1], seed=seeds[0]
        )
        crop = _decode(jpegs, box, stream)
        crop = _stack(crop, frames) if segments and stacked and stream == "flow" else crop
        crop = tf.cast(tf.round(tf.image.resize(crop, shape[-3:-1])), tf.uint8)
        if mirror:
            flip = tf.random.stateless_uniform((), seeds[1]) < 0.5
            crop = tf.cond(flip, lambda: transforms.mirror(crop, stream), lambda: crop)
        return tf.reshape(crop, shape), label

    options = tf.data.Options()
    options.deterministic = deterministic
    if epochs is None:
        with tf.device("CPU:0"), tf.init_scope():
            following = tf.Variable(first_epoch, dtype=tf.int64, trainable=False)
        numbers = tf.data.Dataset.range(1).map(lambda _: following.assign_add(1) - 1)
        length = steps
    elif epochs == math.inf:
        numbers = tf.data.Dataset.range(first_epoch, tf.int64.max)
        length = tf.data.INFINITE_CARDINALITY
    else:
        numbers = tf.data.Dataset.range(first_epoch, epochs)
        length = max(epochs - first_epoch, 0) * steps - first_step
    batches = (
        numbers.flat_map(epoch_samples)
        .map(sample, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(share * len(own_lanes), drop_remainder=True)
    )
    if service:
        batches = batches.apply(
            tf.data.experimental.service.distribute(
                tf.data.experimental.service.ShardingPolicy.DYNAMIC,
                service,
                compression=None,  # pictures hardly get smaller
            )
        )
    return (
        batches.map(
            lambda crops, labels: (transforms.normalize(crops, mean, std), labels),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .apply(tf.data.experimental.assert_cardinality(length))
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )


def training_paths(
    info, batch_size, epoch, step, *, shuffle_buffer=256, seed=0, split="train", lanes=1
):
    """Paths of the videos in a batch that `training_batches` makes in order (`deterministic`).

    Args:
        info: A `ShardInfo`.
        batch_size: As of the batches.
        epoch: Number of the epoch, from 0.
        step: Number of the batch in it, from 0.
        shuffle_buffer: As of the batches.
        seed: As of the batches.
        split: The side of the split that is read.
        lanes: As of the batches.

    Returns:
        A list of `batch_size` strings.
    """

    def path(_, serialized):
        context, _ = records.parse(serialized, [records.CLIP_DATA_PATH], info.keys)
        return context[records.CLIP_DATA_PATH]

    steps = steps_per_epoch(info, batch_size, split, lanes)
    shards = tf.constant(shard_files(info, split))
    order = _epoch_order(
        shards, info, split, epoch, path, steps, batch_size // lanes, lanes, range(lanes),
        shuffle_buffer, seed,
    )  # fmt: skip
    chosen = order.skip(step * batch_size).take(batch_size)
    return [path.decode(errors="replace") for path in chosen.as_numpy_iterator()]


def steps_per_epoch(info, batch_size, split="train", lanes=1):
    """Whole batches in an epoch.

    Raises:
        ValueError: If there is none, or batch and shards cannot be dealt to the lanes.
    """
    check_integer("batch_size", batch_size, min_value=1)
    check_integer("lanes", lanes, min_value=1)
    if batch_size % lanes:
        raise ValueError(
            "`batch_size` must be a multiple of `lanes`. "
            f"Received: batch_size={batch_size}, lanes={lanes}"
        )
    if lanes > 1 and len(shard_files(info, split)) < lanes:
        raise ValueError(
            f"`lanes` must be at most the number of shards of the {split!r} split; make more with "
            f"`make-tfrecords --shards`. Received: lanes={lanes}, "
            f"shards={len(shard_files(info, split))}"
        )
    steps = info.clips.get(split, 0) // batch_size
    if not steps:
        raise ValueError(
            f"`batch_size` must be at most the number of clips of the {split!r} split. "
            f"Received: batch_size={batch_size}, clips={info.clips.get(split, 0)}"
        )
    return steps


def clip_views(
    info,
    split="test",
    *,
    stream="rgb",
    stacked=True,
    clips=25,
    crops=10,
    segments=0,
    frames=16,
    frame_stride=1,
    crop_size=112,
    test_scale=transforms.TEST_SCALE,
    mean=(123.0, 117.0, 104.0),
    std=1.0,
):
    """The test views of each video, clip by clip: fixed crops of uniform clips (ARTNet, Sec. 3.3).

    With segments, a view is a crop of a group of snippets (relational LSTM, Sec. 5.2). The views
    of a video can be hundreds of megabytes, so they come one clip after the other; its frames are
    decoded once.

    Args:
        info: A `ShardInfo`.
        split: The side of the split to read.
        stream: `"rgb"`, or `"flow"` for the optical flow stored beside the frames.
        stacked: Whether snippets of flow are stacks of their fields, or clips; see `sample_shape`.
        clips: Clips at equal distances, 25 in ARTNet's paper; or groups of snippets, 4 in that
            of the relational LSTM.
        crops: 1, 5 or 10 crops of each; 10 and 5 in the papers.
        segments: 0 for clips; T > 0 for a snippet of each of T segments of the video.
        frames: Frames, or fields, in a clip or snippet.
        frame_stride: Step between them.
        crop_size: Height and width of the views, an integer or a pair.
        test_scale: The share of the shorter side of a frame that a view shows; it is then resized
            to `crop_size`. See `transforms.view_boxes`.
        mean: Mean of the channels, (R, G, B) or (x, y), subtracted.
        std: What they are then divided by.

    Returns:
        A `tf.data.Dataset` of `(views, label, path)` per clip, `clips` of them for each video and
        the videos in the order of the shards: float32 `(crops, *sample_shape(segments, frames,
        crop_size, stream, stacked))`, int64 and string scalars.

    Raises:
        ValueError: If `crops` or `test_scale` is another number, `segments` negative, or there is
            no flow.
    """
    shape = sample_shape(segments, frames, crop_size, stream, stacked)
    _check_sampling(info, stream, frame_stride, mean, std)
    check_integer("clips", clips, min_value=1)
    wanted = (records.CLIP_LABEL_INDEX, records.CLIP_DATA_PATH, _PICTURES[stream])
    transforms.check_crops(crops)
    transforms.check_test_scale(test_scale)

    def video(_, serialized):
        jpegs, label, path = _parse(serialized, info, wanted)
        indices = sampling.uniform_samples(tf.size(jpegs), clips, segments, frames, frame_stride)
        height, width = tf.unstack(tf.io.extract_jpeg_shape(jpegs[0])[:2])
        whole, places = decode_once(jpegs, indices, tf.stack([0, 0, height, width]), stream)
        return whole, places, label, path

    def views(whole, places, label, path):
        clip = tf.gather(whole, places)
        height, width = tf.unstack(tf.shape(clip)[1:3])
        boxes = transforms.view_boxes(height, width, shape[-3:-1], crops, test_scale)
        crop = [
            tf.cast(tf.round(transforms.resize_box(clip, box, shape[-3:-1])), tf.uint8)
            for box in tf.unstack(boxes)
        ]
        if crops == 10:
            crop += [transforms.mirror(c, stream) for c in crop]
        crop = tf.stack(crop)  # (crops, frames of all segments, height, width, channels)
        crop = _stack(crop, frames) if segments and stacked and stream == "flow" else crop
        return transforms.normalize(tf.reshape(crop, (crops, *shape)), mean, std), label, path

    def clips_of(whole, places, label, path):
        return tf.data.Dataset.from_tensor_slices(places).map(
            lambda own: views(whole, own, label, path)
        )

    return (
        _records_of(shard_files(info, split), info, split)
        .map(video, num_parallel_calls=tf.data.AUTOTUNE)
        .flat_map(clips_of)
        .apply(tf.data.experimental.assert_cardinality(info.clips[split] * clips))
        .prefetch(4)
    )


def evaluation_views(info, split="test", *, clips=25, crops=10, **settings):
    """The test views of each video, all at once; see `clip_views`.

    Args:
        info: A `ShardInfo`.
        split: The side of the split to read.
        clips: Clips, or groups of snippets, at equal distances.
        crops: 1, 5 or 10 crops of each.
        **settings: Further arguments of `clip_views`.

    Returns:
        A `tf.data.Dataset` of `(views, label, path)` per video, in the order of the shards:
        float32 `(clips * crops, *sample_shape(segments, frames, crop_size, stream, stacked))`,
        the crops of a clip together, int64 and string scalars.

    Raises:
        ValueError: As `clip_views`.
    """

    def together(views, labels, paths):
        return tf.reshape(views, (clips * crops, *views.shape[2:])), labels[0], paths[0]

    views = clip_views(info, split, clips=clips, crops=crops, **settings)
    return views.batch(clips, drop_remainder=True).map(together)


def decode_once(jpegs, indices, box, stream="rgb"):
    """Decode the part inside a box of some of the JPEGs.

    Clips overlap in short videos, and the last frame may repeat.

    Args:
        jpegs: String tensor `(frames,)`.
        indices: Which of them, of any shape.
        box: Top, left, height, width.
        stream: `"rgb"`, or `"flow"`.

    Returns:
        `(pictures, places)`: uint8 `(used, height, width, 3)`, or 2 for flow, each JPEG once; and
        where each of `indices` is among them, int32 of their shape.
    """
    used, places = tf.unique(tf.reshape(indices, [-1]))
    pictures = _decode(tf.gather(jpegs, used), box, stream)
    return pictures, tf.reshape(places, tf.shape(indices))


def _decode(jpegs, box, stream):
    """The part inside a box of each JPEG, `(count, height, width, channels)`."""
    channels = _CHANNELS[stream]  # of the three that a JPEG has: blue is no flow

    def picture(jpeg):
        # TensorFlow's faster DCT is no faster here, and two levels off at high qualities.
        whole = tf.image.decode_and_crop_jpeg(jpeg, box, channels=3, dct_method="INTEGER_ACCURATE")
        return whole[..., :channels]

    signature = tf.TensorSpec((None, None, channels), tf.uint8)
    return tf.map_fn(picture, jpegs, fn_output_signature=signature)


def _stack(fields, frames):
    """Flow `(..., n * frames, height, width, 2)` as `(... * n, height, width, 2 * frames)`."""
    height, width = tf.unstack(tf.shape(fields)[-3:-1])
    # The two bytes of a pixel as one number: moved at once, in a third of the time.
    pixels = tf.bitcast(tf.reshape(fields, (-1, frames, height * width, 2)), tf.uint16)
    stacks = tf.bitcast(tf.transpose(pixels, (0, 2, 1)), tf.uint8)
    return tf.reshape(stacks, (-1, height, width, 2 * frames))


def _check_sampling(info, stream, frame_stride, mean, std):
    """Raise a `ValueError` for bad numbers, or if the shards lack the stream or its channels."""
    check_integer("frame_stride", frame_stride, min_value=1)
    check_numbers("mean", mean)
    check_numbers("std", std if np.ndim(std) else [std], above=0)
    if stream == "flow" and not info.flow:
        raise ValueError(
            f"`stream` must be 'rgb': the shards in {info.path!r} hold no optical flow. Make them "
            "with `--flow tvl1` or `--flow dis`. Received: stream='flow'"
        )
    if len(mean) != _CHANNELS[stream]:
        raise ValueError(
            f"`mean` must have a number for each of the {_CHANNELS[stream]} channels of "
            f"stream={stream!r}. Received: mean={tuple(mean)}"
        )


def _check_service(address):
    """A `ValueError` or an `OSError` in place of endless attempts to connect."""
    parts = urllib.parse.urlsplit(address)
    try:
        if parts.scheme != "grpc" or parts.port is None:
            raise ValueError
    except ValueError:  # a port that is no number is one, too
        raise ValueError(
            "`service` must be the address of the dispatcher of a tf.data service, "
            f"'grpc://host:port'. Received: {address!r}"
        ) from None
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=10).close()
    except OSError as error:
        raise OSError(f"no tf.data service answers at {address!r}: {error}") from None


def _parse(serialized, info, wanted):
    """JPEGs, label and path of a record; an empty path where it is not wanted."""
    context, sequence = records.parse(serialized, wanted, info.keys)
    (jpegs,) = sequence.values()
    return jpegs, context[records.CLIP_LABEL_INDEX], context.get(records.CLIP_DATA_PATH, "")


def _records_of(paths, info, side):
    """The records of a side of the split in some shards, each with its place in them."""
    remote = any(map(files.is_remote, (info.path, *chain(*info.files.values()))))
    # A local record is long enough to be read where it goes, without a buffer on the way.
    buffer_size = None if remote or info.compression else 0
    found = tf.data.TFRecordDataset(paths, info.compression, buffer_size).enumerate()
    if not info.split:
        return found

    def on_side(_, serialized):
        context, _ = records.parse(serialized, [records.CLIP_SPLITS])
        return context[records.CLIP_SPLITS][info.split - 1] == side

    return found.filter(on_side)


def _epoch_order(
    paths, info, split, epoch, choose, steps, share, lanes, own_lanes, shuffle_buffer, seed
):
    """What `choose(place, serialized)` makes of each record of shards, in the order of an epoch.

    A batch's share of each of the own lanes in turn. `place` is the place of the record in all
    epochs: a seed of its own.
    """

    def shard_samples(shard):
        def chosen(place, serialized):
            return choose(place + 2**32 * (epoch * paths.shape[0] + shard), serialized)

        return _records_of(tf.gather(paths, shard), info, split).map(chosen)

    def lane_samples(lane):
        shards = _shuffle(tf.range(paths.shape[0], dtype=tf.int64), seed=(seed, epoch, 0))
        samples = tf.data.Dataset.from_tensor_slices(shards[lane::lanes]).interleave(
            shard_samples,
            cycle_length=min(paths.shape[0] // lanes, 8),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        # `Dataset.shuffle` mixes its seed with TensorFlow's global one, and fails when that is 0;
        # shuffling block by block is a function of our seed alone.
        blocks = samples.batch(shuffle_buffer).enumerate()
        mixed = blocks.map(
            lambda place, block: _shuffle(block, seed=(seed, epoch, 1 + place * lanes + lane))
        )
        return mixed.prefetch(1).unbatch().repeat().take(steps * share)

    return tf.data.Dataset.range(own_lanes.start, own_lanes.stop).interleave(
        lane_samples, cycle_length=len(own_lanes), block_length=share
    )


def _shuffle(values, seed):
    """Tensors in an order of their first axis that is a function of three integers."""
    first, *rest = (tf.cast(number, tf.int64) for number in seed)
    key = tf.random.fold_in(tf.stack([first, rest[0]]), rest[1])
    count = tf.shape(tf.nest.flatten(values)[0])[0]
    order = tf.random.experimental.stateless_shuffle(tf.range(count), key)
    return tf.nest.map_structure(lambda value: tf.gather(value, order), values)
