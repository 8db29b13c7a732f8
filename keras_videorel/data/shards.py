"""Shards: TFRecord files of a data set's clips, written by one process per core.

    OUTPUT/train-00000-of-00014.tfrecord, ...    records as of `records`, classes mixed
    OUTPUT/test-00000-of-00006.tfrecord, ...
    OUTPUT/labels.txt                            a name per line, in index order
    OUTPUT/rejected.csv                          path,reason of the videos that were left out
    OUTPUT/dataset.json                          counts and options; written last

While they are made, unfinished files and the options of the run lie in a hidden folder. A shard
gets its name when it is whole, so a run that ended early, in whatever way, leaves whole shards
only, and the next run with the same options makes the missing ones.
"""

import contextlib
import csv
import hashlib
import json
import math
import multiprocessing
import os
import shutil
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import NamedTuple

import cv2
from tqdm import tqdm

import keras_videorel
from keras_videorel import quiet
from keras_videorel.checks import check_integer
from keras_videorel.data import sources, video
from keras_videorel.files import read_json, write_json

SCHEMA_VERSION = 1
DEFAULT_SIZE = (128, 170)  # height and width: the frames of the ARTNet paper
CLIPS_PER_SHARD = 64
MAX_SHARDS = 99_999
MANIFEST, LABELS, REJECTED = "dataset.json", "labels.txt", "rejected.csv"

_WORK = ".make_tfrecords"
_OPTIONS = "options.json"
_MAX_RECORD_BYTES = 1_900_000_000  # a protocol buffer ends at 2 GiB


class _Shard(NamedTuple):
    """A shard to write.

    Attributes:
        name: Name of its file.
        clips: List of `(Video, index of its label)`.
    """

    name: str
    clips: list


class _Settings(NamedTuple):
    """What all shards have in common."""

    root: str  # folder of the videos
    output: str
    work: str
    size: tuple | int
    jpeg_quality: int


def write_shards(
    videos,
    output,
    labels,
    root="",
    size=None,
    short_side=None,
    jpeg_quality=95,
    shards=None,
    workers=None,
    seed=0,
):
    """Write the clips of a data set as TFRecord shards.

    Videos that give no frames are left out and listed with the reason in `rejected.csv`. A second
    call with the same videos and options makes the shards that are missing.

    Args:
        videos: List of `sources.Video`.
        output: Folder of the shards; made if need be.
        labels: Names of the classes, in index order; see `sources.label_names`.
        root: Folder that the relative paths of the videos start from.
        size: `(height, width)` of the stored frames; `DEFAULT_SIZE` if `short_side` is None, too.
        short_side: Instead of `size`: length of the frames' shorter side in pixels; the aspect
            ratio is kept.
        jpeg_quality: Quality of the stored frames, 1 to 100.
        shards: Number of shards of each split, at most one per clip. By default one per
            `CLIPS_PER_SHARD` clips, and at least one per worker.
        workers: Number of processes; by default one per available core.
        seed: Seed of the order of the clips.

    Returns:
        The content of `dataset.json`, a dict.

    Raises:
        ValueError: If an argument is none of these, the folder holds something else, such as
            shards made with other options, or all videos are rejected.
        OSError: If a file cannot be written, or a worker process died.
    """
    labels = _check_videos(videos, labels)
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
    workers = _available_cores() if workers is None else workers
    workers = check_integer("workers", workers, 1)
    if shards is not None:
        shards = check_integer("shards", shards, 1, MAX_SHARDS)
    counts = {split: sum(v.split == split for v in videos) for split in sources.SPLITS}
    options = {
        "schema_version": SCHEMA_VERSION,
        "size": size,
        "short_side": short_side,
        "jpeg_quality": check_integer("jpeg_quality", jpeg_quality, 1, 100),
        "seed": check_integer("seed", seed),
        "shards": {split: _shard_count(n, shards, workers) for split, n in counts.items()},
        "videos": {"count": len(videos), "sha256": _digest(videos, labels)},
    }
    output = os.path.abspath(output)
    manifest = os.path.join(output, MANIFEST)
    work = os.path.join(output, _WORK)
    if os.path.exists(manifest):
        found = _read_options(manifest, output)
        _check_same(found, options, shards is None, output)
        _check_present(found, output)
        shutil.rmtree(work, ignore_errors=True)  # of a run that was stopped at the very end
        return read_json(manifest)

    made = not os.path.exists(output)
    os.makedirs(output, exist_ok=True)
    with _claimed(output, work, options, shards is None) as options:
        settings = _Settings(os.fspath(root), output, work, size or short_side, jpeg_quality)
        plan = _plan(videos, labels, options)
        _write_missing(plan, settings, workers)
        reports = [read_json(_report_path(work, shard.name)) for shard in plan]
        if not any(report["clips"] for report in reports):
            rejected = sorted(entry for report in reports for entry in report["rejected"])
            _clear(plan, output, work, made)
            first = "; ".join(f"{path}: {reason}" for path, reason in rejected[:3])
            raise ValueError(
                f"`videos` must hold at least one video that decodes. Received: {len(videos)}, "
                f"all rejected ({first}{'; ...' if len(rejected) > 3 else ''})"
            )
        return _finish(plan, reports, labels, options, output, work)


