"""Data sets in tables: a row for each clip."""

import csv
import io
import os
import re

from keras_videorel import files
from keras_videorel.data import pictures
from keras_videorel.data.drawing import NOTHING, check_drawing, draw
from keras_videorel.data.folders import walk_files
from keras_videorel.data.sources import SPLITS_BY_NAME, DataSet, Video, check_folder, check_label

COLUMNS = ("path", "label", "split")


def read_csv(annotations, videos, drawing=NOTHING):
    """The data set of a table with the columns `path`, `label` and `split`.

    A path names a file or a folder of pictures, absolute or relative to `videos`. Two more columns,
    `start` and `end`, in seconds, make a clip a segment of its file, which may then have several
    rows; `group` names what must stay in one split when splits are drawn, such as a recording or a
    person. More columns are ignored. With `drawing.test`, the column `split` may be missing. A file
    that does not exist is listed here and rejected later, with its reason.

    Args:
        annotations: The file, as `read_table` reads it.
        videos: The folder that relative paths start from.
        drawing: A `Drawing`; see `draw`.

    Returns:
        A `DataSet`, its videos in the order of the table.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If the table is not valid, or lists a clip twice.
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
            SPLITS_BY_NAME.get(row["split"].lower(), "" if row["split"] else "train"),
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
        if lines.setdefault(clip, line) != line:
            raise ValueError(
                f"`annotations` must list each file, or segment of it, once. Received: "
                f"{video.name!r} in line {lines[clip]} and again in {place}"
            )
        found.append(video)
        if row["group"]:
            groups[video.name] = row["group"]
    if not found:
        raise ValueError(f"`annotations` lists no videos. Received: {annotations!r}")
    return draw(DataSet(found), drawing, groups)


def read_table(path, columns, more=()):
    """Rows of a table with a head line; columns lie between commas, semicolons or tabs.

    The file is UTF-8, or UTF-16 with a byte order mark. `columns` must be there, in any case and
    order; `more` may be there.

    Yields:
        `(place, line, row)`: where the row is, in words; its line number; a dict of all columns'
        texts, without blanks around them, empty for what is not there.
    """
    try:
        text = files.read_text(path)
    except PermissionError as error:
        raise OSError(f"`annotations` cannot be read: {path!r} ({error.strerror})") from None
    foreign = re.search("[\udc80-\udcff]", text)
    if foreign:
        raise ValueError(
            f"`annotations` must be UTF-8 text. Received: {path!r} with another byte in line "
            f"{len(_LINE_END.findall(text[: foreign.start()])) + 1}; save it as UTF-8"
        )
    start = _HEAD.match(text).end()  # behind empty lines, and what Excel takes a delimiter from
    skipped = len(_LINE_END.findall(text[:start]))
    first = _LINE_END.split(text[start:], maxsplit=1)[0]
    every = (*columns, *more)
    try:
        for delimiter in ",;\t":
            heads = next(csv.reader([first], delimiter=delimiter), [])
            heads = [pictures.normalized(name).strip().lower() for name in heads]
            if {*columns} <= {*heads}:
                break
        else:
            missing = [name for name in columns if name not in first.lower()]
            raise ValueError(
                f"`annotations` must have the columns {', '.join(columns[:-1])} and {columns[-1]}. "
                f"Received: {path!r} with the first line {first[:100]!r}"
                + (f", without {', '.join(missing)}" if missing else "")
            )
        rows = csv.reader(io.StringIO(text[start:], newline=""), delimiter=delimiter)
        next(rows)
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            line = rows.line_num + skipped
            place = f"{path!r}, line {line}"
            pairs = [*zip(heads, row, strict=False)]
            cells = {name: cell.strip() for name, cell in pairs[::-1]}  # the first of each name
            if not {*columns} <= {*cells}:
                raise ValueError(
                    f"`annotations` must have a {', a '.join(columns[:-1])} and a {columns[-1]} in "
                    f"each line. Received: {delimiter.join(row)[:100]!r} in {place}"
                )
            yield place, line, {name: cells.get(name, "") for name in every}
    except csv.Error as error:
        raise ValueError(
            f"`annotations` must be a CSV file. Received: {path!r} ({error})"
        ) from None


_LINE_END = re.compile(r"\r\n?|\n")
_HEAD = re.compile(r"\s*(?:\"?sep=.\"?[,;]*\s*?(?:\r\n?|\n)\s*)?", re.IGNORECASE)


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
        self._names = None

    def find(self, path):
        """The path as it is on the disk; as it was given if there is no such file."""
        path = path.rstrip("/\\") or path
        if "\\" not in path and path.isascii():
            return path
        for spelling in (path, path.replace("\\", "/")):
            if files.exists(files.join(self._folder, spelling)):
                return spelling
        if self._names is None:
            paths = walk_files(self._folder)
            paths += {os.path.dirname(path) for path in paths}  # folders of pictures
            self._names = {pictures.normalized(path): path for path in paths}
        return self._names.get(pictures.normalized(os.path.normpath(spelling)), spelling)
