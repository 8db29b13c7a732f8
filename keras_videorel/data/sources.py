"""Labelled videos, as every kind of data set lists them: clips, and names of their classes."""

import os
from typing import NamedTuple

from keras_videorel import files
from keras_videorel.data import pictures
from keras_videorel.data.manifest import SPLITS

# By what they are called in tables and folders.
SPLITS_BY_NAME = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class Video(NamedTuple):
    """A labelled video: a file, a segment of one, or a folder of pictures.

    Attributes:
        path: Path relative to the folder of the data set, with forward slashes, or absolute.
        label: Name of its class.
        split: `"train"`, `"val"` or `"test"`; `"unused"` if the fold does not use it.
        splits: Its split in each fold; empty where there is one fold only.
        start: Where the segment begins, in seconds after the first frame; None for the beginning.
        end: Where the segment ends, likewise.
    """

    path: str
    label: str
    split: str
    splits: tuple = ()
    start: float | None = None
    end: float | None = None

    @property
    def name(self):
        """What identifies the clip: its path, of a segment with `#t=START,END` behind it."""
        if self.start is None and self.end is None:
            return self.path
        start, end = ("" if time is None else f"{time:.10g}" for time in (self.start, self.end))
        return f"{self.path}#t={start or 0}" + (f",{end}" if end else "")


class DataSet(NamedTuple):
    """What annotations and a folder of videos come to.

    Attributes:
        videos: List of `Video`: those that are there.
        labels: Names of the classes in index order; None for those of training, in natural order.
        rejected: List of `(path, reason)`: what is listed and cannot be used.
        warnings: List of sentences: what the user should know.
        listed: Dict from names of videos to those that `rejected` would call them by, where these
            differ.
        drawn: Whether splits were drawn. What is drawn depends on which files there are.
    """

    videos: list
    labels: list | None = None
    rejected: list | tuple = ()
    warnings: list | tuple = ()
    listed: dict | None = None
    drawn: bool = False


def label_names(videos):
    """Names of the classes in index order: the labels of the training split in natural order.

    Raises:
        ValueError: If there is no training video, or a label that only another split has.
    """
    labels = {split: {v.label for v in videos if v.split == split} for split in SPLITS}
    if not labels["train"]:
        others = " and ".join(split for split in SPLITS if labels[split])
        raise ValueError(
            f"`videos` must have a train split. Received: {len(videos)} {others} videos"
        )
    for split in SPLITS[1:]:
        unknown = sorted_labels(labels[split] - labels["train"])
        if unknown:
            raise ValueError(
                f"`videos` has labels in the {split} split that no training video has: "
                f"{', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''}; add training "
                "videos or leave those labels out"
            )
    return sorted_labels(labels["train"])


def sorted_labels(labels):
    """Labels in natural order: whole numbers as numbers."""
    return sorted(labels, key=pictures.natural)


def check_label(label, place):
    """A label in its one spelling; a `ValueError` if it is not text of one line."""
    try:
        label.encode()
    except UnicodeEncodeError:
        raise ValueError(f"a label must be UTF-8 text. Received: {place}") from None
    if label.splitlines() != [label]:
        raise ValueError(f"a label must be one line. Received: {place}")
    return pictures.normalized(label)


def with_labels(data, labels):
    """A data set with the classes of `labels`, in their order and spelling."""
    spelling = {pictures.normalized(label): label for label in labels}
    videos = [
        v._replace(label=spelling.get(pictures.normalized(v.label), v.label)) for v in data.videos
    ]
    return data._replace(videos=videos, labels=list(labels))


def check_folder(videos):
    """`videos`, or a `FileNotFoundError` if that is not a folder."""
    videos = os.fspath(videos)
    if not files.is_folder(videos):
        what = "a file" if files.exists(videos) else "which does not exist"
        raise FileNotFoundError(
            f"`videos` must be the folder of the videos. Received: {videos!r}, {what}"
        )
    return videos
