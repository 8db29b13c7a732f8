"""Fuse the scores of several models on the same clips, and measure what comes out.

    videorel fuse --scores rgb.npz:0.45 --scores flow.npz:0.55 --report report
    videorel fuse --fold 'rgb1.npz:0.45 flow1.npz:0.55' --fold 'rgb2.npz:0.45 flow2.npz:0.55'
    videorel fuse --scores rgb.npz --scores flow.npz --search val_rgb.npz --search val_flow.npz
    videorel fuse --scores rgb.npz --scores flow.npz --against 'tsn_rgb.npz tsn_flow.npz'

The files are those of `evaluate --scores`. Scores are summed with the weights before the softmax
(--softmax: after it); without weights, all count the same. Clips are matched by their paths, and
all files must be of the same clips. With --fold, once for each of the official splits, every
figure is the mean over these folds.

Figures come with 95% bootstrap intervals over the videos. --against takes another model, or
several to fuse, once for each fold, and tests the difference (McNemar). --search takes as many
files as there are models, of other clips: the weights with the highest top-1 there are used.
"""

import os
import shlex

from keras_videorel.cli import Flags
from keras_videorel.evaluation import fusion, scores, significance
from keras_videorel.files import exists

NEEDS_TENSORFLOW = False

FLAGS = Flags()
FLAGS.strings("scores", [], "File of scores, with or without :WEIGHT.")
FLAGS.strings("fold", [], "Instead: the files of one official split, between spaces.")
FLAGS.strings(
    "against", [], "Files of the model to compare with, between spaces; once for each fold."
)
FLAGS.strings(
    "search",
    [],
    "File of scores of validation clips to choose the weights on, one for each model in the same "
    "order.",
)
FLAGS.boolean("softmax", False, "Sum after the softmax.")
FLAGS.string("output", None, "File for the fused scores, of one fold.")
FLAGS.string("report", None, "Folder for a page with figures.")
FLAGS.string("videos", None, "Folder of the videos, for pictures of them on the page.")
FLAGS.strings("paper", [], "Published top-1 of a row of the table in percent, ROW:94.4.")
FLAGS.integer("resamples", 10_000, "Bootstrap resamples.", lower_bound=1)
FLAGS.integer("seed", 0, "Seed of these.", lower_bound=0)


def main(arguments):
    splits, baseline_splits = _parse_models()
    count = len(splits[0][0])
    names = row_names([path for paths, _ in (splits[0], *baseline_splits[:1]) for path in paths])
    names, their_name = names[:count], " + ".join(names[count:])
    our_name = "fused" if count > 1 else names[0]

    members = _read(splits)
    if FLAGS.search:
        found = _search(splits, [one for files in members for one in files])
        splits = [(paths, found) for paths, _ in splits]
    fused = _fuse(members, splits)
    rows = {our_name: fused}
    for name, *files in zip(names, *members, strict=True):
        rows.setdefault(name, files)
    baseline = comparison = None
    sampling = FLAGS.resamples, FLAGS.seed
    if baseline_splits:
        theirs = _fuse(_read(baseline_splits, fused[0].classes), baseline_splits)
        rows.setdefault(their_name, theirs)
        baseline = their_name, theirs
        comparison = significance.compare(fused, theirs, *sampling)
    results = [significance.measure(name, row, *sampling) for name, row in rows.items()]
    published = _published(results)

    weights = {}  # as text: one for all splits, or that of each
    for place, name in enumerate(names if count > 1 else ()):
        each = (f"{one.settings['fused'][place]['weight']:.3g}" for one in fused)
        weights[name] = "/".join(dict.fromkeys(each))
    _print_table(results, weights, fused, published)
    if comparison:
        _print_comparison(comparison, our_name, their_name)
    if FLAGS.output:
        scores.write(FLAGS.output, fused[0])
        print(f"scores  {FLAGS.output}")
    if FLAGS.report:
        from keras_videorel.reporting import report

        path = report.write_report(
            FLAGS.report,
            " + ".join(names),
            fused,
            results=results,
            baseline=baseline,
            comparison=comparison,
            published=published,
            thumbnail=report.video_thumbnails(FLAGS.videos) if FLAGS.videos else None,
        )
        print(f"report  {path}")


def row_names(paths):
    """Short names of files: their paths without the folders and ends that all have in common."""
    parts = [os.path.splitext(path)[0].split("/") for path in paths]
    for end in (0, -1):
        while min(map(len, parts)) > 1 and len({part[end] for part in parts}) == 1:
            for part in parts:
                del part[end]
    return ["/".join(part) for part in parts]


def _parse_models():
    """`(paths, weights)` of each split, of the model and of the one to compare with."""
    if bool(FLAGS.scores) == bool(FLAGS.fold):
        given = "both" if FLAGS.scores else "neither"
        raise ValueError(f"one of `scores` and `fold` must name files. Received: {given}")
    splits = [_parse_files("scores", FLAGS.scores)] if FLAGS.scores else _parse_folds("fold")
    if FLAGS.output and len(splits) > 1:
        raise ValueError(
            f"`output` is for one fold. Received: {FLAGS.output} with {len(splits)} folds"
        )
    baseline = _parse_folds("against")
    if baseline and len(baseline) != len(splits):
        raise ValueError(
            f"`against` must be given once for each of the {len(splits)} folds. "
            f"Received: {len(baseline)} times"
        )
    return splits, baseline


