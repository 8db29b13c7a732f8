"""Local and remote files, and atomic writes.

`tf.io.gfile` handles paths with a scheme (`gs://`, and with the extra `[io]` `s3://`, `az://`,
`hdfs://`), and the operating system handles all others. Both raise `OSError`.
"""

import codecs
import contextlib
import fnmatch
import glob
import io
import json
import os
import re
import shutil
import tempfile
import types

from keras_videorel import tensorflow_import
from keras_videorel.extras import pip_install

_PLUG_INS = ("s3", "az", "hdfs", "viewfs", "har")  # of tensorflow-io

# The functions of `tf.io.gfile` for local paths, whose names need not be text.
_LOCAL = types.SimpleNamespace(
    exists=os.path.exists,
    isdir=os.path.isdir,
    listdir=os.listdir,
    makedirs=lambda path: os.makedirs(path, exist_ok=True),
    remove=os.remove,
    rename=lambda path, target, overwrite: os.replace(path, target),
    rmtree=shutil.rmtree,
    GFile=open,
)


@contextlib.contextmanager
def _system(path):
    """`tf.io.gfile`, or its functions for a local path; errors are `OSError`."""
    if not is_remote(path):
        yield _LOCAL
        return
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


def is_remote(path):
    """Whether a path has a scheme."""
    return "://" in os.fspath(path)


def absolute(path) -> str:
    """A path that does not depend on the working directory."""
    path = os.fspath(path)
    return path.rstrip("/") if is_remote(path) else os.path.abspath(path)


def join(folder, path):
    """`path` below `folder`, unless `path` is absolute or has a scheme."""
    return path if is_remote(path) else os.path.join(folder, path)


def literal_folders(pattern):
    """A pattern of `glob` in which the names of existing folders are escaped."""
    head, tail = os.fspath(pattern), []
    while glob.has_magic(head) and not os.path.isdir(head):
        head, name = os.path.split(head)
        tail.insert(0, name)
    return os.path.join(glob.escape(head), *tail)


def check_text(name, path):
    """Refuse a path that is not UTF-8 text, to which TensorFlow cannot write."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        raise ValueError(f"`{name}` must be a path of UTF-8 text. Received: {path!r}") from None


@contextlib.contextmanager
def plain_path(path):
    """A path that TensorFlow reads literally.

    TensorFlow 2.21's checkpoint reader takes brackets, `*` and `?` for a pattern, and its paths
    must be UTF-8 text. Other local paths get a link with a plain name, inside the block.
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
    """A local path to a file or folder, inside the block. A remote one is copied to `folder`."""
    if not is_remote(path):
        yield path
        return
    copy = os.path.join(folder, f"{os.getpid()}-{id(folder)}-{os.path.basename(path)}")
    try:
        with _system(path) as system:
            if system.isdir(path):
                os.mkdir(copy)
                for name in entries(path)[1]:
                    system.copy(f"{path}/{name}", os.path.join(copy, name), overwrite=True)
            else:
                system.copy(path, copy, overwrite=True)
        yield copy
    finally:
        remove(copy)


def exists(path):
    """Whether there is a file or folder."""
    with _system(path) as system:
        return system.exists(path)


def is_folder(path):
    """Whether there is such a folder."""
    with _system(path) as system:
        return system.isdir(path)


def list_folder(path):
    """Sorted names in a folder, or an empty list if the folder does not exist."""
    with _system(path) as system:
        return sorted(name.rstrip("/") for name in system.listdir(path)) if exists(path) else []


def matching(folder, pattern):
    """Paths below `folder` that match a pattern with wildcards in its last part."""
    parent, name = os.path.split(pattern)
    names = list_folder(join(folder, parent))
    if name in names:  # a name with brackets
        return [pattern]
    return [os.path.join(parent, found) for found in fnmatch.filter(names, name)]


def entries(path):
    """Sorted `(names of folders, names of files)` in a folder. Links are followed."""
    folders, names = [], []
    if is_remote(path):
        with _system(path) as system:
            _, folders, names = next(system.walk(path), ("", [], []))
        return sorted(name.rstrip("/") for name in folders), sorted(names)
    try:
        with os.scandir(path) as found:
            for entry in found:
                # `isdir`, as `is_dir` raises an error for a link to itself.
                folder = os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()
                (folders if folder else names).append(entry.name)
    except OSError as error:
        raise OSError(f"the folder {path!r} cannot be listed: {error.strerror}") from None
    return sorted(folders), sorted(names)


