"""Files of class names: a name per line, in index order."""

import os
import re

from keras_videorel.files import read_text

INVISIBLE = re.compile("[\ufeff\u200b]")  # byte order marks inside a text, spaces of no width


def read_class_names(path):
    """Read the names of classes from a text file.

    Editors and spreadsheets add byte order marks, CRLF line ends, blanks around a name, spaces of
    no width, or empty lines at the end of the file. None of them is part of a name.

    Args:
        path: The file, local or with a scheme.

    Returns:
        A list of names.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not UTF-8 text, names no class, has an empty line between names, or
            names a class twice.
    """
    text = INVISIBLE.sub("", read_text(path))
    names = [line.strip() for line in text.rstrip().splitlines()]
    wrong = None
    if any("\udc80" <= character <= "\udcff" for character in text):
        wrong = "text in another encoding; save the file as UTF-8"
    elif not names:
        wrong = "no name"
    elif "" in names:
        wrong = f"an empty line {names.index('') + 1}: the number of a line is the index of a class"
    elif len(set(names)) < len(names):
        place = next(i for i, name in enumerate(names) if name in names[:i])
        wrong = f"{names[place]!r} in lines {names.index(names[place]) + 1} and {place + 1}"
    if wrong is not None:
        raise ValueError(
            "`labels` must be a file of UTF-8 text with a class name per line, each once. "
            f"Received: {os.fspath(path)!r} with {wrong}"
        )
    return names
