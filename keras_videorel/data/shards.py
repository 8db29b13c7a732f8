"""Shards: TFRecord files of a data set's clips, written by one process per core.

    OUTPUT/train-00000-of-00014.tfrecord, ...    records as of `records`, classes mixed
    OUTPUT/val-00000-of-00003.tfrecord, ...      where there is a validation part
    OUTPUT/test-00000-of-00006.tfrecord, ...
    OUTPUT/labels.txt                            a name per line, in index order
    OUTPUT/rejected.csv                          path,reason of the videos that were left out
    OUTPUT/dataset.json                          counts and options; written last

While they are made, unfinished files and the options of the run lie in a hidden folder. A shard
gets its name when it is whole, so a run that ended early, in whatever way, leaves whole shards
only, and the next run with the same options makes the missing ones. Of a finished data set, it
tries files again that were rejected and have changed since, that were missing and are there, or
that another version of the decoding library may read; their clips go into shards of their own, and
all others stay as they are. A rejected file may also be replaced by one of another extension, or
deleted.
"""

import contextlib
import csv
import difflib
import functools
import hashlib
import json
import math
import os
from typing import NamedTuple

from tqdm import tqdm

import keras_videorel
from keras_videorel import files, tensorflow_import
from keras_videorel.checks import check_choice, check_integer
from keras_videorel.data import decoder, drawing, official, pictures, shard_writer, sources
from keras_videorel.data.flow import METHODS
from keras_videorel.data.pictures import FRAME_RATE
from keras_videorel.extras import pip_install
from keras_videorel.files import read_json, write_json

SCHEMA_VERSION = 2
DEFAULT_SIZE = (128, 170)  # height and width: the frames of the ARTNet paper
JPEG_QUALITY = 90  # chosen from the table in docs/performance.md
CLIPS_PER_SHARD = 64
MAX_SHARDS = 99_999
TIME_LIMIT = 60.0  # seconds without a frame
ENGINES = ("local", "beam")
FLOWS = ("none", *METHODS)
SIDES = ("train", "val", "test", "unused")
OLD_SIDES = ("train", "test", "unused")  # which manifests count even where there are none
MANIFEST, LABELS, REJECTED = "dataset.json", "labels.txt", "rejected.csv"

_WORK = ".make_tfrecords"
_OPTIONS = "options.json"


