"""Inspect shards: count their clips and check that training can read every record.

`scan` reads every record, `compare` compares the counts with `dataset.json`, and `describe` writes
a `dataset.json` for shards of other writers.
"""

import collections
import os
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError
from tqdm import tqdm

from keras_videorel import files
from keras_videorel.data import records
from keras_videorel.data.manifest import (
    MANIFEST,
    Manifest,
    read_class_names,
    shard_compression,
    shard_files,
    write_manifest,
)

LABEL_TEXTS = (records.CLIP_LABEL_TEXT, records.CLIP_LABEL_STRING)


class Clip(NamedTuple):
    """The content of a record."""

    split: str
    file: str  # the shard; a relative path starts from the folder of the shards
    record: int  # number of the record in the shard, from 0
    bytes: int  # length of the record
    label: int  # index of the class
    path: str  # path of the video, or empty if the record has none
    frames: int  # number of frames
    size: tuple[int, int] | None  # (height, width) of the first frame; None if it does not decode
    seconds: float | None  # duration; None if unknown


class Problem(NamedTuple):
    """A problem in a record of a file. `record` is None for a problem of the whole file."""

    file: str
    record: int | None
    path: str
    problem: str


def foreign_manifest(
    folder: str | os.PathLike,
    labels: str | os.PathLike,
    patterns: dict[str, list[str]],
    keys: dict[str, str],
) -> Manifest:
    """The `Manifest` of shards without a `dataset.json`.

    Its frame size and numbers of clips are not known yet.

    Args:
        folder: The folder of the shards.
        labels: File of class names, one per line, in index order.
        patterns: Dict from split to paths, absolute or relative to `folder`. The last part of a
            path may have wildcards (`*`, `?`).
        keys: Dict from names in `records.NAMED` to the keys in the records.

    Raises:
        FileNotFoundError: If a split has no shards, or the file of class names is missing.
        ValueError: If a shard is in two splits, or the shards have a format that cannot be read.
    """
    frames = keys.get("frames", records.IMAGE_ENCODED)
    manifest = Manifest(
        path=os.fspath(folder),
        labels=read_class_names(labels),
        frame_size=None,
        clips=dict.fromkeys(patterns, 0),
        flow="flow" in keys,
        files=patterns,
        keys={records.NAMED[name]: key for name, key in keys.items()},
        compression=shard_compression(os.fspath(folder), patterns, frames),
    )
    paths = [path for own in shards_of(manifest).values() for path in own]
    if len(set(paths)) < len(paths):
        raise ValueError(f"a shard must belong to one split. Received: {patterns}")
    return manifest


def shards_of(manifest: Manifest) -> dict[str, list[str]]:
    """The shards of each split. A relative path starts from the folder of the shards."""
    folder = os.path.join(manifest.path, "")
    return {
        split: [path.removeprefix(folder) for path in shard_files(manifest, split)]
        for split in manifest.clips
    }


def scan(manifest: Manifest, decode: bool = True) -> tuple[list[Clip], list[Problem]]:
    """Read and check every record, in the order of the shards.

    A record with a label and frames is a `Clip`, even if it has other problems. Without `decode`,
    only the first frame of each clip is decoded. Raises an `OSError` if a file cannot be read.
    """
    clips: list[Clip] = []
    problems: list[Problem] = []
    place_of: dict[str, str] = {}
    work = [(split, file) for split, paths in shards_of(manifest).items() for file in paths]
    size = sum(files.size(files.join(manifest.path, file)) for _, file in work)
    with tqdm(total=size, unit="B", unit_scale=True, desc="inspect") as bar:
        for split, file in work:
            number = 0
            try:
                reader = tf.data.TFRecordDataset(
                    files.join(manifest.path, file), manifest.compression
                )
                for serialized in reader.as_numpy_iterator():
                    bar.update(len(serialized))
                    fields, found = _check_record(serialized, manifest, decode)
                    path = fields["path"] if fields else ""
                    if fields:
                        clips.append(Clip(split, file, number, len(serialized), **fields))
                    place = f"record {number} of {file}"
                    if path and place_of.setdefault(path, place) != place:
                        found.append(f"has the path of {place_of[path]}")
                    problems += [Problem(file, number, path, text) for text in found]
                    number += 1
            except tf.errors.DataLossError:
                text = "is damaged or cut off: this record and the rest of the file are not read"
                problems.append(Problem(file, number, "", text))
            except tf.errors.OpError as error:
                raise OSError(f"cannot read {file!r}: {error.message}") from None
    return clips, problems


