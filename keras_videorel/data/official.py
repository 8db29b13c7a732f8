"""Data sets in the form in which their authors published the labels: UCF-101, HMDB-51, Kinetics.

UCF-101 and HMDB-51 come with three official splits, here called folds. A video is listed once, with
its split in each of them, so that one set of shards serves all three.

All readers take the same arguments:

    annotations: The authors' lists.
    videos: The folder of the videos, `LABEL/NAME.avi` or of another layout: files are found by
        their names without extension, best in the folder of their label.
    fold: The fold that `Video.split` is of.

They return a `DataSet`. They raise a `FileNotFoundError` if a folder or file does not exist, and a
`ValueError` if a file is of another kind or the lists contradict each other.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from keras_videorel import files
from keras_videorel.checks import check_choice
from keras_videorel.data import folders, sources, tables, video
from keras_videorel.data.folders import EXTENSIONS
from keras_videorel.data.pictures import normalized
from keras_videorel.data.sources import DataSet, Video, check_folder, check_label

TRAIN, VAL, TEST, UNUSED = "train", "val", "test", "unused"
MISSING = "no such file"
Path = str | os.PathLike
_TRIMMED = 1.0  # seconds that a trimmed file may be longer than the times say


class _Clip(NamedTuple):
    """A clip of the lists."""

    name: str  # of its file
    label: str
    splits: dict  # by fold
    whole: str = ""  # name of the whole file that it is a segment of
    segment: tuple = ()  # (start, end) in seconds
    alone: bool = True  # whether the whole file has no other segment


def read_ucf101(annotations: Path, videos: Path, fold: int = 1) -> DataSet:
    """UCF-101: a folder of `classInd.txt`, `trainlist0N.txt`, `testlist0N.txt`.

    It is called "ucfTrainTestlist" in the authors' archive. The labels are in the order of
    `classInd.txt`.
    """
    annotations = _check_annotations(annotations)
    labels = _class_index(os.path.join(annotations, "classInd.txt"))
    splits: dict = {}
    for number in _folds(annotations, r"(?:train|test)list0*(\d+)\.txt"):
        for split in (TRAIN, TEST):
            path = os.path.join(annotations, f"{split}list{number:02d}.txt")
            for place, line in _lines(path):
                # A training line ends with the label's index; file names hold no spaces.
                name, _, index = line.partition(" ")
                label = name.rpartition("/")[0]
                if label not in labels or index.strip() not in ("", str(labels.index(label) + 1)):
                    raise ValueError(
                        "`annotations` must list videos as LABEL/NAME.avi, with labels and indices "
                        f"of classInd.txt. Received: {line!r} in {place}"
                    )
                splits.setdefault((name, label), {})[number] = split
    return _data_set(_clips(splits), labels, videos, fold)


def read_hmdb51(annotations: Path, videos: Path, fold: int = 1) -> DataSet:
    """HMDB-51: a folder of 51 x 3 files `LABEL_test_splitN.txt` of `NAME.avi ID`.

    It is called "testTrainMulti_7030_splits". ID is 1 for training, 2 for testing and 0 for
    neither. The labels are sorted, since the authors number none.
    """
    annotations = _check_annotations(annotations)
    pattern = r"(.+)_test_split(\d+)\.txt"
    labels = sources.sorted_labels({match[1] for match in _matches(annotations, pattern)})
    ids = {"1": TRAIN, "2": TEST, "0": UNUSED}
    splits: dict = {}
    for number in _folds(annotations, pattern):
        for label in labels:
            for place, line in _lines(os.path.join(annotations, f"{label}_test_split{number}.txt")):
                name, _, identity = line.rpartition(" ")
                if identity not in ids or not name:
                    raise ValueError(
                        "`annotations` must list videos as NAME.avi with 0, 1 or 2. "
                        f"Received: {line!r} in {place}"
                    )
                key = (f"{label}/{name.strip()}", label)
                splits.setdefault(key, {})[number] = ids[identity]
    return _data_set(_clips(splits), labels, videos, fold)


def read_kinetics(
    annotations: Path, videos: Path, fold: int = 1, labels: Sequence[str] | None = None
) -> DataSet:
    """Kinetics-400, -600 or -700: tables of `label,youtube_id,time_start,time_end,split`.

    `annotations` is a CSV file, several with commas between them, or a folder of them. `labels` are
    names of the classes in index order; by default the sorted training labels.

    The videos are trimmed files named `ID_000012_000022.mp4` (start and end in seconds), or whole
    ones named `ID.mp4`. Of a whole file the listed segment is taken, and it may be listed with
    several; an `ID.mp4` that is not longer than its one segment was trimmed already. Where the
    tables list all three parts, there are two folds of the same training part: 1 has the parts as
    they are, in 2 the validation part is tested on, as papers do. Otherwise there is one, tested on
    the part that is there.
    """
    rows: dict[tuple, dict] = {}
    contradictions = []
    for path in _tables(annotations):
        for place, row in _table(path):
            first = rows.setdefault(row["clip"], row)
            if (first["label"], first["part"]) != (row["label"], row["part"]):
                reason = (
                    f"listed as {first['label']} ({first['part']}) before, and as "
                    f"{row['label']} ({row['part']}) in {place}: the first is used"
                )
                contradictions.append(("_".join(row["clip"]), reason))
    parts = {row["part"] for row in rows.values()}
    tests = [part for part in (VAL, TEST) if part in parts]
    folds = [{TRAIN: TRAIN, part: TEST} for part in tests] or [{TRAIN: TRAIN}]
    if parts == {TRAIN, VAL, TEST}:
        folds = [{TRAIN: TRAIN, VAL: VAL, TEST: TEST}, folds[0]]
    if labels is None:
        labels = sources.sorted_labels({r["label"] for r in rows.values() if r["part"] == TRAIN})
        if not labels:
            raise ValueError(
                "`annotations` must list training videos, whose labels those of the other parts "
                f"are numbered by; or give `labels`. Received: {annotations!r}, which lists none"
            )
    known = {normalized(label) for label in labels}
    segments = Counter(youtube_id for youtube_id, *_ in rows)
    clips = []
    for clip, row in rows.items():
        if row["label"] not in known:
            raise ValueError(
                f"`annotations` must have labels of the training part only. Received: "
                f"{row['label']!r} in the {row['part']} part"
            )
        splits = {number: own.get(row["part"], UNUSED) for number, own in enumerate(folds, 1)}
        name, whole = "_".join(clip), clip[0]
        alone = segments[whole] == 1
        clips.append(_Clip(name, row["label"], splits, whole, row["times"], alone))
    found = _data_set(clips, labels, videos, fold)
    found = sources.with_labels(found, labels)
    return found._replace(rejected=sorted([*found.rejected, *contradictions]))


READERS = {"ucf101": read_ucf101, "hmdb51": read_hmdb51, "kinetics": read_kinetics}


# --- Annotations ----------------------------------------------------------------------------


def _check_annotations(folder):
    if folder is None or not files.is_folder(folder):
        raise FileNotFoundError(
            f"`annotations` must be the folder of the official lists. Received: {folder!r}"
        )
    return os.fspath(folder)


def _matches(folder, pattern):
    return [match for name in files.list_folder(folder) if (match := re.fullmatch(pattern, name))]


def _folds(folder, pattern):
    """Numbers of the folds whose files are there."""
    numbers = sorted({int(match[match.re.groups]) for match in _matches(folder, pattern)})
    if not numbers:
        raise FileNotFoundError(
            f"`annotations` must hold the official lists, files named {pattern}. "
            f"Received: {folder!r} without any"
        )
    return numbers


def _lines(path):
    """`(place, line)` of the lines of a text that are not empty, whatever their ends."""
    if not files.exists(path):
        raise FileNotFoundError(f"`annotations` must hold {os.path.basename(path)}: it is missing")
    for number, line in enumerate(files.read_text(path).splitlines(), 1):
        if line.strip():
            yield f"{path!r}, line {number}", line.strip()


def _class_index(path):
    labels = []
    for place, line in _lines(path):
        index, _, label = line.partition(" ")
        if index != str(len(labels) + 1) or label.strip() in labels:
            raise ValueError(
                f"classInd.txt must number the classes from 1. Received: {line!r} in {place}"
            )
        labels.append(label.strip())
    return labels


def _clips(splits):
    return [_Clip(name, label, own) for (name, label), own in splits.items()]


def _tables(annotations):
    paths = os.fspath(annotations or "").split(",")
    if len(paths) == 1 and files.is_folder(paths[0]):
        names = [name for name in files.list_folder(paths[0]) if name.lower().endswith(".csv")]
        paths = [os.path.join(paths[0], name) for name in names]
    missing = [path for path in paths if not files.exists(path) or files.is_folder(path)]
    if missing or not paths:
        raise FileNotFoundError(
            "`annotations` must be CSV files of label,youtube_id,time_start,time_end,split, or a "
            f"folder of them. Received: {annotations!r}"
        )
    return paths


def _table(path):
    columns = ("label", "youtube_id", "time_start", "time_end", "split")
    for place, _, row in tables.read_table(path, columns):
        part = sources.SPLITS_BY_NAME.get(row["split"].lower())
        try:
            times = [float(row[name]) for name in ("time_start", "time_end")]
            names = [f"{int(time):06d}" for time in times]
        except (ValueError, OverflowError):
            names = []
        if not (row["label"] and row["youtube_id"] and names and 0 <= times[0] < times[1] and part):
            raise ValueError(
                "`annotations` must have a label, an ID, a start, an end and the split train, "
                "validate or test in each line. Received: "
                f"{','.join(row[name] for name in columns)!r} in {place}"
            )
        label = check_label(row["label"], f"{row['label']!r} in {place}")
        clip = (row["youtube_id"], *names)
        yield place, {"clip": clip, "label": label, "part": part, "times": times}


# --- Files ----------------------------------------------------------------------------------


def _data_set(clips, labels, videos, fold):
    """The data set of a list of `_Clip`."""
    videos = check_folder(videos)
    numbers = sorted({number for clip in clips for number in clip.splits})
    check_choice("fold", fold, numbers)
    index, found, rejected = _index(videos), [], []
    for clip in clips:
        splits = tuple(clip.splits.get(n, UNUSED) for n in range(1, numbers[-1] + 1))
        splits = splits if len(numbers) > 1 else ()
        path, times = _find(index, clip.name, clip.label, videos), ()
        if path is None and clip.whole:
            path, times = _find(index, clip.whole, clip.label, videos), clip.segment
            if path and clip.alone and _is_trimmed(files.join(videos, path), *times):
                times = ()
        if path is None:
            rejected.append((clip.name, MISSING))
        else:
            split = clip.splits.get(fold, UNUSED)
            found.append(Video(path, clip.label, split, splits, *times))
    found.sort(key=lambda clip: (clip.path, clip.start or 0))
    return DataSet(found, labels, sorted(rejected))


def _is_trimmed(path, start, end):
    """Whether a file is no longer than its segment, as far as it declares its duration."""
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            files.local_copy(path, folder) as local,
            video.iter_frames(local) as reader,
        ):
            return reader.duration is not None and reader.duration <= end - start + _TRIMMED
    except (video.VideoError, OSError):
        return False  # decoding will say what is wrong


def _index(folder):
    """Paths of the files below a folder, relative to it, by their names without extension."""
    index = {}
    for path in folders.walk_files(folder):
        stem, extension = os.path.splitext(path.rpartition("/")[2])
        # Names may have points, and files no extension.
        known = extension.lower() in EXTENSIONS
        for name in {stem, stem if known else stem + extension}:
            index.setdefault(normalized(name), []).append(path)
    return index


def _find(index, name, label, videos):
    """The file of a listed name, best a video in the folder of its label; None if there is none."""
    stem = normalized(name.rpartition("/")[2])
    known = os.path.splitext(stem)
    paths = index.get(stem) or (index.get(known[0]) if known[1].lower() in EXTENSIONS else None)
    own = {normalized(label), normalized(label).replace(" ", "_")}

    def rank(path):
        inner = normalized(path).split("/")[-2:-1]
        return not path.lower().endswith(EXTENSIONS), not own & set(inner), path

    paths = sorted(paths or (), key=rank)
    if len(paths) > 1 and rank(paths[0])[0]:
        # Texts and pictures may lie beside a video without a usual extension.
        paths = [p for p in paths if not folders.why_no_video(f"{videos}/{p}")] or paths
    return paths[0] if paths else None