def write_shards(
    videos,
    output,
    labels,
    root="",
    size=None,
    short_side=None,
    jpeg_quality=JPEG_QUALITY,
    flow="none",
    split=1,
    rejected=(),
    listed=None,
    frame_rate=FRAME_RATE,
    shards=None,
    workers=None,
    engine="local",
    beam_options=(),
    time_limit=TIME_LIMIT,
    seed=0,
    drawn=False,
):
    """Write the clips of a data set as TFRecord shards.

    Videos that give no frames are left out and listed with the reason in `rejected.csv`. A second
    call with the same videos and options makes the shards that are missing, and tries again what
    was rejected and has changed.

    Args:
        videos: List of `sources.Video`.
        output: Folder of the shards; made if need be.
        labels: Names of the classes, in index order; see `sources.label_names`.
        root: Folder that the relative paths of the videos start from.
        size: `(height, width)` of the stored frames; `DEFAULT_SIZE` if `short_side` is None, too.
        short_side: Instead of `size`: length of the frames' shorter side in pixels; the aspect
            ratio is kept.
        jpeg_quality: Quality of the stored frames, 1 to 100.
        flow: Optical flow to store beside the frames: `"none"`, `"tvl1"` (as both papers) or
            `"dis"` (a hundred times faster); see `keras_videorel.data.flow`.
        split: Number of the official split that the videos' `split` is the side in.
        rejected: `(path, reason)` of what is known to be missing; listed with the others.
        listed: Dict from names of videos to those that `rejected` called them by when they were
            missing, where these differ.
        frame_rate: Pictures per second of videos that are folders of pictures.
        shards: Number of shards of each side, at most one per clip. By default one per
            `CLIPS_PER_SHARD` clips, and at least one per worker.
        workers: Number of decoding processes; by default one per available core.
        engine: `"local"`, or `"beam"` for an Apache Beam pipeline (extra `[beam]`).
        beam_options: Options of Beam and its runner, as words of a command line.
        time_limit: Seconds that a video may take without giving a frame.
        seed: Seed of the order of the clips.
        drawn: Whether the splits of the videos were drawn. What is drawn depends on which files
            there are, so a data set that is repaired keeps the splits that it was made with.

    Returns:
        The content of `dataset.json`, a dict.

    Raises:
        ValueError: If an argument is none of these, the folder holds something else, such as
            shards made with other options, or all videos are rejected.
        OSError: If a file cannot be written, or a decoding process was killed.
    """
    files.check_text("output", output)
    labels, listed = _check_videos(videos, labels), listed or {}
    if size is not None and short_side is not None:
        raise ValueError(
            "give either `size` or `short_side`. Received: "
            f"size={size!r} and short_side={short_side!r}"
        )
    if size is None and short_side is None:
        size = DEFAULT_SIZE
    if size is not None:
        size = _check_size(size)
    else:
        short_side = check_integer("short_side", short_side, 1, 8192)
    check_choice("engine", engine, ENGINES)
    workers = _available_cores() if workers is None else workers
    workers = check_integer("workers", workers, 1)
    if shards is not None:
        shards = check_integer("shards", shards, 1, MAX_SHARDS)
    counts = {side: sum(v.split == side for v in videos) for side in SIDES}
    counts = {side: n for side, n in counts.items() if n or side in ("train", "test")}
    options = {
        "schema_version": SCHEMA_VERSION,
        "size": size,
        "short_side": short_side,
        "jpeg_quality": check_integer("jpeg_quality", jpeg_quality, 1, 100),
        "flow": check_choice("flow", flow, FLOWS),
        "split": check_integer("split", split, 1),
        "seed": check_integer("seed", seed),
        "shards": {side: _shard_count(n, shards, workers) for side, n in counts.items()},
        "videos": _summary(videos, labels),
    }
    if pictures.check_rate(frame_rate) != FRAME_RATE:
        options["frame_rate"] = float(frame_rate)
    output = files.absolute(output)
    manifest = os.path.join(output, MANIFEST)
    work = os.path.join(output, _WORK)
    settings = shard_writer.Settings(
        files.absolute(root or "."),
        output,
        work,
        decoder.Settings(size or short_side, jpeg_quality, flow, frame_rate),
        time_limit,
    )
    if files.exists(manifest):
        found = _read_options(manifest, output)
        _check_present(found, output)
        changes = _changes(found, output, videos, labels, listed, drawn)
        videos = changes.videos
        options["videos"] = _summary(changes.planned, labels)
        if changes.planned != videos or "added" in read_json(manifest):
            options["shards"] = found["shards"]
        _check_same(found, options, shards is None, output, changes.others)
        again = _to_retry(output, settings.root, videos, changes.appeared)
        if not again and changes.planned == videos:
            files.remove(work)  # of a run that was stopped at the very end
            return read_json(manifest)
        write = functools.partial(_write_missing, settings, engine, workers, beam_options)
        return _add(again, videos, labels, rejected, listed, settings, write)

    tensorflow_import.import_tensorflow()  # before threads begin
    made = not files.exists(output)
    files.make_folder(output)
    with _claimed(output, work, options, shards is None) as options:
        plan = _plan(videos, labels, options)
        _write_missing(settings, engine, workers, beam_options, plan)
        reports = [read_json(shard_writer.report_path(shard.name, settings)) for shard in plan]
        if not any(report["clips"] for report in reports):
            failed = sorted(entry for report in reports for entry in report["rejected"])
            _clear(plan, output, work, made)
            first = "; ".join(f"{path}: {reason}" for path, reason in failed[:3])
            raise ValueError(
                f"`videos` must hold at least one video that decodes. Received: {len(videos)}, "
                f"all rejected ({first}{'; ...' if len(failed) > 3 else ''})"
            )
        return _finish(plan, reports, labels, options, rejected, listed, output, work)


def is_complete(output):
    """Whether a folder holds a finished data set."""
    return files.exists(os.path.join(output, MANIFEST))


def rejected_names(output):
    """Names of the videos that a finished data set leaves out."""
    there = is_complete(output) and files.exists(os.path.join(output, REJECTED))
    return {path for path, _ in _read_rejected(output)} if there else set()


# --- The plan -------------------------------------------------------------------------------


def _shard_count(clips, shards, workers):
    if shards is None:
        shards = max(math.ceil(clips / CLIPS_PER_SHARD), workers)
    return min(shards, clips, MAX_SHARDS)


