"""A finished data set, made once more: what is new or was repaired goes into further shards.

All shards that are there stay as they are. Tried are videos that are new, that were missing and
exist now, that were rejected and have changed, and all rejected ones if the decoding library has
another version.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from keras_videorel import files, tensorflow_import
from keras_videorel.data import manifest, pictures, shard_plan
from keras_videorel.data.manifest import LABELS, MANIFEST, SPLITS, Manifest
from keras_videorel.data.shard_writer import Conversion, Shard
from keras_videorel.data.sources import DataSet, Video


def find_changes(
    data: DataSet, options: dict, any_shards: bool, conversion: Conversion
) -> list[Video] | None:
    """The videos to try, in the splits that they had; None if nothing changed.

    Raises:
        ValueError: If the shards were made with other options, or hold videos that are gone or
            have other labels or splits now.
    """
    output = conversion.output
    found = shard_plan.read_options(os.path.join(output, MANIFEST), output)
    content = manifest.read_content(output)
    rejected, retry = shard_plan.read_rejected(output), content.get("retry", {})
    counts = found["shards"].items()
    shards = [manifest.shard_name(split, i, count) for split, count in counts for i in range(count)]
    shards += content.get("added", ())
    _check_present(shards, output)
    same, splits, new, others = (
        found["videos"] == options["videos"],
        retry.get("splits", {}),
        (),
        "",
    )
    if not same:
        new, others = _compare(data, shards, splits, output)
    if not others:
        options = {**options, "videos": found["videos"]}
    if not same or "added" in content:
        options = {**options, "shards": found["shards"]}
    shard_plan.check_same(found, options, any_shards, output, others)

    def is_due(clip):
        if clip.name not in rejected:
            return clip.name in new
        now = files.fingerprint(conversion.video_path(clip))
        known = retry.get("files", {}).get(clip.name)
        return now is not None and (now != known or retry.get("decoder") != pictures.library())

    again = [v._replace(split=splits.get(v.name, v.split)) for v in data.videos if is_due(v)]
    return None if same and not again else again


def _check_present(shards, output):
    missing = sorted({*shards, LABELS} - {*files.list_folder(output)})
    if missing:
        raise FileNotFoundError(
            f"`output` has a {MANIFEST} but lacks {missing[0]}"
            f"{' and more' if len(missing) > 1 else ''}; delete the folder and run again. "
            f"Received: {output!r}"
        )


def _compare(data, shards, rejected, output):
    """Compare the videos with those in the shards; `rejected` are splits of others by name.

    Returns:
        `(new, others)`: names of videos that are not in the shards; why the shards cannot be
        completed, in words.
    """
    tensorflow_import.import_tensorflow()
    from keras_videorel.data import records

    written = {}
    for shard in shards:
        for name, label, splits in records.clip_contexts(os.path.join(output, shard)):
            written[name] = (Shard(shard, []).split, label, splits)
    now = {v.name: (v.split, v.label, v.splits) for v in data.videos}
    new, known = now.keys() - written.keys(), written.keys() | rejected.keys()
    wrong = {"gone": written.keys() - now.keys()}
    # What is drawn depends on which files there are; with the same files it is another draw.
    redrawn = data.drawn and now.keys() != known
    if redrawn:
        wrong["new, where splits are drawn"] = now.keys() - known
    shown = [
        f"{what}: {', '.join(sorted(own)[:3])}{', ...' if len(own) > 3 else ''}"
        for what, own in wrong.items()
        if own
    ]
    first = 1 if redrawn and not data.videos[0].splits else 0
    with files.opened(os.path.join(output, LABELS)) as file:
        labels = file.read().splitlines()
    if labels != data.labels:
        found = ", ".join(data.labels[:5]) + (", ..." if len(data.labels) > 5 else "")
        shown = [f"the labels are no longer those of {LABELS}: {found}"]
    elif not shown and any(now[name][first:] != own[first:] for name, own in written.items()):
        shown = ["the same files with other labels or splits"]
    return new, f" ({'; '.join(shown)})" if shown else ""


def add(
    data: DataSet, videos: list[Video], summary: dict, conversion: Conversion, write: Callable
) -> Manifest:
    """Write `videos` of a data set to further shards, with `write`; see `shard_plan.summary`."""
    output, rejected = conversion.output, shard_plan.read_rejected(conversion.output)
    content = manifest.read_content(output)
    options, retry = content["options"], content.get("retry", {})
    shards = []
    for split in SPLITS:
        clips = shard_plan.clips_of(data, videos, split, options["seed"])
        count = options["shards"].get(split, 0)
        count += sum(Shard(name, []).split == split for name in content.get("added", ()))
        for i, first in enumerate(range(0, len(clips), shard_plan.CLIPS_PER_SHARD), count):
            own = clips[first : first + shard_plan.CLIPS_PER_SHARD]
            shards.append(Shard(manifest.shard_name(split, i, i + 1), own))
    for shard in shards:  # of a run that was stopped
        files.remove(conversion.shard_path(shard))
    write(shards)
    waiting = {v.name for v in data.videos} - {v.name for v in videos}
    content["retry"] = {
        key: {name: own for name, own in retry.get(key, {}).items() if name in waiting}
        for key in ("files", "splits")
    }
    still = [(name, reason) for name, reason in rejected.items() if name in waiting]
    options = {**options, "videos": summary}
    data = data._replace(rejected=[*data.rejected, *still])
    return shard_plan.describe(shards, data, options, conversion, content)
