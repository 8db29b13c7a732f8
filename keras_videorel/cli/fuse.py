"""Fuse the scores of several models on the same clips, and measure what comes out.

    videorel fuse --scores rgb.npz:0.45 --scores flow.npz:0.55 --report report
    videorel fuse --split 'rgb1.npz:0.45 flow1.npz:0.55' --split 'rgb2.npz:0.45 flow2.npz:0.55'
    videorel fuse --scores rgb.npz --scores flow.npz --search val_rgb.npz --search val_flow.npz
    videorel fuse --scores rgb.npz --scores flow.npz --against 'tsn_rgb.npz tsn_flow.npz'

The files are those of `evaluate --scores`. Scores are summed with the weights before the softmax
(--softmax: after it); without weights, all count the same. Clips are matched by their paths, and
all files must be of the same clips. With --split, once for each of the official splits, every
figure is the mean over the splits.

Figures come with 95% bootstrap intervals over the videos. --against takes another model, or
several to fuse, once for each split, and tests the difference (McNemar). --search takes as many
files as there are models, of other clips: the weights with the highest top-1 there are used.
"""

import os
import shlex

from absl import flags

NEEDS_TENSORFLOW = False

FLAGS = flags.FlagValues()
flags.DEFINE_multi_string(
    "scores", [], "File of scores, with or without :WEIGHT.", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "split", [], "Instead: the files of one split, between spaces.", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "against",
    [],
    "Files of the model to compare with, between spaces; once for each split.",
    flag_values=FLAGS,
)
flags.DEFINE_multi_string(
    "search",
    [],
    "File of scores of validation clips to choose the weights on, one for each model in the same "
    "order.",
    flag_values=FLAGS,
)
flags.DEFINE_boolean("softmax", False, "Sum after the softmax.", flag_values=FLAGS)
flags.DEFINE_string("output", None, "File for the fused scores, of one split.", flag_values=FLAGS)
flags.DEFINE_string("report", None, "Folder for a page with figures.", flag_values=FLAGS)
flags.DEFINE_string(
    "videos", None, "Folder of the videos, for pictures of them on the page.", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "paper",
    [],
    "Published top-1 of a row of the table in percent, ROW:94.4.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("resamples", 10_000, "Bootstrap resamples.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Seed of these.", lower_bound=0, flag_values=FLAGS)


def main(arguments):
    from keras_videorel.evaluation import score_files, significance

    splits, baseline = _parse_models()
    models = len(splits[0][0])
    names = row_names([path for paths, _ in (splits[0], *baseline[:1]) for path in paths])
    names, others = names[:models], names[models:]

    members = _read(splits)
    classes = members[0][0].classes
    if FLAGS.search:
        found = _search(splits, [one for files in members for one in files])
        splits = [(paths, found) for paths, _ in splits]
    fused = _fuse(members, splits)
    rows = {"fused" if models > 1 else names[0]: fused}
    for place, name in enumerate(names):
        rows.setdefault(name, [files[place] for files in members])
    ours, theirs, against, comparison = next(iter(rows)), " + ".join(others), None, None
    if baseline:
        against = _fuse(_read(baseline, classes), baseline)
        rows.setdefault(theirs, against)
        comparison = significance.compare(fused, against, FLAGS.resamples, FLAGS.seed)
    results = [
        significance.measure(name, row, FLAGS.resamples, FLAGS.seed) for name, row in rows.items()
    ]
    published = _published(results)

    _print_table(results, _weights_of(names, splits) if models > 1 else {}, fused, published)
    if comparison:
        _print_comparison(comparison, ours, theirs)
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
            baseline=(theirs, against) if baseline else None,
            comparison=comparison,
            published=published,
            thumbnail=report.video_thumbnails(FLAGS.videos) if FLAGS.videos else None,
        )
        print(f"report  {path}")


def row_names(paths):
    """Short names of files: what is left of their paths without what all have in common."""
    parts = [os.path.splitext(path)[0].split("/") for path in paths]
    if len(parts) == 1:
        return [parts[0][-1]]
    while all(len(part) > 1 for part in parts) and len({part[0] for part in parts}) == 1:
        parts = [part[1:] for part in parts]
    while all(len(part) > 1 for part in parts) and len({part[-1] for part in parts}) == 1:
        parts = [part[:-1] for part in parts]
    return ["/".join(part) for part in parts]


def _parse_models():
    """Paths and weights of the model, and of the one to compare with, for each split."""
    if bool(FLAGS.scores) == bool(FLAGS.split):
        given = "both" if FLAGS.scores else "neither"
        raise ValueError(f"one of `scores` and `split` must name files. Received: {given}")
    splits = [_parse("scores", FLAGS.scores)] if FLAGS.scores else _parse_splits("split")
    if FLAGS.output and len(splits) > 1:
        raise ValueError(
            f"`output` is for one split. Received: {FLAGS.output} with {len(splits)} splits"
        )
    baseline = _parse_splits("against") if FLAGS.against else []
    if baseline and len(baseline) != len(splits):
        raise ValueError(
            f"`against` must be given once for each of the {len(splits)} splits. "
            f"Received: {len(baseline)} times"
        )
    return splits, baseline


