"""Checks of records: is each whole, and does it hold what a clip needs?

A TFRecord file is a row of records: the length (8 bytes), its checksum (4), the record, its
checksum (4). `read_records` goes on after a damaged one where it can; `check_record` looks inside.
"""

import contextlib
import zlib

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_videorel import files
from keras_videorel.data import records
from keras_videorel.data.manifest import MANIFEST, SPLITS

FRAMING = records.HEADER.size + 4  # bytes around a record

# One value of this type in each record of ours; for each frame, in the second.
CONTEXT = {
    records.CLIP_LABEL_INDEX: int,
    records.CLIP_LABEL_STRING: bytes,
    records.CLIP_LABEL_TEXT: bytes,
    records.CLIP_DATA_PATH: bytes,
    records.CLIP_START: int,
    records.CLIP_END: int,
    records.IMAGE_HEIGHT: int,
    records.IMAGE_WIDTH: int,
    records.IMAGE_FRAME_RATE: float,
}
LISTS = {records.IMAGE_ENCODED: bytes, records.IMAGE_TIMESTAMP: int}

_KINDS = {int: "integer", float: "float", bytes: "string"}


# --- Framing --------------------------------------------------------------------------------


def read_records(path):
    """Read a TFRecord file, and go on after damaged records.

    The records after a damaged one are found by its length, unless that is damaged, too.

    Args:
        path: The file.

    Yields:
        `(number, offset, record, damage)`: number from 0 and place in bytes; the record, bytes,
        and None, or None and what is wrong with it.
    """
    compression = records.compression(path)
    if compression:
        yield from _read_compressed(path, compression)
        return
    size = files.size(path)
    number = offset = 0
    while offset < size:
        # A file that ends in a header is no error to TensorFlow, only the end.
        with contextlib.suppress(tf.errors.DataLossError):
            for record in records_from(path, offset, number).as_numpy_iterator():
                yield number, offset, record, None
                number, offset = number + 1, offset + FRAMING + len(record)
        if offset == size:
            return
        damage, length = _diagnosis(path, offset, size)
        yield number, offset, None, damage
        if length is None:
            return
        number, offset = number + 1, offset + FRAMING + length


def _read_compressed(path, compression):
    """As `read_records`; places count the bytes of the file without its compression."""
    number = offset = 0
    try:
        for record in tf.data.TFRecordDataset(path, compression).as_numpy_iterator():
            yield number, offset, record, None
            number, offset = number + 1, offset + FRAMING + len(record)
        whole = _decompresses(path)  # a file cut off is no error to TensorFlow, only the end
    except tf.errors.DataLossError:
        whole = False
    if not whole:
        damage = f"is damaged or cut off: the rest of this {compression} file cannot be read"
        yield number, offset, None, damage


def _decompresses(path):
    """Whether a GZIP or ZLIB file is whole."""
    stream = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # of either kind
    with tf.io.gfile.GFile(path, "rb") as file:
        while not stream.eof and (part := file.read(1 << 20)):
            try:
                stream.decompress(part)
            except zlib.error:
                return False
    return stream.eof


def records_from(path, offset, number):
    """A `tf.data.Dataset` of the records of a TFRecord file, from one on.

    Args:
        path: The file.
        offset: Where the record begins, in bytes.
        number: Its number, from 0: what counts in a compressed file.
    """
    compression = records.compression(path)
    if compression:
        return tf.data.TFRecordDataset(path, compression).skip(number)

    def read(offset):
        reader = tf.raw_ops.TFRecordDatasetV2(
            filenames=[path], compression_type="", buffer_size=1 << 20, byte_offsets=[offset]
        )
        return tf.data.experimental.from_variant(reader, tf.TensorSpec((), tf.string))

    # In a `flat_map`: TensorFlow 2.21 cannot serialize this reader outside of a function.
    return tf.data.Dataset.from_tensors(tf.constant(offset, tf.int64)).flat_map(read)


def _diagnosis(path, offset, size):
    """What is wrong with a damaged record, and its length if that can be trusted, else None."""
    if size - offset < records.HEADER.size:
        return "is cut off: the file ends in its header", None
    with tf.io.gfile.GFile(path, "rb") as file:
        file.seek(offset)
        header = file.read(records.HEADER.size)
    length, checksum = records.HEADER.unpack(header)
    if checksum != records.masked_crc32c(header[:8]):
        return "has a damaged header: the rest of the file cannot be read", None
    missing = offset + FRAMING + length - size
    if missing > 0:
        return f"is cut off: the file ends {missing} bytes early", None
    return "is damaged: its checksum does not fit", length


