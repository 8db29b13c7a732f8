"""Data sets in the form in which their authors published the labels: UCF-101, HMDB-51, Kinetics.

UCF-101 and HMDB-51 come with three official splits. A video is listed once, with its side in each
of them, so that one set of shards serves all three.
"""

import os
import re
import tempfile

from keras_videorel import files
from keras_videorel.checks import check_choice
from keras_videorel.data import folders, sources, tables, video
from keras_videorel.data.folders import EXTENSIONS
from keras_videorel.data.pictures import normalized
from keras_videorel.data.sources import DataSet, Video, check_folder, check_label

TRAIN, VAL, TEST, UNUSED = "train", "val", "test", "unused"
MISSING = "no such file"
_TRIMMED = 1.0  # seconds that a trimmed file may be longer than the times say


def read_ucf101(annotations, videos, split=1, rejected=()):
    """UCF-101: `classInd.txt`, `trainlist0N.txt`, `testlist0N.txt`.

    Args:
        annotations: The folder of these files ("ucfTrainTestlist" in the authors' archive).
        videos: The folder of the videos, `LABEL/v_LABEL_g01_c01.avi` or flat.
        split: The split that `Video.split` tells the side in.
        rejected: Names of videos that do not decode: another file of theirs is preferred.

    Returns:
        A `DataSet`; the labels are in the order of `classInd.txt`.

    Raises:
        FileNotFoundError: If a folder or file is not there.
        ValueError: If a file is of another kind, or the lists contradict each other.
    """
    annotations = _check_annotations(annotations, "classInd.txt")
    labels = _class_index(os.path.join(annotations, "classInd.txt"))
    sides = {}
    for number in _splits(annotations, r"(?:train|test)list0*(\d+)\.txt"):
        for side in (TRAIN, TEST):
            path = os.path.join(annotations, f"{side}list{number:02d}.txt")
            for place, line in _lines(path):
                # A training line ends with the label's index; file names hold no spaces.
                name, _, index = line.partition(" ")
                label = name.rpartition("/")[0]
                if label not in labels or (index and _name(labels, index.strip()) != label):
                    raise ValueError(
                        "`annotations` must list videos as LABEL/NAME.avi, with labels and indices "
                        f"of classInd.txt. Received: {line!r} in {place}"
                    )
                _add(sides, (name, label), number, side, place)
    return _listed(sides, labels, videos, split, rejected)


def read_hmdb51(annotations, videos, split=1, rejected=()):
    """HMDB-51: 51 x 3 files `LABEL_test_splitN.txt` of `NAME.avi ID`.

    ID is 1 for training, 2 for testing and 0 for neither.

    Args:
        annotations: The folder of these files ("testTrainMulti_7030_splits").
        videos: The folder of the videos, `LABEL/NAME.avi` or flat.
        split: The split that `Video.split` tells the side in.
        rejected: Names of videos that do not decode: another file of theirs is preferred.

    Returns:
        A `DataSet`; the labels are sorted, since the authors number none.

    Raises:
        FileNotFoundError: If a folder or file is not there.
        ValueError: If a file is of another kind.
    """
    annotations = _check_annotations(annotations)
    pattern = r"(.+)_test_split(\d+)\.txt"
    labels = sources.sorted_labels({match[1] for match in _matches(annotations, pattern)})
    ids = {"1": TRAIN, "2": TEST, "0": UNUSED}
    sides = {}
    for number in _splits(annotations, r".+_test_split(\d+)\.txt"):
        for label in labels:
            for place, line in _lines(os.path.join(annotations, f"{label}_test_split{number}.txt")):
                name, _, side = line.rpartition(" ")
                if side not in ids or not name:
                    raise ValueError(
                        "`annotations` must list videos as NAME.avi with 0, 1 or 2. "
                        f"Received: {line!r} in {place}"
                    )
                _add(sides, (f"{label}/{name.strip()}", label), number, ids[side], place)
    return _listed(sides, labels, videos, split, rejected)


def read_kinetics(annotations, videos, split=1, labels=None, rejected=()):
    """Kinetics-400, -600 or -700: tables of `label,youtube_id,time_start,time_end,split`.

    The videos are trimmed files named `ID_000012_000022.mp4` (start and end in seconds), or whole
    ones named `ID.mp4`, in folders of any layout. Of a whole file the listed segment is taken, and
    it may be listed with several; an `ID.mp4` that is not longer than its one segment was trimmed
    already. Where the tables list all three parts, there are two splits of the same training part:
    1 has the parts as they are, in 2 the validation part is tested on, as papers do. Otherwise
    there is one, tested on the part that is there.

    Args:
        annotations: A CSV file, several with commas between them, or a folder of them.
        videos: The folder of the videos.
        split: The split that `Video.split` tells the side in.
        labels: Names of the classes in index order; sorted training labels by default.
        rejected: Names of videos that do not decode: another file of theirs is preferred.

    Returns:
        A `DataSet`.

    Raises:
        FileNotFoundError: If a folder or file is not there.
        ValueError: If a file is of another kind, or has labels that training has not.
    """
    unreadable, rows, rejected = rejected, {}, []
    for path in _tables(annotations):
        for place, row in _table(path):
            clip = row["clip"]
            if clip not in rows:
                rows[clip] = row
            elif (rows[clip]["label"], rows[clip]["part"]) != (row["label"], row["part"]):
                first = rows[clip]
                rejected.append(
                    (
                        "_".join(filter(None, clip)),
                        f"listed as {first['label']} ({first['part']}) before, and as "
                        f"{row['label']} ({row['part']}) in {place}: the first is used",
                    )
                )
    parts = {row["part"] for row in rows.values()}
    tests = [part for part in (VAL, TEST) if part in parts]
    splits = [{TRAIN: TRAIN, part: TEST} for part in tests] or [{TRAIN: TRAIN}]
    if parts == {TRAIN, VAL, TEST}:
        splits = [{TRAIN: TRAIN, VAL: VAL, TEST: TEST}, splits[0]]
    ids = {}
    for youtube_id, *_ in rows:
        ids[youtube_id] = ids.get(youtube_id, 0) + 1
    if labels is None:
        labels = sources.sorted_labels({r["label"] for r in rows.values() if r["part"] == TRAIN})
        if not labels:
            raise ValueError(
                "`annotations` must list training videos, whose labels those of the other parts "
                f"are numbered by; or give `labels`. Received: {annotations!r}, which lists none"
            )
    known = {normalized(label) for label in labels}
    sides, segments = {}, {}
    for (youtube_id, *times), row in rows.items():
        if row["label"] not in known:
            raise ValueError(
                f"`annotations` must have labels of the training part only. Received: "
                f"{row['label']!r} in the {row['part']} part"
            )
        names = ("_".join([youtube_id, *times]), youtube_id, row["label"])
        sides[names] = {n: own.get(row["part"], UNUSED) for n, own in enumerate(splits, 1)}
        segments[names] = (*row["times"], ids[youtube_id] == 1)
    found = _listed(sides, labels, videos, split, unreadable, segments)
    found = sources.with_labels(found, labels)
    return found._replace(rejected=sorted(found.rejected + rejected))