def is_complete(output):
    """Whether a folder holds a finished data set."""
    return os.path.exists(os.path.join(output, MANIFEST))


# --- The plan -------------------------------------------------------------------------------


def _shard_count(clips, shards, workers):
    if shards is None:
        shards = max(math.ceil(clips / CLIPS_PER_SHARD), workers)
    return min(shards, clips, MAX_SHARDS)


def _plan(videos, labels, options):
    """The shards of all splits. Which clips share a shard depends on their paths and the seed."""
    indices = {label: index for index, label in enumerate(labels)}
    plan = []
    for split, count in options["shards"].items():
        clips = sources.shuffled([v for v in videos if v.split == split], options["seed"])
        clips = [(v, indices[v.label]) for v in clips]
        plan += [
            _Shard(f"{split}-{i:05d}-of-{count:05d}.tfrecord", clips[i::count])
            for i in range(count)
        ]
    return plan


def _digest(videos, labels):
    text = json.dumps([sorted(videos), labels])
    return hashlib.sha256(text.encode()).hexdigest()


def _report_path(work, name):
    return os.path.join(work, f"{name}.json")


# --- The folder -----------------------------------------------------------------------------


@contextlib.contextmanager
def _claimed(output, work, options, any_shards):
    """The hidden folder, for this run alone, and the options that the shards are made with."""
    recorded = os.path.join(work, _OPTIONS)
    if not os.path.exists(recorded):
        foreign = sorted(
            name
            for name in os.listdir(output)
            if name in (LABELS, REJECTED) or name.endswith(".tfrecord")
        )
        if foreign:
            raise ValueError(
                f"`output` holds {foreign[0]} but no {MANIFEST}, so it is no data set to "
                f"complete; choose another folder. Received: {output!r}"
            )
        os.makedirs(work, exist_ok=True)
    with _lock(os.path.join(work, "lock"), output):
        # Where no shard is whole yet, nothing stands in the way of other options.
        if os.path.exists(recorded) and any(n.endswith(".tfrecord") for n in os.listdir(output)):
            found = _read_options(recorded, output)
            _check_same(found, options, any_shards, output)
            # The default number of shards follows that of the workers, which may change.
            options = {**options, "shards": found["shards"]}
        else:
            write_json(recorded, {"options": options})
        for name in os.listdir(work):
            if not name.endswith(".json") and name != "lock":
                os.remove(os.path.join(work, name))
        yield options


@contextlib.contextmanager
def _lock(path, output):
    """Keep a second run out of the folder; the lock ends with the process, however that ends."""
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
        return {name: options[name] for name in ("schema_version", *_COMPARED)}
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"`output` holds a {os.path.basename(path)} that is none of a data set; choose another "
            f"folder. Received: {output!r}"
        ) from None


_COMPARED = ("size", "short_side", "jpeg_quality", "seed", "shards", "videos")


def _check_same(found, options, any_shards, output):
    wanted = json.loads(json.dumps(options))
    different = [
        f"{name}: {_shown(found[name])} there, {_shown(wanted[name])} wanted"
        for name in found
        if found[name] != wanted[name]
        and name != "videos"
        and not (name == "shards" and any_shards)
    ]
    if found["videos"] != wanted["videos"]:
        there, here = found["videos"]["count"], wanted["videos"]["count"]
        different.append(f"videos or labels: {there} there, {here} other ones wanted")
    if different:
        raise ValueError(
            f"`output` holds shards of other options ({'; '.join(different)}); repeat those "
            f"options, choose another folder or delete this one. Received: {output!r}"
        )


