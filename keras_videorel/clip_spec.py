"""`ClipSpec`: how a sample is taken from a video."""

from __future__ import annotations

import dataclasses
import typing
import warnings

from keras_videorel.checks import check_choice, check_integer, check_number, check_numbers

if typing.TYPE_CHECKING:
    import keras

# Mean of each channel, by stream. The level of flow at rest is in the middle of 0 to 255.
MEAN = {"rgb": (123.0, 117.0, 104.0), "flow": (127.5, 127.5)}
# The share of a frame's shorter side that a test view shows: 112 of 128 pixels in ARTNet (Sec.
# 3.3), 224 of 256 in the relational LSTM (Sec. 5.2).
TEST_SCALE = 0.875
_REQUIRED = ("segments", "frames", "frame_stride", "frame_size", "crop_size")


@dataclasses.dataclass(frozen=True)
class ClipSpec:
    """How a sample is taken from a video: one clip, or one snippet from each of several segments.

    Training, evaluation, export and prediction must sample in the same way, so all of them take
    a `ClipSpec`. An exported model stores it in `export.json`. A `.keras` file does not store it,
    so keep the `ClipSpec` and the class names with the file.

    ```python
    clip = keras_videorel.ClipSpec(frames=8, frame_stride=4, crop_size=48)
    model = keras_videorel.models.ARTNetResNet18("s", input_shape=clip.shape, classes=10)
    longer = dataclasses.replace(clip, frames=16)
    ```

    Args:
        stream: `"rgb"` for frames or `"flow"` for optical flow. Flow field i describes the motion
            from frame i to frame i + 1.
        segments: 0 for a clip. T > 0 divides the video into T equal segments and takes a snippet
            from each.
        frames: Frames (or flow fields) in a clip or snippet.
        frame_stride: Step from one frame of a clip to the next.
        crop_size: Height and width of a sample in pixels: an integer or a pair.
        mean: Number to subtract from each channel, (R, G, B) or (x, y). Default: `MEAN[stream]`.
        std: Number to divide the channels by, or one number per channel.
        flow_as_channels: Whether the flow fields of a snippet become the channels of one image
            (two-stream networks; relational LSTM, Sec. 3) or stay a clip (ARTNet).
        frame_size: `(height, width)` of the frames before cropping, or an integer for the shorter
            side. `None` takes the size of the frames in the shards.
        test_scale: Share of a frame's shorter side that a test view shows. The view is resized to
            `crop_size`. Both papers use 7/8.
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
        """Frames of a sample, summed over the segments."""
        return max(self.segments, 1) * self.frames

    @property
    def has_stacks(self) -> bool:
        """Whether the flow fields of a snippet are the channels of one image."""
        return self.stream == "flow" and self.segments > 0 and self.flow_as_channels

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a sample, which is the input shape of a model without the batch axis.

        - `(frames, height, width, channels)` for a clip,
        - `(segments, height, width, channels)` for snippets of one frame,
        - `(segments, frames, height, width, channels)` for longer snippets,
        - `(segments, height, width, 2 * frames)` for stacked flow, with channels x1, y1, x2, y2...
        """
        height, width = self.crop_size  # type: ignore[misc]  # a pair after __post_init__
        if self.has_stacks:
            return (self.segments, height, width, 2 * self.frames)
        segments = (self.segments,) if self.segments else ()
        frames = (self.frames,) if self.frames > 1 or not self.segments else ()
        return (*segments, *frames, height, width, self.channels)

    def with_frame_size(self) -> ClipSpec:
        """This spec with a `frame_size`. The default makes a test view `crop_size` pixels large."""
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
        """Raise a `ValueError` if the input shape of `model` is not the shape of a sample."""
        if tuple(model.input_shape[1:]) != self.shape:
            raise ValueError(
                f"`model` must take samples of the shape of `clip`, {self.shape}. "
                f"Received: input_shape={model.input_shape} with {self}"
            )

    def to_json(self) -> dict:
        """The fields as a dict that JSON can store."""
        values = dataclasses.asdict(self).items()
        return {k: list(value) if isinstance(value, tuple) else value for k, value in values}

    @classmethod
    def from_json(cls, values: dict) -> ClipSpec:
        """Make a `ClipSpec` from a dict of `to_json`. Unknown keys are ignored.

        Raises:
            ValueError: If a key is missing or a value is out of range.
        """
        missing = [key for key in _REQUIRED if not isinstance(values, dict) or key not in values]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        names = [field.name for field in dataclasses.fields(cls)]
        clip = cls(**{name: values[name] for name in names if name in values})
        if "test_scale" not in values and clip.frame_size is not None:
            # Older exports lack this key. They cropped `crop_size` pixels without resizing.
            size = clip.frame_size
            shorter = size if isinstance(size, int) else min(size)
            scale = min(1.0, min(clip.shape[-3:-1]) / shorter)
            clip = dataclasses.replace(clip, test_scale=scale)
        return clip


def _is_sequence(value):
    return hasattr(value, "__len__") and not isinstance(value, str)


def _check_size(name, size):
    """Return a size as an integer, a tuple of two integers, or `None`."""
    if size is None:
        return None
    if not _is_sequence(size):
        return check_integer(name, size, min_value=1)
    if len(size) != 2:
        raise ValueError(f"`{name}` must be an integer, or (height, width). Received: {size!r}")
    return tuple(check_integer(name, side, min_value=1) for side in size)
