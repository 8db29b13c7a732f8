"""What describes a folder of shards: `dataset.json` and `labels.txt`, written and read here.

`dataset.json` holds counts and options, and is written last: a folder that has it is finished.
`options.split` there is the fold that the shards were made for.
"""

import os
import re
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

import keras_videorel
from keras_videorel import files

MANIFEST, LABELS = "dataset.json", "labels.txt"
SCHEMA_VERSION = 2
SPLITS = ("train", "val", "test", "unused")
FOLD_SPLITS = ("train", "test", "unused")  # counted in each fold even where there are none
INVISIBLE = re.compile("[\ufeff\u200b]")  # byte order marks inside a text, spaces of no width

_FILES = {split: [f"{split}-?????-of-?????.tfrecord"] for split in SPLITS}


class Manifest(NamedTuple):
    """What a folder of shards holds."""

    path: str  # the folder
    labels: list[str]  # names of the classes, in index order
    frame_size: tuple[int, int] | int | None  # (height, width), or the shorter side of the frames
    clips: dict[str, int]  # number of records of each split
    flow: bool = False  # whether there is optical flow
    # Patterns of the shards of each split. Relative ones start from the folder, and wildcards are
    # in the last part.
    files: dict[str, list[str]] = _FILES
    # 0 if each split has shards of its own; otherwise the number of the fold (official split)
    # whose split each record names.
    fold: int = 0
    keys: dict[str, str] | None = None  # from keys of `records` to the keys of other writers
    compression: str = ""  # of the shards: "GZIP", "ZLIB" or none
    content: dict = {}  # noqa: RUF012  all of dataset.json


def read_manifest(path: str | os.PathLike, fold: int = 0) -> Manifest:
    """Read the `Manifest` of a folder of shards.

    Args:
        path: A folder written by `make-tfrecords`, or one that describes shards of others
            (`inspect-tfrecords --describe`). It may be a remote one, `gs://bucket/folder`.
        fold: Number of the official split to read; 0: the one that the shards were made for.

    Raises:
        FileNotFoundError: If the folder holds no finished shards.
        ValueError: If `dataset.json` is not a valid manifest or has no such fold, or the records
            are of a kind that is not read.
    """
    from keras_videorel.data import records

    path = os.fspath(path)
    content = read_content(path)
    if content.get("schema_version", 1) > SCHEMA_VERSION:
        raise ValueError(
            f"{path!r} holds shards of a newer version ({content.get('library')}): schema_version "
            f"must be at most {SCHEMA_VERSION}. Received: {content['schema_version']}"
        )
    found = manifest_of(path, content, read_class_names(os.path.join(path, LABELS)), fold)
    keys, patterns = content.get("keys"), content.get("files", _FILES)
    frames = (keys or {}).get("frames", records.IMAGE_ENCODED)
    return found._replace(
        keys={records.NAMED[name]: key for name, key in keys.items()} if keys else None,
        compression=shard_compression(path, patterns, frames),
    )


def manifest_of(path: str, content: dict, labels: list[str], fold: int = 0) -> Manifest:
    """The `Manifest` of shards that `make-tfrecords` wrote, from the content of `dataset.json`."""
    options = content["options"]
    size = options["size"] or options["short_side"]
    patterns = content.get("files", _FILES)
    clips = {split: counts["clips"] for split, counts in content["splits"].items()}
    fold = 0 if fold == options.get("split", 1) else fold
    if fold:
        folds = content.get("official_splits", {})
        if str(fold) not in folds:
            there = f"one of {', '.join(sorted(folds))}" if folds else "0, there is one only"
            raise ValueError(
                f"`fold` must be an official split of the shards in {path!r}: {there}. "
                f"Received: fold={fold!r}"
            )
        clips = folds[str(fold)]
        patterns = {split: [*chain(*patterns.values())] for split in clips}
    return Manifest(
        path=path,
        labels=labels,
        frame_size=size if isinstance(size, int) else tuple(size),
        clips=clips,
        flow=options.get("flow", "none") != "none" or "flow" in content.get("keys", {}),
        files=patterns,
        fold=fold,
        content=content,
    )


