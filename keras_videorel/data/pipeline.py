"""`tf.data` from shards to batches: parse, sample, shuffle, decode, transform, batch, normalize.

To save time and memory, frames are sampled before shuffling, only the crop of each JPEG is decoded,
and samples stay uint8 until the last step.
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
    """Batches of randomly cropped training samples. `datasets.train_dataset` with more control.

    All randomness is a function of `seed`, the epoch and the record's place in its shard. The
    batches of an epoch are therefore the same if training resumes at that epoch. Arguments that
    are not listed here are as for `datasets.train_dataset`.

    Args:
        info: The `Manifest` of the shards.
        first_epoch: First epoch of the dataset.
        first_step: Batches of `first_epoch` to skip without decoding them. Needs `epochs`.
        epochs: End of the epochs (exclusive). The dataset contains all epochs one after the other.
            `math.inf` never ends, for `fit` with `steps_per_epoch`. With None, each iteration over
            the dataset is one epoch, and the next iteration is the next epoch.
        deterministic: Whether the order of samples is reproducible. If not, samples come as they
            become ready. The crops of a record in an epoch are reproducible in either case.
        service: Address of a `tf.data` service dispatcher, `"grpc://host:port"`, whose workers make
            the batches. Each worker makes whole epochs, and epochs mix. Needs `epochs`. Empty for
            no service.
        num_readers: Number of equal parts of a batch. In each epoch the shuffled shards are dealt
            to the readers in turn. A reader with fewer clips than others repeats its first clips.
        reader_ids: Readers whose parts of each batch are returned, in order. Default: all readers.
            Processes with different `reader_ids` together make the batches of one process.

    Returns:
        A `tf.data.Dataset` of `(samples, labels)`: float32 `(batch, *clip.shape)` and int64
        `(batch,)`, where `batch` counts the samples of `reader_ids`. An epoch has
        `steps_per_epoch(info, batch_size)` batches.

    Raises:
        ValueError: If an argument is out of range, the shards do not fit `clip`, or `augment`
            changes the shape or type.
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
                compression=None,  # it would hardly make the samples smaller
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
    """A dataset of epoch numbers for one iteration, and the number of batches in these epochs."""
    if end is None:  # each iteration takes the next number from a variable
        with tf.device("CPU:0"), tf.init_scope():
            following = tf.Variable(first, dtype=tf.int64, trainable=False)
        return tf.data.Dataset.range(1).map(lambda _: following.assign_add(1) - 1), steps
    if end == math.inf:
        return tf.data.Dataset.range(first, tf.int64.max), tf.data.INFINITE_CARDINALITY
    return tf.data.Dataset.range(first, end), max(end - first, 0) * steps - first_step


def _augment(augment, crop):
    """Apply the user's function to a sample and check the result."""
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
    """Paths of the videos in batch `step` of an epoch of deterministic `training_batches`."""

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
    """Number of whole batches in an epoch. Raise a `ValueError` if there is not one."""
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
    """Test views of each video: fixed crops of uniformly spaced clips (ARTNet, Sec. 3.3).

    If `clip` has segments, a view is a crop of a group of snippets (relational LSTM, Sec. 5.2).
    All views of a video can take hundreds of megabytes, so each element holds the views of one
    clip. Each frame of the video is decoded only once.

    Args:
        info: The `Manifest` of the shards.
        clip: A `ClipSpec`.
        split: The split to read.
        clips: Clips per video (25 in ARTNet's paper), or groups of snippets per video (4 in the
            relational LSTM's paper).
        crops: Crops per clip: 1, 5 (relational LSTM's paper) or 10 (ARTNet's paper).

    Returns:
        A `tf.data.Dataset` of `(views, label, path)`, with `clips` elements in a row for each video
        and the videos in the order of the shards. `views` is float32 `(crops, *clip.shape)`,
        `label` an int64 scalar and `path` a string scalar.

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
    """Normalized test views of the frames of a sample."""
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
    """Like `clip_views`, with all views of a video in one element.

    The views are float32 `(clips * crops, *clip.shape)`.
    """

    def together(views, labels, paths):
        return tf.reshape(views, (clips * crops, *views.shape[2:])), labels[0], paths[0]

    views = clip_views(info, clip, split, clips=clips, crops=crops)
    return views.batch(clips, drop_remainder=True).map(together)


def centered_views(info: Manifest, clip: ClipSpec, split: str = "test") -> tf.data.Dataset:
    """`(sample, label)` of each video: the center crop of the clip in the middle of the video."""
    views = clip_views(info, clip, split, clips=1, crops=1)
    return views.map(lambda view, label, path: (view[0], label))


def decode_once(jpegs, indices, box, channels: int = 3) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode a box of the JPEGs at `indices`. Overlapping clips share frames; decode each once.

    Returns `(pictures, places)`. `pictures` is uint8 `(used, height, width, channels)`. `places`
    has the shape of `indices` and holds indices into `pictures`.
    """
    used, places = tf.unique(tf.reshape(indices, [-1]))
    pictures = _decode(tf.gather(jpegs, used), box, channels)
    return pictures, tf.reshape(places, tf.shape(indices))


