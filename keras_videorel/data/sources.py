"""Lists of labelled videos, from folders and from tables."""

import csv
import hashlib
import io
import math
import os
from typing import NamedTuple

from keras_videorel import files

SPLITS = ("train", "test")
EXTENSIONS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v")
COLUMNS = ("path", "label", "split")


class Video(NamedTuple):
    """A labelled video file.

    Attributes:
        path: Path relative to the folder of the data set, with forward slashes, or absolute. It
            identifies the clip.
        label: Name of its class.
        split: `"train"` or `"test"`; in a data set of several official splits the side in the one
            that shards are named by, which may be `"unused"`.
        splits: Its side in each official split; empty where there is one split only.
    """

    path: str
    label: str
    split: str
    splits: tuple = ()


def read_folder(videos, test_fraction=None, seed=0):
    """List the videos of `videos/{train,test}/LABEL/` or of `videos/LABEL/`.

    Files count as videos by their extension (`EXTENSIONS`, in any case); hidden files do not.

    Args:
        videos: The folder.
        test_fraction: For `videos/LABEL/` only, and needed there: part of each class that goes to
            the test split, in [0, 1). A class of at least two videos gets at least one on each
            side, unless the fraction is 0.
        seed: Seed of that choice. A file's side depends on the names of its class only.

    Returns:
        A list of `Video`, sorted by path.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no videos, or is laid out in another way.
    """
    videos = check_folder(videos)
    children = _folders(videos)
    # A class may be called "train", too: then its folder holds videos, not classes.
    split_layout = any(name in SPLITS for name in children) and not any(
        _videos(os.path.join(videos, name)) for name in children if name in SPLITS
    )
    if split_layout:
        if test_fraction is not None:
            raise ValueError(
                f"`test_fraction` is for videos in {_shown(videos, 'LABEL')}, but this folder is "
                f"split into {' and '.join(n for n in children if n in SPLITS)} already: leave it "
                f"out. Received: {test_fraction}"
            )
        others = [n for n in children if n not in SPLITS and _any_video(os.path.join(videos, n))]
        if others:
            raise ValueError(
                f"`videos` must hold the splits train and test only. Received: {videos!r} with "
                f"{', '.join(others)}; rename or move that folder"
            )
        roots = {split: split for split in SPLITS if split in children}
    else:
        if test_fraction is None and any(_any_video(os.path.join(videos, n)) for n in children):
            raise ValueError(
                f"`test_fraction` is needed, for example 0.3, because {videos!r} has no train/ "
                "and test/ folders"
            )
        if test_fraction is not None and not 0 <= test_fraction < 1:
            raise ValueError(f"`test_fraction` must be in [0, 1). Received: {test_fraction}")
        roots = {None: ""}

    found = []
    for split, root in roots.items():
        _refuse_misplaced(videos, root)
        for label in _folders(os.path.join(videos, root)):
            folder = "/".join(filter(None, (root, label)))
            paths = [f"{folder}/{name}" for name in _videos(os.path.join(videos, folder))]
            if split is None:
                tests = _draw(paths, test_fraction, seed)
                found += [Video(p, label, "test" if p in tests else "train") for p in paths]
            else:
                found += [Video(path, label, split) for path in paths]
    if not found:
        raise ValueError(
            f"`videos` must hold {_shown('DIR', '{train,test}/LABEL')} or "
            f"{_shown('DIR', 'LABEL')} ({', '.join(EXTENSIONS)}). Received: {videos!r}, "
            "with no videos in such folders"
        )
    return sorted(found)


def read_csv(annotations, videos):
    """List the videos of a table with the columns `path`, `label` and `split`.

    Paths are absolute or relative to `videos`. More columns are ignored. The splits are `train`
    and `test`; there is no validation split, so a table has to say what becomes of such rows. A
    file that does not exist is listed here and rejected later, with its reason.

    Args:
        annotations: The CSV file, UTF-8 with or without a byte order mark.
        videos: The folder that relative paths start from.

    Returns:
        A list of `Video`, in the order of the table.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If the table is none of that kind, or lists a file twice.
    """
    videos, annotations = check_folder(videos), os.fspath(annotations)
    if not files.exists(annotations) or files.is_folder(annotations):
        raise FileNotFoundError(
            "`annotations` must be a CSV file with the columns path, label and split. "
            f"Received: {annotations!r}, which is no file"
        )
    found, lines = [], {}
    try:
        text = files.read_bytes(annotations).decode("utf-8-sig")
        rows = csv.reader(io.StringIO(text, newline=""))
        header = [name.strip() for name in next(rows, [])]
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise ValueError(
                f"`annotations` must have the columns path, label and split. Received: "
                f"{annotations!r} with the first line {','.join(header)[:100]!r}"
            )
        columns = [header.index(name) for name in COLUMNS]
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            place = f"{annotations!r}, line {rows.line_num}"
            if len(row) <= max(columns):
                raise ValueError(
                    f"`annotations` must have a path, a label and a split in each line. "
                    f"Received: {','.join(row)[:100]!r} in {place}"
                )
            video = Video(*(row[column].strip() for column in columns))
            _check_row(video, place)
            file_path = os.path.normpath(os.path.join(videos, video.path))
            if file_path in lines:
                raise ValueError(
                    f"`annotations` must list each file once. Received: {video.path!r} in "
                    f"line {lines[file_path]} and again in {place}"
                )
            lines[file_path] = rows.line_num
            found.append(video)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`annotations` must be UTF-8 text. Received: {annotations!r} ({error.reason} at "
            f"byte {error.start}); save it as UTF-8"
        ) from None
    except csv.Error as error:
        raise ValueError(
            f"`annotations` must be a CSV file. Received: {annotations!r} ({error})"
        ) from None
    if not found:
        raise ValueError(f"`annotations` lists no videos. Received: {annotations!r}")
    return found


