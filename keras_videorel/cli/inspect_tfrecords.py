"""Show what shards hold, check every record, and describe shards that others wrote.

    videorel inspect-tfrecords --shards DIR
    videorel inspect-tfrecords --shards DIR --contact_sheet clips.png --report problems.csv
    videorel inspect-tfrecords --shards DIR --train 'train*.tfrecord' --test 'val*.tfrecord' \\
        --labels labels.txt --describe DIR2

The command counts shards, clips and frames and compares the counts with dataset.json. It reads
every record (TensorFlow checks the checksum), compares the label with labels.txt, and decodes all
frames and flow (with --noverify only the first frame). Records count from 0. The exit status is 1
if anything is wrong.

With --train the shards need no dataset.json. --train and --test are patterns for the files of a
split, and the flags that end in _key name the keys of the records. If nothing is wrong, --describe
writes a dataset.json and a labels.txt into DIR2 that refer to these shards. DIR2 can then be used
for training like a folder of make-tfrecords.
"""

import collections
import csv
import datetime

from absl import flags

from keras_videorel.cli import Flags, table

PROBLEMS_SHOWN = 20
LABELS_SHOWN = 10
KEYS = {
    "frames": "JPEG frames (image/encoded)",
    "flow": "pictures of optical flow, as make-tfrecords stores them (FORWARD_FLOW/image/encoded)",
    "label": "index of the class (clip/label/index)",
    "path": "path of the clip (clip/data_path)",
}

FLAGS = Flags()
FLAGS.string("shards", None, "Folder of the shards.", required=True)
FLAGS.boolean("verify", True, "Decode all frames.")
FLAGS.boolean("all", False, "Print the counts of all classes.")
FLAGS.string("report", None, "CSV file for all problems.")
FLAGS.string("contact_sheet", None, "PNG for frames of random clips.")
flags.DEFINE_alias("sheet", "contact_sheet", flag_values=FLAGS)
FLAGS.integer("clips", 12, "Clips on the sheet.", lower_bound=1)
FLAGS.integer("seed", 0, "Seed of their choice.", lower_bound=0)
FLAGS.strings(
    "train",
    None,
    "For shards without dataset.json: files of the training split, absolute or in the folder; the "
    "name may have wildcards.",
)
FLAGS.strings("test", None, "Likewise, files of the test split.")
FLAGS.string("labels", None, "Likewise, file of the names of the classes, one a line.")
for _name, _what in KEYS.items():
    FLAGS.string(f"{_name}_key", None, f"Likewise, key of the {_what}.")
FLAGS.string("describe", None, "Folder for the dataset.json and labels.txt of these shards.")


def main(arguments):
    import tensorflow as tf

    from keras_videorel.data import contact_sheet, inspection

    tf.config.set_visible_devices([], "GPU")  # leave its memory to training runs
    manifest = _manifest()
    clips, problems = inspection.scan(manifest, FLAGS.verify)
    if not FLAGS.train:
        problems += inspection.compare(manifest, clips)
    _print_counts(manifest, clips)
    _print_problems(problems, clips)
    if FLAGS.report is not None:
        _write_report(problems)
    if FLAGS.contact_sheet is not None:
        broken = {(problem.file, problem.record) for problem in problems}
        whole = [clip for clip in clips if (clip.file, clip.record) not in broken]
        contact_sheet.save_sheet(manifest, whole, FLAGS.contact_sheet, FLAGS.clips, FLAGS.seed)
        print(f"{min(FLAGS.clips, len(whole))} clips on {FLAGS.contact_sheet}")
    if FLAGS.describe is not None:
        if problems:
            print(f"{FLAGS.describe} was not written, because of the problems")
        else:
            inspection.describe(manifest, clips, FLAGS.describe)
            print(f'described in {FLAGS.describe}: config.data.path = "{FLAGS.describe}"')
    return 1 if problems else 0


