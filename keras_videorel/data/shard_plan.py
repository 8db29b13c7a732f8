"""Which shards a data set has, and what the files that describe them say."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
from collections.abc import Sequence

from keras_videorel import files
from keras_videorel.data import drawing, manifest, pictures
from keras_videorel.data.decoder import Settings
from keras_videorel.data.manifest import FOLD_SPLITS, LABELS, MANIFEST, SCHEMA_VERSION, SPLITS
from keras_videorel.data.pictures import FRAME_RATE
from keras_videorel.data.shard_writer import Conversion, Shard
from keras_videorel.data.sources import DataSet, Video

CLIPS_PER_SHARD = 64
MAX_SHARDS = 99_999
REJECTED = "rejected.csv"


def make_options(
    data: DataSet,
    encoding: Settings,
    fold: int,
    seed: int,
    num_shards: int | None,
    num_workers: int,
) -> dict:
    """The options of a run as `dataset.json` keeps them."""
    size = encoding.size
    counts = {split: sum(v.split == split for v in data.videos) for split in SPLITS}
    counts = {split: n for split, n in counts.items() if n or split in ("train", "test")}
    options: dict = {
        "schema_version": SCHEMA_VERSION,
        "size": None if isinstance(size, int) else size,
        "short_side": size if isinstance(size, int) else None,
        "jpeg_quality": encoding.jpeg_quality,
        "flow": encoding.flow,
        "split": fold,
        "seed": seed,
        "shards": {split: shard_count(n, num_shards, num_workers) for split, n in counts.items()},
        "videos": summary(data),
    }
    if encoding.frame_rate != FRAME_RATE:
        options["frame_rate"] = encoding.frame_rate
    return json.loads(json.dumps(options))


def shard_count(num_clips: int, num_shards: int | None, num_workers: int) -> int:
    """Number of shards of a split."""
    if num_shards is None:
        num_shards = max(math.ceil(num_clips / CLIPS_PER_SHARD), num_workers)
    return min(num_shards, num_clips, MAX_SHARDS)


def summary(data: DataSet) -> dict:
    """The number of videos, and a hash of them and the labels."""

    def order(video):
        return (*video[:4], video.start or 0, math.inf if video.end is None else video.end)

    # Whole files count as they did before there were segments.
    whole = len(Video._fields) - 2
    videos = sorted(data.videos, key=order)
    rows = [v[:whole] if v.start is v.end is None else v for v in videos]
    text = json.dumps([rows, data.labels])
    return {"count": len(rows), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def plan(data: DataSet, options: dict) -> list[Shard]:
    """All shards. Which clips share a shard depends on their names and the seed."""
    found = []
    for split, count in options["shards"].items():
        clips = clips_of(data, data.videos, split, options["seed"])
        for i in range(count):
            found.append(Shard(manifest.shard_name(split, i, count), clips[i::count]))
    return found


def clips_of(
    data: DataSet, videos: Sequence[Video], split: str, seed: int
) -> list[tuple[Video, int]]:
    """Clips of a split with the indices of their labels, shuffled."""
    indices = {label: index for index, label in enumerate(data.labels or ())}
    chosen = drawing.shuffled([v for v in videos if v.split == split], seed)
    return [(v, indices[v.label]) for v in chosen]


# --- The same options -----------------------------------------------------------------------


def read_options(path: str, output: str) -> dict:
    """The options in a JSON file."""
    try:
        options = files.read_json(path)["options"]
        options["shards"], options["videos"]["count"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"`output` holds a {os.path.basename(path)} that does not describe shards; choose "
            f"another folder. Received: {output!r}"
        ) from None
    return {"frame_rate": FRAME_RATE, **options}


def check_same(found: dict, options: dict, any_shards: bool, output: str, others: str = "") -> None:
    """Refuse options that differ from `found`, which the shards in `output` were made with.

    With `any_shards`, their number may differ. `others` says how the videos differ.
    """
    different = []
    for name, here in {"frame_rate": FRAME_RATE, **options}.items():
        there = found.get(name)
        if here == there or (name == "shards" and any_shards):
            continue
        if name == "videos":
            there, here = found[name]["count"], f"{here['count']} other ones"
        name = {"split": "fold", "videos": "videos or labels"}.get(name, name)
        different.append(f"{name}: {_shown(there)} there, {_shown(here)} wanted")
    if different:
        raise ValueError(
            f"`output` holds shards of other options ({'; '.join(different)}{others}); repeat "
            f"those options, choose another `output` or delete this one. Received: {output!r}"
        )


def _shown(value):
    return " and ".join(f"{n} {k}" for k, n in value.items()) if isinstance(value, dict) else value


# --- What describes shards ------------------------------------------------------------------


def describe(
    shards: list[Shard],
    data: DataSet,
    options: dict,
    conversion: Conversion,
    before: dict | None = None,
) -> manifest.Manifest:
    """Write what describes shards that are whole.

    `before` is the content of `dataset.json` if the shards are added to a data set; those without
    a clip are then removed.
    """
    older, labels = before or {}, list(data.labels or ())
    splits, folds = dict(older.get("splits", {})), dict(older.get("official_splits", {}))
    retry = {"files": {}, "splits": {}, **older.get("retry", {})}
    rejected, notes = [*map(tuple, data.rejected)], [*older.get("notes", ())]
    added = [*older.get("added", ())]
    for shard in shards:
        report = files.read_json(conversion.report_path(shard))
        rejected += map(tuple, report["rejected"])
        notes += ({"path": path, "note": note} for path, note in sorted(report["notes"]))
        retry["files"].update(report["retry"])
        retry["splits"].update(dict.fromkeys(report["retry"], shard.split))
        if before is not None and not report["clips"]:
            files.remove(conversion.shard_path(shard))
            continue
        added.append(shard.name)
        counts = {"clips": 0, "frames": 0, "shards": 0, "clips_per_label": {}}
        _count(splits.setdefault(shard.split, counts), report, labels)
        for fold, counts in report["official_splits"].items():
            total = folds.setdefault(fold, dict.fromkeys(FOLD_SPLITS, 0))
            for split, count in counts.items():
                total[split] = total.get(split, 0) + count
    content = {
        "options": options,
        "splits": splits,
        **({"official_splits": folds} if folds else {}),
        **({"added": added} if added and before is not None else {}),
        "rejected": len(rejected),
        **({"retry": {"decoder": pictures.library(), **retry}} if retry["files"] else {}),
        "notes": sorted(notes, key=lambda entry: entry["path"]),
    }
    path = os.path.join(conversion.output, REJECTED)
    with files.atomic_write(path) as temporary, files.opened(temporary, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("path", "reason"), *sorted(rejected)])
    manifest.write_manifest(conversion.output, content, labels)
    files.remove(conversion.work)
    content = manifest.read_content(conversion.output)
    return manifest.manifest_of(conversion.output, content, labels)


def _count(counts, report, labels):
    """Add the counts of another shard to those of a split."""
    counts["clips"] += sum(report["clips"].values())
    counts["frames"] += report["frames"]
    counts["shards"] += 1
    for label in labels:
        clips = counts["clips_per_label"].get(label, 0) + report["clips"].get(label, 0)
        counts["clips_per_label"][label] = clips


def finished(output: str) -> manifest.Manifest | None:
    """The `Manifest` of a finished data set; None if there is none."""
    if not files.exists(os.path.join(output, MANIFEST)):
        return None
    path = os.path.join(output, LABELS)
    labels = manifest.read_class_names(path) if files.exists(path) else []
    return manifest.manifest_of(output, manifest.read_content(output), labels)


def read_rejected(output: str) -> dict[str, str]:
    """The reasons of rejected videos, by their names."""
    path = os.path.join(output, REJECTED)
    if not files.exists(path):
        return {}
    with files.opened(path, newline="") as file:
        return dict(list(csv.reader(file.read().splitlines()))[1:])
