"""Show what shards hold, check every record, and describe shards that others wrote.

    videorel inspect-tfrecords --shards DIR
    videorel inspect-tfrecords --shards DIR --sheet clips.png --report problems.csv
    videorel inspect-tfrecords --shards DIR --train 'train*.tfrecord' --test 'val*.tfrecord' \\
        --labels labels.txt --describe DIR2

Counts what is there and compares that with dataset.json. Every record is checked: checksums,
keys, as many timestamps and fields of flow as frames, sizes, labels, sides in the official splits,
paths that occur once; and every frame is decoded (--frames first: one of each clip; --noverify:
none). Records count from 0. The exit status is 1 if anything is wrong.

With --train the shards need no dataset.json: patterns say which files are which, and keys where
the records keep what. With --describe, too, and nothing wrong, DIR2 gets a dataset.json and a
labels.txt that refer to them, and trains like a folder of make-tfrecords.
"""

import collections
import csv
import datetime
import unicodedata

from absl import flags

PROBLEMS_SHOWN = 20
LABELS_SHOWN = 10

FLAGS = flags.FlagValues()
flags.DEFINE_string("shards", None, "Folder of the shards.", flag_values=FLAGS)
flags.DEFINE_boolean("verify", True, "Decode the frames.", flag_values=FLAGS)
flags.DEFINE_enum(
    "frames",
    "all",
    ["all", "first"],
    "Frames of a clip to decode: all or first.",
    flag_values=FLAGS,
)
flags.DEFINE_boolean("all", False, "Print the counts of all classes.", flag_values=FLAGS)
flags.DEFINE_string("report", None, "CSV file for all problems.", flag_values=FLAGS)
flags.DEFINE_string("sheet", None, "PNG file for pictures of random clips.", flag_values=FLAGS)
flags.DEFINE_integer("clips", 12, "Clips on the sheet.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Seed of their choice.", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_integer("workers", None, "Threads; by default all cores.", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "train",
    None,
    "Of shards without dataset.json: files of the training split, absolute or in the folder; the "
    "name may have wildcards",
    flag_values=FLAGS,
)
flags.DEFINE_multi_string("test", None, "Likewise, of the test split", flag_values=FLAGS)
flags.DEFINE_string(
    "labels", None, "Likewise: file of the names of the classes, one a line.", flag_values=FLAGS
)
for _name, _what in {
    "frames": "JPEG frames (image/encoded)",
    "flow": "pictures of optical flow, as make-tfrecords stores them (FORWARD_FLOW/image/encoded)",
    "label": "index of the class (clip/label/index)",
    "path": "path of the clip (clip/data_path)",
}.items():
    flags.DEFINE_string(f"{_name}_key", None, f"Likewise: key of the {_what}.", flag_values=FLAGS)
flags.DEFINE_string(
    "describe", None, "Folder for the dataset.json and labels.txt of these.", flag_values=FLAGS
)
flags.mark_flag_as_required("shards", flag_values=FLAGS)


def main(arguments):
    import tensorflow as tf

    from keras_videorel.data import inspection

    tf.config.set_visible_devices([], "GPU")  # its memory is for those who train
    layout = _layout()
    decode = FLAGS.frames if FLAGS.verify else "none"
    clips, problems = inspection.scan(layout, decode, FLAGS.workers)
    if not FLAGS.train:
        problems += inspection.compare(layout, clips)
    _print_tables(layout, clips)
    _print_problems(problems, clips)
    if FLAGS.report is not None:
        _write_report(problems)
    if FLAGS.sheet is not None:
        _draw_sheet(layout, clips, problems)
    if FLAGS.describe is not None:
        if problems:
            print(f"{FLAGS.describe} was not written, because of the problems")
        else:
            inspection.describe(layout, clips, FLAGS.describe)
            print(f'described in {FLAGS.describe}: config.data.path = "{FLAGS.describe}"')
    return 1 if problems else 0


def _layout():
    from keras_videorel.data import inspection

    if not FLAGS.train:
        given = [
            name
            for name in ("test", "labels", "describe", *(f"{key}_key" for key in _keys()))
            if FLAGS[name].value
        ]
        if given:
            raise ValueError(f"`{given[0]}` is for shards that `train` names. Received: no `train`")
        return inspection.read_layout(FLAGS.shards)
    if not FLAGS.labels:
        raise ValueError("`labels` must name a file of the names of the classes. Received: none")
    patterns = {"train": FLAGS.train, **({"test": FLAGS.test} if FLAGS.test else {})}
    keys = {name: key for name, key in _keys().items() if key is not None}
    return inspection.foreign_layout(FLAGS.shards, FLAGS.labels, patterns, keys)


def _keys():
    return {name: FLAGS[f"{name}_key"].value for name in ("frames", "flow", "label", "path")}


# --- What is printed ------------------------------------------------------------------------


def _print_tables(layout, clips):
    from keras_videorel.data import inspection
    from keras_videorel.data.manifest import SPLITS

    splits, official = inspection.count(layout, clips)
    print(f"{layout.folder}: {len(layout.labels):,} labels, {len(clips):,} clips")
    _print_pictures(layout, clips)
    _print_range("frames of a clip", "{:,.0f}", [clip.frames for clip in clips])
    durations = [clip.seconds for clip in clips if clip.seconds is not None]
    _print_range("duration of a clip", "{:,.1f} s", durations)

    rows = [
        _sums(name, c["shards"], [x for x in clips if x.split == name])
        for name, c in splits.items()
    ]
    if len(rows) > 1:
        rows.append(_sums("all", sum(c["shards"] for c in splits.values()), clips))
    _print_rows(
        ("split", "shards", "clips", "frames", "duration", "MB", "MB/shard", "KB/clip", "KB/frame"),
        rows,
    )
    if official:
        rows = [
            (number, *(f"{sides.get(side, 0):,}" for side in SPLITS))
            for number, sides in official.items()
        ]
        _print_rows(("official split", *SPLITS), rows)

    labels = layout.labels if FLAGS.all else layout.labels[:LABELS_SHOWN]
    rows = [
        (label, *(f"{c['clips_per_label'][label]:,}" for c in splits.values())) for label in labels
    ]
    _print_rows(("clips of", *splits), rows)
    if len(labels) < len(layout.labels):
        print(f"... and {len(layout.labels) - len(labels):,} more labels (--all prints them)")
    for split, counts in splits.items():
        numbers = counts["clips_per_label"].values()
        least, most = min(numbers), max(numbers)
        none = sum(number == 0 for number in numbers)
        print(
            f"{split}: {least:,}{f' to {most:,}' if most > least else ''} clips per label"
            + (f", none of {none:,} labels" if none else "")
        )


def _print_pictures(layout, clips):
    sizes = collections.Counter(clip.size for clip in clips if clip.size).most_common()
    shown = [f"{h}x{w}" + (f" ({n:,} clips)" if len(sizes) > 1 else "") for (h, w), n in sizes[:5]]
    if len(sizes) > 5:
        shown.append(f"{len(sizes) - 5:,} more sizes")
    print(f"frames of {', '.join(shown) or 'no known size'}")
    with_flow = sum(clip.flow for clip in clips)
    some = f" in {with_flow:,} clips" if with_flow < len(clips) else ""
    method = layout.manifest.get("options", {}).get("flow", "unknown")
    print(f"optical flow{some}, method: {method}" if with_flow else "no optical flow")


def _print_range(name, form, values):
    import numpy as np

    if values:
        low, median, high = map(form.format, np.quantile(values, (0, 0.5, 1)))
        print(f"{name}: {low} to {high}, median {median}")


def _sums(name, shards, clips):
    size, frames = sum(clip.bytes for clip in clips), sum(clip.frames for clip in clips)
    seconds = round(sum(clip.seconds or 0 for clip in clips))
    means = ((shards, 1e6), (len(clips), 1e3), (frames, 1e3))
    return (
        name,
        f"{shards:,}",
        f"{len(clips):,}",
        f"{frames:,}",
        str(datetime.timedelta(seconds=seconds)),
        f"{size / 1e6:,.1f}",
        *(f"{size / count / unit:,.1f}" if count else "-" for count, unit in means),
    )


def _print_rows(heads, rows):
    """A table under an empty line: names to the left, the rest to the right."""
    rows = [heads, *((_shortened(name), *values) for name, *values in rows)]
    widths = [max(map(_columns, cells)) for cells in zip(*rows, strict=True)]
    print()
    for name, *values in rows:
        cells = [f"{value:>{width}}" for value, width in zip(values, widths[1:], strict=True)]
        print("  ".join([name + " " * (widths[0] - _columns(name)), *cells]))


def _shortened(name):
    name = "".join(c if c.isprintable() else " " for c in name)
    return name if len(name) <= 40 else f"{name[:39]}…"


def _columns(text):
    """Columns of a terminal that a text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _print_problems(problems, clips):
    print()
    if not problems:
        frames = sum(clip.frames for clip in clips)
        decoded = {"all": f"all {frames:,} frames", "first": "the first frame of each"}
        what = decoded[FLAGS.frames] if FLAGS.verify else "no frame"
        print(f"no problems: {len(clips):,} records read, {what} decoded")
        return
    print(f"{len(problems):,} problems:")
    for problem in problems[:PROBLEMS_SHOWN]:
        place = problem.file
        if problem.record is not None:
            place += f", record {problem.record} at byte {problem.offset:,}"
        path = f" ({problem.path})" if problem.path else ""
        print(f"  {place}{path}: {problem.problem}")
    if len(problems) > PROBLEMS_SHOWN:
        print(f"  ... and {len(problems) - PROBLEMS_SHOWN:,} more", end="")
        print(f", all in {FLAGS.report}" if FLAGS.report else " (--report lists them)")


def _write_report(problems):
    from keras_videorel import files
    from keras_videorel.data.inspection import Problem

    with (
        files.atomic_write(FLAGS.report) as temporary,
        files.opened(temporary, "w", newline="") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows([Problem._fields, *problems])


def _draw_sheet(layout, clips, problems):
    from keras_videorel.data import contact_sheet

    broken = {(problem.file, problem.record) for problem in problems}
    whole = [clip for clip in clips if (clip.file, clip.record) not in broken]
    contact_sheet.save_sheet(layout, whole, FLAGS.sheet, FLAGS.clips, FLAGS.seed)
    print(f"{min(FLAGS.clips, len(whole))} clips on {FLAGS.sheet}")
