"""Turn video files and their labels into TFRecord shards.

    videorel make-tfrecords --dataset folder --videos DIR --output shards
    videorel make-tfrecords --dataset folder --videos DIR --test_fraction 0.3 --output shards
    videorel make-tfrecords --dataset csv --videos DIR --annotations videos.csv --output shards
    videorel make-tfrecords --dataset ucf101 --videos UCF-101 --annotations ucfTrainTestlist \\
        --short_side 256 --flow tvl1 --output shards/ucf101
    videorel make-tfrecords --dataset kinetics --videos DIR --annotations train.csv,validate.csv \\
        --output gs://BUCKET/kinetics --engine beam -- --runner DataflowRunner --project ...

Data sets:
    folder   DIR/{train,val,test}/LABEL/*, or DIR/LABEL/* with --test_fraction: files of any
             name that are videos, and folders of pictures (LABEL/CLIP/000001.jpg)
    csv      a table with the columns path (relative to DIR; a file or a folder of pictures),
             label, split (train, val or test); start and end (seconds) if a clip is a part of
             its file; group is for --test_fraction and --val_fraction
    ucf101   the folder of classInd.txt, trainlist0N.txt and testlist0N.txt
    hmdb51   the folder of LABEL_test_splitN.txt
    kinetics CSV files of label,youtube_id,time_start,time_end,split, or their folder;
             DIR/**/ID_000012_000022.mp4, or whole files, DIR/**/ID.mp4, which are cut. Without
             a test part, the validation part is tested on

The three official splits of ucf101 and hmdb51, the folds, share one set of shards: shards are named
by the split in --fold, and config.data.fold chooses another when they are read.

--test_fraction and --val_fraction keep the clips of a recording together. These are clips with the
same group in a table, or with the same text that --group_pattern finds in their file names
('(person[0-9]+)_'). By default the recording is read from names like UCF-101's (v_LABEL_g01_c02),
HMDB-51's and Kinetics'.

The command writes {train,val,test}-00000-of-000NN.tfrecord, labels.txt, rejected.csv (path,reason
of files that are missing, are not videos or do not decode) and at the end dataset.json. To continue
an interrupted run, give the same command again. After a finished run, the same command adds videos
that are new or were repaired. Words after -- go to Apache Beam.
"""

import os
import re
import sys

from keras_videorel import files
from keras_videorel.cli import Flags
from keras_videorel.data import (
    drawing,
    folders,
    manifest,
    official,
    pictures,
    shard_plan,
    shards,
    tables,
)

NEEDS_TENSORFLOW = False  # loaded when the arguments are known to be good
TAKES_WORDS = True  # options of Beam, after --
DATASETS = ("folder", "csv", *official.READERS)
FLAGS = Flags()
FLAGS.enum("dataset", None, DATASETS, "Kind of data set.", required=True)
FLAGS.string("videos", None, "Folder of the videos.", required=True)
FLAGS.string("annotations", None, "The table, or the official lists; not for folder.")
FLAGS.integer("fold", 1, "Official split that shards are named by; of kinetics 1 or 2.")
FLAGS.string("labels", None, "File of class names in order; by default official, or sorted.")
FLAGS.string("output", None, "Folder to write to; made if need be.", required=True)
FLAGS.string("resize", None, "HEIGHTxWIDTH of the stored frames; by default 128x170.")
FLAGS.integer("short_side", None, "Instead of resize: the frames' shorter side.")
FLAGS.enum("flow", "none", shards.FLOWS, "Optical flow to store: tvl1 as the papers; dis is fast.")
FLAGS.float("test_fraction", None, "Share of each class to draw for a missing test split.")
FLAGS.float("val_fraction", None, "Part of each class for the split val, taken from training.")
FLAGS.string("group_pattern", None, "Regular expression with one group: the recording of a file.")
FLAGS.float("frame_rate", pictures.FRAME_RATE, "Pictures per second of folders of pictures.")
FLAGS.integer("shards", None, "Shards of each split; by default one per 64 clips.", lower_bound=1)
FLAGS.integer("workers", None, "Processes; by default all cores.", lower_bound=1)
FLAGS.enum("engine", "local", shards.ENGINES, "Processes of this machine, or Apache Beam.")
FLAGS.float("time_limit", shards.TIME_LIMIT, "Seconds that a video may take without a frame.")
FLAGS.integer("jpeg_quality", shards.JPEG_QUALITY, "Quality of the stored frames.")
FLAGS.integer("seed", 0, "Seed of the order, and of the fractions.")