def _read(splits, classes=None):
    """The scores of all files of all splits, their classes in the order of the first."""
    from keras_videorel.evaluation import fusion, score_files

    members = [[score_files.read_scores(path) for path in paths] for paths, _ in splits]
    classes = members[0][0].classes if classes is None else classes
    return [[fusion.with_classes(one, classes) for one in files] for files in members]


def _fuse(members, splits):
    from keras_videorel.evaluation import fusion

    return [
        fusion.fuse(files, weights, FLAGS.softmax, paths)
        for files, (paths, weights) in zip(members, splits, strict=True)
    ]


def _parse(flag, words):
    """Paths and weights of words `PATH` or `PATH:WEIGHT`; None for no weights."""
    from keras_videorel.files import exists

    paths, weights = [], []
    for word in words:
        path, _, weight = word.rpartition(":")
        try:
            weight = float(weight) if path and not exists(word) else None
        except ValueError:
            weight = None
        paths.append(word if weight is None else path)
        weights.append(weight)
    given = [weight for weight in weights if weight is not None]
    if given and len(given) < len(weights):
        raise ValueError(
            f"`{flag}` must give all files a weight, or none. Received: {' '.join(words)}"
        )
    return paths, given or None


def _parse_splits(flag):
    splits = []
    for text in FLAGS[flag].value:
        try:
            words = shlex.split(text)
        except ValueError as error:  # a quote that does not end
            raise ValueError(
                f"`{flag}` must be files between spaces. Received: {text!r} ({error})"
            ) from None
        if not words:
            raise ValueError(f"`{flag}` must name files. Received: {text!r}")
        splits.append(_parse(flag, words))
    counts = sorted({len(paths) for paths, _ in splits})
    if len(counts) > 1:
        raise ValueError(
            f"every `{flag}` must name as many files as the others. Received: {counts}"
        )
    return splits


def _search(splits, reported):
    from keras_videorel.evaluation import fusion, score_files

    given = [weights for _, weights in splits if weights is not None]
    if given:
        raise ValueError(f"`search` chooses the weights. Received: weights {given[0]} too")
    if len(FLAGS.search) != len(splits[0][0]):
        raise ValueError(
            f"`search` must be given once for each of the {len(splits[0][0])} models. "
            f"Received: {len(FLAGS.search)} files"
        )
    searched = [score_files.read_scores(path) for path in FLAGS.search]
    fusion.check_apart(searched, reported)
    return fusion.search_weights(searched, FLAGS.softmax, names=FLAGS.search)


def _weights_of(names, splits):
    """Text of each member's weight; of several, where the splits differ."""
    from keras_videorel.evaluation import fusion

    each = [fusion.check_weights(weights, len(names)) for _, weights in splits]
    return {
        name: "/".join(dict.fromkeys(f"{weight:.3g}" for weight in weights))
        for name, weights in zip(names, zip(*each, strict=True), strict=True)
    }


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
    means = f" in {len(fused)} splits; figures are their means" if len(fused) > 1 else ""
    print(f"{videos} videos of {len(fused[0].classes)} classes{means}\n")
    paper = {name: f"{value:.2%}" for name, _, value in published}
    names = {"top5": "top-5", "average": "average", "mean_class_accuracy": "mean class"}
    names = {key: name for key, name in names.items() if key in results[0].mean}
    heads = ["", "weight", "top-1 [95% interval]", *names.values()]
    rows = [(*heads, "paper" if paper else "")]
    for name, mean, intervals, _ in results:
        low, high = (100 * bound for bound in intervals["top1"])
        rows.append(
            (
                name,
                weights.get(name, ""),
                f"{mean['top1']:.2%} [{low:.2f}, {high:.2f}]",
                *(f"{mean[key]:.2%}" for key in names),
                paper.get(name, ""),
            )
        )
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for name, *cells in rows:
        line = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        print("  ".join([f"{name:{widths[0]}}", *line]).rstrip())
    if len(fused) > 1:
        each = ", ".join(f"{found['top1']:.2%}" for found in results[0].splits)
        print(f"\ntop-1 of {results[0].name} in the splits: {each}")


def _print_comparison(comparison, ours, theirs):
    low, high = comparison.intervals["top1"]
    print(
        f"\n{ours} against {theirs}: top-1 {100 * comparison.differences['top1']:+.2f} points "
        f"[{100 * low:+.2f}, {100 * high:+.2f}]\n"
        f"right with {ours} alone: {comparison.gained:,} videos; with {theirs} alone: "
        f"{comparison.lost:,}; McNemar p = {comparison.exact:.3g} (exact), "
        f"{comparison.mid_p:.3g} (mid-p)"
    )
