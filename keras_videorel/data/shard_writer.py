"""Writing one shard: what every engine's worker does."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Callable
from typing import NamedTuple

from keras_videorel import files, tensorflow_import
from keras_videorel.data import video
from keras_videorel.data.decoder import Decoder, Settings
from keras_videorel.data.sources import Video


class Shard(NamedTuple):
    """A shard to write: the name of its file, and `(sources.Video, index of its label)` pairs."""

    name: str
    clips: list

    @property
    def split(self) -> str:
        """The split of its clips."""
        return self.name.partition("-")[0]


class Conversion(NamedTuple):
    """What all shards of a run have in common.

    Attributes:
        root: Folder that relative paths of videos start from.
        output: Folder of the shards.
        work: Folder of unfinished files and reports.
        encoding: Size and quality of the frames, and the optical flow.
        time_limit: Seconds that a video may take without giving a frame.
    """

    root: str
    output: str
    work: str
    encoding: Settings
    time_limit: float

    def shard_path(self, shard: Shard) -> str:
        """Path of a shard."""
        return os.path.join(self.output, shard.name)

    def report_path(self, shard: Shard) -> str:
        """Path of the report of a shard."""
        return os.path.join(self.work, f"{shard.name}.json")

    def video_path(self, clip: Video) -> str:
        """Path of the file of a clip, or of its folder of pictures."""
        return files.join(self.root, clip.path)

    def written(self) -> set[str]:
        """Names of the shards that are whole: those that have their name, and a report."""
        reports = set(files.list_folder(self.work))
        return {name for name in files.list_folder(self.output) if f"{name}.json" in reports}


def write_shard(
    shard: Shard, conversion: Conversion, decoder: Decoder, advance: Callable = lambda: None
) -> dict:
    """Write a shard and a report of it, a JSON file.

    The shard gets its name when it is whole. Another writer of the same shard, such as a second
    attempt of a pipeline, writes the same bytes and does no harm. `advance` is called after each
    clip. An `OSError` if the shard cannot be written, or a decoding process was killed.

    Returns:
        The report: `clips` (numbers by label), `official_splits` (numbers by fold and split),
        `frames`, `rejected` (pairs of name and reason), `retry` (by those names, what the files
        were: `files.fingerprint`) and `notes` (pairs of name and note).
    """
    tensorflow_import.import_tensorflow()
    import tensorflow as tf

    # Shards of equal name may be in the making at once.
    temporary = os.path.join(conversion.work, f"{shard.name}.{uuid.uuid4().hex[:8]}.tmp")
    report: dict = {"clips": {}, "official_splits": {}, "frames": 0}
    report |= {"rejected": [], "retry": {}, "notes": []}
    try:
        with tempfile.TemporaryDirectory() as folder, tf.io.TFRecordWriter(temporary) as writer:
            for clip, label_index in shard.clips:
                path = conversion.video_path(clip)
                before = files.fingerprint(path)
                try:
                    encoded = _encode(clip, path, decoder, folder)
                except video.VideoError as error:
                    report["rejected"].append((clip.name, _reason(error, path)))
                    report["retry"][clip.name] = before
                else:
                    writer.write(_record(clip, label_index, encoded))
                    _count(report, clip, encoded)
                advance()
        if not files.is_remote(temporary):
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
        files.write_json(conversion.report_path(shard), report)
        files.rename(temporary, conversion.shard_path(shard))
    except tf.errors.OpError as error:
        raise OSError(
            f"cannot write {shard.name} in {conversion.output!r}: {error.message}"
        ) from None
    finally:
        with contextlib.suppress(OSError):  # what went wrong is said already
            files.remove(temporary)
    return report


def _encode(clip, path, decoder, folder):
    try:
        with files.local_copy(path, folder) as local:
            return decoder.encode(local, start=clip.start, end=clip.end)
    except FileNotFoundError:
        raise video.VideoError(path, "no such file") from None


def _reason(error, path):
    """Why a clip is left out; for a missing file also which file has a similar name."""
    if error.reason != "no such file":
        return error.reason
    name = os.path.basename(path).lower()
    there = []
    with contextlib.suppress(OSError):
        there = files.list_folder(os.path.dirname(path))
    near = [n for n in there if n.lower() == name]
    near += [n for n in there if os.path.splitext(n.lower())[0] == os.path.splitext(name)[0]]
    return f"{error.reason} ({near[0]} is there)" if near else error.reason


def _record(clip, label_index, encoded):
    from keras_videorel.data import records

    return records.encode(
        encoded.jpegs, encoded.timestamps, label_index, clip.label, clip.name, encoded.height,
        encoded.width, encoded.frame_rate, encoded.flow, clip.splits,
    )  # fmt: skip


def _count(report, clip, encoded):
    report["clips"][clip.label] = report["clips"].get(clip.label, 0) + 1
    for fold, split in enumerate(clip.splits, 1):
        counts = report["official_splits"].setdefault(str(fold), {})
        counts[split] = counts.get(split, 0) + 1
    report["frames"] += len(encoded.jpegs)
    if encoded.note is not None:
        report["notes"].append((clip.name, encoded.note))
