"""Samples for int8 calibration and for comparing a file with its model."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from keras_videorel.clip_spec import ClipSpec
from keras_videorel.data import rendering, sampling, transforms, video

NUM_SAMPLES = 64


def as_samples(source: Iterable[np.ndarray] | tf.data.Dataset | None) -> list[np.ndarray]:
    """Return samples `(1, ...)` of an iterable, or the first samples of a dataset of batches."""
    if source is None:
        return []
    if isinstance(source, tf.data.Dataset):
        return [x.numpy()[np.newaxis] for x, _ in source.unbatch().take(NUM_SAMPLES)]
    return [np.asarray(sample, np.float32) for sample in source]


def read_samples(path: str | os.PathLike, clip: ClipSpec, clips: int) -> np.ndarray:
    """Read samples of a video file, float32 `(count, *clip.shape)`.

    Raises:
        ValueError: If the file cannot be decoded, or `clip` is for optical flow.
    """
    if clip.stream != "rgb":
        raise ValueError("videos have frames, and this model takes optical flow")
    indices = sampling.distinct_samples(video.count_frames(path, threads=0), clips, clip).numpy()
    frames = video.read_frames(path, indices.ravel(), clip.frame_size, threads=0)
    return transforms.join_frames(transforms.prepare_frames(frames, clip), clip.shape).numpy()


def rendered_samples(clip: ClipSpec) -> list[np.ndarray]:
    """Return samples `(1, *clip.shape)` of rendered videos. Only RGB: they hardly have flow."""
    if clip.stream != "rgb":
        raise ValueError(
            "`calibration` must be given for tflite_int8 of optical flow. Received: None"
        )
    found = []
    for index in range(NUM_SAMPLES // 2):
        label = rendering.CLASSES[index % len(rendering.CLASSES)]
        frames = rendering.render_clip(label, "train", index, seed=0)
        indices = sampling.uniform_samples(len(frames), 1, clip).numpy()
        prepared = transforms.prepare_frames(frames[indices[0]], clip)
        found.append(transforms.join_frames(prepared, clip.shape).numpy())
    return found