def _plan(videos, labels, options):
    """The shards of all sides. Which clips share a shard depends on their paths and the seed."""
    indices = {label: index for index, label in enumerate(labels)}
    plan = []
    for side, count in options["shards"].items():
        clips = drawing.shuffled([v for v in videos if v.split == side], options["seed"])
        clips = [(v, indices[v.label]) for v in clips]
        plan += [
            shard_writer.Shard(name, clips[i::count]) for i, name in enumerate(_names(side, count))
        ]
    return plan


def _summary(videos, labels):
    """What tells whether two runs are of the same videos."""
    # Whole files count as they did before there were segments.
    whole = len(sources.Video._fields) - 2
    rows = [v[:whole] if v.start is v.end is None else v for v in sorted(videos, key=_order)]
    text = json.dumps([rows, labels])
    return {"count": len(videos), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _order(video):
    end = math.inf if video.end is None else video.end
    return (*video[:4], video.start or 0, end)


def _names(side, count):
    return [f"{side}-{i:05d}-of-{count:05d}.tfrecord" for i in range(count)]


# --- The folder -----------------------------------------------------------------------------


@contextlib.contextmanager
def _claimed(output, work, options, any_shards):
    """The hidden folder, for this run alone, and the options that the shards are made with."""
    recorded = os.path.join(work, _OPTIONS)
    if not files.exists(recorded):
        foreign = [
            name
            for name in files.list_folder(output)
            if name in (LABELS, REJECTED) or name.endswith(".tfrecord")
        ]
        if foreign:
            raise ValueError(
                f"`output` holds {foreign[0]} but no {MANIFEST}, so it is no data set to "
                f"complete; choose another folder. Received: {output!r}"
            )
        files.make_folder(work)
    with _lock(os.path.join(work, "lock"), output):
        # Where no shard is whole yet, nothing stands in the way of other options.
        names = files.list_folder(output)
        if files.exists(recorded) and any(name.endswith(".tfrecord") for name in names):
            found = _read_options(recorded, output)
            _check_same(found, options, any_shards, output)
            # The default number of shards follows that of the workers, which may change.
            options = {**options, "shards": found["shards"]}
        else:
            write_json(recorded, {"options": options})
        for name in files.list_folder(work):
            if not name.endswith(".json") and name != "lock":
                files.remove(os.path.join(work, name))
        yield options


@contextlib.contextmanager
def _lock(path, output):
    """Keep a second run out of the folder; the lock ends with the process, however that ends."""
    if files.is_remote(path):  # object stores have no locks
        yield
        return
    with open(path, "w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"`output` is being written by another run; wait for it. Received: {output!r}"
            ) from None
        except (ImportError, OSError):
            pass  # a system or a file system without locks
        yield


def _read_options(path, output):
    try:
        options = read_json(path)["options"]
        version_1 = {"flow": "none", "split": 1, "frame_rate": FRAME_RATE}
        options = {**version_1, **options}
        return {name: options[name] for name in ("schema_version", *_COMPARED)}
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"`output` holds a {os.path.basename(path)} that is none of a data set; choose another "
            f"folder. Received: {output!r}"
        ) from None


_COMPARED = (
    "size", "short_side", "jpeg_quality", "flow", "split", "seed", "frame_rate", "shards", "videos",
)  # fmt: skip


def _check_same(found, options, any_shards, output, others=""):
    wanted = {"frame_rate": FRAME_RATE, **json.loads(json.dumps(options))}
    different = [
        f"{name}: {_shown(found[name])} there, {_shown(wanted[name])} wanted"
        for name in found
        if found[name] != wanted[name]
        and name != "videos"
        and not (name == "shards" and any_shards)
    ]
    if found["videos"] != wanted["videos"]:
        there, here = found["videos"]["count"], wanted["videos"]["count"]
        different.append(f"videos or labels: {there} there, {here} other ones wanted{others}")
    if different:
        raise ValueError(
            f"`output` holds shards of other options ({'; '.join(different)}); repeat those "
            f"options, choose another `output` or delete this one. Received: {output!r}"
        )


def _shown(value):
    return " and ".join(f"{n} {k}" for k, n in value.items()) if isinstance(value, dict) else value


