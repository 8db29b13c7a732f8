"""Shards: TFRecord files of a data set's clips, written by one process per core.

    OUTPUT/train-00000-of-00014.tfrecord, ...    records of `records`, classes mixed
    OUTPUT/val-00000-of-00003.tfrecord, ...      if there is a validation split
    OUTPUT/test-00000-of-00006.tfrecord, ...
    OUTPUT/labels.txt                            a name per line, in index order
    OUTPUT/rejected.csv                          path,reason of the videos that were left out
    OUTPUT/dataset.json                          counts and options; written last

While they are made, a hidden folder holds unfinished files and the options of the run. A shard gets
its name when it is whole, so a run that was stopped in any way leaves whole shards only, and the
next run with the same options makes the missing ones. For a finished data set, the next run adds
what is new or was repaired (`shard_repair`).
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import os
import warnings
from collections.abc import Sequence

from tqdm import tqdm

from keras_videorel import files, tensorflow_import
from keras_videorel.checks import check_choice, check_integer
from keras_videorel.data import (
    decoder,
    folders,
    local_engine,
    pictures,
    shard_plan,
    shard_repair,
    shard_writer,
    sources,
)
from keras_videorel.data.drawing import Drawing
from keras_videorel.data.flow import METHODS
from keras_videorel.data.manifest import LABELS, MANIFEST, Manifest
from keras_videorel.data.sources import DataSet
from keras_videorel.extras import pip_install

DEFAULT_SIZE = (128, 170)  # height and width: the frames of the ARTNet paper
JPEG_QUALITY = 90  # chosen from the table in docs/performance.md
TIME_LIMIT = 60.0  # seconds without a frame
ENGINES = ("local", "beam")
FLOWS = ("none", *METHODS)

_WORK = ".make_tfrecords"


def convert_folder(
    videos: str | os.PathLike,
    output: str | os.PathLike,
    frame_size: tuple[int, int] | int | None = None,
    flow: str = "none",
    test_fraction: float | None = None,
    val_fraction: float | None = None,
    num_workers: int | None = None,
    *,
    group_pattern: str | None = None,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    **options,
) -> Manifest:
    """Convert a folder of videos to shards, which training reads.

    A conversion that was interrupted continues when it is called again; a finished one adds files
    that are new or were repaired. Files that are not videos are listed in `rejected.csv`.

    Args:
        videos: Folder of `{train,val,test}/LABEL/` or, with `test_fraction`, of `LABEL/`: video
            files of any kind, or folders of pictures.
        output: Folder of the shards; created if needed.
        frame_size: `(height, width)` of the stored frames, or an integer: the length of their
            shorter side, at the aspect ratio of the video. By default (128, 170).
        flow: Optical flow to store beside the frames: `"none"`, `"tvl1"` (as both papers) or
            `"dis"` (a hundred times faster).
        test_fraction: Part of each class for the test split.
        val_fraction: Part of each class for the validation split, taken from training.
        num_workers: Number of decoding processes; by default one per available core.
        group_pattern: Regular expression with one group, looked for in the names of files: clips
            with the same text there stay in one split.
        class_names: Names of the classes in index order; by default the sorted folders.
        seed: Seed of the order and of the fractions.
        **options: Further arguments of `write_shards`.

    Returns:
        The `Manifest` of the shards.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If an argument is not valid, no video decodes, or `output` holds something else,
            such as shards made with other options.
        OSError: If a file cannot be written, or a decoding process was killed.
    """
    drawing = Drawing(test_fraction, val_fraction, seed, group_pattern)
    data = folders.read_folder(videos, drawing)
    for warning in data.warnings:
        warnings.warn(warning, stacklevel=2)
    return write_shards(
        data, output, videos, frame_size, flow=flow, num_workers=num_workers,
        class_names=class_names, seed=seed, **options,
    )  # fmt: skip


def write_shards(
    data: DataSet,
    output: str | os.PathLike,
    root: str | os.PathLike = "",
    frame_size: tuple[int, int] | int | None = None,
    *,
    jpeg_quality: int = JPEG_QUALITY,
    flow: str = "none",
    fold: int = 1,
    frame_rate: float = pictures.FRAME_RATE,
    num_shards: int | None = None,
    num_workers: int | None = None,
    engine: str = "local",
    beam_options: Sequence[str] = (),
    time_limit: float = TIME_LIMIT,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
) -> Manifest:
    """Write the clips of a data set as TFRecord shards.

    All that is not listed here is as for `convert_folder`.

    Args:
        data: The data set.
        root: Folder that the relative paths of the videos start from.
        jpeg_quality: Quality of the stored frames, 1 to 100.
        fold: Number of the official split that shards are named by.
        frame_rate: Pictures per second of videos that are folders of pictures.
        num_shards: Number of shards of each split, at most one per clip. By default one per 64
            clips, and at least one per worker.
        engine: `"local"`, or `"beam"` for an Apache Beam pipeline (extra `[beam]`).
        beam_options: Options of Beam and its runner, as words of a command line.
        time_limit: Seconds that a video may take without giving a frame.
        class_names: Names of the classes in index order, in place of `data.labels`.
    """
    files.check_text("output", output)
    output = files.absolute(output)
    data = _check_videos(_with_labels(data, class_names, output))
    check_choice("engine", engine, ENGINES)
    num_workers = local_engine.available_cores() if num_workers is None else num_workers
    num_workers = check_integer("num_workers", num_workers, 1)
    if num_shards is not None:
        check_integer("num_shards", num_shards, 1, shard_plan.MAX_SHARDS)
    encoding = decoder.Settings(
        _check_size(DEFAULT_SIZE if frame_size is None else frame_size),
        check_integer("jpeg_quality", jpeg_quality, 1, 100),
        check_choice("flow", flow, FLOWS),
        pictures.check_rate(frame_rate),
    )
    conversion = shard_writer.Conversion(
        files.absolute(root or "."), output, os.path.join(output, _WORK), encoding, time_limit
    )
    fold, seed = check_integer("fold", fold, 1), check_integer("seed", seed)
    options = shard_plan.make_options(data, encoding, fold, seed, num_shards, num_workers)
    write = functools.partial(_write_missing, conversion, engine, num_workers, beam_options)
    lock = os.path.join(conversion.work, "lock")
    finished = shard_plan.finished(output)
    if finished is not None:
        again = shard_repair.find_changes(data, options, num_shards is None, conversion)
        if again is None:
            files.remove(conversion.work)  # of a run that was stopped at the very end
            return finished
        files.make_folder(conversion.work)
        with _lock(lock, output):
            _clean(conversion.work, keep=("lock",))
            return shard_repair.add(data, again, options["videos"], conversion, write)

    is_new = not files.exists(output)
    _check_own(conversion)
    files.make_folder(conversion.work)
    with _lock(lock, output):
        options = _begin(options, num_shards is None, conversion)
        shards = shard_plan.plan(data, options)
        write(shards)
        reports = [files.read_json(conversion.report_path(shard)) for shard in shards]
        if any(report["clips"] for report in reports):
            return shard_plan.describe(shards, data, options, conversion)
        for path in [conversion.work, *map(conversion.shard_path, shards)]:
            files.remove(path)
        if is_new:
            files.remove(output)
        failed = sorted(entry for report in reports for entry in report["rejected"])
        first = "; ".join(f"{path}: {reason}" for path, reason in failed[:3])
        raise ValueError(
            f"`videos` must hold at least one video that decodes. Received: {len(data.videos)}, "
            f"all rejected ({first}{'; ...' if len(failed) > 3 else ''})"
        )


# --- The folder -----------------------------------------------------------------------------


def _check_own(conversion):
    """Refuse a folder that holds shards which no run here has begun."""
    if files.exists(os.path.join(conversion.work, "options.json")):
        return
    for name in files.list_folder(conversion.output):
        if name in (LABELS, shard_plan.REJECTED) or name.endswith(".tfrecord"):
            raise ValueError(
                f"`output` holds {name} but no {MANIFEST}, so it is no data set to complete; "
                f"choose another folder. Received: {conversion.output!r}"
            )


def _begin(options, any_shards, conversion):
    """Clean up after a run that was stopped; the options that shards are made with."""
    recorded = os.path.join(conversion.work, "options.json")
    _clean(conversion.work, keep=("lock", ".json"))
    # Where no shard is whole yet, nothing stands in the way of other options.
    names = files.list_folder(conversion.output)
    if not files.exists(recorded) or not any(name.endswith(".tfrecord") for name in names):
        files.write_json(recorded, {"options": options})
        return options
    found = shard_plan.read_options(recorded, conversion.output)
    shard_plan.check_same(found, options, any_shards, conversion.output)
    # The default number of shards follows that of the workers, which may change.
    return {**options, "shards": found["shards"]}


def _clean(work, keep):
    for name in files.list_folder(work):
        if not name.endswith(keep):
            files.remove(os.path.join(work, name))


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


def _write_missing(conversion, engine, num_workers, beam_options, shards):
    """Write those of some shards that are missing."""
    tensorflow_import.import_tensorflow()  # before threads begin
    done = conversion.written()
    missing = [shard for shard in shards if shard.name not in done]
    if not missing:
        return
    total = sum(len(shard.clips) for shard in shards)
    initial = total - sum(len(shard.clips) for shard in missing)
    with tqdm(total=total, initial=initial, unit="clip", desc="shards") as bar:
        if engine == "local":
            local_engine.run(missing, conversion, num_workers, bar.update)
            return
        try:
            from keras_videorel.data import beam_engine
        except ImportError as error:
            raise ValueError(f"`engine` beam needs {pip_install('beam')} ({error})") from None
        beam_engine.run(missing, conversion, beam_options, bar.update)


# --- Arguments ------------------------------------------------------------------------------


def _with_labels(data, class_names, output):
    """A data set with class names; those of shards that are there keep their order."""
    if class_names is not None:
        return sources.with_labels(data, class_names)
    if data.labels is not None:
        return data
    labels, finished = sources.label_names(data.videos), shard_plan.finished(output)
    if finished and {*map(pictures.normalized, finished.labels)} == {*labels}:
        labels = finished.labels
    return sources.with_labels(data, labels)


def _check_videos(data):
    """A data set whose labels and names are valid."""
    if not data.videos:
        raise ValueError("`videos` must hold at least one video. Received: none")
    names, labels = set(), set()
    for label in data.labels:
        sources.check_label(label, repr(label))
        if label in labels:
            raise ValueError(f"`labels` must differ. Received: {label!r} twice")
        labels.add(label)
    for clip in data.videos:
        if clip.label not in labels:
            near = difflib.get_close_matches(clip.label, data.labels, 3) or data.labels[:3]
            raise ValueError(
                f"`labels` must hold the label of each video. Received: {clip.label!r} of "
                f"{clip.name}, but {', '.join(map(repr, near))}"
                + (", ..." if len(data.labels) > len(near) else "")
            )
        if clip.name in names:
            raise ValueError(f"`videos` must list each video once. Received: {clip.name!r} twice")
        names.add(clip.name)
    return data


def _check_size(frame_size):
    if not hasattr(frame_size, "__len__"):
        return check_integer("frame_size", frame_size, 1, 8192)
    if len(frame_size) != 2:
        raise ValueError(
            f"`frame_size` must be (height, width) or an integer. Received: {frame_size!r}"
        )
    return tuple(check_integer("frame_size", side, 1, 8192) for side in frame_size)
