"""Fuse the scores of several models on the same clips, and measure the result.

    videorel fuse --scores rgb.npz:0.45 --scores flow.npz:0.55 --report report
    videorel fuse --fold 'rgb1.npz:0.45 flow1.npz:0.55' --fold 'rgb2.npz:0.45 flow2.npz:0.55'
    videorel fuse --scores rgb.npz --scores flow.npz --search val_rgb.npz --search val_flow.npz
    videorel fuse --scores rgb.npz --scores flow.npz --against 'tsn_rgb.npz tsn_flow.npz'

`evaluate --scores` writes the files. Scores are weighted and summed before the softmax, or after it
with --softmax. Without weights, all files count the same. Clips are matched by their paths, and all
files must hold the same clips. Give --fold once for each official split. Every figure is then the
mean over the folds.

Figures have 95% bootstrap intervals over the videos. --against names the files of another model, or
of several models to fuse, once for each fold. The difference is tested (McNemar). --search names
for each model a file of other clips. The weights with the highest top-1 on these clips are used.
"""

import os
import shlex

from keras_videorel.cli import Flags, table
from keras_videorel.evaluation import fusion, score_files, significance
from keras_videorel.files import exists

NEEDS_TENSORFLOW = False

FLAGS = Flags()
FLAGS.strings("scores", [], "File of scores, with or without :WEIGHT.")
FLAGS.strings("fold", [], "Instead: the files of one official split, between spaces.")
FLAGS.strings("against", [], "Files of another model, between spaces; once for each fold.")
FLAGS.strings("search", [], "File of validation clips to choose a model's weight on, in order.")
FLAGS.boolean("softmax", False, "Sum after the softmax.")
FLAGS.string("output", None, "File for the fused scores, of one fold.")
FLAGS.string("report", None, "Folder for a page with figures.")
FLAGS.string("videos", None, "Folder of the videos, for pictures of them on the page.")
FLAGS.strings("paper", [], "Published top-1 of a row of the table in percent, ROW:94.4.")
FLAGS.integer("resamples", 10_000, "Bootstrap resamples.", lower_bound=1)
FLAGS.integer("seed", 0, "Seed of these.", lower_bound=0)


def main(arguments):
    folds, their_folds = _parse_models()
    count = len(folds[0][0])
    names = row_names([path for paths, _ in (folds[0], *their_folds[:1]) for path in paths])
    names, their_name = names[:count], " + ".join(names[count:])
    our_name = "fused" if count > 1 else names[0]

    members = _read(folds)
    if FLAGS.search:
        found = _search(folds, [scores for files in members for scores in files])
        folds = [(paths, found) for paths, _ in folds]
    fused = _fuse(members, folds)
    rows = {our_name: fused}
    for name, *files in zip(names, *members, strict=True):
        rows.setdefault(name, files)
    baseline = None
    sampling = FLAGS.resamples, FLAGS.seed
    if their_folds:
        theirs = _fuse(_read(their_folds, fused[0].classes), their_folds)
        rows.setdefault(their_name, theirs)
        baseline = their_name, theirs, significance.compare(fused, theirs, *sampling)
    results = [significance.measure(name, row, *sampling) for name, row in rows.items()]
    published = _published(results)

    weights = {}  # as text: one weight for all folds, or one for each fold
    for place, name in enumerate(names if count > 1 else ()):
        each = (f"{scores.settings['fused'][place]['weight']:.3g}" for scores in fused)
        weights[name] = "/".join(dict.fromkeys(each))
    _print_table(results, weights, fused, published)
    if baseline:
        _print_comparison(baseline[2], our_name, their_name)
    if FLAGS.output:
        score_files.write_scores(FLAGS.output, fused[0])
        print(f"scores  {FLAGS.output}")
    if FLAGS.report:
        from keras_videorel.reporting import report

        path = report.write_report(
            FLAGS.report,
            " + ".join(names),
            fused,
            results=results,
            baseline=baseline,
            published=published,
            thumbnail=report.video_thumbnails(FLAGS.videos) if FLAGS.videos else None,
        )
        print(f"report  {path}")


