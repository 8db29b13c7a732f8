"""Lists of labelled videos, from folders and from tables."""

import csv
import hashlib
import io
import math
import os
import re
import tempfile
from collections import Counter
from typing import NamedTuple

from keras_videorel import files
from keras_videorel.data import pictures

SPLITS = ("train", "val", "test")
# What splits are called in tables and folders.
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# Of these, files are videos until they fail to decode; of all others, a look inside says it.
EXTENSIONS = (
    *(".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv", ".flv", ".f4v"),
    *(".ts", ".mts", ".m2ts", ".3gp", ".3g2", ".ogv", ".ogm", ".gif", ".asf", ".vob", ".divx"),
    *(".mxf", ".rm", ".rmvb", ".m1v", ".m2v"),
)
COLUMNS = ("path", "label", "split")


class Video(NamedTuple):
    """A labelled video: a file, a segment of one, or a folder of pictures.

    Attributes:
        path: Path relative to the folder of the data set, with forward slashes, or absolute.
        label: Name of its class.
        split: `"train"`, `"val"` or `"test"`; in a data set of several official splits the side in
            the one that shards are named by, which may be `"unused"`.
        splits: Its side in each official split; empty where there is one split only.
        start: Where the segment begins, in seconds after the first frame; None for the beginning.
        end: Where the segment ends, likewise.
    """

    path: str
    label: str
    split: str
    splits: tuple = ()
    start: float | None = None
    end: float | None = None

    @property
    def name(self):
        """What identifies the clip: its path, of a segment with `#t=START,END` behind it."""
        if self.start is None and self.end is None:
            return self.path
        start, end = ("" if time is None else f"{time:.10g}" for time in (self.start, self.end))
        return f"{self.path}#t={start or 0}" + (f",{end}" if end else "")


class DataSet(NamedTuple):
    """What annotations and a folder of videos come to.

    Attributes:
        videos: List of `Video`: those that are there.
        labels: Names of the classes in index order; None where `label_names` has them.
        rejected: List of `(path, reason)`: what is listed and cannot be used.
        warnings: List of sentences: what the user should know.
        listed: Dict from names of videos to those that `rejected` would call them by, where these
            differ.
    """

    videos: list
    labels: list | None
    rejected: list
    warnings: list | tuple = ()
    listed: dict | None = None


class Drawing(NamedTuple):
    """How videos without a split get one.

    Attributes:
        test: Part of each class for the test split, in [0, 1); None for none.
        val: Part of each class for the validation split; None for none.
        seed: Seed of the choice.
        pattern: Regular expression with one group, which names a file's recording; None for the
            names of UCF-101, HMDB-51 and Kinetics.
    """

    test: float | None = None
    val: float | None = None
    seed: int = 0
    pattern: str | None = None


NOTHING = Drawing()


# --- Folders --------------------------------------------------------------------------------


def read_folder(videos, test_fraction=None, seed=0):
    """List the videos of a folder; `folder_data_set` says how, and tells what was left out."""
    return folder_data_set(videos, Drawing(test_fraction, seed=seed)).videos


