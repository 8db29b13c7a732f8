"""Turn video files and their labels into TFRecord shards.

    videorel make-tfrecords --dataset folder --videos DIR --output shards
    videorel make-tfrecords --dataset folder --videos DIR --test_fraction 0.3 --output shards
    videorel make-tfrecords --dataset csv --videos DIR --annotations videos.csv --output shards

Data sets:
    folder   DIR/{train,test}/LABEL/*.mp4, or DIR/LABEL/*.mp4 with --test_fraction
             (also avi, mkv, mov, webm, mpg, mpeg, m4v)
    csv      a table with the columns path (relative to DIR), label, split (train or test)

writes {train,test}-00000-of-000NN.tfrecord, labels.txt, rejected.csv (path,reason of the videos
that do not decode) and, when all is done, dataset.json. A run that was interrupted continues
when the same command is given again.
"""

import os
import re

from absl import flags

from keras_videorel.data import shards, sources

DATASETS = ("folder", "csv")

NEEDS_TENSORFLOW = False  # its processes load what they need
FLAGS = flags.FlagValues()
flags.DEFINE_enum("dataset", None, DATASETS, "Kind of data set: folder or csv.", flag_values=FLAGS)
flags.DEFINE_string("videos", None, "Folder of the videos.", flag_values=FLAGS)
flags.DEFINE_string(
    "annotations", None, "For csv: table of paths, labels and splits.", flag_values=FLAGS
)
flags.DEFINE_string("output", None, "Folder to write to; made if need be.", flag_values=FLAGS)
flags.DEFINE_string(
    "resize",
    None,
    "HEIGHTxWIDTH of the stored frames; {}x{} unless short_side is given.".format(
        *shards.DEFAULT_SIZE
    ),
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "short_side",
    None,
    "Instead of resize: shorter side of the stored frames, with the aspect ratio kept.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "test_fraction",
    None,
    "For folder without train/ and test/: part of each class for the test split.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "shards",
    None,
    f"Shards of each split; by default one per {shards.CLIPS_PER_SHARD} clips, and at least one "
    "per worker.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("workers", None, "Processes; by default all cores.", flag_values=FLAGS)
flags.DEFINE_integer("jpeg_quality", 95, "Quality of the stored frames.", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Seed of the order and of test_fraction.", flag_values=FLAGS)
for _name in ("dataset", "videos", "output"):
    flags.mark_flag_as_required(_name, flag_values=FLAGS)


def main(arguments):
    if not FLAGS.output:
        raise ValueError(f"`output` must name a folder. Received: {FLAGS.output!r}")
    size = _size()
    videos = _videos()
    labels = sources.label_names(videos)
    complete = shards.is_complete(FLAGS.output)
    manifest = shards.write_shards(
        videos,
        FLAGS.output,
        labels,
        root=FLAGS.videos,
        size=size,
        short_side=FLAGS.short_side,
        jpeg_quality=FLAGS.jpeg_quality,
        shards=FLAGS.shards,
        workers=FLAGS.workers,
        seed=FLAGS.seed,
    )
    if complete:
        print(f"{FLAGS.output} is complete already; nothing was done.")
    _print_summary(manifest)


def _size():
    if FLAGS.resize is None:
        return None
    if FLAGS.short_side is not None:
        raise ValueError(
            "give either `resize` or `short_side`. Received: "
            f"--resize={FLAGS.resize} --short_side={FLAGS.short_side}"
        )
    match = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", FLAGS.resize)
    if match is None:
        raise ValueError(
            f"`resize` must be HEIGHTxWIDTH, for example 128x170. Received: {FLAGS.resize!r}"
        )
    return int(match[1]), int(match[2])


def _videos():
    if FLAGS.dataset == "folder":
        _refuse("annotations", "csv")
        return sources.read_folder(FLAGS.videos, FLAGS.test_fraction, FLAGS.seed)
    _refuse("test_fraction", "folder")
    if FLAGS.annotations is None:
        raise ValueError(
            "`annotations` must name a table with the columns path, label and split. Received: none"
        )
    return sources.read_csv(FLAGS.annotations, FLAGS.videos)


def _refuse(name, dataset):
    if FLAGS[name].value is not None:
        raise ValueError(
            f"`{name}` is for --dataset {dataset} only. Received: {FLAGS[name].value!r} with "
            f"--dataset {FLAGS.dataset}"
        )


def _print_summary(manifest):
    for split, counts in manifest["splits"].items():
        print(
            f"{split + ':':<6} {counts['clips']} clips, {counts['frames']} frames, "
            f"{counts['shards']} shards"
        )
    train = manifest["splits"].get("train", {"clips_per_label": {}})
    lost = [label for label, clips in train["clips_per_label"].items() if clips == 0]
    if lost:
        print(f"warning: no training clip is left of {', '.join(lost)}")
    notes = manifest["notes"]
    if notes:
        print(f"{len(notes)} clips lost frames: {notes[0]['path']}: {notes[0]['note']}", end="")
        print(f"; ... (all in {shards.MANIFEST})" if len(notes) > 1 else "")
    if manifest["rejected"]:
        path = os.path.join(FLAGS.output, shards.REJECTED)
        print(f"rejected: {manifest['rejected']} videos, listed in {path}:")
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            lines = file.read().splitlines()[1:]
        print("\n".join(f"  {line}" for line in lines[:5]))
        if len(lines) > 5:
            print("  ...")
    size = sum(
        entry.stat().st_size
        for entry in os.scandir(FLAGS.output)
        if entry.name.endswith(".tfrecord")
    )
    print(f"shards: {FLAGS.output} ({size / 1e6:.1f} MB)")
