"""How an exported model takes its samples from frames: the settings, and what they do."""

import dataclasses

import numpy as np
import tensorflow as tf

from keras_videorel.checks import check_integer, check_numbers
from keras_videorel.data import pipeline, sampling, transforms, video


@dataclasses.dataclass(frozen=True)
class Samples:
    """Settings of the samples of a model, as `export.json` holds them; see `samples_of`.

    Attributes:
        labels: Names of the classes, in index order.
        stream: `"rgb"`, or `"flow"`.
        segments: 0 for clips; T for a snippet of each of T segments.
        frames: Frames, or fields, of a clip or snippet.
        frame_stride: Step between them.
        frame_size: `(height, width)` that frames are resized to, or their shorter side.
        clips: Clips, or groups of snippets, that are averaged over a video.
        crop_size: `(height, width)` of the view in the center.
        test_scale: The share of a frame that the view shows, see `transforms.view_boxes`.
        mean: Mean of the channels, subtracted.
        std: What they are then divided by.
        shape: Shape of a sample: what the model takes, without the batch.
    """

    labels: tuple
    stream: str
    segments: int
    frames: int
    frame_stride: int
    frame_size: tuple | int
    clips: int
    crop_size: tuple
    test_scale: float
    mean: tuple
    std: float
    shape: tuple

    @property
    def channels(self):
        """Channels of a frame or field."""
        return len(self.mean)

    @property
    def sampled(self):
        """Frames of a sample."""
        return max(self.segments, 1) * self.frames

    def settings(self):
        """What `export.json` tells of them, a dict."""
        settings = dataclasses.asdict(self)
        return {key: value for key, value in settings.items() if key not in ("labels", "shape")}

    def indices(self, num_frames):
        """Frames of a video's samples, int32 `(count, sampled)`.

        A short video has room for fewer different samples than `clips`.
        """
        taken = self.segments, self.frames, self.frame_stride
        count = tf.minimum(self.clips, sampling.max_samples(num_frames, *taken))
        return sampling.uniform_samples(num_frames, count, *taken)

    def prepare(self, images):
        """Frames as the network takes them: resized, cropped in the center, normalized.

        Args:
            images: uint8 `(count, height, width, channels)`.

        Returns:
            float32 `(count, *crop_size, channels)`.
        """
        return transforms.prepare_frames(
            images, self.stream, self.frame_size, self.crop_size, self.mean, self.std,
            self.test_scale,
        )  # fmt: skip

    def read(self, path):
        """Samples of a video file, float32 `(count, *shape)`.

        Raises:
            ValueError: If it cannot be decoded, or the samples are of optical flow.
        """
        if self.stream != "rgb":
            raise ValueError("videos have frames, and this model takes optical flow")
        indices = self.indices(video.count_frames(path, threads=0)).numpy()
        frames = video.read_frames(path, indices.ravel(), self.frame_size, threads=0)
        return self.join(self.prepare(frames)).numpy()

    def join(self, prepared, shape=None):
        """Prepared frames, one sample after the other, as samples.

        Args:
            prepared: float32 `(count * sampled, *crop_size, channels)`.
            shape: Shape of what is joined, `shape` of a sample by default; of a snippet
                `shape[1:]`.

        Returns:
            float32 `(count, *shape)`.
        """
        return transforms.join_frames(prepared, self.shape if shape is None else shape, self.stream)


def samples_of(
    model, labels, *, stream, frame_size, clips, segments, frame_stride, test_scale, mean, std
):
    """The settings of a model's samples, checked.

    Args:
        model: A `keras.Model` from samples, as `data.pipeline.sample_shape` has them, to classes.
        labels: Names of the classes, or `None` for their numbers.
        stream: See `export_saved_model`, as for the others.
        frame_size: Size of whole frames.
        clips: Samples of a video.
        segments: 0 or T.
        frame_stride: Step between frames.
        test_scale: Share of a frame that a view shows.
        mean: Mean of the channels.
        std: Their standard deviation.

    Returns:
        A `Samples`.

    Raises:
        ValueError: If the labels, `stream` or `segments` do not fit the model or the mean the
            stream, or a number is out of its range.
    """
    classes = model.output_shape[-1]
    labels = tuple(map(str, range(classes) if labels is None else labels))
    if len(labels) != classes:
        raise ValueError(
            f"`labels` must name each of the model's {classes} classes. Received: {len(labels)}"
        )
    channels = pipeline.sample_shape(0, 1, 1, stream)[-1]
    frames, height, width = _sample_size(model, segments, stream)
    mean = tuple(check_numbers("mean", mean))
    check_numbers("std", std if np.ndim(std) else [std], above=0)
    if len(mean) != channels:
        raise ValueError(
            f"`mean` must have a number for each of the {channels} channels. Received: mean={mean}"
        )
    transforms.check_test_scale(test_scale)
    check_integer("clips", clips, min_value=1)
    check_integer("frame_stride", frame_stride, min_value=1)
    if isinstance(frame_size, int):
        check_integer("frame_size", frame_size, min_value=1)
    else:
        if np.shape(frame_size) != (2,):
            raise ValueError(
                "`frame_size` must be (height, width), or the shorter side. "
                f"Received: frame_size={frame_size!r}"
            )
        frame_size = tuple(check_integer("frame_size", side, min_value=1) for side in frame_size)
    shape = tuple(model.input_shape[1:])
    return Samples(
        labels, stream, segments, frames, frame_stride, frame_size, clips, (height, width),
        test_scale, mean, std, shape,
    )  # fmt: skip


# What a model takes, by stream and whether there are segments.
_SHAPES = {
    ("rgb", False): "(frames, height, width, 3)",
    ("rgb", True): "(T, [frames,] height, width, 3)",
    ("flow", False): "(frames, height, width, 2)",
    ("flow", True): "(T, height, width, 2 * frames) or (T, frames, height, width, 2)",
}


def _sample_size(model, segments, stream):
    """Frames of a clip or snippet, height and width of a model's input."""
    shape = tuple(model.input_shape[1:])
    if None in shape:
        raise ValueError(
            f"`model` must have a known input shape. Received: input_shape={model.input_shape}"
        )
    size = shape[-3:-1]
    images = len(shape) == 4  # or clips
    if stream == "flow" and segments and images:
        frames = shape[-1] // 2
    else:
        frames = shape[-4] if len(shape) == (5 if segments else 4) else 1
    if len(size) < 2 or shape != pipeline.sample_shape(segments, frames, size, stream, images):
        of_segments = ", T the number of segments" if segments else ""
        raise ValueError(
            f"`model` must take samples {_SHAPES[stream, segments > 0]}{of_segments}. Received: "
            f"input_shape={model.input_shape} with segments={segments}, stream={stream!r}"
        )
    return frames, *size
