"""A finished data set, made once more: what can be read now goes into shards of its own.

All others stay as they are. Tried again are files that were rejected and have changed, that were
missing and are there, or that another version of the decoding library may read. A rejected file may
also be replaced by one of another extension, or deleted.
"""

import os

from keras_videorel import files, tensorflow_import
from keras_videorel.data import manifest, pictures, shard_plan
from keras_videorel.data.manifest import LABELS, MANIFEST, SPLITS
from keras_videorel.data.shard_writer import Shard
from keras_videorel.data.sources import Video


def find_changes(data, options, any_shards, conversion):
    """What is to be done for a finished data set; for arguments see `shard_plan.check_same`.

    Returns:
        `(data, again)`: the `DataSet` in the splits that the shards have, and the videos to try;
        None where nothing changed. A `ValueError` if the shards were made with other options, or
        of other videos or labels.
    """
    output = conversion.output
    found = shard_plan.read_options(os.path.join(output, MANIFEST), output)
    content = manifest.read_content(output)
    retry, rejected = content.get("retry", {}), shard_plan.read_rejected(output)
    _check_present(found, content, output)
    appeared, others, same = set(), "", found["videos"] == options["videos"]
    if not same:
        data, appeared, others = _compare(data, found, content, rejected, output)
    if not others:
        options = {**options, "videos": found["videos"]}
    if not same or "added" in content:
        options = {**options, "shards": found["shards"]}
    shard_plan.check_same(found, options, any_shards, output, others)

    other_library = retry.get("decoder") != pictures.library()

    def has_changed(clip):
        now = files.fingerprint(conversion.video_path(clip))
        known = retry.get("files", {}).get(clip.name)
        return now is not None and (other_library or now != known)

    again = [
        clip
        for clip in data.videos
        if clip.name in appeared or (clip.name in rejected and has_changed(clip))
    ]
    return None if same and not again else (data, again)


def _check_present(options, content, output):
    names = {*shard_plan.shard_names(options, content.get("added", ())), LABELS}
    missing = sorted(names - {*files.list_folder(output)})
    if missing:
        raise FileNotFoundError(
            f"`output` has a {MANIFEST} but lacks {missing[0]}"
            f"{' and more' if len(missing) > 1 else ''}; delete the folder and run again. "
            f"Received: {output!r}"
        )


def _compare(data, options, content, rejected, output):
    """Set the videos as they are now against the shards.

    Returns:
        `(data, appeared, others)`: the data set in the splits of the shards; names of videos that
        were missing, or stand in for a rejected file; which others are new, or gone, in words.
    """
    tensorflow_import.import_tensorflow()
    from keras_videorel.data import records

    written = {}
    for shard in shard_plan.shard_names(options, content.get("added", ())):
        split = Shard(shard, []).split
        for name, label, splits in records.clip_contexts(os.path.join(output, shard)):
            written[name] = (split, label, splits)
    tried = content.get("retry", {}).get("videos", {})
    names = {clip.name for clip in data.videos}
    # What is drawn depends on which files there are; with the same files it is another draw.
    other_files = names != written.keys() | tried.keys() or "added" in content
    if data.drawn and other_files and not data.videos[0].splits:
        before = {_stem(name): row[2] for name, row in tried.items()}
        before |= {name: split for name, (split, *_) in written.items()}
        videos = [
            v._replace(split=before.get(v.name, before.get(_stem(v.name), v.split)))
            for v in data.videos
        ]
        data = data._replace(videos=videos)

    known = {*rejected, *map(_stem, rejected), *(row[-1] for row in tried.values())}
    listed, appeared, new, others = data.listed or {}, set(), [], False
    for clip in data.videos:
        if clip.name in written:
            others |= written[clip.name] != (clip.split, clip.label, clip.splits)
        elif clip.name in tried:
            continue
        elif {clip.name, listed.get(clip.name), _stem(clip.name)} & known:
            appeared.add(clip.name)
        else:
            new.append(clip.name)
    shown = [
        f"{what}: {', '.join(own[:3])}{', ...' if len(own) > 3 else ''}"
        for what, own in (("new", new), ("gone", sorted(written.keys() - names)))
        if own
    ]
    with files.opened(os.path.join(output, LABELS)) as file:
        labels = file.read().splitlines()
    if labels != data.labels:
        labels = ", ".join(data.labels[:5]) + (", ..." if len(data.labels) > 5 else "")
        shown = [f"the labels are no longer those of {LABELS}: {labels}"]
    elif others and not shown:
        shown = ["the same files with other labels or splits"]
    return data, appeared, f" ({'; '.join(shown)})" if shown else ""


def _stem(name):
    """The name of a video, or segment, without the extension of its file."""
    path, mark, times = name.partition("#t=")
    return os.path.splitext(path)[0] + mark + times


def add(data, again, conversion, write):
    """Write the videos `again` to further shards, by `write`; returns the new `Manifest`."""
    output, rejected = conversion.output, shard_plan.read_rejected(conversion.output)
    content = manifest.read_content(output)
    options, retry = content["options"], content.get("retry", {})
    shards = []
    for split in SPLITS:
        clips = shard_plan.clips_of(data, again, split, options["seed"])
        count = options["shards"].get(split, 0)
        count += sum(Shard(name, []).split == split for name in content.get("added", ()))
        for i, first in enumerate(range(0, len(clips), shard_plan.CLIPS_PER_SHARD), count):
            own = clips[first : first + shard_plan.CLIPS_PER_SHARD]
            shards.append(Shard(manifest.shard_name(split, i, i + 1), own))
    for shard in shards:  # of a run that was stopped
        files.remove(conversion.shard_path(shard))
    write(shards)
    # Of the rejected, those that were not tried stay as they are, unless their files are gone.
    tried = [Video(*row[:-1]) for row in retry.get("videos", {}).values()]
    waiting = {v.name for v in tried if files.exists(conversion.video_path(v))}
    waiting = (waiting | {v.name for v in data.videos}) - {v.name for v in again}
    content["retry"] = {
        kind: {name: own for name, own in retry.get(kind, {}).items() if name in waiting}
        for kind in ("files", "videos")
    }
    still = [(name, reason) for name, reason in rejected.items() if name in waiting]
    options = {**options, "videos": shard_plan.summary(data)}
    data = data._replace(rejected=[*data.rejected, *still])
    return shard_plan.describe(shards, data, options, conversion, content)
