"""Writes `.caffemodel` bytes by hand: protobuf's wire format, from its specification."""

import struct

import numpy as np


def varint(value):
    """7 bits a byte, least first; the top bit says that more follow. Negative: 64 bits."""
    value &= 2**64 - 1
    parts = []
    while value > 127:
        parts.append(value % 128 + 128)
        value //= 128
    return bytes([*parts, value])


def integer(number, value):
    return varint(number * 8) + varint(value)


def text(number, value):
    """A field of bytes: a string, a message or packed numbers."""
    value = value.encode() if isinstance(value, str) else value
    return varint(number * 8 + 2) + varint(len(value)) + value


def blob(values, style="packed"):
    """BlobProto: `packed` as Caffe writes it, or another of the ways that a reader must know."""
    values = np.asarray(values)
    if style == "legacy":  # four sizes before there were shapes, 1 in front
        sizes = (1,) * (4 - values.ndim) + values.shape
        shape = b"".join(integer(1 + i, size) for i, size in enumerate(sizes))
    elif style == "single":  # not packed: a field a number
        shape = text(7, b"".join(integer(1, size) for size in values.shape))
    else:
        shape = text(7, text(1, b"".join(varint(size) for size in values.shape)))
    flat = values.ravel()
    if style == "double":
        return shape + text(8, flat.astype("<f8").tobytes())
    if style == "single":
        return shape + b"".join(bytes([5 * 8 + 5]) + struct.pack("<f", v) for v in flat)
    if style == "pieces":  # packed, in two fields, the shape behind, gradients between
        half, data = flat.size // 2, flat.astype("<f4")
        gradients = text(6, np.ones(flat.size, "<f4").tobytes())
        first, second = (text(5, part.tobytes()) for part in (data[:half], data[half:]))
        return first + gradients + second + shape
    return text(5, flat.astype("<f4").tobytes()) + shape


def layer(name, kind, bottoms=(), tops=(), blobs=(), style="packed"):
    """LayerParameter, with fields among them that a reader of weights has no use for."""
    return b"".join(
        [
            text(1, name),
            text(2, kind),
            *(text(3, bottom) for bottom in bottoms),
            *(text(4, top) for top in tops),
            varint(5 * 8 + 5) + struct.pack("<f", 1.0),  # loss_weight
            text(6, varint(3 * 8 + 5) + struct.pack("<f", 0.0)),  # param { lr_mult: 0 }
            *(text(7, blob(values, style)) for values in blobs),
            integer(10, 1),  # phase
            text(106, integer(1, 64)),  # convolution_param { num_output: 64 }
        ]
    )


def net(layers, name="C3D"):
    """NetParameter of encoded layers."""
    return b"".join(
        [
            text(1, name),
            integer(5, 0),
            *(text(100, each) for each in layers),
            text(200, b"\x08\x01"),
        ]
    )