def _check_present(options, output):
    names = [name for side, count in options["shards"].items() for name in _names(side, count)]
    added = read_json(os.path.join(output, MANIFEST)).get("added", [])
    missing = sorted({*names, *added, LABELS} - set(files.list_folder(output)))
    if missing:
        raise FileNotFoundError(
            f"`output` has a {MANIFEST} but lacks {missing[0]}"
            f"{' and more' if len(missing) > 1 else ''}; delete the folder and run again. "
            f"Received: {output!r}"
        )


def _clear(plan, output, work, made):
    """Remove shards that hold nothing."""
    for shard in plan:
        files.remove(os.path.join(output, shard.name))
    files.remove(work)
    if made and not files.list_folder(output):
        files.remove(output)


def _finish(plan, reports, labels, options, rejected, listed, output, work, before=None):
    """Write what describes the shards, the manifest last; `before` is that of older shards."""
    before = before or {"splits": {}, "notes": []}
    splits, official_splits = dict(before["splits"]), dict(before.get("official_splits", {}))
    there = set(files.list_folder(output))
    for side in SIDES:
        own = [
            report
            for shard, report in zip(plan, reports, strict=True)
            if shard.name.startswith(f"{side}-") and shard.name in there
        ]
        if own:
            old = splits.get(side, {"clips": 0, "frames": 0, "shards": 0, "clips_per_label": {}})
            splits[side] = {
                "clips": old["clips"] + sum(sum(report["clips"].values()) for report in own),
                "frames": old["frames"] + sum(report["frames"] for report in own),
                "shards": old["shards"] + len(own),
                "clips_per_label": {
                    label: old["clips_per_label"].get(label, 0)
                    + sum(report["clips"].get(label, 0) for report in own)
                    for label in labels
                },
            }
    for report in reports:
        for number, sides in report["official_splits"].items():
            total = official_splits.setdefault(number, dict.fromkeys(OLD_SIDES, 0))
            for side, count in sides.items():
                total[side] = total.get(side, 0) + count
    more = (report["rejected"] for report in reports)
    rejected = sorted([*map(tuple, rejected), *(tuple(pair) for own in more for pair in own)])
    notes = sorted((path, note) for report in reports for path, note in report["notes"])
    notes = [{"path": path, "note": note} for path, note in notes]
    retry = {"files": {}, "videos": {}, **before.get("retry", {})}
    for shard, report in zip(plan, reports, strict=True):
        retry["files"].update(report.get("retry", {}))
        for clip, _ in shard.clips:
            if clip.name in report.get("retry", {}):
                row = [*clip, listed.get(clip.name, clip.name)]
                retry["videos"][clip.name] = row
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "library": f"keras_videorel {keras_videorel.__version__}",
        "options": options,
        "splits": splits,
        **({"official_splits": official_splits} if official_splits else {}),
        **({"added": before["added"]} if "added" in before else {}),
        "rejected": len(rejected),
        **({"retry": {"decoder": pictures.library(), **retry}} if retry["files"] else {}),
        "notes": sorted([*before["notes"], *notes], key=lambda entry: entry["path"]),
    }
    with _written(os.path.join(output, LABELS)) as file:
        file.writelines(f"{label}\n" for label in labels)
    with _written(os.path.join(output, REJECTED)) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("path", "reason"), *rejected])
    write_json(os.path.join(output, MANIFEST), manifest)
    files.remove(work)
    return json.loads(json.dumps(manifest))


@contextlib.contextmanager
def _written(path):
    with files.atomic_write(path) as temporary, files.opened(temporary, "w", newline="") as file:
        yield file


def _write_missing(settings, engine, workers, beam_options, plan):
    """Write the shards of a plan that are missing."""
    done = shard_writer.written(settings)
    missing = [shard for shard in plan if shard.name not in done]
    if not missing:
        return
    total = sum(len(shard.clips) for shard in plan)
    initial = total - sum(len(shard.clips) for shard in missing)
    with tqdm(total=total, initial=initial, unit="clip", desc="shards") as bar:
        if engine == "local":
            from keras_videorel.data import local_engine

            local_engine.run(missing, settings, workers, bar.update)
        else:
            try:
                from keras_videorel.data import beam_engine
            except ImportError as error:
                raise ValueError(f"`engine` beam needs {pip_install('beam')} ({error})") from None
            beam_engine.run(missing, settings, beam_options, bar.update)


# --- Once more ------------------------------------------------------------------------------


