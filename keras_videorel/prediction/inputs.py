"""Find the video files that a user names by path, folder or pattern."""

from __future__ import annotations

import glob
import os

from keras_videorel.data import folders
from keras_videorel.files import literal_folders


def find_videos(
    word: str | os.PathLike, left_out: list[tuple[str, str]] | None = None
) -> list[str]:
    """Return the paths of the video files that a word names.

    Args:
        word: A file with any name; a folder, for all videos in it and its subfolders that are not
            hidden; or a pattern with `*`, `?`, `[...]` or `**`, for all files that match.
        left_out: If a list, the other files of a folder are appended as `(path, reason)`.

    Raises:
        ValueError: If a folder has no videos, or no file matches a pattern.
    """
    word = os.fspath(word)
    if os.path.isdir(word):
        paths = [os.path.join(word, path) for path in folders.walk_files(word)]
        reasons = {path: folders.why_no_video(path) for path in paths}
        others = [(path, reason) for path, reason in reasons.items() if reason is not None]
        if len(others) == len(paths):
            such = f" ({others[0][0]}: {others[0][1]})" if others else ""
            raise ValueError(f"{word}: a folder without videos{such}")
        if left_out is not None:
            left_out += others
        return [path for path in paths if reasons[path] is None]
    if os.path.exists(word) or not glob.has_magic(word):
        return [word]
    pattern = literal_folders(word)
    found = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    if not found:
        raise ValueError(f"{word}: no file matches")
    return sorted(found)
