"""Files, local and remote, and writing them so that a reader never sees half of one.

A path with a scheme (`gs://`, and with the extra `[io]` `s3://`, `az://`, `hdfs://`) goes through
`tf.io.gfile`, every other one through the operating system; errors are `OSError` either way.
"""

import codecs
import contextlib
import fnmatch
import glob
import json
import os
import re
import shutil
import tempfile

from keras_videorel import tensorflow_import
from keras_videorel.extras import pip_install

_PLUG_INS = ("s3", "az", "hdfs", "viewfs", "har")  # of tensorflow-io


def is_remote(path):
    """Whether a path has a scheme."""
    return "://" in os.fspath(path)


def absolute(path):
    """A path that does not depend on the working folder."""
    path = os.fspath(path)
    return path.rstrip("/") if is_remote(path) else os.path.abspath(path)


def join(folder, path):
    """A path below a folder, unless it is absolute or has a scheme of its own."""
    return path if is_remote(path) else os.path.join(folder, path)


def matching(folder, pattern):
    """Files that a pattern with wildcards in its last part matches, as the pattern names them.

    Args:
        folder: Where relative patterns start from.
        pattern: A path, as of `fnmatch`.

    Returns:
        A sorted list.
    """
    parent, name = os.path.split(pattern)
    names = list_folder(join(folder, parent))
    if name in names:  # a name with brackets that is one
        return [pattern]
    return [os.path.join(parent, found) for found in fnmatch.filter(names, name)]


def literal_folders(pattern):
    """A pattern of `glob` in which folders that are there, whatever their names, stand for
    themselves."""
    head, tail = os.fspath(pattern), []
    while glob.has_magic(head) and not os.path.isdir(head):
        head, name = os.path.split(head)
        tail.insert(0, name)
    return os.path.join(glob.escape(head), *tail)


def exists(path):
    """Whether there is a file or folder."""
    if is_remote(path):
        with _remote(path) as gfile:
            return gfile.exists(path)
    return os.path.exists(path)


def is_folder(path):
    """Whether there is such a folder."""
    if is_remote(path):
        with _remote(path) as gfile:
            return gfile.isdir(path)
    return os.path.isdir(path)


def size(path):
    """Bytes of a file."""
    if is_remote(path):
        with _remote(path) as gfile:
            return gfile.stat(path).length
    return os.path.getsize(path)


def make_folder(path):
    """Make a folder and those above it; nothing happens if it is there."""
    if is_remote(path):
        with _remote(path) as gfile:
            gfile.makedirs(path)
    else:
        os.makedirs(path, exist_ok=True)


def list_folder(path):
    """Names of what lies in a folder, sorted; nothing for a folder that is not there."""
    if not exists(path):
        return []
    if is_remote(path):
        with _remote(path) as gfile:
            return sorted(name.rstrip("/") for name in gfile.listdir(path))
    return sorted(os.listdir(path))


def entries(path):
    """`(names of folders, names of files)` in a folder, both sorted; links count as their targets.

    Raises:
        OSError: If the folder cannot be listed.
    """
    if is_remote(path):
        with _remote(path) as gfile:
            _, folders, names = next(gfile.walk(path), ("", [], []))
        return sorted(name.rstrip("/") for name in folders), sorted(names)
    folders, names = [], []
    try:
        with os.scandir(path) as found:
            for entry in found:
                (folders if _leads_to_folder(entry) else names).append(entry.name)
    except OSError as error:
        raise OSError(f"the folder {path!r} cannot be listed: {error.strerror}") from None
    return sorted(folders), sorted(names)


def _leads_to_folder(entry):
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def walk(path, skip=lambda name: False, known=()):
    """Yield `(folder, names of files)` of a folder and all folders below, linked ones too.

    A folder that several links lead to comes once, so that loops of links end.

    Args:
        path: The folder.
        skip: Function of the name of a folder: whether to leave it out.
        known: Folders that are not to be walked into, such as those that `path` lies in.

    Raises:
        OSError: If a folder cannot be listed.
    """
    seen = {_identity(folder) for folder in known}
    pending, linked = [os.fspath(path)], []
    while pending or linked:
        folder = pending.pop() if pending else linked.pop(0)
        if not is_remote(folder):
            if _identity(folder) in seen:
                continue
            seen.add(_identity(folder))
        folders, names = entries(folder)
        yield folder, names
        below = [os.path.join(folder, name) for name in folders if not skip(name)]
        # Folders go under their own names, where they have some.
        linked += [inner for inner in below if not is_remote(inner) and os.path.islink(inner)]
        pending += [inner for inner in below[::-1] if inner not in linked]


def _identity(path):
    status = os.stat(path)
    return status.st_dev, status.st_ino


def fingerprint(path):
    """`[bytes, time of the last change in ns]` of a file, of all in a folder; None for neither."""
    try:
        if is_folder(path):
            inner = [fingerprint(join(path, name)) for name in entries(path)[1]]
            inner = [own for own in inner if own is not None]
            return [sum(own[0] for own in inner), max((own[1] for own in inner), default=0)]
        if is_remote(path):
            with _remote(path) as gfile:
                status = gfile.stat(path)
            return [status.length, status.mtime_nsec]
        status = os.stat(path)
        return [status.st_size, status.st_mtime_ns]
    except (OSError, ValueError):
        return None


def remove(path):
    """Delete a file or a whole folder; nothing happens if there is none."""
    if is_remote(path):
        with _remote(path) as gfile:
            if gfile.isdir(path):
                gfile.rmtree(path)
            elif gfile.exists(path):
                gfile.remove(path)
    elif os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def rename(path, target):
    """Give a file another name, in the place of what has it."""
    if is_remote(path):
        with _remote(target) as gfile:
            gfile.rename(path, target, overwrite=True)
    else:
        os.replace(path, target)


