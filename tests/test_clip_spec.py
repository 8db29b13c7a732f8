"""How a sample is taken from a video."""

import dataclasses
import json

import pytest

from keras_videorel import ClipSpec


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"frames": 16}, (16, 112, 112, 3)),
        ({"frames": 1}, (1, 112, 112, 3)),
        ({"segments": 8, "frames": 1, "crop_size": 224}, (8, 224, 224, 3)),
        ({"segments": 1, "frames": 1}, (1, 112, 112, 3)),
        ({"segments": 2, "crop_size": (112, 96)}, (2, 16, 112, 96, 3)),
        ({"stream": "flow", "frames": 8}, (8, 112, 112, 2)),
        ({"stream": "flow", "segments": 3, "frames": 5}, (3, 112, 112, 10)),
        ({"stream": "flow", "segments": 3, "frames": 1}, (3, 112, 112, 2)),
        (
            {"stream": "flow", "segments": 3, "frames": 5, "flow_as_channels": False},
            (3, 5, 112, 112, 2),
        ),
    ],
)
def test_shape(settings, shape):
    """Snippets of images have no time axis; stacks of flow have their fields as channels."""
    assert ClipSpec(**settings).shape == shape


def test_defaults_are_those_of_the_stream():
    assert ClipSpec().mean == (123.0, 117.0, 104.0) and ClipSpec().test_scale == 0.875
    assert ClipSpec(stream="flow").mean == (127.5, 127.5)
    assert ClipSpec(segments=4, frames=2).num_frames == 8 and ClipSpec(frames=2).num_frames == 2


def test_json():
    clip = ClipSpec(
        stream="flow", segments=3, frames=5, frame_stride=2, crop_size=(48, 40), mean=(1, 2),
        std=(3.0, 4.0), flow_as_channels=False, frame_size=(56, 72), test_scale=1.0,
    )  # fmt: skip
    values = json.loads(json.dumps(clip.to_json()))
    assert ClipSpec.from_json({**values, "clips": 10}) == clip
    assert dataclasses.replace(clip, frames=7).shape == (3, 7, 48, 40, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        clip.frames = 3
    with pytest.raises(ValueError, match=r"it lacks frames, frame_size$"):
        ClipSpec.from_json({k: v for k, v in values.items() if k not in ("frames", "frame_size")})
    with pytest.raises(ValueError, match="it lacks segments, frames, frame_stride, frame_size, "):
        ClipSpec.from_json([])


def test_frame_size_of_a_view():
    with pytest.warns(UserWarning, match=r"`clip` has no `frame_size`.*shorter side of 55 and"):
        clip = ClipSpec(crop_size=(48, 64)).with_frame_size()
    assert clip.frame_size == 55 and clip.with_frame_size() is clip


def test_older_exports_cut_the_pixels_of_their_input():
    values = ClipSpec(crop_size=24, frame_size=(32, 40)).to_json()
    for key in ("test_scale", "stream", "flow_as_channels"):
        del values[key]
    assert ClipSpec.from_json(values).test_scale == 0.75
    assert ClipSpec.from_json({**values, "frame_size": 48}).test_scale == 0.5
    assert ClipSpec.from_json({**values, "crop_size": [64, 64]}).test_scale == 1.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stream", "depth"), ("segments", -1), ("segments", True), ("frames", 0),
        ("frame_stride", 1.5), ("crop_size", 0), ("crop_size", (8, 6, 4)), ("crop_size", "8"),
        ("mean", (1, 2)), ("mean", 1.0), ("mean", ("a", 1, 2)), ("std", 0), ("std", (1, 2)),
        ("std", None), ("frame_size", (0, 30)), ("frame_size", (3,)), ("test_scale", 0),
        ("test_scale", 112), ("test_scale", "1"),
    ],
)  # fmt: skip
def test_values_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"^`{name}` must .*Received: [^\n]*$"):
        ClipSpec(**{name: value})