def main(arguments):
    if not FLAGS.output:
        raise ValueError(f"`output` must name a folder. Received: {FLAGS.output!r}")
    if arguments and FLAGS.engine != "beam":
        raise ValueError(
            f"expected flags only; words after -- are for --engine beam. "
            f"Received: {' '.join(arguments)}"
        )
    same = ("jpeg_quality", "flow", "fold", "frame_rate", "engine", "time_limit", "seed")
    options = {
        **{name: FLAGS[name].value for name in same},
        "frame_size": _frame_size(),
        "num_shards": FLAGS.shards,
        "num_workers": FLAGS.workers,
        "beam_options": arguments,
        "class_names": manifest.read_class_names(FLAGS.labels) if FLAGS.labels else None,
    }
    pictures.check_rate(FLAGS.frame_rate)
    data = _data_set(options["class_names"])
    for warning in data.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    before = shard_plan.finished(FLAGS.output)
    content = shards.write_shards(data, FLAGS.output, FLAGS.videos, **options).content
    if before and before.content == content:
        print(f"{FLAGS.output} is complete already; nothing was done.")
    elif before:
        clips = _count(content) - _count(before.content)
        added = f"{clips} {'clip was' if clips == 1 else 'clips were'} added"
        print(f"{FLAGS.output} was complete; what is new or was repaired was tried: {added}.")
    _print_summary(content)


def _frame_size():
    if FLAGS.resize is None:
        return FLAGS.short_side
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


def _count(content):
    return sum(counts["clips"] for counts in content["splits"].values())


def _data_set(class_names):
    """The `sources.DataSet` that the flags name."""
    how = drawing.Drawing(FLAGS.test_fraction, FLAGS.val_fraction, FLAGS.seed, FLAGS.group_pattern)
    if FLAGS.dataset in official.READERS:
        _refuse("test_fraction", "folder and csv")
        more = {"labels": class_names} if FLAGS.dataset == "kinetics" else {}
        read = official.READERS[FLAGS.dataset]
        found = read(FLAGS.annotations, FLAGS.videos, FLAGS.fold, **more)
        if not found.videos:
            raise ValueError(
                f"`videos` must hold the listed videos. Received: {FLAGS.videos!r} with none of "
                f"{len(found.rejected)}, such as {found.rejected[0][0]!r}"
            )
        return drawing.draw(found, how)
    if FLAGS.fold != 1:
        raise ValueError(
            f"`fold` is for the official data sets. Received: {FLAGS.fold} with --dataset "
            f"{FLAGS.dataset}"
        )
    if FLAGS.dataset == "folder":
        _refuse("annotations", "csv and the official data sets")
        return folders.read_folder(FLAGS.videos, how)
    if FLAGS.annotations is None:
        raise ValueError(
            "`annotations` must name a table with the columns path, label and split. Received: none"
        )
    return tables.read_csv(FLAGS.annotations, FLAGS.videos, how)


def _refuse(name, dataset):
    if FLAGS[name].value is not None:
        raise ValueError(
            f"`{name}` is for --dataset {dataset} only. Received: {FLAGS[name].value!r} with "
            f"--dataset {FLAGS.dataset}"
        )


def _print_summary(content):
    for split, counts in content["splits"].items():
        print(
            f"{split + ':':<6} {counts['clips']} clips, {counts['frames']} frames, "
            f"{counts['shards']} shards"
        )
    train = content["splits"].get("train", {"clips_per_label": {}})
    lost = [label for label, clips in train["clips_per_label"].items() if clips == 0]
    if lost:
        shown = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        print(f"warning: no training clip is left of {shown}")
    for fold, splits in content.get("official_splits", {}).items():
        counts = ", ".join(f"{count} {split}" for split, count in splits.items() if count)
        print(f"fold {fold}: {counts}")
    notes = content["notes"]
    if notes:
        print(f"{len(notes)} clips lost frames: {notes[0]['path']}: {notes[0]['note']}", end="")
        print(f"; ... (all in {manifest.MANIFEST})" if len(notes) > 1 else "")
    if content["rejected"]:
        _print_rejected(os.path.join(FLAGS.output, shard_plan.REJECTED))
    names = [name for name in files.list_folder(FLAGS.output) if name.endswith(".tfrecord")]
    size = sum(files.size(os.path.join(FLAGS.output, name)) for name in names)
    print(f"shards: {FLAGS.output} ({size / 1e6:.1f} MB)")


def _print_rejected(path):
    with files.opened(path) as file:
        lines = [repr(line)[1:-1] for line in file.read().split("\n")[1:] if line]
    missing = re.compile(rf',"?{official.MISSING}( \(.* is there\)"?)?$').search
    # Last, since files that were not downloaded are a less interesting reason than others.
    lines.sort(key=lambda line: missing(line) is not None)
    count = sum(missing(line) is not None for line in lines)
    print(f"rejected: {len(lines)} files ({count} of them missing), listed in {path}:")
    print("\n".join(f"  {line}" for line in lines[:5]))
    if len(lines) > 5:
        print("  ...")