def pictures(
    example: tf.train.SequenceExample, manifest: Manifest
) -> tuple[list[bytes], list[bytes] | None]:
    """`(jpegs, flow)` of a record, two lists with a JPEG per frame. `flow` may be None.

    Raises a `ValueError` if there are no frames, or the numbers of frames and fields differ.
    """
    found = []
    for key in [records.IMAGE_ENCODED] + [records.FLOW_ENCODED] * manifest.flow:
        key = _key(manifest, key)
        features = example.feature_lists.feature_list[key].feature
        if not features or any(len(feature.bytes_list.value) != 1 for feature in features):
            raise ValueError(f"{key} must hold one string per frame")
        found.append([feature.bytes_list.value[0] for feature in features])
    if len(found[-1]) != len(found[0]):
        raise ValueError(f"{len(found[0])} frames, but {len(found[-1])} of flow")
    return found[0], found[1] if manifest.flow else None


def _key(manifest, key):
    """The key in the records for one of our keys."""
    return (manifest.keys or {}).get(key, key)


def _check_record(serialized, manifest, decode):
    """`(fields, problems)`: a dict of the last fields of a `Clip` (or None), and texts."""
    try:
        example = tf.train.SequenceExample.FromString(serialized)
    except DecodeError:
        return None, ["is not a SequenceExample"]
    if records.is_plain_example(example):
        return None, ["is a tf.train.Example, not a tf.train.SequenceExample"]

    def first(key, kind):
        values = getattr(context[key], kind).value if key in context else ()
        return values[0] if len(values) == 1 else None

    context = example.context.feature
    label_key = _key(manifest, records.CLIP_LABEL_INDEX)
    label = first(label_key, "int64_list")
    if label is None:
        return None, [f"{label_key} must hold one integer"]
    try:
        jpegs, flow = pictures(example, manifest)
    except ValueError as error:
        return None, [str(error)]
    problems, labels = [], manifest.labels
    if 0 <= label < len(labels):
        texts = {first(key, "bytes_list") for key in LABEL_TEXTS} - {None, labels[label].encode()}
        for text in (text.decode(errors="replace") for text in texts):
            problems.append(f"label {label} is {labels[label]!r}, but the record says {text!r}")
    else:
        problems.append(f"label {label} is out of range: there are {len(labels)} labels")
    path_key = _key(manifest, records.CLIP_DATA_PATH)
    path = first(path_key, "bytes_list") or b""
    if not path and (manifest.keys is None or records.CLIP_DATA_PATH in manifest.keys):
        problems.append(f"{path_key} must hold one string")
    size, found = _check_pictures("frame", jpegs if decode else jpegs[:1], manifest.frame_size)
    problems += found
    if flow is not None:
        problems += _check_pictures("flow field", flow if decode else flow[:1], size)[1]
    start, end = (first(k, "int64_list") for k in (records.CLIP_START, records.CLIP_END))
    fields = {
        "label": label,
        "path": path.decode("utf-8", "backslashreplace"),
        "frames": len(jpegs),
        "size": size,
        "seconds": None if start is None or end is None else (end - start) / 1e6,
    }
    return fields, problems