READERS = {"ucf101": read_ucf101, "hmdb51": read_hmdb51, "kinetics": read_kinetics}


# --- Annotations ----------------------------------------------------------------------------


def _check_annotations(folder, needed=None):
    if folder is None or not files.is_folder(folder):
        raise FileNotFoundError(
            f"`annotations` must be the folder of the official lists. Received: {folder!r}"
        )
    if needed is not None and needed not in files.list_folder(folder):
        raise FileNotFoundError(f"`annotations` must hold {needed}. Received: {folder!r}")
    return os.fspath(folder)


def _matches(folder, pattern):
    names = files.list_folder(folder)
    return [match for match in (re.fullmatch(pattern, name) for name in names) if match]


def _splits(folder, pattern):
    """Numbers of the splits whose files are there."""
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
    labels = {}
    for place, line in _lines(path):
        index, _, label = line.partition(" ")
        if not index.isdecimal() or int(index) != len(labels) + 1 or label.strip() in labels:
            raise ValueError(
                f"classInd.txt must number the classes from 1. Received: {line!r} in {place}"
            )
        labels[label.strip()] = index
    return list(labels)


def _name(labels, index):
    return labels[int(index) - 1] if index.isdecimal() and 0 < int(index) <= len(labels) else None


def _add(sides, key, number, side, place):
    known = sides.setdefault(key, {}).setdefault(number, side)
    if known != side:
        raise ValueError(
            f"`annotations` must give a video one side of a split. Received: {key[0]!r} as {known} "
            f"and as {side} in {place}"
        )


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
        part = sources.PARTS.get(row["split"].lower())
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


def _listed(sides, labels, videos, split, unreadable, segments=None):
    """The data set of videos with their sides, by `(*names, label)`, the best name first.

    Of segments, dict from the same keys to `(start, end, whether it is the file's only one)`, all
    names but the first are of whole files.
    """
    videos = check_folder(videos)
    numbers = sorted({number for own in sides.values() for number in own})
    check_choice("split", split, numbers)
    index = _index(videos)

    def clips(names, label, key, own):
        every = tuple(own.get(n, UNUSED) for n in range(1, numbers[-1] + 1))
        every = every if len(numbers) > 1 else ()
        for name in names:
            for path in _find(index, name, label, videos):
                times = ()
                if segments is not None and name != names[0]:
                    *times, only = segments[key]
                    if only and _is_trimmed(files.join(videos, path), times[1] - times[0]):
                        times = ()
                yield Video(path, label, own.get(split, UNUSED), every, *times)

    found, rejected, listed = [], [], {}
    for key, own in sides.items():
        *names, label = key
        first = next(clips(names, label, key, own), None)
        if first is None:
            rejected.append((names[0], MISSING))
            continue
        clip = first
        if first.name in unreadable:
            others = (c for c in clips(names, label, key, own) if c.name not in unreadable)
            clip = next(others, first)
        listed[clip.name] = names[0]
        found.append(clip)
    found.sort(key=lambda clip: (clip.path, clip.start or 0))
    return DataSet(found, labels, sorted(rejected), listed=listed)


def _is_trimmed(path, seconds):
    """Whether a file is no longer than its segment, as far as it declares its duration."""
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            files.local_copy(path, folder) as local,
            video.iter_frames(local) as reader,
        ):
            return reader.duration is not None and reader.duration <= seconds + _TRIMMED
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
    """The files of a listed name: videos, those in the folder of its label first."""
    stem = normalized(name.rpartition("/")[2])
    known = os.path.splitext(stem)
    paths = index.get(stem) or (index.get(known[0]) if known[1].lower() in EXTENSIONS else None)
    if not paths:
        return
    own = {normalized(label), normalized(label).replace(" ", "_")}

    def rank(path):
        inner = normalized(path).split("/")[-2:-1]
        return not path.lower().endswith(EXTENSIONS), not own & set(inner), path

    paths, any_video = sorted(paths, key=rank), False
    for path in paths:
        # Texts and pictures may lie beside a video without a usual extension.
        if len(paths) == 1 or not rank(path)[0] or not folders.why_no_video(f"{videos}/{path}"):
            any_video = True
            yield path
    if not any_video:
        yield paths[0]