def read_content(folder: str) -> dict:
    """The content of a folder's `dataset.json`; see `read_manifest` for errors."""
    path = os.path.join(folder, MANIFEST)
    if not files.exists(path):
        raise FileNotFoundError(
            f"{os.fspath(folder)!r} holds no finished shards (no {MANIFEST}): make them with "
            "`videorel make-tfrecords`, or run it again if it was interrupted"
        )
    try:
        content = files.read_json(path)
        content["options"], content["splits"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path!r} is not a valid manifest") from None
    return content


def write_manifest(folder: str, content: dict, labels: list[str]) -> None:
    """Write `labels.txt` and, last, `dataset.json`, which also gets the version of this package."""
    head = {
        "schema_version": SCHEMA_VERSION,
        "library": f"keras_videorel {keras_videorel.__version__}",
    }
    write_class_names(os.path.join(folder, LABELS), labels)
    files.write_json(os.path.join(folder, MANIFEST), {**head, **content})


def shard_name(split: str, index: int, count: int) -> str:
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def shard_files(manifest: Manifest, split: str) -> list[str]:
    """The shards that hold the records of a split, sorted; a `FileNotFoundError` if none do."""
    patterns = manifest.files.get(split, ())
    found = {path for pattern in patterns for path in files.matching(manifest.path, pattern)}
    if not found:
        raise FileNotFoundError(
            f"no shards of the {split!r} split: nothing in {manifest.path!r} matches "
            f"{', '.join(patterns) or split}"
        )
    return sorted(files.join(manifest.path, path) for path in found)


def shard_compression(folder: str, patterns: dict[str, list[str]], frames: str) -> str:
    """How the shards of a folder are compressed; the first record of each split is checked, too.

    `patterns` are `Manifest.files`, and `frames` is the key of the frames.
    """
    from keras_videorel.data import records

    found: dict[str, str] = {}
    for own in patterns.values():
        paths = [path for pattern in own for path in files.matching(folder, pattern)]
        paths = sorted(files.join(folder, path) for path in paths)
        for path in paths[: 1 if any(map(files.is_remote, paths)) else None]:
            found.setdefault(records.compression(path), path)
        for path in paths[:1]:
            records.check_readable(path, frames)
    if len(found) > 1:
        shown = ", ".join(f"{kind or 'none'} in {path!r}" for kind, path in found.items())
        raise ValueError(f"shards must all have the same compression. Received: {shown}")
    return next(iter(found), "")


def read_class_names(path: str | os.PathLike) -> list[str]:
    """Read the names of classes from a text file, a name per line in index order.

    Byte order marks, CRLF line ends, blanks around a name, spaces of no width and empty lines at
    the end are ignored. A `ValueError` if the file is not UTF-8 text, names no class or one twice,
    or has an empty line between names.
    """
    text = INVISIBLE.sub("", files.read_text(path))
    names = [line.strip() for line in text.rstrip().splitlines()]
    if any("\udc80" <= character <= "\udcff" for character in text):
        wrong = "text in another encoding; save the file as UTF-8"
    elif not names:
        wrong = "no name"
    elif "" in names:
        wrong = f"an empty line {names.index('') + 1}: the number of a line is the index of a class"
    elif len(set(names)) < len(names):
        place = next(i for i, name in enumerate(names) if name in names[:i])
        wrong = f"{names[place]!r} in lines {names.index(names[place]) + 1} and {place + 1}"
    else:
        return names
    raise ValueError(
        "`labels` must be a file of UTF-8 text with a class name per line, each once. "
        f"Received: {os.fspath(path)!r} with {wrong}"
    )


def write_class_names(path: str | os.PathLike, names: Iterable[str]) -> None:
    """Write a file of class names; a reader never sees half of one."""
    with files.atomic_write(path) as temporary, files.opened(temporary, "w", newline="") as file:
        file.writelines(f"{name}\n" for name in names)
