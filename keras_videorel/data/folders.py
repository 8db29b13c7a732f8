"""Data sets in folders of classes: what is a video in them, and what is not."""

from __future__ import annotations

import os
import tempfile
from typing import NamedTuple

from keras_videorel import files
from keras_videorel.data import pictures
from keras_videorel.data.drawing import NOTHING, Drawing, draw
from keras_videorel.data.sources import SPLITS_BY_NAME, DataSet, Video, check_folder, check_label

# Files with these extensions are taken for videos; all others are opened to see.
EXTENSIONS = (
    *(".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv", ".flv", ".f4v"),
    *(".ts", ".mts", ".m2ts", ".3gp", ".3g2", ".ogv", ".ogm", ".gif", ".asf", ".vob", ".divx"),
    *(".mxf", ".rm", ".rmvb", ".m1v", ".m2v"),
)


def read_folder(videos: str | os.PathLike, drawing: Drawing = NOTHING) -> DataSet:
    """The data set of `videos/{train,val,test}/LABEL/` or of `videos/LABEL/`.

    In the folder of a class, each video file is a clip, and so is each folder of pictures. Hidden
    files are skipped; everything else is rejected, with the reason.

    Args:
        videos: The folder.
        drawing: How to draw splits. `drawing.test` is needed for `videos/LABEL/`, and only there.

    Returns:
        The `DataSet`, its videos sorted by path.

    Raises:
        ValueError: If the folder holds no videos, or has another layout.
        OSError: If a folder cannot be listed.
    """
    videos = check_folder(videos)
    root = _list(videos)
    splits = {f.name: f for f in root.folders if f.name.lower() in SPLITS_BY_NAME}
    names = {SPLITS_BY_NAME[name.lower()] for name in splits}
    # A class may be called "train", too: then its folder holds videos, not classes.
    if not names & {"train", "test"} or any(
        folder.has_videos() or any(inner.is_clip() for inner in folder.folders)
        for folder in splits.values()
    ):
        splits = {}
    rejected: list[tuple[str, str]] = []
    warnings, found = [], []
    if splits:
        if drawing.test is not None:
            raise ValueError(
                f"`test_fraction` is for videos in {videos}/LABEL/*.mp4, but this folder is split "
                f"into {' and '.join(splits)} already: leave it out. Received: {drawing.test}"
            )
        others = [folder for folder in root.folders if folder.name not in splits]
        wrong = [f.name for f in others if f.any_video() or any(i.is_clip() for i in f.walk())]
        if wrong:
            raise ValueError(
                f"`videos` must hold the splits train, val and test only. Received: {videos!r} "
                f"with {', '.join(wrong)}; rename or move that folder"
            )
        rejected += [(f"{f.path}/", "not one of train, val and test") for f in others]
    for folder in (root, *splits.values()):
        for name in folder.files:
            reason = why_no_video(os.path.join(folder.place, name))
            if reason is None:
                _refuse_misplaced(videos, folder.inner(name))
            else:
                rejected.append((folder.inner(name), reason))
    for parent in splits.values() or [root]:
        split = SPLITS_BY_NAME[parent.name.lower()] if splits else "train"
        for folder in parent.folders:
            clips = _read_class(videos, folder, split, rejected)
            found += clips
            if not clips:
                reason = "no video in this folder, so there is no class of its name"
                rejected.append((f"{folder.path}/", reason))
                warnings.append(
                    f"{folder.path}/ holds no video: there is no class {folder.name!r} from it"
                )
    if not found:
        some = f"; {rejected[0][0]}: {rejected[0][1]}" if rejected else ""
        raise ValueError(
            "`videos` must hold DIR/{train,val,test}/LABEL/*.mp4 or DIR/LABEL/*.mp4 (or .avi, "
            f".mkv, ..., or folders of pictures). Received: {videos!r}, with no videos in such "
            f"folders{some}"
        )
    if not splits and drawing.test is None:
        raise ValueError(
            f"`test_fraction` is needed, for example 0.3, because {videos!r} has no train/ "
            "and test/ folders"
        )
    found.sort(key=lambda video: video.path)
    return draw(DataSet(found, None, sorted(rejected), warnings), drawing)