# --- Content --------------------------------------------------------------------------------


def check_record(serialized, split, layout, decode):
    """What a record holds, and what is wrong with it.

    Args:
        serialized: The record, bytes.
        split: Split of its shard.
        layout: `inspection.Layout` of the data set.
        decode: Which pictures to decode: `"all"`, the `"first"` or `"none"`.

    Returns:
        `(fields, problems)`: the fields of an `inspection.Clip` from `label` on, a dict, or None
        if the record is no clip; and a list of strings.
    """
    try:
        example = tf.train.SequenceExample.FromString(serialized)
    except DecodeError:
        return None, ["is no SequenceExample"]
    if records.is_plain_example(example):
        return None, ["is a tf.train.Example, not a tf.train.SequenceExample"]
    keys, problems = layout.keys, []
    context = _context(example, layout, problems)
    lists = _lists(example, layout, problems)
    if keys["label"] not in context or keys["frames"] not in lists:
        return None, problems

    label, sides = context[keys["label"]], _sides(example)
    problems += _check_label(label, context, layout.labels)
    problems += _check_sides(sides, split, layout.manifest)
    jpegs = lists[keys["frames"]]
    for key, entries in lists.items():
        if len(entries) != len(jpegs):
            problems.append(f"{len(jpegs)} frames, but {len(entries)} of {key}")
    size, found = _check_pictures("frame", jpegs, decode)
    problems += found
    if size is not None:
        problems += _check_size(size, context, layout.manifest)
    flow = lists.get(keys.get("flow"))
    if flow is not None:
        problems += _check_pictures("flow", flow, decode, size and (*size, 3))[1]
    start, end = context.get(records.CLIP_START), context.get(records.CLIP_END)
    fields = {
        "label": label,
        "path": _text(context.get(keys["path"], b"")),
        "frames": len(jpegs),
        "size": size,
        "seconds": None if start is None or end is None else (end - start) / 1e6,
        "flow": flow is not None,
        "sides": sides,
    }
    return fields, problems


def pictures(serialized, layout):
    """The pictures of a record without problems.

    Args:
        serialized: The record, bytes.
        layout: `inspection.Layout` of the data set.

    Returns:
        `(jpegs, flow)`: lists of bytes, an entry per frame; None for no flow.
    """
    lists = _lists(tf.train.SequenceExample.FromString(serialized), layout, [])
    return lists[layout.keys["frames"]], lists.get(layout.keys.get("flow"))


def _context(example, layout, problems):
    """Dict of the values that a clip has one of; adds what is wrong to `problems`."""
    found = {}
    for key, kind in {**CONTEXT, layout.keys["label"]: int, layout.keys["path"]: bytes}.items():
        values = _values(example.context.feature.get(key))
        if [type(value) for value in values] == [kind]:
            found[key] = values[0]
        elif key in layout.required:
            problems.append(f"{key} must hold one {_KINDS[kind]}. Received: {_shown(values)}")
    return found


def _lists(example, layout, problems):
    """Dict of the lists of one value per frame; adds what is wrong to `problems`."""
    found = {}
    kinds = {key: kind for key, kind in LISTS.items() if key in layout.required}
    kinds |= {layout.keys[name]: bytes for name in ("frames", "flow") if name in layout.keys}
    for key, kind in kinds.items():
        entries = example.feature_lists.feature_list.get(key)
        entries = [] if entries is None else [_values(entry) for entry in entries.feature]
        other = [e for e in entries if [type(value) for value in e] != [kind]]
        if entries and not other:
            found[key] = [value for (value,) in entries]
        elif key in layout.required:
            received = _shown(other[0]) if other else "no frames"
            problems.append(f"{key} must hold one {_KINDS[kind]} per frame. Received: {received}")
    return found


def _sides(example):
    values = _values(example.context.feature.get(records.CLIP_SPLITS))
    return tuple(_text(value) if isinstance(value, bytes) else str(value) for value in values)


def _values(feature):
    kind = None if feature is None else feature.WhichOneof("kind")
    return [] if kind is None else list(getattr(feature, kind).value)


def _shown(values):
    return f"{len(values)} of type {_KINDS[type(values[0])]}" if values else "none"


def _text(value):
    """Bytes of a record as text that can be printed."""
    return value.decode("utf-8", "backslashreplace")


