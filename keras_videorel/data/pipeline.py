"""`tf.data` from shards to batches: parse, sample, shuffle, decode, transform, batch, normalize.

Frames are chosen as soon as a record is parsed: what is shuffled are the JPEGs of the samples, not
whole videos. Only the crop's part of a JPEG is decoded, and samples travel as uint8 up to the
last step.
"""

import math
import socket
import urllib.parse
from itertools import chain

import numpy as np
import tensorflow as tf

from keras_videorel import files
from keras_videorel.checks import check_choice, check_integer, check_numbers
from keras_videorel.data import records, sampling, transforms
from keras_videorel.data.manifest import shard_files

_CHANNELS = {"rgb": 3, "flow": 2}
_PICTURES = {"rgb": records.IMAGE_ENCODED, "flow": records.FLOW_ENCODED}


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
    num_readers=1,
    reader_ids=None,
):
    """Batches of randomly cropped training samples, clips or snippets.

    The dataset is one epoch, of known length, and each iteration over it is the next one, with new
    crops in a new order: `model.fit(training_batches(info, 32), epochs=20)`. With `epochs` it is
    all of these epochs in a row, each time from the first.

    Everything random is a function of `seed`, the epoch and the place of the record in its
    shard, so the batches of an epoch are the same whether training began there or before.

    Args:
        info: A `Manifest`.
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
        split: The split to read.
        deterministic: Whether the order must be the same each time. If not, what is ready first
            comes first; the crops of a record in an epoch stay the same.
        service: Address of the dispatcher of a `tf.data` service, `"grpc://host:port"`, whose
            workers, which must find the shards under the same path, make the batches; an epoch
            is one worker's, and epochs mix. Needs `epochs`. Empty: this process does.
        num_readers: Equal parts that a batch consists of. Each epoch deals the shards, shuffled,
            to the readers in turn: a shard has one reader. A reader whose shards hold fewer clips
            than the others' fills up with the first ones of its own.
        reader_ids: The readers whose parts to return, a `range`; by default all of them, one after
            the other in each batch. Processes that return some each make the same batches together.

    Returns:
        A `tf.data.Dataset` of `(samples, labels)`: float32 `(batch, *sample_shape(segments,
        frames, crop_size, stream, stacked))` and int64 `(batch,)`, the part of `reader_ids`;
        `steps_per_epoch(info, batch_size)` batches make an epoch.

    Raises:
        ValueError: If the split has fewer clips than a batch, `segments` is negative,
            `crop_positions` neither, there is no flow, the address is none, `num_readers` does not
            divide the batch, or there are fewer shards than readers.
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
    steps = steps_per_epoch(info, batch_size, split, num_readers)
    check_integer("first_step", first_step, min_value=0, max_value=steps)
    if service:
        _check_service(service)
    if epochs is None and (first_step or service):
        raise ValueError(
            "`epochs` must be a number, or math.inf, with `first_step` or `service`. "
            f"Received: epochs=None, first_step={first_step}, service={service!r}"
        )
    reader_ids = range(num_readers) if reader_ids is None else reader_ids
    share = batch_size // num_readers

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
            paths,
            info,
            split,
            epoch,
            choose,
            steps,
            share,
            num_readers,
            reader_ids,
            shuffle_buffer,
            seed,
        )
        done = tf.where(epoch == first_epoch, tf.cast(first_step, tf.int64), 0)
        return samples.skip(done * share * len(reader_ids))

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
        .batch(share * len(reader_ids), drop_remainder=True)
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
    info, batch_size, epoch, step, *, shuffle_buffer=256, seed=0, split="train", num_readers=1
):
    """Paths of the videos in a batch that `training_batches` makes in order (`deterministic`).

    Args:
        info: A `Manifest`.
        batch_size: As of the batches.
        epoch: Number of the epoch, from 0.
        step: Number of the batch in it, from 0.
        shuffle_buffer: As of the batches.
        seed: As of the batches.
        split: The split that is read.
        num_readers: As of the batches.

    Returns:
        A list of `batch_size` strings.
    """

    def path(_, serialized):
        context, _ = records.parse(serialized, [records.CLIP_DATA_PATH], info.keys)
        return context[records.CLIP_DATA_PATH]

    steps = steps_per_epoch(info, batch_size, split, num_readers)
    shards = tf.constant(shard_files(info, split))
    order = _epoch_order(
        shards, info, split, epoch, path, steps, batch_size // num_readers, num_readers,
        range(num_readers), shuffle_buffer, seed,
    )  # fmt: skip
    chosen = order.skip(step * batch_size).take(batch_size)
    return [path.decode(errors="replace") for path in chosen.as_numpy_iterator()]


def steps_per_epoch(info, batch_size, split="train", num_readers=1):
    """Whole batches in an epoch.

    Raises:
        ValueError: If there is none, or batch and shards cannot be dealt to the readers.
    """
    check_integer("batch_size", batch_size, min_value=1)
    check_integer("num_readers", num_readers, min_value=1)
    if batch_size % num_readers:
        raise ValueError(
            "`batch_size` must be a multiple of `num_readers`. "
            f"Received: batch_size={batch_size}, num_readers={num_readers}"
        )
    if num_readers > 1 and len(shard_files(info, split)) < num_readers:
        raise ValueError(
            f"`num_readers` must be at most the number of shards of the {split!r} split; make more "
            f"with `make-tfrecords --shards`. Received: num_readers={num_readers}, "
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
        info: A `Manifest`.
        split: The split to read.
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
        info: A `Manifest`.
        split: The split to read.
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


def _records_of(paths, info, split):
    """The records of a split in some shards, each with its place in them."""
    remote = any(map(files.is_remote, (info.path, *chain(*info.files.values()))))
    # A local record is long enough to be read where it goes, without a buffer on the way.
    buffer_size = None if remote or info.compression else 0
    found = tf.data.TFRecordDataset(paths, info.compression, buffer_size).enumerate()
    if not info.fold:
        return found

    def in_split(_, serialized):
        context, _ = records.parse(serialized, [records.CLIP_SPLITS])
        return context[records.CLIP_SPLITS][info.fold - 1] == split

    return found.filter(in_split)


def _epoch_order(
    paths, info, split, epoch, choose, steps, share, num_readers, reader_ids, shuffle_buffer, seed
):
    """What `choose(place, serialized)` makes of each record of shards, in the order of an epoch.

    A batch's share of each reader in turn. `place` is the place of the record in all
    epochs: a seed of its own.
    """

    def shard_samples(shard):
        def chosen(place, serialized):
            return choose(place + 2**32 * (epoch * paths.shape[0] + shard), serialized)

        return _records_of(tf.gather(paths, shard), info, split).map(chosen)

    def reader_samples(reader):
        shards = _shuffle(tf.range(paths.shape[0], dtype=tf.int64), seed=(seed, epoch, 0))
        samples = tf.data.Dataset.from_tensor_slices(shards[reader::num_readers]).interleave(
            shard_samples,
            cycle_length=min(paths.shape[0] // num_readers, 8),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        # `Dataset.shuffle` mixes its seed with TensorFlow's global one, and fails when that is 0;
        # shuffling block by block is a function of our seed alone.
        blocks = samples.batch(shuffle_buffer).enumerate()
        mixed = blocks.map(
            lambda place, block: _shuffle(
                block, seed=(seed, epoch, 1 + place * num_readers + reader)
            )
        )
        return mixed.prefetch(1).unbatch().repeat().take(steps * share)

    return tf.data.Dataset.range(reader_ids.start, reader_ids.stop).interleave(
        reader_samples, cycle_length=len(reader_ids), block_length=share
    )


def _shuffle(values, seed):
    """Tensors in an order of their first axis that is a function of three integers."""
    first, *rest = (tf.cast(number, tf.int64) for number in seed)
    key = tf.random.fold_in(tf.stack([first, rest[0]]), rest[1])
    count = tf.shape(tf.nest.flatten(values)[0])[0]
    order = tf.random.experimental.stateless_shuffle(tf.range(count), key)
    return tf.nest.map_structure(lambda value: tf.gather(value, order), values)
