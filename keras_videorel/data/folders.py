"""Data sets in folders of classes: what is a video in them, and what is not."""

import os
import tempfile

from keras_videorel import files
from keras_videorel.data import pictures
from keras_videorel.data.drawing import NOTHING, Drawing, check_drawing, draw
from keras_videorel.data.sources import PARTS, DataSet, Video, check_folder, check_label

# Of these, files are videos until they fail to decode; of all others, a look inside says it.
EXTENSIONS = (
    *(".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv", ".flv", ".f4v"),
    *(".ts", ".mts", ".m2ts", ".3gp", ".3g2", ".ogv", ".ogm", ".gif", ".asf", ".vob", ".divx"),
    *(".mxf", ".rm", ".rmvb", ".m1v", ".m2v"),
)


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


def walk_files(folder, known=()):
    """Paths of all files below a folder, relative to it, except hidden ones; sorted.

    Links to the folders `known` are not followed.
    """
    found = []
    for place, names in files.walk(folder, is_hidden, known):
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
    if _is_picture(path) and not pictures.begins_like_a_video(path):
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
                rejected.append((path, _why_no_clip(os.path.join(videos, path))))
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
    shown = sum(map(_is_picture, names))
    return shown > len(names) / 2 and not any(name.endswith(EXTENSIONS) for name in names)


def _any_clip(folder):
    return any(_is_clip(place) for place, _ in files.walk(folder, skip=is_hidden)) or _any_video(
        folder
    )


def _any_video(folder):
    """Whether there is a video below a folder, and not in a folder that it lies in itself."""
    # To look into each picture of each clip would take long.
    paths = [p for p in walk_files(folder, _above(folder)) if not _is_picture(p)]
    return any(why_no_video(os.path.join(folder, path)) is None for path in paths)


def _why_no_clip(folder):
    for place, _ in files.walk(folder, is_hidden, _above(folder)):
        if _is_clip(place):
            return (
                "a folder without videos or pictures; there are pictures in "
                f"{os.path.relpath(place, folder)}/, which is too deep: move them up"
            )
    return "a folder without videos or pictures"


def _above(folder):
    """The folders that a local folder lies in."""
    found = []
    while not files.is_remote(folder) and os.path.dirname(folder) not in ("", folder):
        folder = os.path.dirname(folder)
        found.append(folder)
    return found


def _is_picture(name):
    return name.lower().endswith(pictures.EXTENSIONS)


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