def _parse_folds(flag):
    splits = []
    for text in FLAGS[flag].value:
        try:
            words = shlex.split(text)
        except ValueError as error:  # a quote that does not end
            raise ValueError(f"`{flag}`: {error}. Received: {text!r}") from None
        if not words:
            raise ValueError(f"`{flag}` must name files. Received: {text!r}")
        splits.append(_parse_files(flag, words))
    counts = sorted({len(paths) for paths, _ in splits})
    if len(counts) > 1:
        raise ValueError(
            f"every `{flag}` must name as many files as the others. Received: {counts}"
        )
    return splits


def _parse_files(flag, words):
    """Paths and weights of words `PATH` or `PATH:WEIGHT`; None for no weights."""
    paths, weights = [], []
    for word in words:
        path, _, weight = word.rpartition(":")
        try:
            weights.append(float(weight) if path and not exists(word) else None)
        except ValueError:
            weights.append(None)
        paths.append(word if weights[-1] is None else path)
    if len({weight is None for weight in weights}) > 1:
        raise ValueError(
            f"`{flag}` must give all files a weight, or none. Received: {' '.join(words)}"
        )
    return paths, None if None in weights else weights


def _read(splits, classes=None):
    """The scores of all files of all splits, their classes in the order of the first."""
    members = [[scores.read(path) for path in paths] for paths, _ in splits]
    classes = members[0][0].classes if classes is None else classes
    return [[fusion.with_classes(one, classes) for one in files] for files in members]


def _fuse(members, splits):
    return [
        fusion.fuse(files, weights, FLAGS.softmax, paths)
        for files, (paths, weights) in zip(members, splits, strict=True)
    ]


def _search(splits, reported):
    given = [weights for _, weights in splits if weights is not None]
    if given:
        raise ValueError(f"`search` chooses the weights. Received: weights {given[0]} too")
    if len(FLAGS.search) != len(splits[0][0]):
        raise ValueError(
            f"`search` must be given once for each of the {len(splits[0][0])} models. "
            f"Received: {len(FLAGS.search)} files"
        )
    searched = [scores.read(path) for path in FLAGS.search]
    fusion.check_apart(searched, reported)
    return fusion.search_weights(searched, FLAGS.softmax, names=FLAGS.search)


def _published(results):
    """Rows `(name, ours, paper)` of --paper."""
    means = {result.name: result.mean["top1"] for result in results}
    rows = []
    for word in FLAGS.paper:
        name, _, percent = word.rpartition(":")
        try:
            value = float(percent)
        except ValueError:
            value = -1.0
        if name not in means or not 0 <= value <= 100:
            raise ValueError(
                f"`paper` must be ROW:PERCENT, the row one of {', '.join(means)}. "
                f"Received: {word!r}"
            )
        rows.append((name, means[name], value / 100))
    return rows


def _print_table(results, weights, fused, published):
    videos = " + ".join(f"{len(scores.paths):,}" for scores in fused)
    means = f" in {len(fused)} folds; figures are their means" if len(fused) > 1 else ""
    print(f"{videos} videos of {len(fused[0].classes)} classes{means}\n")
    names = {"top5": "top-5", "average": "average", "mean_class_accuracy": "mean class"}
    names = {key: name for key, name in names.items() if key in results[0].mean}
    paper = {name: f"{value:.2%}" for name, _, value in published}
    rows = [("", "weight", "top-1 [95% interval]", *names.values(), "paper" if paper else "")]
    for name, mean, intervals, _ in results:
        low, high = (100 * bound for bound in intervals["top1"])
        top1 = f"{mean['top1']:.2%} [{low:.2f}, {high:.2f}]"
        others = (f"{mean[key]:.2%}" for key in names)
        rows.append((name, weights.get(name, ""), top1, *others, paper.get(name, "")))
    first, *widths = (max(map(len, cells)) for cells in zip(*rows, strict=True))
    for name, *cells in rows:
        cells = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        print("  ".join([f"{name:{first}}", *cells]).rstrip())
    if len(fused) > 1:
        each = ", ".join(f"{found['top1']:.2%}" for found in results[0].splits)
        print(f"\ntop-1 of {results[0].name} in the folds: {each}")


def _print_comparison(comparison, ours, theirs):
    low, high = comparison.intervals["top1"]
    print(
        f"\n{ours} against {theirs}: top-1 {100 * comparison.differences['top1']:+.2f} points "
        f"[{100 * low:+.2f}, {100 * high:+.2f}]\n"
        f"right with {ours} alone: {comparison.gained:,} videos; with {theirs} alone: "
        f"{comparison.lost:,}; McNemar p = {comparison.exact:.3g} (exact), "
        f"{comparison.mid_p:.3g} (mid-p)"
    )
