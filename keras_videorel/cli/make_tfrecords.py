"""Turn video files and their labels into TFRecord shards.

    videorel make-tfrecords --dataset folder --videos DIR --output shards
    videorel make-tfrecords --dataset folder --videos DIR --test_fraction 0.3 --output shards
    videorel make-tfrecords --dataset csv --videos DIR --annotations videos.csv --output shards
    videorel make-tfrecords --dataset ucf101 --videos UCF-101 --annotations ucfTrainTestlist \
        --short_side 256 --flow tvl1 --output shards/ucf101
    videorel make-tfrecords --dataset kinetics --videos DIR --annotations train.csv,validate.csv \
        --output gs://BUCKET/kinetics --engine beam -- --runner DataflowRunner --project ...

Data sets:
    folder   DIR/{train,val,test}/LABEL/*, or DIR/LABEL/* with --test_fraction: files of any
             name that are videos, and folders of pictures (LABEL/CLIP/000001.jpg)
    csv      a table with the columns path (relative to DIR; a file or a folder of pictures),
             label, split (train, val or test); start and end (seconds) make a clip a segment of
             its file; group is for --test_fraction and --val_fraction
    ucf101   the folder of classInd.txt, trainlist0N.txt and testlist0N.txt
    hmdb51   the folder of LABEL_test_splitN.txt
    kinetics CSV files of label,youtube_id,time_start,time_end,split, or their folder;
             DIR/**/ID_000012_000022.mp4, or whole files, DIR/**/ID.mp4, which are cut. Without
             a test part, the validation part is tested on

The three official splits of ucf101 and hmdb51 share one set of shards: shards are named by the
side in --split, and config.data.split chooses another when they are read.

--test_fraction and --val_fraction keep the clips of a recording together: those that have the
group of a table in common, or what --group_pattern finds in their file names, or by default the
recording in names like UCF-101's (v_LABEL_g01_c02), HMDB-51's and Kinetics'.

writes {train,val,test}-00000-of-000NN.tfrecord, labels.txt, rejected.csv (path,reason of what is
missing, is no video or does not decode) and, when all is done, dataset.json. A run that was
interrupted continues when the same command is given again; given once more, it adds rejected files
that have been repaired. What follows -- goes to Apache Beam.
"""

import os
import re
import sys

from absl import flags

from keras_videorel import files
from keras_videorel.checks import check_integer
from keras_videorel.data import drawing, folders, official, pictures, shards, sources, tables
from keras_videorel.data.manifest import read_class_names

DATASETS = ("folder", "csv", *official.READERS)

