"""Tiny shards for tests, written without the package's own writer."""

import json

import cv2
import numpy as np
import tensorflow as tf


def gray_video(frames, size, first=0, step=4):
    """Frames whose gray level tells their number: `first + step * index`."""
    levels = first + step * np.arange(frames)
    return np.broadcast_to(levels[:, None, None, None], (frames, *size, 3)).astype(np.uint8)


def moving_square(frames, size, label, rng):
    """A bright square that moves right (label 0) or left (label 1)."""
    video = np.full((frames, *size, 3), 60, np.uint8) + rng.integers(0, 9, 3).astype(np.uint8)
    top, left = rng.integers(0, size[0] - 10), rng.integers(0, size[1])
    for i, frame in enumerate(video):
        x = (left + (1 if label == 0 else -1) * 2 * i) % size[1]
        frame[top : top + 10, x : x + 10] = 230
    return video


def write_shards(folder, splits, labels, size):
    """Write shards.

    Args:
        folder: A `pathlib.Path`.
        splits: Dict from split to a list of `(frames, label)`, frames uint8 RGB.
        labels: Names of the classes.
        size: `(height, width)` of the frames.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split, videos in splits.items():
        paths = [str(folder / f"{split}-{i:05d}-of-00002.tfrecord") for i in range(2)]
        writers = [tf.io.TFRecordWriter(path) for path in paths]
        for number, (frames, label) in enumerate(videos):
            example = tf.train.SequenceExample()
            context = example.context.feature
            context["clip/label/index"].int64_list.value.append(label)
            context["clip/data_path"].bytes_list.value.append(f"{split}/{number}.mp4".encode())
            jpegs = example.feature_lists.feature_list["image/encoded"]
            for frame in frames:
                jpeg = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1]
                jpegs.feature.add().bytes_list.value.append(jpeg.tobytes())
            writers[number % 2].write(example.SerializeToString())
        for writer in writers:
            writer.close()
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    info = {
        "options": {"size": size, "short_side": None},
        "splits": {split: {"clips": len(videos)} for split, videos in splits.items()},
    }
    (folder / "dataset.json").write_text(json.dumps(info))
    return folder


def two_classes(folder, train=32, test=8, frames=20, size=(28, 36)):
    """Shards of squares that move to the right or to the left."""
    rng = np.random.default_rng(0)
    splits = {
        split: [(moving_square(frames, size, i % 2, rng), i % 2) for i in range(count)]
        for split, count in (("train", train), ("test", test))
    }
    return write_shards(folder, splits, ["right", "left"], size)
