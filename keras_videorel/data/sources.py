"""Labeled videos, as every kind of data set lists them, and the names of their classes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from keras_videorel import files
from keras_videorel.data import pictures
from keras_videorel.data.manifest import SPLITS

# By their names in tables and folders.
SPLITS_BY_NAME = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class Video(NamedTuple):
    """A labeled video: a file, a segment of a file, or a folder of pictures.

    Attributes:
        path: Path relative to the folder of the data set, with forward slashes, or absolute.
        label: Name of its class.
        split: `"train"`, `"val"` or `"test"`; `"unused"` if the fold does not use it.
        splits: Its split in each fold; empty if there is one fold only.
        start: Start of the segment in seconds after the first frame; None for the beginning.
        end: End of the segment, likewise.
    """

    path: str
    label: str
    split: str
    splits: tuple = ()
    start: float | None = None
    end: float | None = None

    @property
    def name(self) -> str:
        """The name of the clip: its path, and `#t=START,END` after it for a segment."""
        if self.start is None and self.end is None:
            return self.path
        start, end = ("" if time is None else f"{time:.10g}" for time in (self.start, self.end))
        return f"{self.path}#t={start or 0}" + (f",{end}" if end else "")


class DataSet(NamedTuple):
    """The videos that annotations list and a folder holds.

    Attributes:
        videos: List of `Video`.
        labels: Names of the classes in index order; None for the training labels in natural order.
        rejected: Pairs `(path, reason)` of what is listed and cannot be used.
        warnings: Sentences for the user.
        drawn: Whether splits were drawn. They depend on which files exist.
    """

    videos: Sequence[Video]
    labels: Sequence[str] | None = None
    rejected: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()
    drawn: bool = False


def label_names(videos: Sequence[Video]) -> list[str]:
    """Names of the classes in index order: the training labels in natural order.

    Raises:
        ValueError: If there is no training video, or only another split has a label.
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


def sorted_labels(labels: Iterable[str]) -> list[str]:
    """Labels in natural order; whole numbers sort as numbers."""
    return sorted(labels, key=pictures.natural)


def check_label(label: str, place: str) -> str:
    """A label in composed Unicode; a `ValueError` if it is not one line of text."""
    try:
        label.encode()
    except UnicodeEncodeError:
        raise ValueError(f"a label must be UTF-8 text. Received: {place}") from None
    if label.splitlines() != [label]:
        raise ValueError(f"a label must be one line. Received: {place}")
    return pictures.normalized(label)


def with_labels(data: DataSet, labels: Sequence[str]) -> DataSet:
    """A data set with the classes `labels`, in their order and spelling."""
    spelling = {pictures.normalized(label): label for label in labels}
    videos = [
        v._replace(label=spelling.get(pictures.normalized(v.label), v.label)) for v in data.videos
    ]
    return data._replace(videos=videos, labels=list(labels))


def check_folder(videos: str | os.PathLike) -> str:
    """`videos` as a string, or a `FileNotFoundError` if it is not a folder."""
    videos = os.fspath(videos)
    if not files.is_folder(videos):
        what = "a file" if files.exists(videos) else "which does not exist"
        raise FileNotFoundError(
            f"`videos` must be the folder of the videos. Received: {videos!r}, {what}"
        )
    return videos