def walk(path, skip=lambda name: False):
    """Yield `(folder, names of files)` of a folder and all folders below. Links are followed.

    Each folder comes once, so that loops of links end. Folders for whose name `skip` is true are
    left out.
    """

    def identity(folder):
        status = os.stat(folder)
        return status.st_dev, status.st_ino

    seen = set()
    pending, linked = [os.fspath(path)], []
    while pending or linked:
        folder = pending.pop() if pending else linked.pop(0)
        if not is_remote(folder):
            if identity(folder) in seen:
                continue
            seen.add(identity(folder))
        folders, names = entries(folder)
        yield folder, names
        below = [os.path.join(folder, name) for name in folders if not skip(name)]
        # Links come last, so that a folder comes under its own name if it can.
        linked += filter(os.path.islink, below)
        pending += [inner for inner in reversed(below) if not os.path.islink(inner)]


def _size_and_time(path):
    """`[bytes, time of the last change in ns]` of a file."""
    if is_remote(path):
        with _system(path) as system:
            status = system.stat(path)
        return [status.length, status.mtime_nsec]
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]


def size(path):
    """Bytes of a file."""
    return _size_and_time(path)[0]


def fingerprint(path):
    """`[bytes, time of the last change in ns]` of a file or a folder's files, or None."""
    try:
        if not is_folder(path):
            return _size_and_time(path)
        inner = [fingerprint(join(path, name)) for name in entries(path)[1]]
    except (OSError, ValueError):
        return None
    inner = [own for own in inner if own is not None]
    return [sum(own[0] for own in inner), max((own[1] for own in inner), default=0)]


@contextlib.contextmanager
def opened(path, mode="r", newline=None):
    """An open UTF-8 text file. File names in it need not be text (`surrogateescape`).

    At the end of the block, a local file is on the disk and a remote file is written.
    """
    if is_remote(path):
        with _system(path) as system, system.GFile(path, f"{mode}b") as file:
            text = "" if mode == "w" else file.read().decode("utf-8", "surrogateescape")
            content = io.StringIO(text)
            yield content
            if mode == "w":
                file.write(content.getvalue().encode("utf-8", "surrogateescape"))
        return
    with open(path, mode, encoding="utf-8", errors="surrogateescape", newline=newline) as file:
        yield file
        if mode == "w":
            file.flush()
            os.fsync(file.fileno())


def read_bytes(path, max_bytes=-1):
    """All bytes of a file, or the first `max_bytes`."""
    with _system(path) as system, system.GFile(path, "rb") as file:
        return file.read(max_bytes)


def read_text(path):
    """A text file in UTF-8, or in UTF-16 if it has that byte order mark, without the mark."""
    content = read_bytes(path)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    return content.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")


def read_json(path):
    """The content of a JSON file; a `ValueError` if it is not valid JSON."""
    with opened(path) as file:
        text = file.read()
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)!r} is not valid JSON: {error}") from error


def make_folder(path):
    """Make a folder and its parents, unless they exist."""
    with _system(path) as system:
        system.makedirs(path)


def remove(path):
    """Delete a file or a whole folder, if it exists."""
    with contextlib.suppress(FileNotFoundError), _system(path) as system:
        folder = system.isdir(path) and not os.path.islink(path)
        (system.rmtree if folder else system.remove)(path)


def rename(path, target):
    """Rename a file. An existing `target` is replaced."""
    with _system(target) as system:
        system.rename(path, target, overwrite=True)


@contextlib.contextmanager
def atomic_write(path):
    """A temporary path beside `path`, renamed to it when the block ends without an error.

    It has the same extension, and may become a file or a folder. A killed process leaves it
    behind. The next process that writes `path` deletes it.
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


def write_json(path, content):
    """Write `content` as indented JSON."""
    with atomic_write(path) as temporary, opened(temporary, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


def check_replaceable(path, manifest):
    """Refuse to replace a folder that does not hold the file `manifest`."""
    if exists(path) and not exists(os.path.join(path, manifest)):
        raise ValueError(
            "`path` must be a new folder or an older export; what it holds would be lost. "
            f"Received: {os.fspath(path)!r}, which has no {manifest}"
        )


def preallocate(path, size):
    """Make a local file of `size` bytes; an `OSError` if the disk is full (not on macOS)."""
    with open(path, "wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
