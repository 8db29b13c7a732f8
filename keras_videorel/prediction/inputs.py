"""What a user names as videos: files, folders, patterns, addresses."""

import glob
import os

from keras_videorel.data.sources import EXTENSIONS
from keras_videorel.files import literal_folders


def find_videos(word):
    """The video files that a word stands for.

    Args:
        word: A file, of any name; a folder: all videos in it and below, by their extension; or a
            pattern with `*`, `?`, `[...]` or `**`, of files by any name.

    Returns:
        A list of paths; of folders and patterns sorted.

    Raises:
        ValueError: If a folder holds no videos, or a pattern matches no file.
    """
    word = os.fspath(word)
    if os.path.isdir(word):
        found = [
            os.path.join(folder, name)
            for folder, _, names in os.walk(word)
            for name in names
            if name.lower().endswith(EXTENSIONS) and not name.startswith(".")
        ]
        if not found:
            raise ValueError(f"{word}: a folder without videos ({', '.join(EXTENSIONS)})")
        return sorted(found)
    if os.path.exists(word) or not glob.has_magic(word):
        return [word]
    pattern = literal_folders(word)
    found = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    if not found:
        raise ValueError(f"{word}: no file matches")
    return sorted(found)
