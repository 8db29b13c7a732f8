"""Label video files with an exported model."""

import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_videorel.data import flow, sampling, video
from keras_videorel.files import read_json


class Prediction(NamedTuple):
    """What a model says of a video.

    Attributes:
        path: The video file.
        labels: Names of the most probable classes, best first.
        probabilities: Their probabilities.
        frames: Number of frames that decoded.
    """

    path: str
    labels: list
    probabilities: list
    frames: int


class Predictor:
    """An exported model, ready for video files.

    Args:
        path: A folder written by `export`.

    Raises:
        FileNotFoundError: If it is none.
        ValueError: If it is one of an older version.
    """

    def __init__(self, path):
        manifest = os.path.join(path, "export.json")
        if not os.path.exists(manifest):
            raise FileNotFoundError(
                f"{path!r} is no exported model (no export.json): make one with `videorel export`"
            )
        self.settings = read_json(manifest)
        self._model = tf.saved_model.load(path)  # holds the variables of the signatures
        if "clips" not in self._model.signatures:
            raise ValueError(f"{path!r} was exported by an older version: export it again")
        self._score = self._model.signatures["clips"]
        names = self._model.signatures["labels"]()["labels"].numpy()
        self.labels = [name.decode() for name in names]

    def __call__(self, path, top=5):
        """Label one video.

        The file is decoded twice, once to count its frames and once for those that are needed,
        so memory does not grow with its length. For a model of optical flow, that of these frames
        is estimated on the way (DIS).

        Args:
            path: A video file.
            top: Number of classes to return.

        Returns:
            A `Prediction`.

        Raises:
            ValueError: If the file is no video that can be decoded.
        """
        settings = self.settings
        frames = video.count_frames(path, threads=0)
        taken = settings["segments"], settings["frames"], settings["frame_stride"]
        count = min(settings["clips"], int(sampling.most_samples(frames, *taken)))
        indices = sampling.uniform_samples(frames, count, *taken).numpy()
        size = settings["frame_size"]
        size = size if isinstance(size, int) else tuple(size)
        if settings.get("stream") == "flow":  # exports of older versions do not name it
            images = _read_flow(path, indices.ravel(), size, frames)
        else:
            images = video.read_frames(path, indices.ravel(), size, threads=0)
        clips = images.reshape(*indices.shape, *images.shape[1:])
        # Clip by clip: what `serving_default` does for a whole video, in bounded memory.
        logits = [self._score(clips=tf.constant(clip[None]))["logits"][0] for clip in clips]
        probabilities = tf.nn.softmax(tf.reduce_mean(logits, axis=0)).numpy()
        best = np.argsort(-probabilities, kind="stable")[:top]
        return Prediction(
            os.fspath(path),
            [self.labels[i] for i in best],
            [float(probabilities[i]) for i in best],
            frames,
        )


def _read_flow(path, indices, size, num_frames):
    """Flow from some frames of a video to the next, as levels; of no others it is estimated.

    Returns:
        A uint8 array `(len(indices), height, width, 2)`.
    """
    # The last frame repeats the field of the one before, as in shards.
    starts = np.minimum(indices, max(num_frames - 2, 0)).tolist()
    wanted, levels, picture = set(starts), {}, None
    estimate = flow.estimator("dis")
    with video.iter_frames(path, size, threads=0) as reader:
        for index in range(min(max(wanted) + 2, num_frames)):
            if wanted.isdisjoint((index - 1, index)):
                reader.skip()
                continue
            next_picture = flow.grey(next(reader)[1])
            if index - 1 in wanted:
                levels[index - 1] = flow.to_levels(estimate(picture, next_picture))
            picture = next_picture
    if num_frames == 1:
        levels[0] = flow.no_flow(picture.shape)
    return np.stack([levels[start] for start in starts])
