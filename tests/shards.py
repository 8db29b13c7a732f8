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


def write_shards(folder, splits, labels, size, shards=2):
    """Write shards.

    Args:
        folder: A `pathlib.Path`.
        splits: Dict from split to a list of `(frames, label)`, frames uint8 RGB; or `(frames,
            label, flow)`, flow levels uint8 `(frames, height, width, 2)` or None; or `(frames,
            label, flow, folds)`, the split in each fold.
        labels: Names of the classes.
        size: `(height, width)` of the frames.
        shards: Number of shards of each split, which take the videos in turn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    has_flow, official = False, {}
    for split, videos in splits.items():
        paths = [str(folder / f"{split}-{i:05d}-of-{shards:05d}.tfrecord") for i in range(shards)]
        writers = [tf.io.TFRecordWriter(path) for path in paths]
        for number, video in enumerate(videos):
            frames, label, *more = video
            flow, folds = (*more, *(None, ())[len(more) :])
            example = tf.train.SequenceExample()
            context = example.context.feature
            context["clip/label/index"].int64_list.value.append(label)
            context["clip/data_path"].bytes_list.value.append(f"{split}/{number}.mp4".encode())
            lists = example.feature_lists.feature_list
            for frame in frames:
                lists["image/encoded"].feature.add().bytes_list.value.append(jpeg(frame))
            if flow is not None:
                has_flow = True
                for field in flow:
                    picture = np.dstack([field, np.full(field.shape[:2], 128, np.uint8)])
                    feature = lists["FORWARD_FLOW/image/encoded"].feature.add()
                    feature.bytes_list.value.append(jpeg(picture))
            context["clip/splits"].bytes_list.value.extend(split.encode() for split in folds)
            for fold, own in enumerate(folds, 1):
                counts = official.setdefault(str(fold), {})
                counts[own] = counts.get(own, 0) + 1
            writers[number % shards].write(example.SerializeToString())
        for writer in writers:
            writer.close()
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    info = {
        "schema_version": 2,
        "options": {
            "size": size,
            "short_side": None,
            "flow": "tvl1" if has_flow else "none",
            "split": 1,
        },
        "splits": {split: {"clips": len(videos)} for split, videos in splits.items()},
    }
    if official:
        info["official_splits"] = official
    (folder / "dataset.json").write_text(json.dumps(info))
    return folder


def jpeg(picture):
    """An RGB picture as a JPEG that loses next to nothing, bytes."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 100]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", picture[..., ::-1], options)[1].tobytes()


def two_classes(folder, train=32, test=8, frames=20, size=(28, 36)):
    """Shards of squares that move to the right or to the left."""
    rng = np.random.default_rng(0)
    splits = {
        split: [(moving_square(frames, size, i % 2, rng), i % 2) for i in range(count)]
        for split, count in (("train", train), ("test", test))
    }
    return write_shards(folder, splits, ["right", "left"], size)