def _decode(jpegs, box, channels):
    """Decode a box of each JPEG as uint8 `(count, height, width, channels)`."""

    def picture(jpeg):
        # TensorFlow's "fast" DCT saves no time here, and errs by two levels at high quality.
        whole = tf.image.decode_and_crop_jpeg(jpeg, box, channels=3, dct_method="INTEGER_ACCURATE")
        return whole[..., :channels]  # the third channel of a flow JPEG is constant

    signature = tf.TensorSpec((None, None, channels), tf.uint8)
    return tf.map_fn(picture, jpegs, fn_output_signature=signature)


def _stack(fields, frames):
    """Stack flow `(..., n * frames, h, w, 2)` to `(... * n, h, w, 2 * frames)`."""
    height, width = tf.unstack(tf.shape(fields)[-3:-1])
    # Moving the two bytes of a pixel as one number takes a third of the time.
    pixels = tf.bitcast(tf.reshape(fields, (-1, frames, height * width, 2)), tf.uint16)
    stacks = tf.bitcast(tf.transpose(pixels, (0, 2, 1)), tf.uint8)
    return tf.reshape(stacks, (-1, height, width, 2 * frames))


def _check_stored(info, clip):
    """Raise a `ValueError` if shards lack the stream or the frame size of `clip`."""
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
    """Raise an error if nothing answers. TensorFlow would try to connect forever."""
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
    """JPEGs, label and path of a record. The path is empty if the record has none."""
    wanted = (records.CLIP_LABEL_INDEX, records.CLIP_DATA_PATH, _PICTURES[clip.stream])
    context, sequence = records.parse(serialized, wanted, info.keys)
    (jpegs,) = sequence.values()
    return jpegs, context[records.CLIP_LABEL_INDEX], context[records.CLIP_DATA_PATH]


def _records_of(paths, info, split):
    """`(place, serialized)` of each record of a split in the shards `paths`."""
    remote = any(map(files.is_remote, (info.path, *chain(*info.files.values()))))
    # Local records are so long that reading them without a buffer is faster.
    buffer_size = None if remote or info.compression else 0
    found = tf.data.TFRecordDataset(paths, info.compression, buffer_size).enumerate()
    if not info.fold:
        return found

    def in_split(_, serialized):
        context, _ = records.parse(serialized, [records.CLIP_SPLITS])
        return context[records.CLIP_SPLITS][info.fold - 1] == split

    return found.filter(in_split)


def _epoch_order(info, batch_size, split, num_readers, reader_ids, shuffle_buffer, seed):
    """A function `samples(epoch, choose)` that makes a dataset of an epoch, in its order.

    Its elements are `choose(place, serialized)` of the records, in turn a batch's share from each
    reader. `place` differs for all records of all epochs, so it can serve as a seed.
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
            # `Dataset.shuffle` mixes its seed with TensorFlow's global seed, and fails if that is
            # 0. Shuffling block by block depends on our seed alone.
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
    """Shuffle tensors along their first axis, with three integers as the seed."""
    first, *rest = (tf.cast(number, tf.int64) for number in seed)
    key = tf.random.fold_in(tf.stack([first, rest[0]]), rest[1])
    count = tf.shape(tf.nest.flatten(values)[0])[0]
    order = tf.random.experimental.stateless_shuffle(tf.range(count), key)
    return tf.nest.map_structure(lambda value: tf.gather(value, order), values)