def walk_files(folder: str | os.PathLike) -> list[str]:
    """Paths of all files below a folder, relative to it, except hidden ones; sorted."""
    found = []
    for place, names in files.walk(folder, is_hidden):
        inner = place[len(os.fspath(folder)) :].strip("/").replace(os.sep, "/").strip("/")
        found += [f"{inner}/{name}".lstrip("/") for name in names if not is_hidden(name)]
    return sorted(found)


def is_hidden(name: str) -> bool:
    """Whether systems hide a file or folder of that name."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")


def why_no_video(path: str) -> str | None:
    """The reason why a file is not a video, in a few words; None for a video."""
    if path.lower().endswith(EXTENSIONS):
        return None
    if _is_picture(path) and not pictures.begins_like_a_video(path):
        return "a picture, not a video"
    with tempfile.TemporaryDirectory() as folder, files.local_copy(path, folder) as local:
        return pictures.why_no_video(local)


class _Folder(NamedTuple):
    """What lies in a folder, without hidden names; `path` is relative to the data set."""

    place: str
    path: str
    files: list
    folders: list

    @property
    def name(self):
        return os.path.basename(self.path)

    def inner(self, name):
        return f"{self.path}/{name}".lstrip("/")

    def walk(self):
        """This folder and all below it."""
        yield self
        for folder in self.folders:
            yield from folder.walk()

    def has_videos(self):
        return any(name.lower().endswith(EXTENSIONS) for name in self.files)

    def is_clip(self):
        """Whether it holds the pictures of a clip, and not some pictures beside videos."""
        return sum(map(_is_picture, self.files)) > len(self.files) / 2 and not self.has_videos()

    def any_video(self):
        """Whether there is a video in it or below. Pictures are not opened: there are many."""
        return any(
            why_no_video(os.path.join(folder.place, name)) is None
            for folder in self.walk()
            for name in folder.files
            if not _is_picture(name)
        )


def _list(place, path="", above=()):
    """A `_Folder` with all below it. Links to a folder that they lie in are left out."""
    above = (*above, os.path.realpath(place))
    folders, names = files.entries(place)
    inner = []
    for name in folders:
        here = os.path.join(place, name)
        loop = not files.is_remote(here) and os.path.realpath(here) in above
        if not is_hidden(name) and not loop:
            inner.append(_list(here, f"{path}/{name}".lstrip("/"), above))
    return _Folder(place, path, [name for name in names if not is_hidden(name)], inner)


def _read_class(videos, folder, split, rejected):
    """The videos of a class; what else is in its folder is added to `rejected`."""
    label = check_label(folder.name, f"folder {folder.name!r}")
    reasons = {name: why_no_video(os.path.join(folder.place, name)) for name in folder.files}
    for inner in folder.folders:
        if inner.any_video():
            _refuse_misplaced(videos, inner.path)
        deep = next((below.path for below in inner.walk() if below.is_clip()), None)
        reasons[inner.name] = "a folder without videos or pictures"
        if deep == inner.path:
            reasons[inner.name] = None
        elif deep is not None:
            reasons[inner.name] += (
                f"; there are pictures in {deep[len(inner.path) + 1 :]}/, which is too deep: move "
                "them up"
            )
    rejected += [(folder.inner(name), reason) for name, reason in reasons.items() if reason]
    clips = [name for name, reason in reasons.items() if reason is None]
    return [Video(folder.inner(name), label, split) for name in clips]


def _refuse_misplaced(videos, path):
    raise ValueError(
        f"`videos` must hold the videos of a class directly in its folder LABEL/. Received: "
        f"{path!r} in {videos!r}"
    )


def _is_picture(name):
    return name.lower().endswith(pictures.EXTENSIONS)