def row_names(paths):
    """Paths of files without the folders and ends that all of them share."""
    parts = [os.path.splitext(path)[0].split("/") for path in paths]
    for end in (0, -1):
        while min(map(len, parts)) > 1 and len({part[end] for part in parts}) == 1:
            for part in parts:
                del part[end]
    return ["/".join(part) for part in parts]


def _parse_models():
    """`(paths, weights)` of each fold: a list for the model, a list for `--against`."""
    if bool(FLAGS.scores) == bool(FLAGS.fold):
        given = "both" if FLAGS.scores else "neither"
        raise ValueError(f"one of `scores` and `fold` must name files. Received: {given}")
    folds = [_parse_files("scores", FLAGS.scores)] if FLAGS.scores else _parse_folds("fold")
    if FLAGS.output and len(folds) > 1:
        raise ValueError(
            f"`output` is for one fold. Received: {FLAGS.output} with {len(folds)} folds"
        )
    theirs = _parse_folds("against")
    if theirs and len(theirs) != len(folds):
        raise ValueError(
            f"`against` must be given once for each of the {len(folds)} folds. "
            f"Received: {len(theirs)} times"
        )
    return folds, theirs


def _parse_folds(flag):
    folds = []
    for text in FLAGS[flag].value:
        try:
            words = shlex.split(text)
        except ValueError as error:  # a quote that does not end
            raise ValueError(f"`{flag}`: {error}. Received: {text!r}") from None
        if not words:
            raise ValueError(f"`{flag}` must name files. Received: {text!r}")
        folds.append(_parse_files(flag, words))
    counts = sorted({len(paths) for paths, _ in folds})
    if len(counts) > 1:
        raise ValueError(
            f"every `{flag}` must name as many files as the others. Received: {counts}"
        )
    return folds


def _parse_files(flag, words):
    """`(paths, weights)` of words `PATH` or `PATH:WEIGHT`. Without weights, `weights` is None."""
    pairs = [(word, None) if exists(word) else _parse_weighted(word) for word in words]
    paths, weights = map(list, zip(*pairs, strict=True))
    if 0 < weights.count(None) < len(weights):
        raise ValueError(
            f"`{flag}` must give all files a weight, or none. Received: {' '.join(words)}"
        )
    return paths, None if None in weights else weights


def _parse_weighted(word):
    path, _, weight = word.rpartition(":")
    try:
        return (path, float(weight)) if path else (word, None)
    except ValueError:
        return word, None


def _read(folds, classes=None):
    """The scores of all files of all folds, with classes in the order of the first file."""
    members = [[score_files.read_scores(path) for path in paths] for paths, _ in folds]
    classes = members[0][0].classes if classes is None else classes
    return [[fusion.with_classes(scores, classes) for scores in files] for files in members]


def _fuse(members, folds):
    return [
        fusion.fuse(files, weights, FLAGS.softmax, paths)
        for files, (paths, weights) in zip(members, folds, strict=True)
    ]


def _search(folds, reported):
    given = next((weights for _, weights in folds if weights is not None), None)
    if given:
        raise ValueError(f"`search` chooses the weights. Received: weights {given} too")
    if len(FLAGS.search) != len(folds[0][0]):
        raise ValueError(
            f"`search` must be given once for each of the {len(folds[0][0])} models. "
            f"Received: {len(FLAGS.search)} files"
        )
    searched = [score_files.read_scores(path) for path in FLAGS.search]
    fusion.check_apart(searched, reported)
    return fusion.search_weights(searched, FLAGS.softmax, names=FLAGS.search)


def _published(results):
    """Rows `(name, ours, paper)` of --paper."""
    means = {result.name: result.mean["top1"] for result in results}
    rows = []
    for word in FLAGS.paper:
        name, percent = _parse_weighted(word)
        if name not in means or percent is None or not 0 <= percent <= 100:
            raise ValueError(
                f"`paper` must be ROW:PERCENT, the row one of {', '.join(means)}. "
                f"Received: {word!r}"
            )
        rows.append((name, means[name], percent / 100))
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
    print(table(rows))
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
