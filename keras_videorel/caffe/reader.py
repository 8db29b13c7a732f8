"""Read the layers of a `.caffemodel`, a binary `NetParameter` in the wire format of protobuf.

These fields are read, with the field numbers of caffe.proto. All other fields are skipped.

    NetParameter    2 layers (before 2015; refused), 100 layer
    LayerParameter  1 name, 2 type, 3 bottom, 4 top, 7 blobs
    BlobProto       1-4 num, channels, height, width (before 2015), 5 data, 7 shape, 8 double_data
    BlobShape       1 dim
"""

import math
import mmap
import os
from typing import NamedTuple

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types; Caffe does not use 3 and 4 (groups)
MOST_AXES = 32  # Caffe's limit for a blob


class Layer(NamedTuple):
    """A layer of a Caffe network.

    Attributes:
        name: Name of the layer.
        type: Type of the layer, such as `"Convolution"`.
        inputs: Names of the blobs that the layer reads ("bottoms").
        outputs: Names of the blobs that the layer writes ("tops").
        blobs: Weights, as arrays that are views of the file if possible.
    """

    name: str
    type: str
    inputs: tuple
    outputs: tuple
    blobs: tuple


def read_layers(path):
    """Read the layers of a `.caffemodel`, in the order of the file.

    The file is memory-mapped, so weights take memory only when they are used.

    Args:
        path: A local file.

    Returns:
        A list of `Layer`.

    Raises:
        OSError: If the file does not exist.
        ValueError: If the file is not a `.caffemodel`, is incomplete, or is from before 2015.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        if not os.path.getsize(path):
            raise ValueError(f"`path` must be a .caffemodel. Received: {path!r}, an empty file")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    layers = []
    try:
        for number, value in _fields(data, 0, len(data), {2: BYTES, 100: BYTES}):
            if number == 2:
                raise _Unreadable(
                    "it has the V1 layers of Caffe before 2015; Caffe's own "
                    "upgrade_net_proto_binary rewrites it"
                )
            layers.append(_layer(data, *value))
        if not layers:
            raise _Unreadable("it has no layers")
    except _Unreadable as error:
        raise ValueError(
            f"`path` must be a .caffemodel, a binary NetParameter of Caffe. "
            f"Received: {path!r}: {error}"
        ) from None
    return layers


class _Unreadable(Exception):
    """The bytes are not the expected message."""


def _layer(data, start, end):
    known = {1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 7: BYTES}
    texts, spans = {1: [], 2: [], 3: [], 4: []}, []
    for number, value in _fields(data, start, end, known):
        if number == 7:
            spans.append(value)
        else:
            try:
                texts[number].append(data[slice(*value)].decode())
            except UnicodeDecodeError:
                raise _Unreadable(f"a name at byte {value[0]} is no text") from None
    name, kind = ("".join(texts[number][-1:]) for number in (1, 2))
    blobs = [_blob(data, *span, f"blob {i} of layer {name!r}") for i, span in enumerate(spans)]
    return Layer(name, kind, tuple(texts[3]), tuple(texts[4]), tuple(blobs))


def _blob(data, start, end, what):
    # Repeated numbers are packed into one field, or have one field each. Sizes are varints.
    known = {1: VARINT, 2: VARINT, 3: VARINT, 4: VARINT, 7: BYTES}
    known |= {5: (BYTES, FIXED32), 8: (BYTES, FIXED64)}
    sizes, shape, pieces = [0, 0, 0, 0], None, {5: [], 8: []}
    for number, value in _fields(data, start, end, known):
        if number == 7:
            shape = _dimensions(data, *value)
        elif number in pieces:
            dtype = np.dtype("<f4" if number == 5 else "<f8")
            first, last = value
            if (last - first) % dtype.itemsize:
                raise _Unreadable(f"{what} ends within a number")
            count = (last - first) // dtype.itemsize
            pieces[number].append(np.frombuffer(data, dtype, count, first))
        else:
            sizes[number - 1] = value
    shape = sizes if shape is None else shape
    found = pieces[5] or pieces[8]
    values = found[0] if len(found) == 1 else np.concatenate([np.zeros(0, "float32"), *found])
    if values.size != math.prod(shape) or not values.size or len(shape) > MOST_AXES:
        raise _Unreadable(f"{what} has {values.size} numbers for the shape {tuple(shape)}")
    return values.reshape(shape)


def _dimensions(data, start, end):
    sizes = []
    for _, value in _fields(data, start, end, {1: (VARINT, BYTES)}):
        if isinstance(value, int):
            sizes.append(value)
            continue
        position, last = value
        while position < last:
            size, position = _varint(data, position, last)
            sizes.append(size)
    return sizes


def _fields(data, position, end, known):
    """Yield `(number, value)` of the known fields of the message in `data[position:end]`.

    `known` maps field numbers to their allowed wire types. A value is an integer, or `(start, end)`
    of its bytes in `data`.
    """
    while position < end:
        begin = position
        key, position = _varint(data, position, end)
        number, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            value, position = _varint(data, position, end)
        elif wire_type in (FIXED64, FIXED32, BYTES):
            size = {FIXED64: 8, FIXED32: 4}.get(wire_type)
            if size is None:
                size, position = _varint(data, position, end)
            value = (position, position + size)
            position += size
        else:
            wire_type = None
        types = known.get(number, (VARINT, FIXED64, BYTES, FIXED32))
        if number == 0 or wire_type not in (types if isinstance(types, tuple) else (types,)):
            raise _Unreadable(f"the bytes at {begin} are no field of its messages")
        if position > end:
            raise _Unreadable(
                f"the field at byte {begin} ends {position - end} bytes after the message"
            )
        if number in known:
            yield number, value


def _varint(data, position, end):
    """Return a varint (7 bits per byte, lowest first) and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise _Unreadable(f"it ends within a number, at byte {end}")
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise _Unreadable(f"the number before byte {position} has more than 64 bits")