NEEDS_TENSORFLOW = False  # loaded when the arguments are known to be good
TAKES_WORDS = True  # options of Beam, after --
FLAGS = flags.FlagValues()
flags.DEFINE_enum("dataset", None, DATASETS, "Kind of data set.", flag_values=FLAGS)
flags.DEFINE_string("videos", None, "Folder of the videos.", flag_values=FLAGS)
flags.DEFINE_string(
    "annotations", None, "All but folder: the table, or the official lists.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "split",
    1,
    "Official split of ucf101, hmdb51 (1, 2, 3) or kinetics (1: validation, 2: test) that the "
    "shards are named by.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "labels",
    None,
    "File of class names in index order, such as the labels.txt of the shards that a model was "
    "trained on; by default the official order, or sorted.",
    flag_values=FLAGS,
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
flags.DEFINE_enum(
    "flow",
    "none",
    shards.FLOWS,
    "Optical flow to store beside the frames: tvl1 as the papers, or dis, which is far faster.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "test_fraction",
    None,
    "For folder without train/ and test/, and csv without test rows: part of each class for the "
    "test split.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "val_fraction",
    None,
    "Part of each class for the validation split, val, taken from training.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "group_pattern",
    None,
    "Regular expression with one group, such as '(person[0-9]+)_', looked for in the names of "
    "files: clips with the same text there stay on one side of test_fraction and val_fraction.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "frame_rate",
    pictures.FRAME_RATE,
    "Pictures per second of clips that are folders of pictures.",
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
flags.DEFINE_enum(
    "engine",
    "local",
    shards.ENGINES,
    "local: processes on this machine. beam: an Apache Beam pipeline.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "time_limit",
    shards.TIME_LIMIT,
    "Seconds that a video may take without giving a frame.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "jpeg_quality", shards.JPEG_QUALITY, "Quality of the stored frames.", flag_values=FLAGS
)
flags.DEFINE_integer("seed", 0, "Seed of the order and of test_fraction.", flag_values=FLAGS)
for _name in ("dataset", "videos", "output"):
    flags.mark_flag_as_required(_name, flag_values=FLAGS)


def main(arguments):
    if not FLAGS.output:
        raise ValueError(f"`output` must name a folder. Received: {FLAGS.output!r}")
    if arguments and FLAGS.engine != "beam":
        raise ValueError(
            f"expected flags only; words after -- are for --engine beam. "
            f"Received: {' '.join(arguments)}"
        )
    if hasattr(sys.stdout, "reconfigure"):  # names of files need not be text, nor fit a terminal
        sys.stdout.reconfigure(errors="backslashreplace")
    size = _size()
    pictures.check_rate(FLAGS.frame_rate)
    for name in ("workers", "shards"):
        if FLAGS[name].value is not None:
            check_integer(name, FLAGS[name].value, 1)
    data = _data_set()
    for warning in data.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    before = _manifest() if shards.is_complete(FLAGS.output) else None
    manifest = shards.write_shards(
        data.videos,
        FLAGS.output,
        data.labels,
        root=FLAGS.videos,
        size=size,
        short_side=FLAGS.short_side,
        jpeg_quality=FLAGS.jpeg_quality,
        flow=FLAGS.flow,
        split=FLAGS.split,
        rejected=data.rejected,
        listed=data.listed,
        frame_rate=FLAGS.frame_rate,
        shards=FLAGS.shards,
        workers=FLAGS.workers,
        engine=FLAGS.engine,
        beam_options=arguments,
        time_limit=FLAGS.time_limit,
        seed=FLAGS.seed,
        drawn=FLAGS.test_fraction is not None or FLAGS.val_fraction is not None,
    )
    if before == manifest:
        print(f"{FLAGS.output} is complete already; nothing was done.")
    elif before is not None:
        clips = _clips(manifest) - _clips(before)
        print(
            f"{FLAGS.output} was complete; what was rejected and has changed was tried again: "
            f"{clips} {'clip was' if clips == 1 else 'clips were'} added."
            if clips or manifest["rejected"] >= before["rejected"]
            else f"{FLAGS.output} is complete; {shards.REJECTED} no longer lists what is gone."
        )
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


def _manifest():
    return files.read_json(os.path.join(FLAGS.output, shards.MANIFEST))


def _clips(manifest):
    return sum(counts["clips"] for counts in manifest["splits"].values())


def _data_set():
    """The `sources.DataSet` that the flags name."""
    given = read_class_names(FLAGS.labels) if FLAGS.labels else None
    if FLAGS.dataset == "folder":
        _refuse("annotations", "csv and the official data sets")
    how = drawing.Drawing(FLAGS.test_fraction, FLAGS.val_fraction, FLAGS.seed, FLAGS.group_pattern)
    drawing.check_drawing(how)
    if FLAGS.dataset in official.READERS:
        _refuse("test_fraction", "folder and csv")
        read = official.READERS[FLAGS.dataset]
        more = {"labels": given} if FLAGS.dataset == "kinetics" else {}
        rejected = shards.rejected_names(FLAGS.output)
        found = read(FLAGS.annotations, FLAGS.videos, FLAGS.split, rejected=rejected, **more)
        if not found.videos:
            raise ValueError(
                f"`videos` must hold the listed videos. Received: {FLAGS.videos!r} with none of "
                f"{len(found.rejected)}, such as {found.rejected[0][0]!r}"
            )
        videos, warnings = drawing.draw(found.videos, how)
        found = found._replace(videos=videos, warnings=warnings)
    elif FLAGS.split != 1:
        raise ValueError(
            f"`split` is for the official data sets. Received: {FLAGS.split} with --dataset "
            f"{FLAGS.dataset}"
        )
    elif FLAGS.dataset == "folder":
        found = folders.folder_data_set(FLAGS.videos, how)
    elif FLAGS.annotations is None:
        raise ValueError(
            "`annotations` must name a table with the columns path, label and split. Received: none"
        )
    else:
        found = tables.csv_data_set(FLAGS.annotations, FLAGS.videos, how)
    if given is not None:
        return sources.with_labels(found, given)
    if found.labels is None:
        found = found._replace(labels=sources.label_names(found.videos))
        return sources.with_labels(found, _known_order(found.labels))
    return found


def _known_order(labels):
    """Labels in the order and spelling of the output's `labels.txt`, if that has the same ones."""
    path = os.path.join(FLAGS.output, shards.LABELS)
    there = (
        read_class_names(path) if shards.is_complete(FLAGS.output) and files.exists(path) else []
    )
    same = {*map(pictures.normalized, there)} == {*map(pictures.normalized, labels)}
    return there if same else labels


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
        shown = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        print(f"warning: no training clip is left of {shown}")
    for number, sides in manifest.get("official_splits", {}).items():
        counts = ", ".join(f"{count} {side}" for side, count in sides.items() if count)
        print(f"split {number}: {counts}")
    notes = manifest["notes"]
    if notes:
        print(f"{len(notes)} clips lost frames: {notes[0]['path']}: {notes[0]['note']}", end="")
        print(f"; ... (all in {shards.MANIFEST})" if len(notes) > 1 else "")
    if manifest["rejected"]:
        _print_rejected(os.path.join(FLAGS.output, shards.REJECTED))
    names = [name for name in files.list_folder(FLAGS.output) if name.endswith(".tfrecord")]
    size = sum(files.size(os.path.join(FLAGS.output, name)) for name in names)
    print(f"shards: {FLAGS.output} ({size / 1e6:.1f} MB)")


def _is_missing(line):
    return re.search(rf",\"?{official.MISSING}( \(.* is there\)\"?)?$", line) is not None


def _print_rejected(path):
    with files.opened(path) as file:
        lines = [repr(line)[1:-1] for line in file.read().split("\n")[1:] if line]
    missing = sum(_is_missing(line) for line in lines)
    print(f"rejected: {len(lines)} files ({missing} of them missing), listed in {path}:")
    # A subset of a data set misses the rest of it, which says less than the other reasons.
    lines.sort(key=lambda line: _is_missing(line))
    print("\n".join(f"  {line}" for line in lines[:5]))
    if len(lines) > 5:
        print("  ...")