def folder_data_set(videos, drawing=NOTHING):
    """The data set of `videos/{train,val,test}/LABEL/` or of `videos/LABEL/`.

    In the folder of a class, each file that is a video counts, and each folder of pictures. What is
    hidden does not; all else is rejected, with the reason.

    Args:
        videos: The folder.
        drawing: A `Drawing`. `drawing.test` is for `videos/LABEL/` only, and needed there;
            `drawing.val` is for folders without a validation part. See `draw`.

    Returns:
        A `DataSet`, its videos sorted by path.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no videos, or is laid out in another way.
        OSError: If a folder cannot be listed.
    """
    videos = check_folder(videos)
    check_drawing(drawing)
    children = _folders(videos)
    parts = {name: PARTS[name.lower()] for name in children if name.lower() in PARTS}
    # A class may be called "train", too: then its folder holds videos, not classes.
    if "train" not in parts.values() and "test" not in parts.values():
        parts = {}
    if any(_is_class(os.path.join(videos, name)) for name in parts):
        parts = {}
    if parts:
        if drawing.test is not None:
            raise ValueError(
                f"`test_fraction` is for videos in {_shown(videos, 'LABEL')}, but this folder is "
                f"split into {' and '.join(parts)} already: leave it out. Received: {drawing.test}"
            )
        others = [n for n in children if n not in parts and _any_clip(os.path.join(videos, n))]
        if others:
            raise ValueError(
                f"`videos` must hold the splits train, val and test only. Received: {videos!r} "
                f"with {', '.join(others)}; rename or move that folder"
            )

    found, rejected, warnings = [], [], []
    for root in sorted({"", *parts}):
        _reject_files(videos, root, rejected)
    for name in children if parts else ():
        if name not in parts:
            rejected.append((f"{name}/", "none of the folders train, val and test"))
    for root, split in (parts or {"": "train"}).items():
        _list_classes(videos, root, split, found, rejected, warnings)
    if found and not parts and drawing.test is None:
        raise ValueError(
            f"`test_fraction` is needed, for example 0.3, because {videos!r} has no train/ "
            "and test/ folders"
        )
    if not found:
        some = f"; {rejected[0][0]}: {rejected[0][1]}" if rejected else ""
        raise ValueError(
            f"`videos` must hold {_shown('DIR', '{train,val,test}/LABEL')} or "
            f"{_shown('DIR', 'LABEL')} (or .avi, .mkv, ..., or folders of pictures). "
            f"Received: {videos!r}, with no videos in such folders{some}"
        )
    found, more = draw(sorted(found, key=lambda v: v.path), drawing)
    return DataSet(found, None, sorted(rejected), warnings + more)


def walk_files(folder):
    """Paths of all files below a folder, relative to it, except hidden ones; sorted."""
    found = []
    for place, names in files.walk(folder, skip=is_hidden):
        inner = place[len(os.fspath(folder)) :].strip("/").replace(os.sep, "/").strip("/")
        found += [f"{inner}/{name}" if inner else name for name in names if not is_hidden(name)]
    return sorted(found)