def _check_label(label, context, labels):
    if not 0 <= label < len(labels):
        return [f"label {label} is out of range: there are {len(labels)} labels"]
    name = labels[label].encode()
    keys = (records.CLIP_LABEL_TEXT, records.CLIP_LABEL_STRING)
    said = {context[key]: key for key in keys if key in context}  # both, as a rule the same
    return [
        f"{key} is {_text(value)!r}, but label {label} is {labels[label]!r}"
        for value, key in said.items()
        if value != name
    ]


def _check_sides(sides, split, manifest):
    if "files" in manifest:  # others know of no official splits
        return []
    count, number = len(manifest.get("official_splits", ())), manifest["options"].get("split", 1)
    unknown = [side for side in sides if side not in SPLITS]
    if len(sides) != count:
        return [f"{records.CLIP_SPLITS} has {len(sides)} sides, {MANIFEST} {count} splits"]
    if unknown:
        sides = ", ".join(SPLITS)
        return [f"{records.CLIP_SPLITS} must hold some of {sides}. Received: {unknown[0]!r}"]
    if sides and sides[number - 1] != split:
        return [f"is {sides[number - 1]!r} in official split {number}, but in a {split} shard"]
    return []


def _check_size(size, context, manifest):
    problems = []
    stored = tuple(context.get(key) for key in (records.IMAGE_HEIGHT, records.IMAGE_WIDTH))
    if None not in stored and stored != size:
        problems.append(f"frames are of {_by(size)}, the record says {_by(stored)}")
    options = manifest.get("options", {})
    wanted, short_side = options.get("size"), options.get("short_side")
    if wanted and tuple(wanted) != size:
        problems.append(f"frames are of {_by(size)}, {MANIFEST} says {_by(wanted)}")
    exact = "files" not in manifest  # what `describe` writes is the least
    if short_side and (min(size) != short_side if exact else min(size) < short_side):
        problems.append(
            f"frames are of {_by(size)}, {MANIFEST} says a shorter side of {short_side}"
        )
    return problems


# --- Pictures -------------------------------------------------------------------------------


def _check_pictures(what, jpegs, decode, shape=None):
    """Decode pictures, which must be of one shape.

    Args:
        what: What they are.
        jpegs: List of bytes.
        decode: As of `check_record`.
        shape: Theirs, `(height, width, channels)`; None: the height and width of the first.

    Returns:
        `(shape, problems)`: as given or found; None if the first does not decode.
    """
    read = _shapes_in_headers if decode == "none" else _decoded_shapes
    shapes = _shapes(jpegs if decode == "all" else jpegs[:1], read)
    if shape is None and shapes[0] is not None:
        shape = shapes[0][:2]
    problems = []
    broken = [i for i, found in enumerate(shapes) if found is None]
    if broken:
        found = records.picture_format(jpegs[broken[0]])
        verb = "does not decode" if found is None else f"is {found}, not JPEG"
        problems.append(f"{what} {broken[0]} {verb}{_more(broken)}")
    other = [i for i, s in enumerate(shapes) if s and shape and s[: len(shape)] != shape]
    if other:
        found = _by(shapes[other[0]][: len(shape)])
        problems.append(f"{what} {other[0]} is of {found}, not {_by(shape)}{_more(other)}")
    return shape, problems


def _shapes(jpegs, read):
    """`(height, width, channels)` of each JPEG, None for one that does not decode."""
    try:
        return [tuple(shape) for shape in read(tf.constant(jpegs)).numpy().tolist()]
    except tf.errors.InvalidArgumentError:
        if len(jpegs) == 1:
            return [None]
        return [shape for jpeg in jpegs for shape in _shapes([jpeg], read)]


def _shapes_in_headers(jpegs):
    return tf.stack([tf.io.extract_jpeg_shape(jpeg) for jpeg in jpegs])


@tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
def _decoded_shapes(jpegs):
    """Decode as training does. In one graph, during which other threads can run."""

    def decode(jpeg):
        height, width, channels = tf.unstack(tf.io.extract_jpeg_shape(jpeg))
        pixels = tf.io.decode_and_crop_jpeg(jpeg, [0, 0, height, width], channels=3)
        return tf.stack([*tf.unstack(tf.shape(pixels)[:2]), channels])

    return tf.map_fn(decode, jpegs, fn_output_signature=tf.TensorSpec((3,), tf.int32))


def _more(places):
    return f" (and {len(places) - 1} more)" if len(places) > 1 else ""


def _by(shape):
    return "x".join(map(str, shape))
