"""What a user names as videos: files, folders, patterns, addresses."""

import glob
import os

from keras_videorel.data import folders
from keras_videorel.files import literal_folders


def find_videos(word, left_out=None):
    """The video files that a word stands for, a list of paths.

    A word is a file, by any name; a folder, for all videos in it and below, but for hidden ones;
    or a pattern with `*`, `?`, `[...]` or `**`, for files by any name. A folder's other files are
    added to the list `left_out`, as `(path, reason)`. A folder or pattern without a video is a
    `ValueError`.
    """
    word = os.fspath(word)
    if os.path.isdir(word):
        found, others = [], []
        for path in folders.walk_files(word):
            path = os.path.join(word, path)
            reason = folders.why_no_video(path)
            if reason is None:
                found.append(path)
            else:
                others.append((path, reason))
        if not found:
            such = f" ({others[0][0]}: {others[0][1]})" if others else ""
            raise ValueError(f"{word}: a folder without videos{such}")
        if left_out is not None:
            left_out += others
        return found
    if os.path.exists(word) or not glob.has_magic(word):
        return [word]
    pattern = literal_folders(word)
    found = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    if not found:
        raise ValueError(f"{word}: no file matches")
    return sorted(found)