def _check_pictures(what, jpegs, size):
    """`(size of the first picture, problems)`. All pictures need one size (`size` if a pair)."""
    try:
        sizes = list(map(tuple, _decoded_sizes(tf.constant(jpegs)).numpy().tolist()))
    except tf.errors.InvalidArgumentError:
        return None, [f"a {what} is not a JPEG that decodes"]
    expected = size if isinstance(size, tuple) else sizes[0]
    for height, width in {*sizes} - {expected}:
        return sizes[0], [f"a {what} is of {height}x{width}, not {expected[0]}x{expected[1]}"]
    return sizes[0], []


@tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
def _decoded_sizes(jpegs):
    """Decode as training does. `tf.io.decode_jpeg` would also accept other formats."""

    def decode(jpeg):
        height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(jpeg))
        return tf.shape(tf.io.decode_and_crop_jpeg(jpeg, [0, 0, height, width]))[:2]

    return tf.map_fn(decode, jpegs, fn_output_signature=tf.TensorSpec((2,), tf.int32))


def count(manifest: Manifest, clips: Sequence[Clip]) -> dict[str, dict]:
    """The counts of each split, as in `dataset.json`."""
    counts = {}
    for split, paths in shards_of(manifest).items():
        own = [clip for clip in clips if clip.split == split]
        per_label = collections.Counter(clip.label for clip in own)
        counts[split] = {
            "clips": len(own),
            "frames": sum(clip.frames for clip in own),
            "shards": len(paths),
            "clips_per_label": {label: per_label[i] for i, label in enumerate(manifest.labels)},
        }
    return counts


def compare(manifest: Manifest, clips: Sequence[Clip]) -> list[Problem]:
    """A problem for each count of `dataset.json` that does not match the clips."""
    problems = []
    for split, counts in count(manifest, clips).items():
        found = _flat(counts)
        problems += [
            Problem(MANIFEST, None, "", f"{number} {name} in {split}, found {found.get(name)}")
            for name, number in _flat(manifest.content["splits"][split]).items()
            if number != found.get(name)
        ]
    return problems


def _flat(counts):
    """Counts as a dict without an inner dict."""
    per_label = counts.get("clips_per_label", {})
    numbers = {name: counts[name] for name in ("clips", "frames", "shards") if name in counts}
    return numbers | {f"clips of {label}": number for label, number in per_label.items()}


def describe(manifest: Manifest, clips: Sequence[Clip], output: str | os.PathLike) -> dict:
    """Write `dataset.json` and `labels.txt` for shards of other writers. Training needs them.

    Args:
        manifest: A `Manifest` of `foreign_manifest`.
        clips: All clips of its shards. They must have no problems.
        output: Folder for the two files. It is created if necessary.

    Returns:
        The content of `dataset.json`.

    Raises:
        ValueError: If there are no clips, or `output` is a folder of `make-tfrecords`.
    """
    path = os.path.join(output, MANIFEST)
    if files.exists(path) and "files" not in files.read_json(path):
        raise ValueError(
            f"`output` must not be a folder of `make-tfrecords`. Received: {os.fspath(output)!r}"
        )
    if not clips:
        raise ValueError(f"there is no clip to describe in {manifest.path!r}")
    folder, patterns = files.absolute(manifest.path), manifest.files
    if files.absolute(output) != folder:
        patterns = {split: [files.join(folder, p) for p in own] for split, own in patterns.items()}
    names = {key: name for name, key in records.NAMED.items()}
    sizes = {clip.size for clip in clips if clip.size}
    counts = count(manifest, clips)
    content = {
        "options": {
            "size": list(*sizes) if len(sizes) == 1 else None,
            "short_side": None if len(sizes) == 1 else min(map(min, sizes)),
            "flow": "unknown" if manifest.flow else "none",
            "shards": {split: own["shards"] for split, own in counts.items()},
        },
        "splits": counts,
        "rejected": 0,
        "notes": [],
        "files": patterns,
        "keys": {names[key]: own for key, own in (manifest.keys or {}).items()},
    }
    write_manifest(os.fspath(output), content, manifest.labels)
    return content
