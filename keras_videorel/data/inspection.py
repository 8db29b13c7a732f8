"""Looking into shards: what they hold, whether all of it is whole, what describes it.

`scan` reads every record once and finds the clips and what is wrong with them; `compare` sets the
clips against the manifest; `describe` writes a manifest for shards that others wrote.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import tensorflow as tf
from tqdm import tqdm

from keras_videorel import files
from keras_videorel.checks import check_choice, check_integer
from keras_videorel.data import record_checks, records
from keras_videorel.data.manifest import (
    FOLD_SPLITS,
    LABELS,
    MANIFEST,
    SPLITS,
    read_class_names,
    read_content,
    shard_compression,
    write_manifest,
)

DECODE = ("all", "first", "none")


class Layout(NamedTuple):
    """Where the parts of a data set lie.

    Attributes:
        folder: Its folder.
        labels: Names of the classes, in index order.
        files: Dict from split to its shards, sorted: paths relative to the folder, or absolute.
        keys: Dict from "frames", "label", "path" and, where it is of use, "flow" to keys of the
            records.
        required: Keys that every record must have, a set.
        manifest: Content of `dataset.json`; empty where there is none yet.
    """

    folder: str
    labels: list
    files: dict
    keys: dict
    required: set
    manifest: dict


class Clip(NamedTuple):
    """What a record holds.

    Attributes:
        split: Split of its shard.
        file: Its shard, as in `Layout.files`.
        record: Its number there, from 0.
        offset: Where it begins, in bytes.
        bytes: Its length there.
        label: Index of its class.
        path: What identifies the clip; empty where the record does not say.
        frames: Number of frames.
        size: `(height, width)` of the first one.
        seconds: Duration; None where the record does not say.
        flow: Whether there is optical flow.
        sides: Its side in each official split.
    """

    split: str
    file: str
    record: int
    offset: int
    bytes: int
    label: int
    path: str
    frames: int
    size: tuple
    seconds: float | None
    flow: bool
    sides: tuple


class Problem(NamedTuple):
    """Something that is wrong.

    Attributes:
        file: The file, as in `Layout.files`.
        record: Number of the record, from 0; None if it is not about one.
        offset: Where that begins, in bytes; None likewise.
        path: Path of the clip; empty where it is not known.
        problem: What is wrong.
    """

    file: str
    record: int | None
    offset: int | None
    path: str
    problem: str


# --- Where things lie -----------------------------------------------------------------------


def read_layout(folder):
    """The layout of shards that have a manifest: of `make-tfrecords`, or of `describe`.

    Args:
        folder: Folder of the manifest.

    Returns:
        A `Layout`.

    Raises:
        FileNotFoundError: If there is no manifest, or no labels.
        ValueError: If they are none.
    """
    try:
        manifest = read_content(folder)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{folder!r} holds no finished shards (no {MANIFEST}): make them with "
            "`videorel make-tfrecords`, or name the files of others with `train` and `labels`"
        ) from None
    layout = _layout(folder, os.path.join(folder, LABELS), manifest)
    if "files" not in manifest:
        layout.required.update(record_checks.CONTEXT, record_checks.LISTS)
        if manifest["options"].get("flow", "none") != "none":
            layout.required.add(records.FLOW_ENCODED)
    return layout


def foreign_layout(folder, labels, patterns, keys):
    """The layout of shards that have no manifest.

    Args:
        folder: Their folder.
        labels: Path of the names of the classes, one a line, in index order.
        patterns: Dict from split, `"train"` and maybe `"test"`, to a list of paths, absolute or
            relative to the folder, with wildcards (`*`, `?`) in the name of the file, if any.
        keys: Dict from some of "frames", "flow", "label" and "path" to the keys of the records,
            which all of them must have. The others are those of `records`.

    Returns:
        A `Layout`.

    Raises:
        FileNotFoundError: If a pattern matches nothing, or there are no labels.
        ValueError: If a file belongs to two splits, or two labels are equal.
    """
    layout = _layout(folder, labels, {"files": patterns, "keys": keys})
    for problem in _missing_files(layout):
        raise FileNotFoundError(f"{problem.file!r} {problem.problem} in {folder!r}")
    for own in layout.files.values():
        path = files.join(layout.folder, own[0])
        serialized = records.first_record(path)
        if serialized is not None:
            records.check_readable(path, serialized, layout.keys["frames"])
    return layout


def _layout(folder, labels, manifest):
    patterns = manifest.get(
        "files", {split: [f"{split}-?????-of-?????.tfrecord"] for split in SPLITS}
    )
    found = {
        split: sorted({path for pattern in own for path in files.matching(folder, pattern)})
        for split, own in patterns.items()
    }
    split_of = {}
    for split, own in found.items():
        for path in own:
            if split_of.setdefault(path, split) != split:
                raise ValueError(
                    f"a shard must belong to one split. Received: {path!r} for "
                    f"{split_of[path]} and {split}"
                )
    given = manifest.get("keys", {})
    keys = {**records.NAMED, **given}
    if "files" in manifest and "flow" not in given:
        del keys["flow"]  # flow of others may be stored in any way
    return Layout(
        folder=os.fspath(folder),
        labels=read_class_names(labels),
        files={split: own for split, own in found.items() if own},
        keys=keys,
        required={keys["frames"], keys["label"], *given.values()},
        manifest=manifest,
    )


# --- A data set -----------------------------------------------------------------------------


def scan(layout, decode="all", workers=None):
    """Read and check every record: framing, checksums, keys, labels, pictures, paths.

    Args:
        layout: A `Layout`.
        decode: Which pictures to decode: `"all"`, the `"first"` of each clip, or `"none"`.
        workers: Number of threads, each with a shard at a time; by default one per core.

    Returns:
        `(clips, problems)`: lists of `Clip` and `Problem`, in the order of the shards. A record
        that can be read as a clip is one, even if it has problems.

    Raises:
        ValueError: If an argument is none of these.
        OSError: If a file cannot be read.
    """
    check_choice("decode", decode, DECODE)
    workers = check_integer("workers", os.cpu_count() if workers is None else workers, 1)
    work = [(split, file) for split, own in layout.files.items() for file in own]
    clips, problems = [], []
    lock, stop = threading.Lock(), threading.Event()
    size = sum(files.size(files.join(layout.folder, file)) for _, file in work)
    with tqdm(total=size, unit="B", unit_scale=True, desc="inspect") as bar:

        def advance(count):
            with lock:
                bar.update(count)
            return not stop.is_set()

        with ThreadPoolExecutor(workers) as executor:
            try:
                jobs = [executor.submit(_scan_shard, *w, layout, decode, advance) for w in work]
                for job in jobs:
                    own, wrong = job.result()
                    clips += own
                    problems += wrong
            finally:
                stop.set()
                executor.shutdown(cancel_futures=True)
    return clips, problems + _repeated_paths(clips)


def _scan_shard(split, file, layout, decode, advance):
    clips, problems = [], []
    path = files.join(layout.folder, file)
    try:
        for number, offset, serialized, damage in record_checks.read_records(path):
            fields, found = None, [damage]
            if damage is None:
                length = record_checks.FRAMING + len(serialized)
                fields, found = record_checks.check_record(serialized, split, layout, decode)
                if fields is not None:
                    clips.append(Clip(split, file, number, offset, length, **fields))
                if not advance(length):
                    break
            clip_path = fields["path"] if fields else ""
            problems += [Problem(file, number, offset, clip_path, problem) for problem in found]
    except tf.errors.OpError as error:
        raise OSError(f"cannot read {path!r}: {error.message}") from None
    return clips, problems


def _repeated_paths(clips):
    problems, first = [], {}
    for clip in clips:
        other = first.setdefault(clip.path, clip)
        if clip.path and other is not clip:
            other_place = f"record {other.record} of {other.file}"
            place = (clip.file, clip.record, clip.offset, clip.path)
            problems.append(Problem(*place, f"has the path of {other_place}"))
    return problems


def read_pictures(layout, clip):
    """The pictures of a clip that `scan` found without problems.

    Args:
        layout: A `Layout`.
        clip: A `Clip`.

    Returns:
        `(jpegs, flow)`: lists of bytes, an entry per frame; None for no flow.
    """
    path = files.join(layout.folder, clip.file)
    (serialized,) = (
        record_checks.records_from(path, clip.offset, clip.record).take(1).as_numpy_iterator()
    )
    return record_checks.pictures(serialized, layout)


def count(layout, clips):
    """Counts as in a manifest.

    Args:
        layout: A `Layout`.
        clips: List of `Clip`.

    Returns:
        `(splits, official_splits)`: dicts, as in `dataset.json`; the second is empty where records
        tell no sides.
    """
    splits = {
        split: {
            "clips": 0,
            "frames": 0,
            "shards": len(own),
            "clips_per_label": dict.fromkeys(layout.labels, 0),
        }
        for split, own in layout.files.items()
    }
    official = {}
    for clip in clips:
        counts = splits[clip.split]
        counts["clips"] += 1
        counts["frames"] += clip.frames
        if 0 <= clip.label < len(layout.labels):
            counts["clips_per_label"][layout.labels[clip.label]] += 1
        for number, side in enumerate(clip.sides, 1):
            sides = official.setdefault(str(number), dict.fromkeys(FOLD_SPLITS, 0))
            sides[side] = sides.get(side, 0) + 1
    return splits, official


def compare(layout, clips):
    """What the manifest says otherwise than the shards.

    Args:
        layout: A `Layout` of `read_layout`.
        clips: List of `Clip`, of all its shards.

    Returns:
        A list of `Problem`.
    """
    manifest, problems = layout.manifest, []

    def check(what, said, found):
        if said != found:
            problem = f"{said} {what}, found are {found}"
            problems.append(Problem(MANIFEST, None, None, "", problem))

    splits, official = count(layout, clips)
    for split in {**manifest["splits"], **splits}:
        said, found = manifest["splits"].get(split, {"clips": 0}), splits.get(split, {})
        for name in ("clips", "frames", "shards"):
            check(f"{name} of {split}", said.get(name, found.get(name, 0)), found.get(name, 0))
        for label, clips_found in found.get("clips_per_label", {}).items():
            clips_said = said.get("clips_per_label", {}).get(label, clips_found)
            check(f"{split} clips of {label}", clips_said, clips_found)
    for number, said in manifest.get("official_splits", {}).items():
        for side in SPLITS:
            found = official.get(number, {}).get(side, 0)
            check(f"{side} clips in official split {number}", said.get(side, 0), found)
    return _missing_files(layout) + problems


def _missing_files(layout):
    """Problems of files that should be there, or should not."""
    manifest = layout.manifest
    if "files" in manifest:
        patterns = [pattern for own in manifest["files"].values() for pattern in own]
        wrong = {p: "matches no file" for p in patterns if not files.matching(layout.folder, p)}
    else:
        found = {file for own in layout.files.values() for file in own}
        expected = {
            f"{split}-{i:05d}-of-{n:05d}.tfrecord"
            for split, n in manifest["options"].get("shards", {}).items()
            for i in range(n)
        }
        wrong = dict.fromkeys(sorted(expected - found), "is missing")
        expected.update(manifest.get("added", ()))
        if expected:
            wrong |= dict.fromkeys(sorted(found - expected), "is no shard of this data set")
    return [Problem(name, None, None, "", problem) for name, problem in wrong.items()]


# --- Shards that others wrote ---------------------------------------------------------------


def describe(layout, clips, output):
    """Write a manifest and labels for shards without, so that training reads them like ours.

    Args:
        layout: A `Layout` of `foreign_layout`.
        clips: List of `Clip`, of all its shards, without problems.
        output: Folder for `dataset.json` and `labels.txt`; made if need be.

    Returns:
        The manifest, a dict.

    Raises:
        ValueError: If there are no clips, or `output` has shards with a manifest of their own.
    """
    path = os.path.join(output, MANIFEST)
    if files.exists(path) and "files" not in files.read_json(path):
        raise ValueError(
            f"`output` must not be a folder of `make-tfrecords`. Received: {os.fspath(output)!r}"
        )
    if not clips:
        raise ValueError(f"there is no clip to describe in {layout.folder!r}")
    patterns = layout.manifest["files"]
    shard_compression(layout.folder, patterns, layout.keys["frames"])
    folder = files.absolute(layout.folder)
    if files.absolute(output) != folder:
        patterns = {split: [files.join(folder, p) for p in own] for split, own in patterns.items()}
    sizes = {clip.size for clip in clips}
    options = {
        "size": list(*sizes) if len(sizes) == 1 else None,
        "short_side": None if len(sizes) == 1 else min(map(min, sizes)),
        "flow": "none" if "flow" not in layout.manifest["keys"] else "unknown",
        "shards": {split: len(own) for split, own in layout.files.items()},
    }
    manifest = {
        "options": options,
        "splits": count(layout, clips)[0],
        "rejected": 0,
        "notes": [],
        "files": patterns,
        "keys": layout.manifest["keys"],
    }
    write_manifest(output, manifest, layout.labels)
    return read_content(output)
