"""Bytes of `.caffemodel` files, written by hand and by protobuf itself."""

import gzip

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from keras_videorel.caffe import Layer, read_layers
from tests.caffe import encoder

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 2, 1, 2, 2)).astype("float32")
BIAS = RNG.normal(size=3).astype("float32")


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "net.caffemodel"
        path.write_bytes(content)
        return str(path)

    return write


def two_layers(style="packed"):
    return [
        encoder.layer("conv1", "Convolution", ("data",), ("conv1",), (KERNEL, BIAS), style),
        encoder.layer("concat", "Concat", ("conv1", "data"), ("both",)),
    ]


@pytest.mark.parametrize("style", ["packed", "single", "pieces", "double"])
def test_layers(written, style):
    first, second = read_layers(written(encoder.net(two_layers(style))))
    assert first[:4] == ("conv1", "Convolution", ("data",), ("conv1",))
    assert second == Layer("concat", "Concat", ("conv1", "data"), ("both",), ())
    for actual, expected in zip(first.blobs, (KERNEL, BIAS), strict=True):
        assert actual.shape == expected.shape
        np.testing.assert_array_equal(actual, expected)


def test_sizes_before_there_were_shapes(written):
    matrix = RNG.normal(size=(5, 4)).astype("float32")
    layers = [encoder.layer("fc8", "InnerProduct", ("x",), ("y",), (matrix, BIAS), "legacy")]
    (layer,) = read_layers(written(encoder.net(layers)))
    assert [blob.shape for blob in layer.blobs] == [(1, 1, 5, 4), (1, 1, 1, 3)]
    np.testing.assert_array_equal(layer.blobs[0][0, 0], matrix)


def test_weights_are_views_of_the_file(written):
    kernel, bias = read_layers(written(encoder.net(two_layers())))[0].blobs
    assert not kernel.flags.owndata and not bias.flags.owndata and not kernel.flags.writeable


def test_what_protobuf_writes(written):
    """The same messages from protobuf's own library, of a schema with Caffe's field numbers."""
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")

    def message(message_name, **fields):
        proto = file.message_type.add(name=message_name)
        for field, (number, of, repeated) in fields.items():
            added = proto.field.add(name=field, number=number)
            added.label = kind.LABEL_REPEATED if repeated else kind.LABEL_OPTIONAL
            if isinstance(of, str):
                added.type, added.type_name = kind.TYPE_MESSAGE, f".caffe.{of}"
            else:
                added.type = of
            added.options.packed = repeated and of in (kind.TYPE_FLOAT, kind.TYPE_INT64)

    text, whole, real = kind.TYPE_STRING, kind.TYPE_INT64, kind.TYPE_FLOAT
    message("BlobShape", dim=(1, whole, True))
    message("BlobProto", data=(5, real, True), diff=(6, real, True), shape=(7, "BlobShape", False))
    message(
        "LayerParameter",
        name=(1, text, False), type=(2, text, False), bottom=(3, text, True),
        top=(4, text, True), blobs=(7, "BlobProto", True), phase=(10, whole, False),
    )  # fmt: skip
    message("NetParameter", name=(1, text, False), layer=(100, "LayerParameter", True))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    net = message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))(
        name="n"
    )
    for i in range(300):  # lengths of one byte and of more
        layer = net.layer.add(name=f"layer{i}" * (1 + i % 40), type="BN", bottom=["a"], top=["b"])
        layer.phase = 1
        blob = layer.blobs.add(data=range(i + 1), diff=range(i))
        blob.shape.dim.extend([1, i + 1])
    layers = read_layers(written(net.SerializeToString()))
    assert [layer.name for layer in layers] == [layer.name for layer in net.layer]
    for i, layer in enumerate(layers):
        np.testing.assert_array_equal(layer.blobs[0], [np.arange(i + 1)])

    # And protobuf reads what the tests write by hand.
    again = type(net).FromString(encoder.net(two_layers()))
    assert [layer.name for layer in again.layer] == ["conv1", "concat"]
    np.testing.assert_array_equal(again.layer[0].blobs[0].data, KERNEL.ravel())
    assert list(again.layer[0].blobs[0].shape.dim) == list(KERNEL.shape)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html>\n<html><title>404 Not Found</title></html>", "no field"),
        (b'name: "C3D"\nlayer { name: "conv1" }', "no field"),
        (b"version https://git-lfs.github.com/spec/v1\n", "no field"),
        (gzip.compress(encoder.net(two_layers())), "no field"),
        (b"PK\x03\x04" + bytes(100), "no field"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "no field"),
        (bytes(1000), "no field"),
        (encoder.net([]), "it has no layers"),
        (encoder.text(2, b"\x22\x05conv1"), "V1 layers.*upgrade_net_proto_binary"),
        (encoder.integer(100, 1), "no field"),
        (encoder.text(100, encoder.text(1, b"\xff\xfe")), "is no text"),
        (b"\xa2\x06" + b"\xff" * 11, "more than 64 bits"),
        (
            encoder.net([encoder.text(1, "bn") + encoder.text(7, encoder.text(5, bytes(7)))]),
            "blob 0 of layer 'bn' ends within a number",
        ),
        (
            encoder.net(
                [
                    encoder.text(1, "bn")
                    + encoder.text(7, encoder.text(5, bytes(8)) + encoder.text(7, b"\x0a\x01\x03"))
                ]
            ),
            r"blob 0 of layer 'bn' has 2 numbers for the shape \(3,\)",
        ),
        (
            encoder.net([encoder.text(7, encoder.text(7, encoder.integer(1, -1) + b"\x08\0"))]),
            "blob 0 of layer '' has 0 numbers",
        ),
        (
            encoder.net([encoder.text(7, encoder.blob(np.ones((1,) * 33)))]),
            "blob 0 of layer '' has 1 numbers for the shape",
        ),
    ],
)  # fmt: skip
def test_what_is_no_caffemodel(written, content, message):
    path = written(content)
    with pytest.raises(ValueError, match=f"`path` must be a .caffemodel.*{message}") as error:
        read_layers(path)
    assert repr(path) in str(error.value) and "\n" not in str(error.value)


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_layers(tmp_path / "none")


def test_a_file_cut_short_is_noticed_wherever_it_is_cut(written):
    """But for a cut between two layers, which leaves a whole file of fewer layers."""
    content = encoder.net(two_layers())
    whole = {0}
    for size in range(1, len(content)):
        try:
            layers = read_layers(written(content[:size]))
        except ValueError as error:
            assert "`path` must be a .caffemodel" in str(error)
        else:
            whole.add(len(layers))
    assert whole == {0, 1, 2}


def test_broken_bytes_are_an_error_or_a_file(written):
    """Never anything but layers or the one error, whatever the bytes."""
    content = np.frombuffer(encoder.net(two_layers()), "uint8")
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        broken = content.copy()
        places = rng.integers(0, len(content), rng.integers(1, 8))
        broken[places] = rng.integers(0, 256, len(places))
        try:
            assert read_layers(written(broken.tobytes()))
        except ValueError as error:
            assert "`path` must be a .caffemodel" in str(error)
            refused += 1
        with pytest.raises(ValueError, match=r"`path` must be a \.caffemodel"):
            read_layers(written(rng.bytes(200)))
    assert 50 < refused < 400
