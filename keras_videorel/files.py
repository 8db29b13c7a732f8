"""Writing files so that a reader never sees half of one."""

import contextlib
import json
import os
import shutil


@contextlib.contextmanager
def written_whole(path):
    """A temporary path beside `path`, renamed to it when the block ends without an error.

    The temporary name is hidden and keeps the extension; a killed process leaves at most that
    behind, and the next to write `path` clears it. Folders work too; an older folder of that name
    is replaced.
    """
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    beside = os.path.join(folder, f".tmp-{name}")
    _remove(beside)
    try:
        yield beside
        if os.path.isdir(beside):
            _remove(path)
        os.replace(beside, path)
    finally:
        _remove(beside)


def _remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.remove(path)


def write_json(path, content):
    """Write `content` as indented JSON."""
    with written_whole(path) as beside, open(beside, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


def read_json(path):
    """Read a JSON file."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)