class _Changes(NamedTuple):
    """What became of the videos since the data set was finished.

    Attributes:
        videos: The videos as they are now.
        planned: The videos that it was made of.
        appeared: Names of videos that were rejected before they could be planned, as missing or as
            no video, or that stand in for a rejected file.
        others: Which other videos are new, or gone, in words.
    """

    videos: list
    planned: list
    appeared: set
    others: str = ""


def _changes(found, output, videos, labels, listed, drawn):
    if found["videos"] == _summary(videos, labels):
        return _Changes(videos, videos, set())
    manifest = read_json(os.path.join(output, MANIFEST))
    retry = manifest.get("retry", {})
    rejected = dict(_read_rejected(output))
    rows, tried = retry.get("videos", {}), {*retry.get("files", {})}
    sides = _written_sides(output, found, manifest)
    written = {*sides}
    # Older manifests do not tell which of the rejected were planned.
    older = {name for name, reason in rejected.items() if not reason.startswith(official.MISSING)}
    every = [
        _compared(videos, known, written, rejected, rows, listed)
        for known in (written | tried, written | older)
    ]
    if drawn and not videos[0].splits:
        sides.update((name, row[2]) for name, row in rows.items())
        stems = {_stem(name): row[2] for name, row in rows.items()}
        kept = [
            v._replace(split=sides.get(v.name, stems.get(_stem(v.name), v.split))) for v in videos
        ]
        changes = _compared(kept, written | tried, written, rejected, rows, listed)
        if changes.planned != kept or "added" in manifest:  # else it is another draw
            every.append(changes)
    same = (own for own in every if found["videos"] == _summary(own.planned, labels))
    with files.opened(os.path.join(output, LABELS)) as file:
        there = file.read().splitlines()
    own = every[0]
    if there != labels:
        shown = ", ".join(labels[:5]) + (", ..." if len(labels) > 5 else "")
        own = own._replace(others=f" (the labels are no longer those of {LABELS}: {shown})")
    return next(same, own)


def _compared(videos, known, written, rejected, rows, listed):
    """The `_Changes` if the videos of the names `known` were planned."""
    names = {clip.name for clip in videos}
    called = {*rejected, *(_stem(name) for name in rejected), *(row[-1] for row in rows.values())}
    planned, appeared, new = [], set(), []
    gone = {name for name in known - names if name not in written}
    for clip in videos:
        if clip.name in known:
            planned.append(clip)
        elif {clip.name, listed.get(clip.name), _stem(clip.name)} & called:
            appeared.add(clip.name)
            for name in [name for name in gone - rows.keys() if _stem(name) == _stem(clip.name)]:
                path = name.removesuffix(clip.name[len(clip.path) :])
                planned.append(clip._replace(path=path))
        else:
            planned.append(clip)
            new.append(clip.name)
    for row in (rows[name] for name in gone & rows.keys()):
        path, label, split, splits, *times, _ = row
        planned.append(sources.Video(path, label, split, tuple(splits), *times))
    lost = sorted(written - names)
    others = [
        f"{what}: {', '.join(own[:3])}{', ...' if len(own) > 3 else ''}"
        for what, own in (("new", new), ("gone", lost))
        if own
    ] or ["the same files with other labels or splits"]
    return _Changes(videos, planned, appeared, f" ({'; '.join(others)})")


def _stem(name):
    """The name of a video, or segment, without the extension of its file."""
    path, mark, times = name.partition("#t=")
    return os.path.splitext(path)[0] + mark + times


def _written_sides(output, options, manifest):
    """The sides of the clips in the shards, by their names."""
    tensorflow_import.import_tensorflow()
    from keras_videorel.data import records

    names = [name for side, count in options["shards"].items() for name in _names(side, count)]
    return {
        clip: name.partition("-")[0]
        for name in [*names, *manifest.get("added", ())]
        for clip in records.clip_paths(os.path.join(output, name))
    }


def _to_retry(output, root, videos, appeared):
    """Videos that are to be tried: those that appeared, and rejected ones that changed."""
    retry = read_json(os.path.join(output, MANIFEST)).get("retry", {})
    rejected = {path for path, _ in _read_rejected(output)}
    other_library = retry.get("decoder") != pictures.library()
    again = []
    for clip in videos:
        if clip.name in appeared:
            again.append(clip)
        elif clip.name in rejected:
            now = files.fingerprint(shard_writer.file_path(clip, root))
            known = retry.get("files", {}).get(clip.name)
            if now is not None and (other_library or now != known):
                again.append(clip)
    return again