def label_names(videos):
    """Names of the classes, in index order.

    Args:
        videos: A list of `Video`.

    Returns:
        The labels of the training split, sorted.

    Raises:
        ValueError: If there is no training video, or a label that only the test split has.
    """
    labels = {split: {v.label for v in videos if v.split == split} for split in SPLITS}
    if not labels["train"]:
        raise ValueError(f"`videos` must have a train split. Received: {len(videos)} test videos")
    unknown = sorted(labels["test"] - labels["train"])
    if unknown:
        raise ValueError(
            f"`videos` has labels in the test split that no training video has: "
            f"{', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''}; add training videos "
            "or leave those labels out"
        )
    return sorted(labels["train"])


def shuffled(videos, seed):
    """Videos, or paths, in an order that depends on their paths and the seed only."""

    def key(video):
        path = video if isinstance(video, str) else video.path
        return hashlib.sha256(f"{seed}/{path}".encode("utf-8", "surrogateescape")).digest()

    return sorted(videos, key=key)


def _draw(paths, fraction, seed):
    """The test part of a class."""
    count = math.floor(fraction * len(paths) + 0.5)
    if fraction > 0 and len(paths) > 1:
        count = min(max(count, 1), len(paths) - 1)
    return set(shuffled(paths, seed)[: min(count, len(paths) - 1)])


def _check_row(video, place):
    if not video.path or not video.label:
        raise ValueError(
            f"`annotations` must give each video a path and a label. Received: path "
            f"{video.path!r}, label {video.label!r} in {place}"
        )
    if video.label.splitlines() != [video.label]:
        raise ValueError(f"a label must be one line. Received: {video.label!r} in {place}")
    if video.split not in SPLITS:
        raise ValueError(
            f"`split` must be train or test. Received: {video.split!r} in {place}; rename it or "
            "leave those lines out"
        )


def check_folder(videos):
    """`videos`, which must be a folder.

    Raises:
        FileNotFoundError: If it is none.
    """
    videos = os.fspath(videos)
    if not files.is_folder(videos):
        what = "a file" if files.exists(videos) else "which does not exist"
        raise FileNotFoundError(
            f"`videos` must be the folder of the videos. Received: {videos!r}, {what}"
        )
    return videos


def _shown(folder, inner):
    return f"{folder}/{inner}/*.mp4"


def _folders(folder):
    _, folders, _ = next(files.walk(folder))
    return sorted(name for name in folders if not name.startswith("."))


def _videos(folder):
    """Names of the videos in a folder, sorted."""
    _, _, names = next(files.walk(folder))
    return sorted(n for n in names if n.lower().endswith(EXTENSIONS) and not n.startswith("."))


def _any_video(folder):
    return bool(_videos(folder)) or any(
        _any_video(os.path.join(folder, name)) for name in _folders(folder)
    )


def _refuse_misplaced(videos, root):
    """Videos that a layout has no place for would be left out in silence."""
    folder = os.path.join(videos, root)
    misplaced = [os.path.join(root, name) for name in _videos(folder)]
    for label in _folders(folder):
        try:
            label.encode()
        except UnicodeEncodeError:
            raise ValueError(f"a label must be UTF-8 text. Received: folder {label!r}") from None
        if label.splitlines() != [label]:
            raise ValueError(f"a label must be one line. Received: folder {label!r}")
        misplaced += [
            os.path.join(root, label, name)
            for name in _folders(os.path.join(folder, label))
            if _any_video(os.path.join(folder, label, name))
        ]
    if misplaced:
        raise ValueError(
            f"`videos` must hold the videos of a class directly in its folder LABEL/. Received: "
            f"{misplaced[0]!r} in {videos!r}" + (", and more" if len(misplaced) > 1 else "")
        )