def _shown(value):
    return " and ".join(f"{n} {k}" for k, n in value.items()) if isinstance(value, dict) else value


def _check_present(options, output):
    names = [
        f"{split}-{i:05d}-of-{count:05d}.tfrecord"
        for split, count in options["shards"].items()
        for i in range(count)
    ]
    missing = [n for n in (*names, LABELS) if not os.path.exists(os.path.join(output, n))]
    if missing:
        raise FileNotFoundError(
            f"`output` has a {MANIFEST} but lacks {missing[0]}"
            f"{' and more' if len(missing) > 1 else ''}; delete the folder and run again. "
            f"Received: {output!r}"
        )


def _clear(plan, output, work, made):
    """Remove shards that hold nothing."""
    for shard in plan:
        os.remove(os.path.join(output, shard.name))
    shutil.rmtree(work)
    if made:
        with contextlib.suppress(OSError):
            os.rmdir(output)


def _finish(plan, reports, labels, options, output, work):
    """Write what describes the shards, the manifest last."""
    splits = {}
    for split in sources.SPLITS:
        own = [r for s, r in zip(plan, reports, strict=True) if s.name.startswith(f"{split}-")]
        if own:
            splits[split] = {
                "clips": sum(sum(report["clips"].values()) for report in own),
                "frames": sum(report["frames"] for report in own),
                "shards": len(own),
                "clips_per_label": {
                    label: sum(report["clips"].get(label, 0) for report in own) for label in labels
                },
            }
    rejected = sorted(entry for report in reports for entry in report["rejected"])
    notes = sorted(entry for report in reports for entry in report["notes"])
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "library": f"keras_videorel {keras_videorel.__version__}",
        "options": options,
        "splits": splits,
        "rejected": len(rejected),
        "notes": [{"path": path, "note": note} for path, note in notes],
    }
    with _put(LABELS, output, work) as file:
        file.writelines(f"{label}\n" for label in labels)
    with _put(REJECTED, output, work) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("path", "reason"), *rejected])
    with _put(MANIFEST, output, work) as file:
        json.dump(manifest, file, indent=2)
        file.write("\n")
    shutil.rmtree(work)
    return json.loads(json.dumps(manifest))


@contextlib.contextmanager
def _put(name, output, work):
    """A text file that gets its name when it is whole and on the disk."""
    temporary = os.path.join(work, f"{name}.tmp")
    # File names need not be text.
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, os.path.join(output, name))


# --- The processes --------------------------------------------------------------------------


def _write_missing(plan, settings, workers):
    missing = [
        shard
        for shard in plan
        if not os.path.exists(os.path.join(settings.output, shard.name))
        or not os.path.exists(_report_path(settings.work, shard.name))
    ]
    total = sum(len(shard.clips) for shard in plan)
    done = total - sum(len(shard.clips) for shard in missing)
    with tqdm(total=total, initial=done, unit="clip", desc="shards") as bar:
        if workers == 1 or len(missing) <= 1:
            for shard in missing:
                _write_shard(shard, settings, bar.update)
        else:
            _write_in_processes(missing, settings, min(workers, len(missing)), bar)


def _write_in_processes(missing, settings, workers, bar):
    context = multiprocessing.get_context("spawn")
    # A slot per shard has one writer at a time: no locks, which a dying process might keep.
    progress = context.RawArray("q", len(missing))
    stop = context.RawValue("b", 0)
    executor = ProcessPoolExecutor(workers, context, _start_worker, (progress, stop))
    try:
        pending = {
            executor.submit(_write_slot, slot, shard, settings)
            for slot, shard in enumerate(missing)
        }
        start = bar.n
        while pending:
            done, pending = wait(pending, timeout=0.2)
            bar.update(start + sum(progress) - bar.n)
            for job in done:
                job.result()
    except BrokenProcessPool:
        raise OSError(
            f"a worker process died while decoding {_being_decoded(settings.work)}; memory may be "
            f"short (workers={workers}), or that file may be to blame. The same command again "
            "keeps the shards that are whole"
        ) from None
    finally:
        stop.value = 1
        executor.shutdown(cancel_futures=True)


def _start_worker(progress, stop):
    global _progress, _stop
    _progress, _stop = progress, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which stops us
    cv2.setNumThreads(1)  # the processes share the cores already
    # A parent that was killed cannot stop us, and the pool would wait for it for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _write_slot(slot, shard, settings):
    def advance():
        _progress[slot] += 1

    with contextlib.suppress(_Stopped):
        _write_shard(shard, settings, advance, lambda: _stop.value)


