"""Data sets in folders of classes: what is a video in them, and what is not."""

import os
import tempfile

from keras_videorel import files
from keras_videorel.data import pictures
from keras_videorel.data.drawing import NOTHING, check_drawing, draw
from keras_videorel.data.sources import SPLITS_BY_NAME, DataSet, Video, check_folder, check_label

# Of these, files are videos until they fail to decode; of all others, a look inside says it.
EXTENSIONS = (
    *(".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv", ".flv", ".f4v"),
    *(".ts", ".mts", ".m2ts", ".3gp", ".3g2", ".ogv", ".ogm", ".gif", ".asf", ".vob", ".divx"),
    *(".mxf", ".rm", ".rmvb", ".m1v", ".m2v"),
)


def read_folder(videos, drawing=NOTHING):
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
        ValueError: If the folder holds no videos, or is laid out in another way.
        OSError: If a folder cannot be listed.
    """
    videos = check_folder(videos)
    check_drawing(drawing)
    children = _folders(videos)
    splits = {n: SPLITS_BY_NAME[n.lower()] for n in children if n.lower() in SPLITS_BY_NAME}
    # A class may be called "train", too: then its folder holds videos, not classes.
    if not {"train", "test"} & {*splits.values()} or any(
        _is_class(os.path.join(videos, name)) for name in splits
    ):
        splits = {}
    if splits:
        if drawing.test is not None:
            raise ValueError(
                f"`test_fraction` is for videos in {videos}/LABEL/*.mp4, but this folder is split "
                f"into {' and '.join(splits)} already: leave it out. Received: {drawing.test}"
            )
        others = [n for n in children if n not in splits and _any_clip(os.path.join(videos, n))]
        if others:
            raise ValueError(
                f"`videos` must hold the splits train, val and test only. Received: {videos!r} "
                f"with {', '.join(others)}; rename or move that folder"
            )

    found, rejected, warnings = [], [], []
    for root in sorted({"", *splits}):
        for path in (_joined(root, name) for name in _files(os.path.join(videos, root))):
            reason = why_no_video(os.path.join(videos, path))
            if reason is None:
                _refuse_misplaced(videos, path)
            rejected.append((path, reason))
    for name in children if splits else ():
        if name not in splits:
            rejected.append((f"{name}/", "none of the folders train, val and test"))
    for root, split in (splits or {"": "train"}).items():
        for name in _folders(os.path.join(videos, root)):
            own = _read_class(videos, _joined(root, name), name, split, rejected)
            found += own
            if not own:
                folder = f"{_joined(root, name)}/"
                reason = "no video in this folder, so there is no class of its name"
                rejected.append((folder, reason))
                warnings.append(f"{folder} holds no video: there is no class {name!r} from it")
    if found and not splits and drawing.test is None:
        raise ValueError(
            f"`test_fraction` is needed, for example 0.3, because {videos!r} has no train/ "
            "and test/ folders"
        )
    if not found:
        some = f"; {rejected[0][0]}: {rejected[0][1]}" if rejected else ""
        raise ValueError(
            "`videos` must hold DIR/{train,val,test}/LABEL/*.mp4 or DIR/LABEL/*.mp4 (or .avi, "
            f".mkv, ..., or folders of pictures). Received: {videos!r}, with no videos in such "
            f"folders{some}"
        )
    found.sort(key=lambda video: video.path)
    return draw(DataSet(found, None, sorted(rejected), warnings), drawing)


def walk_files(folder, known=()):
    """Paths of all files below a folder, relative to it, except hidden ones; sorted.

    Links to the folders `known` are not followed.
    """
    found = []
    for place, names in files.walk(folder, is_hidden, known):
        inner = place[len(os.fspath(folder)) :].strip("/").replace(os.sep, "/").strip("/")
        found += [_joined(inner, name) for name in names if not is_hidden(name)]
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
    with tempfile.TemporaryDirectory() as folder, files.local_copy(path, folder) as local:
        return pictures.why_no_video(local)


def _read_class(videos, folder, label, split, rejected):
    """The videos of a class; what else is in its folder is added to `rejected`."""
    label, found = check_label(label, f"folder {label!r}"), []
    place = os.path.join(videos, folder)
    reasons = {name: why_no_video(os.path.join(place, name)) for name in _files(place)}
    for name in _folders(place):
        inner = os.path.join(place, name)
        if not _any_video(inner):
            reasons[name] = None if _is_clip(inner) else _why_no_clip(inner)
        elif _is_link(inner) and _contains(videos, inner):
            reasons[name] = "a link to a folder that is read under its own name"
        else:
            _refuse_misplaced(videos, f"{folder}/{name}")
    for name, reason in reasons.items():
        if reason is None:
            found.append(Video(f"{folder}/{name}", label, split))
        else:
            rejected.append((f"{folder}/{name}", reason))
    return found


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
    places = files.walk(folder, skip=is_hidden)
    return any(_is_clip(place) for place, _ in places) or _any_video(folder)


def _any_video(folder):
    """Whether there is a video below a folder, and not in a folder that it lies in itself."""
    # To look into each picture of each clip would take long.
    paths = [p for p in walk_files(folder, _above(folder)) if not _is_picture(p)]
    return any(why_no_video(os.path.join(folder, path)) is None for path in paths)


def _why_no_clip(folder):
    deep = (place for place, _ in files.walk(folder, is_hidden, _above(folder)) if _is_clip(place))
    for place in deep:
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
    paths = {name: os.path.join(folder, name) for name in names}
    return [n for n, path in paths.items() if not (_is_link(path) and _contains(path, folder))]


def _is_link(path):
    return not files.is_remote(path) and os.path.islink(path)


def _contains(folder, path):
    """Whether a path, or where it leads, lies in a folder or is that folder."""
    folder, path = os.path.realpath(folder), os.path.realpath(path)
    return os.path.commonpath([folder, path]) == folder


def _files(folder):
    return [name for name in files.entries(folder)[1] if not is_hidden(name)]


def _joined(root, name):
    return f"{root}/{name}" if root else name