def is_hidden(name):
    """Whether systems hide a file or folder of that name."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")


def why_no_video(path):
    """The reason why a file is not a video, in a few words; None for a video.

    Files with the extension of a video are taken at their word.
    """
    if path.lower().endswith(EXTENSIONS):
        return None
    if path.lower().endswith(pictures.EXTENSIONS):
        return "a picture, not a video"
    if not files.is_remote(path):
        return pictures.why_no_video(path)
    with tempfile.TemporaryDirectory() as folder, files.local_copy(path, folder) as local:
        return pictures.why_no_video(local)


def _reject_files(videos, root, rejected):
    """Add the files that lie beside the folders of classes to the list."""
    for name in _files(os.path.join(videos, root)):
        path = _joined(root, name)
        reason = why_no_video(os.path.join(videos, path))
        if reason is None:
            _refuse_misplaced(videos, path)
        rejected.append((path, reason))


def _list_classes(videos, root, split, found, rejected, warnings):
    """Add what `videos/root/LABEL/` holds to the lists."""
    for name in _folders(os.path.join(videos, root)):
        label = check_label(name, f"folder {name!r}")
        folder = _joined(root, name)
        before = len(found)
        for inner in _files(os.path.join(videos, folder)):
            path = f"{folder}/{inner}"
            reason = why_no_video(os.path.join(videos, path))
            if reason is None:
                found.append(Video(path, label, split))
            else:
                rejected.append((path, reason))
        for inner in _folders(os.path.join(videos, folder)):
            path = f"{folder}/{inner}"
            if _any_video(os.path.join(videos, path)):
                if not _is_link_into(os.path.join(videos, path), videos):
                    _refuse_misplaced(videos, path)
                rejected.append((path, "a link to a folder that is read under its own name"))
            elif _is_clip(os.path.join(videos, path)):
                found.append(Video(path, label, split))
            else:
                rejected.append((path, "a folder without videos or pictures"))
        if len(found) == before:
            reason = "no video in this folder, so there is no class of its name"
            rejected.append((f"{folder}/", reason))
            warnings.append(f"{folder}/ holds no video: there is no class {label!r} from it")


def _refuse_misplaced(videos, path):
    """Videos that a layout has no place for would be left out in silence."""
    raise ValueError(
        f"`videos` must hold the videos of a class directly in its folder LABEL/. Received: "
        f"{path!r} in {videos!r}"
    )


def _is_class(folder):
    """Whether a folder holds videos, or clips as folders of pictures, and not classes."""
    return any(name.lower().endswith(EXTENSIONS) for name in _files(folder)) or any(
        _is_clip(os.path.join(folder, name)) for name in _folders(folder)
    )


def _is_clip(folder):
    """Whether a folder holds the pictures of a clip, and not some pictures beside videos."""
    names = [name.lower() for name in _files(folder)]
    shown = sum(name.endswith(pictures.EXTENSIONS) for name in names)
    return shown > len(names) / 2 and not any(name.endswith(EXTENSIONS) for name in names)


def _any_clip(folder):
    return any(_is_clip(place) for place, _ in files.walk(folder, skip=is_hidden)) or _any_video(
        folder
    )


def _any_video(folder):
    return any(why_no_video(os.path.join(folder, path)) is None for path in walk_files(folder))


def _folders(folder):
    """Names of the folders in a folder, without hidden ones and links to where it lies itself."""
    names = [name for name in files.entries(folder)[0] if not is_hidden(name)]
    return [name for name in names if not _is_link_into(folder, os.path.join(folder, name), True)]


def _is_link_into(path, folder, upwards=False):
    """Whether a path is a link to a place in a folder; `upwards`: the folder a link to above it."""
    if files.is_remote(path) or not os.path.islink(folder if upwards else path):
        return False
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([path, folder]) == folder


def _files(folder):
    return [name for name in files.entries(folder)[1] if not is_hidden(name)]


def _joined(root, name):
    return f"{root}/{name}" if root else name


def _shown(folder, inner):
    return f"{folder}/{inner}/*.mp4"


# --- Tables ---------------------------------------------------------------------------------


def read_csv(annotations, videos):
    """List the videos of a table; `csv_data_set` says how."""
    return csv_data_set(annotations, videos).videos


def csv_data_set(annotations, videos, drawing=NOTHING):
    """The data set of a table with the columns `path`, `label` and `split`.

    A path names a file or a folder of pictures, absolute or relative to `videos`. Two more columns,
    `start` and `end`, in seconds, make a clip a segment of its file, which may then have several
    rows; `group` names what must not come to lie on two sides when a split is drawn, such as a
    recording or a person. More columns are ignored. With `drawing.test`, the column `split` may be
    missing. A file that does not exist is listed here and rejected later, with its reason.

    Args:
        annotations: The file, UTF-8, with columns between commas, semicolons or tabs.
        videos: The folder that relative paths start from.
        drawing: A `Drawing`; see `draw`.

    Returns:
        A `DataSet`, its videos in the order of the table.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If the table is none of that kind, or lists a clip twice.
        OSError: If the table cannot be read.
    """
    videos, annotations = check_folder(videos), os.fspath(annotations)
    check_drawing(drawing)
    if not files.exists(annotations) or files.is_folder(annotations):
        raise FileNotFoundError(
            "`annotations` must be a CSV file with the columns path, label and split. "
            f"Received: {annotations!r}, which is no file"
        )
    columns = COLUMNS if drawing.test is None else COLUMNS[:2]
    found, groups, lines, spellings = [], {}, {}, _Spellings(videos)
    for place, line, row in read_table(annotations, columns, ("split", "start", "end", "group")):
        if not row["path"] or not row["label"]:
            raise ValueError(
                f"`annotations` must give each video a path and a label. Received: path "
                f"{row['path']!r}, label {row['label']!r} in {place}"
            )
        video = Video(
            spellings.find(row["path"]),
            check_label(row["label"], f"{row['label']!r} in {place}"),
            PARTS.get(row["split"].lower(), "" if row["split"] else "train"),
            start=_seconds(row["start"], "start", place),
            end=_seconds(row["end"], "end", place),
        )
        if not video.split or (not row["split"] and drawing.test is None):
            raise ValueError(
                f"`split` must be train, val or test. Received: {row['split']!r} in {place}; "
                "rename it or leave those lines out"
            )
        if video.end is not None and not (video.start or 0) < video.end:
            raise ValueError(
                f"`end` must be after `start`. Received: {row['start']!r} and {row['end']!r} in "
                f"{place}"
            )
        clip = (os.path.normpath(os.path.join(videos, video.path)), video.start, video.end)
        if clip in lines:
            raise ValueError(
                f"`annotations` must list each file, or segment of it, once. Received: "
                f"{video.name!r} in line {lines[clip]} and again in {place}"
            )
        lines[clip] = line
        found.append(video)
        if row["group"]:
            groups[video.name] = row["group"]
    if not found:
        raise ValueError(f"`annotations` lists no videos. Received: {annotations!r}")
    found, warnings = draw(found, drawing, groups)
    return DataSet(found, None, [], warnings)


def read_table(path, columns, more=()):
    """Rows of a table with a head line; columns lie between commas, semicolons or tabs.

    Args:
        path: The file: UTF-8, or UTF-16 with a byte order mark.
        columns: Names of the columns that must be there, in any case and order.
        more: Names of columns that may be there.

    Yields:
        `(place, line, row)`: where the row is, in words; its line number; a dict of all columns'
        texts, without blanks around them, empty for what is not there.

    Raises:
        ValueError: If the file is no such table.
        OSError: If it cannot be read.
    """
    try:
        text = files.read_text(path)
    except PermissionError as error:
        raise OSError(f"`annotations` cannot be read: {path!r} ({error.strerror})") from None
    foreign = re.search("[\udc80-\udcff]", text)
    if foreign:
        raise ValueError(
            f"`annotations` must be UTF-8 text. Received: {path!r} with another byte in line "
            f"{text.count(chr(10), 0, foreign.start()) + 1}; save it as UTF-8"
        )
    try:
        first = text.lstrip().partition("\n")[0].strip("\r")
        for delimiter in ",;\t":
            heads = next(csv.reader([first], delimiter=delimiter), [])
            heads = [name.strip().lower() for name in heads]
            if all(name in heads for name in columns):
                break
        else:
            missing = [name for name in columns if name not in first.lower()]
            raise ValueError(
                f"`annotations` must have the columns {', '.join(columns[:-1])} and {columns[-1]}. "
                f"Received: {path!r} with the first line {first[:100]!r}"
                + (f", without {', '.join(missing)}" if missing else "")
            )
        places = {name: heads.index(name) for name in (*columns, *more) if name in heads}
        rows = csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=delimiter)
        skipped = text[: len(text) - len(text.lstrip())].count("\n")
        next(rows)
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            line = rows.line_num + skipped
            place = f"{path!r}, line {line}"
            if len(row) <= max(places[name] for name in columns):
                raise ValueError(
                    f"`annotations` must have a {', a '.join(columns[:-1])} and a {columns[-1]} in "
                    f"each line. Received: {delimiter.join(row)[:100]!r} in {place}"
                )
            cells = {n: row[i].strip() if i < len(row) else "" for n, i in places.items()}
            yield place, line, {**dict.fromkeys((*columns, *more), ""), **cells}
    except csv.Error as error:
        raise ValueError(
            f"`annotations` must be a CSV file. Received: {path!r} ({error})"
        ) from None


def _seconds(text, name, place):
    """Seconds, or [hours:]minutes:seconds, with a point or a comma; None for an empty cell."""
    if not text:
        return None
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d*)?|[.,]\d+)", text)
    if match is None:
        raise ValueError(
            f"`{name}` must be seconds of at least 0, such as 12.5. Received: {text!r} in {place}"
        )
    hours, minutes, seconds = match.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds.replace(",", "."))


class _Spellings:
    """Finds files under the spelling that the disk has for them."""

    def __init__(self, folder):
        self._folder = folder
        self._names = {}

    def find(self, path):
        """The path as it is on the disk; as it was given if there is no such file."""
        path = path.rstrip("/\\") or path
        if "\\" not in path and path.isascii():
            return path
        for spelling in (path, path.replace("\\", "/")):
            if files.exists(files.join(self._folder, spelling)):
                return spelling
        found = self._walk(spelling)
        return spelling if found is None else found

    def _walk(self, path):
        parts = path.split("/")
        done = "/" if path.startswith("/") else ""
        for part in filter(None, parts):
            place = files.join(self._folder, done) if done else self._folder
            if place not in self._names:
                names = files.list_folder(place) if files.is_folder(place) else []
                self._names[place] = {pictures.normalized(name): name for name in names}
            name = part if part in (".", "..") else None
            name = name or self._names[place].get(pictures.normalized(part))
            if name is None:
                return None
            done = os.path.join(done, name)
        return done


# --- Labels ---------------------------------------------------------------------------------


def label_names(videos):
    """Names of the classes, in index order.

    Args:
        videos: A list of `Video`.

    Returns:
        The labels of the training split, sorted: whole numbers as numbers, the rest naturally.

    Raises:
        ValueError: If there is no training video, or a label that only another split has.
    """
    labels = {split: {v.label for v in videos if v.split == split} for split in SPLITS}
    if not labels["train"]:
        others = " and ".join(split for split in SPLITS if labels[split])
        raise ValueError(
            f"`videos` must have a train split. Received: {len(videos)} {others} videos"
        )
    for split in SPLITS[1:]:
        unknown = sorted_labels(labels[split] - labels["train"])
        if unknown:
            raise ValueError(
                f"`videos` has labels in the {split} split that no training video has: "
                f"{', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''}; add training "
                "videos or leave those labels out"
            )
    return sorted_labels(labels["train"])


def sorted_labels(labels):
    """Labels in natural order."""
    return sorted(labels, key=pictures.natural)


def check_label(label, place):
    """A label in its one spelling.

    Raises:
        ValueError: If it is not text of one line.
    """
    try:
        label.encode()
    except UnicodeEncodeError:
        raise ValueError(f"a label must be UTF-8 text. Received: {place}") from None
    if label.splitlines() != [label]:
        raise ValueError(f"a label must be one line. Received: {place}")
    return pictures.normalized(label)


def with_labels(data, labels):
    """A data set with the classes of `labels`, in their order and spelling."""
    spelling = {pictures.normalized(label): label for label in labels}
    videos = [
        video._replace(label=spelling.get(pictures.normalized(video.label), video.label))
        for video in data.videos
    ]
    return data._replace(videos=videos, labels=list(labels))


# --- Drawing a split ------------------------------------------------------------------------


def draw(videos, drawing, groups=None):
    """Move parts of the training videos to the test and the validation split.

    Of each class the fraction is moved, to the next whole number of groups: clips of one group
    stay together, over all classes. A class of at least two groups keeps one on each side, unless
    the fraction is 0. A clip's side depends on the names of its class, and of those that share
    groups with it, only.

    Args:
        videos: List of `Video`.
        drawing: A `Drawing`.
        groups: Dict from names of videos to their groups; others are grouped by their recordings
            (`drawing.pattern`), or else by their files.

    Returns:
        `(videos, warnings)`.

    Raises:
        ValueError: If there are videos in these splits already, or the pattern matches no name.
    """
    for name, fraction, split in (
        ("test_fraction", drawing.test, "test"),
        ("val_fraction", drawing.val, "val"),
    ):
        if fraction is not None and any(v.split == split or split in v.splits for v in videos):
            raise ValueError(
                f"`{name}` is for data without a {split} split, but this has one: leave it out. "
                f"Received: {fraction}"
            )
    if drawing.test is None and drawing.val is None:
        if drawing.pattern is not None:
            raise ValueError(
                "`group_pattern` is for `test_fraction` and `val_fraction`. Received: "
                f"{drawing.pattern!r} without them"
            )
        return videos, []
    groups, warnings = _groups(videos, drawing.pattern, groups or {})
    shares = {"test": drawing.test, "val": drawing.val}
    if drawing.val is not None:  # of what is left
        shares["val"] = drawing.val / (1 - (drawing.test or 0))
    for split, share in shares.items():
        if share is None:
            continue
        pool = [v for v in videos if v.split == "train"]
        drawn = _drawn_groups(pool, groups, share, drawing.seed)
        for label in sorted_labels({v.label for v in pool}) if share else ():
            own = {groups[v.name] for v in pool if v.label == label}
            if not own & drawn and sum(v.label == label for v in pool) > 1:
                warnings.append(
                    f"no {split} clip of {label}: its clips are of {len(own)} "
                    f"{'recording' if len(own) == 1 else 'recordings'} that training keeps"
                )
        videos = [
            v._replace(
                split=split if v.split == "train" else v.split,
                splits=tuple(split if side == "train" else side for side in v.splits),
            )
            if groups[v.name] in drawn
            else v
            for v in videos
        ]
    if drawing.pattern is None:
        warnings += _suspicions(videos, groups)
    return videos, warnings


def check_drawing(drawing):
    """Check a `Drawing`.

    Raises:
        ValueError: If a fraction or the pattern is none.
    """
    for name, fraction in (("test_fraction", drawing.test), ("val_fraction", drawing.val)):
        if fraction is not None and not 0 <= fraction < 1:
            raise ValueError(f"`{name}` must be in [0, 1). Received: {fraction}")
    if not (drawing.test or 0) + (drawing.val or 0) < 1:
        raise ValueError(
            "`test_fraction` and `val_fraction` must leave something for training. Received: "
            f"{drawing.test} and {drawing.val}"
        )
    if drawing.pattern is not None:
        try:
            groups = re.compile(drawing.pattern).groups
        except re.error as error:
            groups = f"{error}"
        if groups != 1:
            raise ValueError(
                "`group_pattern` must be a regular expression with one group, such as "
                f"'(person[0-9]+)_'. Received: {drawing.pattern!r} ({groups}"
                + (" groups)" if isinstance(groups, int) else ")")
            )


def shuffled(videos, seed):
    """Videos, or names, in an order that depends on their names and the seed only."""

    def key(video):
        name = video if isinstance(video, str) else video.name
        return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()

    return sorted(videos, key=key)


def _drawn_groups(videos, groups, fraction, seed):
    """The groups that make up a part of each class."""
    counts = {}
    for video in videos:
        counts.setdefault(video.label, Counter())[groups[video.name]] += 1
    labels_of = {}
    for label, own in counts.items():
        for group in own:
            labels_of.setdefault(group, []).append(label)
    left = {label: len(own) for label, own in counts.items()}
    drawn, kept = set(), set()

    def take(group):
        drawn.add(group)
        for label in labels_of[group]:
            left[label] -= 1

    # Classes of few groups first: the others have more to choose from.
    for label in sorted(counts, key=lambda label: (len(counts[label]), label)):
        own = counts[label]
        target = math.floor(fraction * own.total() + 0.5)
        have = sum(own[group] for group in own if group in drawn)
        order = shuffled([group for group in own if group not in drawn | kept], seed)
        for group in order:
            if 2 * have + own[group] < 2 * target and all(
                left[other] > 1 for other in labels_of[group]
            ):
                take(group)
                have += own[group]
        if not have and fraction > 0:
            able = [g for g in order if all(left[other] > 1 for other in labels_of[g])]
            if able:
                take(min(able, key=own.__getitem__))
        kept |= own.keys() - drawn
    return drawn


# UCF-101: v_LABEL_g01_c02. HMDB-51: MOVIE_LABEL, visible parts, camera, people, view, quality,
# number. Kinetics: ID and times.
_RECORDINGS = tuple(
    map(
        re.compile,
        (
            r"(v_.+_g\d+)_c\d+",
            r"(.+)_[fhlu]_[cn]m_np\d+_(?:ba|fr|le|ri)_(?:bad|med|goo)_\d+",
            r"(.{11})_\d{6}_\d{6}",
        ),
    )
)


def _groups(videos, pattern, given):
    """`(groups, warnings)`: the group of each video by its name."""
    groups, unmatched = {}, []
    for video in videos:
        file = video.path.replace("\\", "/").rpartition("/")[2]
        found = given.get(video.name)
        if found is None and pattern is not None:
            match = re.search(pattern, file)
            found = match and match[1]
            unmatched += [] if match else [file]
        elif found is None:
            found = _recording(os.path.splitext(file)[0], video.label)
        groups[video.name] = video.path if found is None else found
    if unmatched and len(unmatched) == len(videos):
        raise ValueError(
            f"`group_pattern` must match the names of the files. Received: {pattern!r}, which "
            f"matches none of {len(videos)}, such as {unmatched[0]!r}"
        )
    shown = f"{len(unmatched)} names do not match `group_pattern`, such as {unmatched[:1]}"
    return groups, [f"{shown}: each is a group of its own"] if unmatched else []


def _recording(stem, label):
    match = next(filter(None, (pattern.fullmatch(stem) for pattern in _RECORDINGS)), None)
    if match is None:
        return None
    return match[1].removesuffix(f"_{label.replace(' ', '_')}")  # of HMDB's


_PARTS_OF = r"part|pt|seg|segment|scene|shot|take|chunk|cut|split"
_COUNTED = re.compile(rf"(.+?)[\W_]*(?:({_PARTS_OF})|clip|c|p|s)?[\W_]*\d+", re.IGNORECASE)
_CAMERAS = re.compile(
    "img|vid|mov|mvi|dsc[nf]?|gopr|gx|gh|pxl|video|clip|movie|film|frame", re.IGNORECASE
)


def _suspicions(videos, groups):
    """A warning where names on two sides look like parts of one recording."""
    families = {}
    for video in videos:
        stem = os.path.splitext(video.path.rpartition("/")[2])[0]
        match = _COUNTED.fullmatch(stem) if groups[video.name] == video.path else None
        if match and not _CAMERAS.fullmatch(match[1]):
            family = families.setdefault(video.label, {}).setdefault(match[1], [])
            family.append((video, match[2]))
    pairs, count = [], 0
    for own in families.values():
        for family in own.values():
            # One name and numbers, as of the class, say nothing.
            if len(own) == 1 and not any(part for _, part in family):
                continue
            trained = [v for v, _ in family if v.split == "train"]
            others = [v for v, _ in family if v.split != "train"]
            if trained and others:
                pairs.append((trained[0].path, others[0].path, others[0].split))
                count += len(others)
    if not pairs:
        return []
    first, second, split = pairs[0]
    return [
        f"{first} (train) and {second} ({split}) look like parts of one recording; {count} clips "
        "outside of train have such a sibling there. If they are, name the recordings by "
        "--group_pattern, or by the column group of a table"
    ]


def check_folder(videos):
    """`videos`, which must be a folder.

    Raises:
        FileNotFoundError: If it is none.
    """
    videos = os.fspath(videos)
    if not files.is_folder(videos):
        what = "a file" if files.exists(videos) else "which does not exist"
        raise FileNotFoundError(
            f"`videos` must be the folder of the videos. Received: {videos!r}, {what}"
        )
    return videos