def _add(again, videos, labels, rejected, listed, settings, write):
    """Write further shards of clips, and the new manifest."""
    output, work = settings.output, settings.work
    manifest = read_json(os.path.join(output, MANIFEST))
    added, plan = manifest.get("added", []), []
    indices = {label: index for index, label in enumerate(labels)}
    tensorflow_import.import_tensorflow()
    files.make_folder(work)
    with _lock(os.path.join(work, "lock"), output):
        for name in files.list_folder(work):  # of a run that was stopped
            if name != "lock":
                files.remove(os.path.join(work, name))
        for side in SIDES:
            clips = [v for v in again if v.split == side]
            clips = drawing.shuffled(clips, manifest["options"]["seed"])
            count = manifest["options"]["shards"].get(side, 0)
            count += sum(name.startswith(f"{side}-") for name in added)
            for i, first in enumerate(range(0, len(clips), CLIPS_PER_SHARD), count):
                own = [(v, indices[v.label]) for v in clips[first : first + CLIPS_PER_SHARD]]
                plan.append(shard_writer.Shard(f"{side}-{i:05d}-of-{i + 1:05d}.tfrecord", own))
        for shard in plan:
            files.remove(os.path.join(output, shard.name))
        write(plan)
        reports = [read_json(shard_writer.report_path(shard.name, settings)) for shard in plan]
        for shard, report in zip(plan, reports, strict=True):
            if report["clips"]:
                added.append(shard.name)
            else:
                files.remove(os.path.join(output, shard.name))
        # Of the rejected, those that were planned and not tried stay as they are, unless their
        # files are gone.
        retry = manifest.get("retry", {})
        replaced = [sources.Video(*row[:-1]) for row in retry.get("videos", {}).values()]
        replaced = [v for v in replaced if files.exists(shard_writer.file_path(v, settings.root))]
        waiting = {clip.name for clip in [*videos, *replaced]} - {clip.name for clip in again}
        manifest["retry"] = {
            kind: {name: own for name, own in retry.get(kind, {}).items() if name in waiting}
            for kind in ("files", "videos")
        }
        manifest["added"] = added
        rejected = [*rejected, *(pair for pair in _read_rejected(output) if pair[0] in waiting)]
        options = {**manifest["options"], "videos": _summary(videos, labels)}
        return _finish(plan, reports, labels, options, rejected, listed, output, work, manifest)


def _read_rejected(output):
    """`(path, reason)` of what is rejected."""
    with files.opened(os.path.join(output, REJECTED), newline="") as file:
        return [tuple(row) for row in csv.reader(file.read().splitlines())][1:]


# --- Arguments ------------------------------------------------------------------------------


def _check_videos(videos, labels):
    labels = list(labels)
    known, names = set(), set()
    for label in labels:
        if label in known:
            raise ValueError(f"`labels` must differ. Received: {label!r} twice")
        sources.check_label(label, repr(label))
        known.add(label)
    if not videos:
        raise ValueError("`videos` must hold at least one video. Received: none")
    for clip in videos:
        for side in (clip.split, *clip.splits):
            if side not in SIDES:
                raise ValueError(
                    f"`split` must be one of {', '.join(SIDES)}. Received: {side!r} of {clip.name}"
                )
        if len(clip.splits) != len(videos[0].splits):
            raise ValueError(
                f"`splits` must be as many for each video. Received: {len(clip.splits)} of "
                f"{clip.name}"
            )
        if clip.label not in known:
            near = difflib.get_close_matches(clip.label, labels, 3) or labels[:3]
            raise ValueError(
                f"`labels` must hold the label of each video. Received: {clip.label!r} of "
                f"{clip.name}, but {', '.join(map(repr, near))}"
                + (", ..." if len(labels) > len(near) else "")
            )
        if clip.name in names:
            raise ValueError(f"`videos` must list each video once. Received: {clip.name!r} twice")
        names.add(clip.name)
    return labels


def _check_size(size):
    try:
        height, width = size
    except (TypeError, ValueError):
        raise ValueError(f"`size` must be (height, width). Received: {size!r}") from None
    return check_integer("size", height, 1, 8192), check_integer("size", width, 1, 8192)


def _available_cores():
    affinity = getattr(os, "sched_getaffinity", None)
    return os.cpu_count() if affinity is None else len(affinity(0))