class _Stopped(Exception):
    """The parent wants no more."""


def _being_decoded(work):
    """Paths of the videos that dead workers had begun."""
    found = []
    for name in os.listdir(work):
        if name.endswith(".clip"):
            with open(os.path.join(work, name), encoding="utf-8", errors="replace") as file:
                found.append(file.read())
    return " or ".join(sorted(filter(None, found))) or "videos"


# --- A shard --------------------------------------------------------------------------------


def _write_shard(shard, settings, advance, stopped=lambda: False):
    """Write a shard and its report.

    Args:
        shard: A `_Shard`.
        settings: A `_Settings`.
        advance: Called after each clip.
        stopped: Called between frames; if true, the shard is given up.
    """
    quiet.import_tensorflow()  # here: it takes seconds, and the parent does without
    import tensorflow as tf

    temporary = os.path.join(settings.work, f"{shard.name}.tmp")
    current = os.path.join(settings.work, f"{shard.name}.clip")
    report = {"clips": {}, "frames": 0, "rejected": [], "notes": []}
    try:
        with tf.io.TFRecordWriter(temporary) as writer:
            for clip, label_index in shard.clips:
                with open(current, "w", encoding="utf-8", errors="surrogateescape") as file:
                    file.write(clip.path)
                try:
                    record, frames, note = _encode_clip(clip, label_index, settings, stopped)
                except video.VideoError as error:
                    report["rejected"].append((clip.path, error.reason))
                else:
                    writer.write(record)
                    report["clips"][clip.label] = report["clips"].get(clip.label, 0) + 1
                    report["frames"] += frames
                    if note is not None:
                        report["notes"].append((clip.path, note))
                advance()
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        write_json(_report_path(settings.work, shard.name), report)
        os.replace(temporary, os.path.join(settings.output, shard.name))
    except tf.errors.OpError as error:
        raise OSError(
            f"cannot write {shard.name} in {settings.output!r}: {error.message}"
        ) from None
    finally:
        for path in (temporary, current):
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)


def _encode_clip(clip, label_index, settings, stopped):
    """Decode a video and encode its frames.

    Returns:
        `(record, frames, note)`: bytes, the number of frames, and what was lost, if anything.

    Raises:
        video.VideoError: If the video gives no record.
    """
    from keras_videorel.data import records

    path = os.path.join(settings.root, clip.path)
    quality = [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality]
    jpegs, timestamps, length = [], [], 0
    with video.iter_frames(path, settings.size) as reader:
        for timestamp, frame in reader:
            if stopped():
                raise _Stopped
            try:
                _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)
            except cv2.error:
                shape = "x".join(map(str, frame.shape[:2]))
                raise video.VideoError(path, f"frames of {shape} cannot be JPEGs") from None
            jpegs.append(jpeg.tobytes())
            timestamps.append(timestamp)
            length += len(jpegs[-1])
            if length > _MAX_RECORD_BYTES:
                raise video.VideoError(
                    path, f"too long for a record: {len(jpegs)} frames exceed 1.9 GB; cut it up"
                )
    frame_rate = reader.frame_rate
    if len(timestamps) > 1:  # what containers declare is often wrong
        frame_rate = (len(timestamps) - 1) / (timestamps[-1] - timestamps[0])
    record = records.encode(
        jpegs,
        timestamps,
        label_index,
        clip.label,
        clip.path,
        *frame.shape[:2],
        frame_rate=frame_rate,
    )
    return record, len(jpegs), reader.note


# --- Arguments ------------------------------------------------------------------------------


def _check_videos(videos, labels):
    labels = list(labels)
    known, paths = set(), set()
    for label in labels:
        if label in known:
            raise ValueError(f"`labels` must differ. Received: {label!r} twice")
        if label.splitlines() != [label]:
            raise ValueError(f"`labels` must be of one line each. Received: {label!r}")
        known.add(label)
    if not videos:
        raise ValueError("`videos` must hold at least one video. Received: none")
    for clip in videos:
        if clip.split not in sources.SPLITS:
            raise ValueError(f"`split` must be train or test. Received: {clip}")
        if clip.label not in known:
            raise ValueError(f"`labels` must hold the label of each video. Received: {clip}")
        if clip.path in paths:
            raise ValueError(f"`videos` must list each video once. Received: {clip.path!r} twice")
        paths.add(clip.path)
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
