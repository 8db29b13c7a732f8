"""How a sample is taken from a video."""

from __future__ import annotations

import dataclasses
import typing
import warnings

from keras_videorel.checks import check_choice, check_integer, check_number, check_numbers

if typing.TYPE_CHECKING:
    import keras

# The mean of the channels of each stream. Flow at rest has the level in the middle of 0 to 255.
MEAN = {"rgb": (123.0, 117.0, 104.0), "flow": (127.5, 127.5)}
# The share of a frame's shorter side that a test view shows: 112 of 128 pixels in ARTNet (Sec.
# 3.3), 224 of 256 in the relational LSTM (Sec. 5.2).
TEST_SCALE = 0.875
_REQUIRED = ("segments", "frames", "frame_stride", "frame_size", "crop_size")


@dataclasses.dataclass(frozen=True)
class ClipSpec:
    """How a sample, a clip or the snippets of some segments, is taken from a video.

    Training, evaluation, export and prediction must take samples in the same way, so they all
    take one `ClipSpec`. An exported model carries its own (`export.json`). A `.keras` file does
    not: keep the `ClipSpec` and the class names with it.

    ```python
    clip = keras_videorel.ClipSpec(frames=8, frame_stride=4, crop_size=48)
    model = keras_videorel.models.ARTNetResNet18("s", input_shape=clip.shape, classes=10)
    longer = dataclasses.replace(clip, frames=16)
    ```

    Args:
        stream: `"rgb"` for frames, or `"flow"` for optical flow, whose field i goes from frame i
            to the next.
        segments: 0 for a clip; T > 0 for a snippet of each of T equal segments of the video.
        frames: Frames, or fields, in a clip or snippet.
        frame_stride: Step between them.
        crop_size: Height and width of a sample, an integer or a pair.
        mean: Mean of the channels, (R, G, B) or (x, y), which is subtracted. Default: `MEAN` of
            the stream.
        std: Divisor of the channels, a number or one for each channel.
        flow_as_channels: Whether the fields of a snippet of flow are channels of one image
            (two-stream networks; relational LSTM, Sec. 3) and not a clip (ARTNet).
        frame_size: `(height, width)` of the frames before they are cropped, or an integer: their
            shorter side. `None`: the size of the frames in the shards.
        test_scale: The share of a frame's shorter side that a test view shows, resized to
            `crop_size`. 7/8 in both papers.
    """

    stream: str = "rgb"
    segments: int = 0
    frames: int = 16
    frame_stride: int = 1
    crop_size: int | tuple[int, int] = 112
    mean: tuple[float, ...] | None = None
    std: float | tuple[float, ...] = 1.0
    flow_as_channels: bool = True
    frame_size: int | tuple[int, int] | None = None
    test_scale: float = TEST_SCALE

    def __post_init__(self):
        check_choice("stream", self.stream, tuple(MEAN))
        check_integer("segments", self.segments, min_value=0)
        check_integer("frames", self.frames, min_value=1)
        check_integer("frame_stride", self.frame_stride, min_value=1)
        size = self.crop_size if _is_sequence(self.crop_size) else (self.crop_size,) * 2
        mean = MEAN[self.stream] if self.mean is None else self.mean
        std = self.std if _is_sequence(self.std) else (self.std,) * self.channels
        for name, numbers, above in (("mean", mean, None), ("std", std, 0)):
            check_numbers(name, numbers, above=above)
            if len(numbers) != self.channels:
                raise ValueError(
                    f"`{name}` must have a number for each of the {self.channels} channels of "
                    f"stream={self.stream!r}. Received: {name}={tuple(numbers)}"
                )
        check_number("test_scale", self.test_scale, above=0, max_value=1)
        values = {
            "crop_size": _check_size("crop_size", size),
            "mean": tuple(map(float, mean)),
            "std": tuple(map(float, std)) if _is_sequence(self.std) else float(self.std),
            "frame_size": _check_size("frame_size", self.frame_size),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def channels(self) -> int:
        """Channels of a frame or field."""
        return len(MEAN[self.stream])

    @property
    def num_frames(self) -> int:
        """Frames of a sample, over all segments."""
        return max(self.segments, 1) * self.frames

    @property
    def has_stacks(self) -> bool:
        """Whether the fields of a snippet are channels of one image."""
        return self.stream == "flow" and self.segments > 0 and self.flow_as_channels

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a sample: a model's input without the batch.

        - `(frames, height, width, channels)` for a clip,
        - `(segments, height, width, channels)` for snippets of one frame,
        - `(segments, frames, height, width, channels)` for longer snippets,
        - `(segments, height, width, 2 * frames)`, x1, y1, x2, y2, ..., for stacks of flow.
        """
        height, width = self.crop_size  # type: ignore[misc]  # a pair after __post_init__
        if self.has_stacks:
            return (self.segments, height, width, 2 * self.frames)
        segments = (self.segments,) if self.segments else ()
        frames = (self.frames,) if self.frames > 1 or not self.segments else ()
        return (*segments, *frames, height, width, self.channels)

    def with_frame_size(self) -> ClipSpec:
        """This spec; without a `frame_size`, with one whose test view has `crop_size` pixels."""
        if self.frame_size is not None:
            return self
        shorter = max(round(min(self.shape[-3:-1]) / self.test_scale), 1)
        warnings.warn(
            f"`clip` has no `frame_size`: frames are resized to a shorter side of {shorter} and "
            "keep their aspect. If the shards hold frames of another aspect than the videos, give "
            "the `clip` of `train_dataset(...)`, which has their size.",
            stacklevel=3,
        )
        return dataclasses.replace(self, frame_size=shorter)

    def check_model(self, model: keras.Model) -> None:
        """Raise a `ValueError` if a Keras model does not take samples of this shape."""
        if tuple(model.input_shape[1:]) != self.shape:
            raise ValueError(
                f"`model` must take samples of the shape of `clip`, {self.shape}. "
                f"Received: input_shape={model.input_shape} with {self}"
            )

    def to_json(self) -> dict:
        """Its values as a dict that JSON can hold."""
        values = dataclasses.asdict(self).items()
        return {k: list(value) if isinstance(value, tuple) else value for k, value in values}

    @classmethod
    def from_json(cls, values: dict) -> ClipSpec:
        """The `ClipSpec` of a dict of `to_json`; other keys are ignored.

        Raises:
            ValueError: If the dict lacks a key, or a value is out of range.
        """
        missing = [key for key in _REQUIRED if not isinstance(values, dict) or key not in values]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        names = [field.name for field in dataclasses.fields(cls)]
        clip = cls(**{name: values[name] for name in names if name in values})
        if "test_scale" not in values and clip.frame_size is not None:
            # Older exports lack this key and cut `crop_size` pixels of a frame.
            size = clip.frame_size
            shorter = size if isinstance(size, int) else min(size)
            scale = min(1.0, min(clip.shape[-3:-1]) / shorter)
            clip = dataclasses.replace(clip, test_scale=scale)
        return clip


def _is_sequence(value):
    return hasattr(value, "__len__") and not isinstance(value, str)


def _check_size(name, size):
    """A pair of integers as a tuple, an integer, or `None`."""
    if size is None:
        return None
    if not _is_sequence(size):
        return check_integer(name, size, min_value=1)
    if len(size) != 2:
        raise ValueError(f"`{name}` must be an integer, or (height, width). Received: {size!r}")
    return tuple(check_integer(name, side, min_value=1) for side in size)
