"""Data sets in tables: a row for each clip."""

from __future__ import annotations

import csv
import functools
import io
import os
import re
from collections.abc import Iterator, Sequence

from keras_videorel import files
from keras_videorel.data import pictures
from keras_videorel.data.drawing import NOTHING, Drawing, draw
from keras_videorel.data.folders import walk_files
from keras_videorel.data.sources import SPLITS_BY_NAME, DataSet, Video, check_folder, check_label


def read_csv(
    annotations: str | os.PathLike, videos: str | os.PathLike, drawing: Drawing = NOTHING
) -> DataSet:
    """The data set of a table with the columns `path`, `label` and `split`.

    A path names a file or a folder of pictures, absolute or relative to `videos`. The optional
    columns `start` and `end`, in seconds, make a clip a segment of its file, which may then have
    several rows. The optional column `group` names what must stay in one split when splits are
    drawn, such as a recording or a person. A file that does not exist is rejected later.

    Args:
        annotations: The file; see `read_table`.
        videos: The folder that relative paths start from.
        drawing: How to draw splits. With `drawing.test`, the column `split` may be missing.

    Returns:
        The `DataSet`, its videos in the order of the table.

    Raises:
        FileNotFoundError: If the file or the folder does not exist.
        ValueError: If the table is not valid, or lists a clip twice.
    """
    videos, annotations = check_folder(videos), os.fspath(annotations)
    if not files.exists(annotations) or files.is_folder(annotations):
        raise FileNotFoundError(
            "`annotations` must be a CSV file with the columns path, label and split. "
            f"Received: {annotations!r}, which is no file"
        )
    columns = ("path", "label") if drawing.test is not None else ("path", "label", "split")
    found, find = [], _file_finder(videos)
    groups: dict[str, str] = {}
    lines: dict[tuple, int] = {}
    for place, line, row in read_table(annotations, columns, ("split", "start", "end", "group")):
        if not row["path"] or not row["label"]:
            raise ValueError(
                f"`annotations` must give each video a path and a label. Received: path "
                f"{row['path']!r}, label {row['label']!r} in {place}"
            )
        split = SPLITS_BY_NAME.get(row["split"].lower())
        if split is None and (row["split"] or drawing.test is None):
            raise ValueError(
                f"`split` must be train, val or test. Received: {row['split']!r} in {place}; "
                "rename it or leave those lines out"
            )
        video = Video(
            find(row["path"]),
            check_label(row["label"], f"{row['label']!r} in {place}"),
            split or "train",
            start=_seconds(row["start"], "start", place),
            end=_seconds(row["end"], "end", place),
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


def read_table(
    path: str, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[str, int, dict[str, str]]]:
    """Rows of a table with a head line; columns lie between commas, semicolons or tabs.

    The file is UTF-8, or UTF-16 with a byte order mark. Column names may be in any case and order.

    Yields:
        `(place, line, row)`: where the row is, in words; its line number; a dict of the texts of
        all columns, stripped, and empty for a missing cell.
    """
    try:
        lines = io.StringIO(files.read_text(path), newline=None).readlines()
    except PermissionError as error:
        raise OSError(f"`annotations` cannot be read: {path!r} ({error.strerror})") from None
    for number, text in enumerate(lines, 1):
        if re.search("[\udc80-\udcff]", text):
            raise ValueError(
                f"`annotations` must be UTF-8 text. Received: {path!r} with another byte in line "
                f"{number}; save it as UTF-8"
            )
    # Excel writes its delimiter into a first line, such as `sep=;`.
    skipped = 0
    while skipped < len(lines) and re.fullmatch(r'\s*("?sep=.*)?\s*', lines[skipped], re.I):
        skipped += 1
    first = lines[skipped].rstrip("\n") if skipped < len(lines) else ""
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
        rows = csv.reader(lines[skipped + 1 :], delimiter=delimiter)
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            line = rows.line_num + skipped + 1
            place = f"{path!r}, line {line}"
            pairs = [*zip(heads, row, strict=False)]
            cells = {name: cell.strip() for name, cell in pairs[::-1]}  # the first of each name
            if not {*columns} <= {*cells}:
                raise ValueError(
                    f"`annotations` must have a {', a '.join(columns[:-1])} and a {columns[-1]} in "
                    f"each line. Received: {delimiter.join(row)[:100]!r} in {place}"
                )
            yield place, line, {name: cells.get(name, "") for name in (*columns, *optional)}
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


def _file_finder(folder):
    """A function from a path to its spelling on the disk: slashes, and Unicode's composed form."""

    @functools.cache
    def spellings():
        paths = walk_files(folder)
        paths += {os.path.dirname(path) for path in paths}  # folders of pictures
        return {pictures.normalized(path): path for path in paths}

    def find(path):
        path = path.rstrip("/\\") or path
        if "\\" not in path and path.isascii():
            return path
        for spelling in (path, path.replace("\\", "/")):
            if files.exists(files.join(folder, spelling)):
                return spelling
        return spellings().get(pictures.normalized(os.path.normpath(spelling)), spelling)

    return find