def _manifest():
    from keras_videorel.data import inspection
    from keras_videorel.data.manifest import read_manifest

    if not FLAGS.train:
        for name in ("test", "labels", "describe", *(f"{key}_key" for key in KEYS)):
            if FLAGS[name].value:
                raise ValueError(f"`{name}` is for shards that `train` names. Received: no `train`")
        return read_manifest(FLAGS.shards)
    if not FLAGS.labels:
        raise ValueError("`labels` must name a file of the names of the classes. Received: none")
    patterns = {"train": FLAGS.train, **({"test": FLAGS.test} if FLAGS.test else {})}
    keys = {name: key for name in KEYS if (key := FLAGS[f"{name}_key"].value) is not None}
    return inspection.foreign_manifest(FLAGS.shards, FLAGS.labels, patterns, keys)


def _print_counts(manifest, clips):
    from keras_videorel.data import inspection

    counts = inspection.count(manifest, clips)
    print(f"{manifest.path}: {len(manifest.labels):,} labels, {len(clips):,} clips")
    sizes = collections.Counter(clip.size for clip in clips if clip.size).most_common(5)
    print("frames of " + ", ".join(f"{h}x{w} ({n:,} clips)" for (h, w), n in sizes))
    print("optical flow" if manifest.flow else "no optical flow")
    _print_range("frames of a clip", "{:,.0f}", [clip.frames for clip in clips])
    seconds = [clip.seconds for clip in clips if clip.seconds is not None]
    _print_range("duration of a clip", "{:,.1f} s", seconds)

    rows = [("split", "shards", "clips", "frames", "duration", "MB", "KB/clip")]
    for split, own in counts.items():
        found = [clip for clip in clips if clip.split == split]
        duration = datetime.timedelta(seconds=round(sum(clip.seconds or 0 for clip in found)))
        size = sum(clip.bytes for clip in found)
        numbers = [f"{own[name]:,}" for name in ("shards", "clips", "frames")]
        sizes = [f"{size / 1e6:,.1f}", f"{size / max(len(found), 1) / 1e3:,.1f}"]
        rows.append((split, *numbers, str(duration), *sizes))
    print(f"\n{table(rows)}")

    shown = manifest.labels if FLAGS.all else manifest.labels[:LABELS_SHOWN]
    per_label = {split: own["clips_per_label"] for split, own in counts.items()}
    rows = [(label[:40], *(f"{own[label]:,}" for own in per_label.values())) for label in shown]
    print(f"\n{table([('clips of', *counts), *rows])}")
    if len(shown) < len(manifest.labels):
        print(f"... and {len(manifest.labels) - len(shown):,} more labels (--all prints them)")
    for split, own in per_label.items():
        empty = sum(number == 0 for number in own.values())
        none = f", none of {empty:,} labels" if empty else ""
        print(f"{split}: {min(own.values()):,} to {max(own.values()):,} clips per label{none}")


def _print_range(name, form, values):
    import numpy as np

    if values:
        low, median, high = map(form.format, np.quantile(values, (0, 0.5, 1)))
        print(f"{name}: {low} to {high}, median {median}")


def _print_problems(problems, clips):
    print()
    if not problems:
        frames = sum(clip.frames for clip in clips)
        decoded = f"all {frames:,} frames" if FLAGS.verify else "the first frame of each"
        print(f"no problems: {len(clips):,} records read, {decoded} decoded")
        return
    print(f"{len(problems):,} problems:")
    for file, record, path, problem in problems[:PROBLEMS_SHOWN]:
        place = file if record is None else f"{file}, record {record}"
        print(f"  {place}{f' ({path})' if path else ''}: {problem}")
    if len(problems) > PROBLEMS_SHOWN:
        report = f"all in {FLAGS.report}" if FLAGS.report else "--report lists them"
        print(f"  ... and {len(problems) - PROBLEMS_SHOWN:,} more ({report})")


def _write_report(problems):
    from keras_videorel import files
    from keras_videorel.data.inspection import Problem

    with (
        files.atomic_write(FLAGS.report) as temporary,
        files.opened(temporary, "w", newline="") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows([Problem._fields, *problems])
