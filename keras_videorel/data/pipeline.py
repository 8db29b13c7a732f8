"""`tf.data` from shards to batches: parse, sample, shuffle, decode, transform, batch, normalize.

Frames are chosen as soon as a record is parsed: what is shuffled are the JPEGs of the samples, not
whole videos. Only the crop's part of a JPEG is decoded, and samples travel as uint8 up to the
last step.
"""

import math
import re
import socket
from collections.abc import Callable, Sequence
from itertools import chain

import tensorflow as tf

from keras_videorel import files
from keras_videorel.checks import check_choice, check_integer, check_numbers
from keras_videorel.clip_spec import ClipSpec
from keras_videorel.data import records, sampling, transforms
from keras_videorel.data.manifest import Manifest, shard_files

_PICTURES = {"rgb": records.IMAGE_ENCODED, "flow": records.FLOW_ENCODED}


def training_batches(
    info: Manifest,
    clip: ClipSpec,
    batch_size: int,
    *,
    crop_scales: Sequence[float] = transforms.CROP_SCALES,
    crop_positions: str = "random",
    mirror: bool = True,
    augment: Callable | None = None,
    shuffle_buffer: int = 256,
    seed: int = 0,
    first_epoch: int = 0,
    first_step: int = 0,
    epochs: float | None = None,
    split: str = "train",
    deterministic: bool = True,
    service: str = "",
    num_readers: int = 1,
    reader_ids: range | None = None,
) -> tf.data.Dataset:
    """Batches of randomly cropped training samples; `datasets.train_dataset` with more control.

    Everything random is a function of `seed`, the epoch and the place of the record in its
    shard, so the batches of an epoch are the same whether training began there or before.

    Args:
        info: A `Manifest`.
        clip: A `ClipSpec`.
        batch_size: As of `datasets.train_dataset`, like the arguments that are not listed here.
        first_epoch: Epoch to begin with.
        first_step: Batches of `first_epoch` to leave out, undecoded. Needs `epochs`.
        epochs: Epoch to end before; `math.inf` for no end (for `fit` with `steps_per_epoch`). The
            dataset is all epochs in a row. None: each iteration is the next epoch.
        deterministic: Whether the order must be the same each time. If not, what is ready first
            comes first; the crops of a record in an epoch stay the same.
        service: Address of the dispatcher of a `tf.data` service, `"grpc://host:port"`, whose
            workers make the batches. An epoch is one worker's, and epochs mix. Needs `epochs`.
            Empty: no service.
        num_readers: Equal parts of a batch. Each epoch deals the shards, shuffled, to the readers
            in turn. A reader whose shards hold fewer clips than the others repeats its first ones.
        reader_ids: The readers whose parts to return, one after the other in each batch. Default:
            all. Processes that return some each make the same batches together.

    Returns:
        A `tf.data.Dataset` of `(samples, labels)`: float32 `(batch, *clip.shape)` and int64
        `(batch,)`, the part of `reader_ids`. `steps_per_epoch(info, batch_size)` batches make an
        epoch.

    Raises:
        ValueError: If an argument is out of range, the shards do not fit `clip`, or `augment`
            changes shape or type.
        OSError: If nothing answers at the address of the service.
    """
    check_choice("crop_positions", crop_positions, transforms.CROP_POSITIONS)
    check_numbers("crop_scales", crop_scales, above=0, max_value=1)
    check_integer("first_epoch", first_epoch, min_value=0)
    if epochs not in (None, math.inf):
        check_integer("epochs", epochs, min_value=first_epoch)
    _check_stored(info, clip)
    steps = steps_per_epoch(info, batch_size, split, num_readers)
    reader_ids = range(num_readers) if reader_ids is None else reader_ids
    samples_of = _epoch_order(
        info, batch_size, split, num_readers, reader_ids, shuffle_buffer, seed
    )
    own_batch_size = batch_size // num_readers * len(reader_ids)
    check_integer("first_step", first_step, min_value=0, max_value=steps)
    if service:
        _check_service(service)
    if epochs is None and (first_step or service):
        raise ValueError(
            "`epochs` must be a number, or math.inf, with `first_step` or `service`. "
            f"Received: epochs=None, first_step={first_step}, service={service!r}"
        )

    def choose(place, serialized):
        """JPEGs, label and seeds of a sample."""
        seeds = tf.random.split(tf.stack([tf.cast(seed, tf.int64), place]), 3)
        jpegs, label, _ = _parse(serialized, info, clip)
        indices = sampling.random_sample(tf.size(jpegs), clip, seed=seeds[0])
        return tf.ensure_shape(tf.gather(jpegs, indices), (clip.num_frames,)), label, seeds[1:]

    def epoch_samples(epoch):
        done = tf.where(epoch == first_epoch, tf.cast(first_step, tf.int64), 0)
        return samples_of(epoch, choose).skip(done * own_batch_size)

    def sample(jpegs, label, seeds):
        height, width = tf.unstack(tf.io.extract_jpeg_shape(jpegs[0])[:2])
        box = transforms.multi_scale_box(
            height, width, crop_scales, positions=crop_positions, size=clip.crop_size, seed=seeds[0]
        )
        crop = _decode(jpegs, box, clip.channels)
        crop = _stack(crop, clip.frames) if clip.has_stacks else crop
        crop = tf.cast(tf.round(tf.image.resize(crop, clip.crop_size)), tf.uint8)
        if mirror:
            flip = tf.random.stateless_uniform((), seeds[1]) < 0.5
            crop = tf.cond(flip, lambda: transforms.mirror(crop, clip.stream), lambda: crop)
        crop = tf.reshape(crop, clip.shape)
        return crop if augment is None else _augment(augment, crop), label

    numbers, length = _epoch_numbers(first_epoch, first_step, epochs, steps)
    batches = (
        numbers.flat_map(epoch_samples)
        .map(sample, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(own_batch_size, drop_remainder=True)
    )
    if service:
        batches = batches.apply(
            tf.data.experimental.service.distribute(
                tf.data.experimental.service.ShardingPolicy.DYNAMIC,
                service,
                compression=None,  # pictures hardly get smaller
            )
        )
    options = tf.data.Options()
    options.deterministic = deterministic
    return (
        batches.map(
            lambda crops, labels: (transforms.normalize(crops, clip.mean, clip.std), labels),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .apply(tf.data.experimental.assert_cardinality(length))
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )


def _epoch_numbers(first, first_step, end, steps):
    """A dataset of the numbers of the epochs of an iteration, and how many batches they have."""
    if end is None:  # each iteration takes the next number from a variable
        with tf.device("CPU:0"), tf.init_scope():
            following = tf.Variable(first, dtype=tf.int64, trainable=False)
        return tf.data.Dataset.range(1).map(lambda _: following.assign_add(1) - 1), steps
    if end == math.inf:
        return tf.data.Dataset.range(first, tf.int64.max), tf.data.INFINITE_CARDINALITY
    return tf.data.Dataset.range(first, end), max(end - first, 0) * steps - first_step


def _augment(augment, crop):
    """What the user's function makes of a sample, checked."""
    changed = tf.convert_to_tensor(augment(crop))
    if changed.dtype != tf.uint8 or not crop.shape.is_compatible_with(changed.shape):
        raise ValueError(
            f"`augment` must return a uint8 tensor of the shape that it takes, {crop.shape}. "
            f"Received: a {changed.dtype.name} tensor of shape {changed.shape}"
        )
    return tf.ensure_shape(changed, crop.shape)


def training_paths(
    info: Manifest,
    batch_size: int,
    epoch: int,
    step: int,
    *,
    shuffle_buffer: int = 256,
    seed: int = 0,
    split: str = "train",
    num_readers: int = 1,
) -> list[str]:
    """Paths of the videos in batch `step` of an epoch, as `training_batches` makes it in order."""

    def path(_, serialized):
        context, _ = records.parse(serialized, [records.CLIP_DATA_PATH], info.keys)
        return context[records.CLIP_DATA_PATH]

    samples_of = _epoch_order(
        info, batch_size, split, num_readers, range(num_readers), shuffle_buffer, seed
    )
    chosen = samples_of(epoch, path).skip(step * batch_size).take(batch_size)
    return [path.decode(errors="replace") for path in chosen.as_numpy_iterator()]


def steps_per_epoch(
    info: Manifest, batch_size: int, split: str = "train", num_readers: int = 1
) -> int:
    """Whole batches in an epoch, at least one."""
    check_integer("batch_size", batch_size, min_value=1)
    check_integer("num_readers", num_readers, min_value=1)
    if batch_size % num_readers:
        raise ValueError(
            "`batch_size` must be a multiple of `num_readers`. "
            f"Received: batch_size={batch_size}, num_readers={num_readers}"
        )
    if num_readers > 1 and (num_shards := len(shard_files(info, split))) < num_readers:
        raise ValueError(
            f"`num_readers` must be at most the number of shards of the {split!r} split; make more "
            f"with `make-tfrecords --shards`. Received: num_readers={num_readers}, "
            f"shards={num_shards}"
        )
    steps = info.clips.get(split, 0) // batch_size
    if not steps:
        raise ValueError(
            f"`batch_size` must be at most the number of clips of the {split!r} split. "
            f"Received: batch_size={batch_size}, clips={info.clips.get(split, 0)}"
        )
    return steps


def clip_views(
    info: Manifest, clip: ClipSpec, split: str = "test", *, clips: int = 25, crops: int = 10
) -> tf.data.Dataset:
    """The test views of each video, clip by clip: fixed crops of uniform clips (ARTNet, Sec. 3.3).

    With segments, a view is a crop of a group of snippets (relational LSTM, Sec. 5.2). The views
    of a video can be hundreds of megabytes, so they come one clip after the other; the frames of
    the video are decoded once.

    Args:
        info: A `Manifest`.
        clip: A `ClipSpec`.
        split: The split to read.
        clips: Clips at equal distances, 25 in ARTNet's paper; or groups of snippets, 4 in the
            paper of the relational LSTM.
        crops: 1, 5 or 10 crops of each; 10 and 5 in the papers.

    Returns:
        A `tf.data.Dataset` of `(views, label, path)` per clip, `clips` of them for each video and
        the videos in the order of the shards: float32 `(crops, *clip.shape)`, int64 and string
        scalars.

    Raises:
        ValueError: If an argument is out of range, or the shards do not fit `clip`.
    """
    _check_stored(info, clip)
    check_integer("clips", clips, min_value=1)
    transforms.check_crops(crops)

    def video(_, serialized):
        jpegs, label, path = _parse(serialized, info, clip)
        indices = sampling.uniform_samples(tf.size(jpegs), clips, clip)
        height, width = tf.unstack(tf.io.extract_jpeg_shape(jpegs[0])[:2])
        box = tf.stack([0, 0, height, width])
        whole, places = decode_once(jpegs, indices, box, clip.channels)
        return whole, places, label, path

    def clips_of(whole, places, label, path):
        return tf.data.Dataset.from_tensor_slices(places).map(
            lambda own: (_views(tf.gather(whole, own), clip, crops), label, path)
        )

    return (
        _records_of(shard_files(info, split), info, split)
        .map(video, num_parallel_calls=tf.data.AUTOTUNE)
        .flat_map(clips_of)
        .apply(tf.data.experimental.assert_cardinality(info.clips[split] * clips))
        .prefetch(4)
    )


def _views(frames, clip, crops):
    """The test views of the frames of a sample, normalized."""
    height, width = tf.unstack(tf.shape(frames)[1:3])
    boxes = transforms.view_boxes(height, width, clip.crop_size, crops, clip.test_scale)
    views = [
        tf.cast(transforms.resize_box(frames, box, clip.crop_size), tf.uint8)
        for box in tf.unstack(boxes)
    ]
    if crops == 10:
        views += [transforms.mirror(view, clip.stream) for view in views]
    views = tf.stack(views)  # (crops, frames of all segments, height, width, channels)
    views = _stack(views, clip.frames) if clip.has_stacks else views
    return transforms.normalize(tf.reshape(views, (crops, *clip.shape)), clip.mean, clip.std)


def evaluation_views(
    info: Manifest, clip: ClipSpec, split: str = "test", *, clips: int = 25, crops: int = 10
) -> tf.data.Dataset:
    """`clip_views`, all clips of a video at once: float32 `(clips * crops, *clip.shape)`."""

    def together(views, labels, paths):
        return tf.reshape(views, (clips * crops, *views.shape[2:])), labels[0], paths[0]

    views = clip_views(info, clip, split, clips=clips, crops=crops)
    return views.batch(clips, drop_remainder=True).map(together)


def centered_views(info: Manifest, clip: ClipSpec, split: str = "test") -> tf.data.Dataset:
    """`(sample, label)` of each video: one test view, the center of the clip in its middle."""
    views = clip_views(info, clip, split, clips=1, crops=1)
    return views.map(lambda view, label, path: (view[0], label))


def decode_once(jpegs, indices, box, channels: int = 3) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode the part inside a box of the JPEGs of `indices`, each once, as clips may overlap.

    Returns `(pictures, places)`: uint8 `(used, height, width, channels)`, and the place of each of
    `indices` among them.
    """
    used, places = tf.unique(tf.reshape(indices, [-1]))
    pictures = _decode(tf.gather(jpegs, used), box, channels)
    return pictures, tf.reshape(places, tf.shape(indices))


def _decode(jpegs, box, channels):
    """The part inside a box of each JPEG, uint8 `(count, height, width, channels)`."""

    def picture(jpeg):
        # TensorFlow's faster DCT is no faster here, and two levels off at high qualities.
        whole = tf.image.decode_and_crop_jpeg(jpeg, box, channels=3, dct_method="INTEGER_ACCURATE")
        return whole[..., :channels]  # of the three that a JPEG has: blue is no flow

    signature = tf.TensorSpec((None, None, channels), tf.uint8)
    return tf.map_fn(picture, jpegs, fn_output_signature=signature)


def _stack(fields, frames):
    """Flow `(..., n * frames, height, width, 2)` as `(... * n, height, width, 2 * frames)`."""
    height, width = tf.unstack(tf.shape(fields)[-3:-1])
    # The two bytes of a pixel as one number: moved at once, in a third of the time.
    pixels = tf.bitcast(tf.reshape(fields, (-1, frames, height * width, 2)), tf.uint16)
    stacks = tf.bitcast(tf.transpose(pixels, (0, 2, 1)), tf.uint8)
    return tf.reshape(stacks, (-1, height, width, 2 * frames))


def _check_stored(info, clip):
    """Raise a `ValueError` if shards lack the stream of a clip, or have frames of another size."""
    if clip.stream == "flow" and not info.flow:
        raise ValueError(
            f"`stream` must be 'rgb': the shards in {info.path!r} hold no optical flow. Make them "
            "with `--flow tvl1` or `--flow dis`. Received: stream='flow'"
        )
    if clip.frame_size not in (None, info.frame_size):
        raise ValueError(
            f"`frame_size` of `clip` must be that of the shards in {info.path!r}, "
            f"{info.frame_size}, or None. Received: frame_size={clip.frame_size}"
        )


def _check_service(address):
    """Raise an error where TensorFlow would try to connect without an end."""
    match = re.fullmatch(r"grpc://\[?(.+?)\]?:(\d+)", address)
    if match is None:
        raise ValueError(
            "`service` must be the address of the dispatcher of a tf.data service, "
            f"'grpc://host:port'. Received: {address!r}"
        )
    try:
        socket.create_connection(match.groups(), timeout=10).close()
    except OSError as error:
        raise OSError(f"no tf.data service answers at {address!r}: {error}") from None


def _parse(serialized, info, clip):
    """JPEGs, label and path of a record; the path is empty where the record has none."""
    wanted = (records.CLIP_LABEL_INDEX, records.CLIP_DATA_PATH, _PICTURES[clip.stream])
    context, sequence = records.parse(serialized, wanted, info.keys)
    (jpegs,) = sequence.values()
    return jpegs, context[records.CLIP_LABEL_INDEX], context[records.CLIP_DATA_PATH]


def _records_of(paths, info, split):
    """`(place, serialized)` of the records of a split in some shards."""
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


def _epoch_order(info, batch_size, split, num_readers, reader_ids, shuffle_buffer, seed):
    """A function `samples(epoch, choose)` that reads the records in the order of an epoch.

    It makes a dataset of what `choose(place, serialized)` returns for each record, a batch's share
    of each reader in turn. `place` is the place of the record in all epochs: a seed of its own.
    """
    check_integer("shuffle_buffer", shuffle_buffer, min_value=1)
    check_integer("seed", seed)
    paths = tf.constant(shard_files(info, split))
    num_shards, share = paths.shape[0], batch_size // num_readers
    num_samples = steps_per_epoch(info, batch_size, split, num_readers) * share

    def samples(epoch, choose):
        def shard_samples(shard):
            first = 2**32 * (epoch * num_shards + shard)
            return _records_of(tf.gather(paths, shard), info, split).map(
                lambda place, serialized: choose(place + first, serialized)
            )

        def reader_samples(reader):
            shards = _shuffle(tf.range(num_shards, dtype=tf.int64), (seed, epoch, 0))
            own = tf.data.Dataset.from_tensor_slices(shards[reader::num_readers]).interleave(
                shard_samples,
                cycle_length=min(num_shards // num_readers, 8),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
            # `Dataset.shuffle` mixes its seed with TensorFlow's global one, and fails when that is
            # 0; shuffling block by block is a function of our seed alone.
            blocks = own.batch(shuffle_buffer).enumerate()
            mixed = blocks.map(
                lambda place, block: _shuffle(
                    block, (seed, epoch, 1 + place * num_readers + reader)
                )
            )
            return mixed.prefetch(1).unbatch().repeat().take(num_samples)

        return tf.data.Dataset.range(reader_ids.start, reader_ids.stop).interleave(
            reader_samples, cycle_length=len(reader_ids), block_length=share
        )

    return samples


def _shuffle(values, seed):
    """Shuffle tensors along their first axis; the order is a function of three integers."""
    first, *rest = (tf.cast(number, tf.int64) for number in seed)
    key = tf.random.fold_in(tf.stack([first, rest[0]]), rest[1])
    count = tf.shape(tf.nest.flatten(values)[0])[0]
    order = tf.random.experimental.stateless_shuffle(tf.range(count), key)
    return tf.nest.map_structure(lambda value: tf.gather(value, order), values)