@contextlib.contextmanager
def opened(path, mode="r", newline=None):
    """A UTF-8 text file; names of files in it need not be text (`surrogateescape`).

    A local file that was written is on the disk when the block ends.
    """
    if is_remote(path):
        with _remote(path) as gfile, _RemoteText(gfile.GFile(path, f"{mode}b")) as file:
            yield file
        return
    with open(path, mode, encoding="utf-8", errors="surrogateescape", newline=newline) as file:
        yield file
        if "w" in mode:
            file.flush()
            os.fsync(file.fileno())


def read_text(path):
    """All of a text file, without the byte order mark that some programs begin it with.

    UTF-8, or UTF-16 if a mark says so; names of files in it need not be text (`surrogateescape`).
    """
    content = read_bytes(path)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    return content.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")


def read_bytes(path, most=-1):
    """All of a file, or its first bytes."""
    if is_remote(path):
        with _remote(path) as gfile, gfile.GFile(path, "rb") as file:
            return file.read(most)
    with open(path, "rb") as file:
        return file.read(most)


def check_text(name, path):
    """Refuse a path that is not UTF-8 text, where TensorFlow is to write.

    Raises:
        ValueError: If `path` is not UTF-8 text.
    """
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        raise ValueError(f"`{name}` must be a path of UTF-8 text. Received: {path!r}") from None


@contextlib.contextmanager
def plain_path(path):
    """A path that TensorFlow reads as it is.

    Its checkpoint reader takes brackets, `*` and `?` for a pattern, and its paths must be UTF-8
    text: a local path with either gets a link of a plain name, for as long as the block lasts.
    """
    if is_remote(path) or not re.search(r"[\[\]{}*?\\\udc80-\udcff]", os.fspath(path)):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, "link")
        os.symlink(os.path.abspath(path), link)
        yield link


@contextlib.contextmanager
def local_copy(path, folder):
    """A path under which programs that know local files only can read a file, or a folder of files.

    Args:
        path: The file; a local one is used as it is.
        folder: Local folder for the copy of a remote one, which is deleted afterwards.
    """
    if not is_remote(path):
        yield path
        return
    copy = os.path.join(folder, f"{os.getpid()}-{id(folder)}-{os.path.basename(path)}")
    try:
        with _remote(path) as gfile:
            if gfile.isdir(path):
                os.mkdir(copy)
                for name in entries(path)[1]:
                    gfile.copy(f"{path}/{name}", os.path.join(copy, name), overwrite=True)
            else:
                gfile.copy(path, copy, overwrite=True)
        yield copy
    finally:
        remove(copy)


def check_replaceable(path, manifest):
    """Check that a folder may be written over.

    Args:
        path: The folder.
        manifest: Name of a file that every folder of its kind holds.

    Raises:
        ValueError: If there is something else of that name.
    """
    if exists(path) and not exists(os.path.join(path, manifest)):
        raise ValueError(
            "`path` must be a new folder or an older export; what it holds would be lost. "
            f"Received: {os.fspath(path)!r}, which has no {manifest}"
        )


@contextlib.contextmanager
def atomic_write(path):
    """A temporary path beside `path`, renamed to it when the block ends without an error.

    The temporary name is hidden and keeps the extension; a killed process leaves at most that
    behind, and the next to write `path` clears it. Folders work too; an older folder of that name
    is replaced.
    """
    path = absolute(path)
    folder, name = os.path.split(path)
    make_folder(folder)
    temporary = os.path.join(folder, f".tmp-{name}")
    remove(temporary)
    try:
        yield temporary
        if is_folder(temporary):
            remove(path)
        rename(temporary, path)
    finally:
        remove(temporary)


def preallocate(path, size):
    """Take room on the disk for a local file, for a writer that cannot bear a full one.

    Args:
        path: The file, which is made or replaced.
        size: Bytes.

    Raises:
        OSError: If there is not that much room; where the system cannot tell (macOS), never.
    """
    with open(path, "wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)


def write_json(path, content):
    """Write `content` as indented JSON."""
    with atomic_write(path) as temporary, opened(temporary, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


def read_json(path):
    """Read a JSON file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not JSON: empty, or cut short.
    """
    with opened(path) as file:
        text = file.read()
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)!r} is not valid JSON: {error}") from error


class _RemoteText:
    """Text over a `GFile` of bytes, which alone can hold names that are no text."""

    def __init__(self, file):
        self._file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def read(self):
        return self._file.read().decode("utf-8", "surrogateescape")

    def write(self, text):
        self._file.write(text.encode("utf-8", "surrogateescape"))

    def writelines(self, lines):
        self.write("".join(lines))

    def __iter__(self):
        return iter(self.read().splitlines(keepends=True))


@contextlib.contextmanager
def _remote(path):
    """`tf.io.gfile`, with errors as `OSError`."""
    tensorflow_import.import_tensorflow()
    import tensorflow as tf

    scheme = path.split("://")[0]
    if scheme in _PLUG_INS:
        try:
            import tensorflow_io  # noqa: F401  registers these file systems
        except ImportError as error:
            raise OSError(
                f"{scheme}:// paths need {pip_install('io')} with Python 3.10 or 3.11 ({error})"
            ) from None
    try:
        yield tf.io.gfile
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(f"{path}: {error.message}") from None
    except tf.errors.OpError as error:
        raise OSError(f"{path}: {error.message}") from None
