"""A run's report: one HTML page that stands alone, and its figures as PNGs beside it."""

import csv
import importlib.metadata
import json
import os
import platform

import cv2
import numpy as np

import keras_videorel
from keras_videorel.data import video
from keras_videorel.evaluation import metrics, significance
from keras_videorel.evaluation.score_files import Scores
from keras_videorel.files import atomic_write, opened
from keras_videorel.reporting import figures, page

_PAIRS = 15  # of confused classes
_CLIPS = 2000  # rows of a table; a browser takes long to lay out more
_GAINS = 10  # classes each way, as in Fig. 3 of Relational LSTM
_PACKAGES = ("tensorflow", "keras", "jax", "torch", "numpy", "av", "opencv-contrib-python-headless")


def write_report(
    folder,
    title,
    splits,
    *,
    results=None,
    baseline=None,
    comparison=None,
    published=(),
    log=None,
    thumbnail=None,
    hardest=12,
    config=None,
    environment=None,
    training_clips=None,
):
    """Write `report.html`, its figures, and `clips.csv` with every clip into a folder.

    Args:
        folder: The folder; made if it is not there. What an earlier report left is replaced.
        title: Title of the page.
        splits: List of `Scores` of the model, one for each split.
        results: List of `significance.Result`: the model's own first, then those of others to
            show beside it. Measured from `splits` by default.
        baseline: Optional `(name, splits)` of another model on the same clips, for the classes
            with the largest gains.
        comparison: The `significance.Comparison` with it; made by default.
        published: Rows `(name, ours, paper)` beside the paper's: fractions, or None where there
            is none.
        log: Optional path of the CSV log of `fit`.
        thumbnail: Optional function from a clip's path to the bytes of a JPEG, or None.
        hardest: Number of clips of highest loss to show.
        config: Optional config, as a dict.
        environment: Dict of what it ran on; `environment_facts()` by default.
        training_clips: Optional dict from names of classes to their clips in training.

    Returns:
        The path of the page.

    Raises:
        ValueError: If the scores do not fit together.
        OSError: If a file cannot be read or written.
    """
    if results is None:
        results = [significance.measure(title, splits)]
    scores = _together(splits)
    lead = f"{len(scores.paths):,} videos of {len(scores.classes):,} classes"
    if len(splits) > 1:
        lead += f" in {len(splits)} splits: results are their means, the rest is of all together"
    names = metrics.names(len(scores.classes))
    sections = [("Results", _results(results, names, scores))]
    if published:
        sections.append(("Beside the paper", _published(published)))
    if baseline is not None:
        name, theirs = baseline
        if comparison is None:
            comparison = significance.compare(splits, theirs)
        content = _comparison(
            folder, comparison, names, scores, name, _together(theirs), results[0].name
        )
        sections.append((f"Compared with {name}", content))
    if log is not None:
        curves = _curves(log)
        if curves:
            figures.save_curves(log, os.path.join(folder, "curves.png"))
            sections.append(("Training", curves))
    sections += [
        ("Classes", _classes(folder, scores, training_clips)),
        ("Confusions", _confusions(folder, scores)),
        ("Hardest clips", _hardest(scores, thumbnail, hardest)),
        ("All clips", _clips(folder, scores)),
        ("Scores and config", _origin(splits, config)),
        ("Environment", _facts(environment_facts() if environment is None else environment)),
    ]
    path = os.path.join(folder, "report.html")
    with atomic_write(path) as temporary, opened(temporary, "w") as file:
        file.write(page.document(title, lead, sections))
    return path


def environment_facts():
    """Versions and machine, as a dict of text."""
    facts = {"keras_videorel": keras_videorel.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    facts["system"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return facts


def video_thumbnails(folder, height=120, count=3):
    """Thumbnails of video files, for `write_report`.

    Args:
        folder: The folder that the clips' paths start from.
        height: Height of a frame in pixels.
        count: Frames side by side, at equal distances in time.

    Returns:
        A function from a path to the bytes of a JPEG, or to None where no such video decodes.
    """

    def draw(path):
        path = os.path.join(folder, path)
        try:
            frames = video.count_frames(path)
            chosen = [int((i + 0.5) * frames / count) for i in range(count)]
            return strip(video.read_frames(path, chosen), height)
        except video.VideoError:
            return None

    return draw


def strip(frames, height=120):
    """A JPEG of frames side by side.

    Args:
        frames: uint8 `(frames, height, width, 3)`, RGB.
        height: Height of the picture in pixels.

    Returns:
        Bytes.
    """
    picture = np.concatenate(list(frames), axis=1)[:, :, ::-1]
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def _together(splits):
    """The videos of all splits as one `Scores`."""
    return Scores(
        [path for scores in splits for path in scores.paths],
        np.concatenate([scores.labels for scores in splits]),
        np.concatenate([scores.logits for scores in splits]),
        splits[0].classes,
        splits[0].config_hash,
        splits[0].settings,
    )


def _percent(fraction):
    return f"{100 * fraction:.2f}%"


def _points(difference):
    return f"{100 * difference:+.2f}"


def _results(results, names, scores):
    first = results[0]
    by_chance = metrics.chance(len(scores.classes))

    def interval(result, key):
        low, high = result.intervals[key]
        return f"{100 * low:.2f} to {100 * high:.2f}"

    def remark(key):
        return f"{interval(first, key)}; chance {_percent(by_chance[key])}"

    most = np.bincount(scores.labels).max() / len(scores.labels)
    parts = [
        page.tiles([(name, _percent(first.mean[key]), remark(key)) for key, name in names.items()]),
        page.element(
            "p",
            f"Always naming the most frequent class would be right for {_percent(most)} of these "
            "videos.",
        ),
    ]
    if len(results) > 1:
        rows = [
            [
                result.name,
                *(
                    page.join(
                        [_percent(result.mean[key]), page.element("small", interval(result, key))]
                    )
                    for key in names
                ),
            ]
            for result in results
        ]
        heads = ["", *names.values()]
        parts.append(page.table("All models, with 95% bootstrap intervals", heads, rows))
    if len(first.splits) > 1:
        rows = [
            [f"split {number}", *(_percent(found[key]) for key in names)]
            for number, found in enumerate(first.splits, 1)
        ]
        parts.append(page.table(f"Splits of {first.name}", ["", *names.values()], rows))
    parts.append(
        page.element(
            "p",
            "Intervals are 95% percentile intervals of resampled videos: they say how much "
            "the figures depend on which videos were tested, not how much on the training's seed.",
            class_="soft",
        )
    )
    return page.join(parts)


def _published(rows):
    def shown(fraction):
        return "-" if fraction is None else _percent(fraction)

    cells = [
        [
            name,
            shown(ours),
            shown(paper),
            "-" if None in (ours, paper) else _points(ours - paper),
        ]
        for name, ours, paper in rows
    ]
    return page.table(
        "Top-1 accuracy beside the published figures", ["", "here", "paper", "difference"], cells
    )


def _comparison(folder, comparison, names, ours, name, theirs, own_name):
    rows = [
        [
            names[key],
            _points(comparison.differences[key]),
            " to ".join(map(_points, comparison.intervals[key])),
        ]
        for key in comparison.differences
    ]
    parts = [
        page.table(
            f"{own_name} less {name}, in percentage points",
            ["", "difference", "95% interval"],
            rows,
        ),
        page.element(
            "p",
            f"Right with {own_name} alone: {comparison.gained:,} videos; with {name} alone: "
            f"{comparison.lost:,}. McNemar's test: p = {comparison.exact:.3g} (exact), "
            f"{comparison.mid_p:.3g} (mid-p).",
        ),
    ]
    before = metrics.class_accuracy(theirs.logits, theirs.labels)
    after = metrics.class_accuracy(ours.logits, ours.labels)
    videos = np.bincount(ours.labels, minlength=len(ours.classes))
    gain = np.nan_to_num(after - before)
    order = sorted(range(len(gain)), key=lambda i: (-gain[i], ours.classes[i]))
    gained = [i for i in order if gain[i] > 0][:_GAINS]
    lost = [i for i in reversed(order) if gain[i] < 0][:_GAINS]
    for heading, chosen in (("gains", gained), ("losses", lost)):
        if not chosen:
            continue
        entries = [
            page.Bar(
                ours.classes[i],
                before[i],
                after[i],
                f"{100 * before[i]:.1f}% → {100 * after[i]:.1f}% ({_points(gain[i])}; "
                f"{videos[i]} videos)",
            )
            for i in chosen
        ]
        parts += [
            page.element("h3", f"The {len(chosen)} classes with the largest {heading}"),
            page.bars(entries, wide=True),
        ]
    if gained:
        figures.save_gains(
            [ours.classes[i] for i in gained],
            before[gained],
            after[gained],
            (name, own_name),
            os.path.join(folder, "gains.png"),
        )
    return page.join(parts)


def _curves(log):
    columns = figures.read_log(log)
    charts = []
    for key, title, form, factor in (
        ("loss", "Loss (cross entropy + L2)", "{:.3g}", 1),
        ("top1", "Top-1 accuracy, %", "{:.3g}", 100),
        ("learning_rate", "Learning rate", "{:.3g}", 1),
    ):
        series = [
            (name, [(epoch, factor * value) for epoch, value in columns[prefix + key]])
            for prefix, name in (("", "training"), ("val_", "test, one view"))
            if columns.get(prefix + key)
        ]
        values = [value for _, points in series for _, value in points]
        if values:
            log_scale = key == "learning_rate" or (key == "loss" and max(values) > 100)
            charts.append(page.chart(title, series, form, log_scale))
    return page.element("div", *charts, class_="charts") if charts else None


def _classes(folder, scores, training_clips):
    shares = metrics.class_accuracy(scores.logits, scores.labels)
    videos = np.bincount(scores.labels, minlength=len(shares))
    tested = [i for i in range(len(shares)) if videos[i]]
    tested.sort(key=lambda i: (shares[i], scores.classes[i]))
    entries = [
        page.Bar(scores.classes[i], 0, shares[i], f"{100 * shares[i]:.1f}% of {videos[i]}")
        for i in tested
    ]
    figures.save_class_accuracy(
        shares[tested], [scores.classes[i] for i in tested], os.path.join(folder, "classes.png")
    )
    without = len(shares) - len(tested)
    text = "Top-1 accuracy of each class, the lowest first."
    if without:
        text += f" {without} of {len(shares)} classes have no video here."
    shown = page.bars(entries)
    return page.join(
        [
            page.element("p", text),
            page.box("Top-1 accuracy of each class", shown, long=True)
            if len(tested) > 120
            else shown,
            _class_table(scores, videos, training_clips),
        ]
    )


def _class_table(scores, videos, training_clips):
    found = metrics.precision_recall_f1(scores.logits, scores.labels)
    rows = [
        [
            page.breakable(name),
            *([] if training_clips is None else [f"{training_clips.get(name, 0):,}"]),
            f"{videos[i]:,}",
            *("-" if np.isnan(values[i]) else _percent(values[i]) for values in found),
        ]
        for i, name in enumerate(scores.classes)
    ]
    with_videos = videos > 0
    means = [np.nan_to_num(values)[with_videos].mean() for values in found]
    rows.append(
        [
            "mean",
            *([] if training_clips is None else [""]),
            "",
            *map(_percent, means),
        ]
    )
    training = [] if training_clips is None else ["clips in training"]
    heads = ["class", *training, "videos here", "precision", "recall", "F1"]
    return page.table(
        "Precision: of the videos taken for the class, the share that is of it. Recall: of its "
        "videos, the share that is found. F1: their harmonic mean. The means are of the classes "
        "with videos.",
        heads,
        rows,
        long=len(rows) > 120,
    )


def _confusions(folder, scores):
    counts = metrics.confusion_matrix(scores.logits, scores.labels)
    figures.save_confusion(counts, scores.classes, os.path.join(folder, "confusion.png"))
    totals = counts.sum(axis=1)
    wrong = [(r, c) for r, c in zip(*np.nonzero(counts), strict=True) if r != c]
    wrong.sort(key=lambda pair: (-counts[pair], -counts[pair] / totals[pair[0]], pair))
    rows = [
        [
            *map(page.breakable, (scores.classes[r], scores.classes[c])),
            f"{counts[r, c]} of {totals[r]}",
        ]
        for r, c in wrong[:_PAIRS]
    ]
    parts = [
        page.element(
            "p",
            "Rows are the true classes, columns the predicted ones; the stronger the colour of a "
            "cell, the larger its share of the row. Point at a cell to see what it is.",
        ),
        page.heat_map(
            counts,
            scores.classes,
            f"Confusion matrix of {len(scores.classes)} classes: {counts.trace():,} of "
            f"{counts.sum():,} videos on the diagonal",
        ),
    ]
    if rows:
        heads = ["true class", "taken for", "videos"]
        parts += [
            page.element("h3", "Most frequent confusions"),
            page.table("Pairs of classes, the most frequent first", heads, rows, left=(0, 1)),
        ]
    return page.join(parts)


def _hardest(scores, thumbnail, count):
    losses = metrics.losses(scores.logits, scores.labels)
    chances = np.exp(metrics.log_softmax(scores.logits))
    entries = []
    for row in np.argsort(-losses, kind="stable")[:count]:
        path, guess = scores.paths[row], scores.logits[row].argmax()
        picture = None if thumbnail is None else thumbnail(path)
        entries.append(
            page.element(
                "li",
                "" if picture is None else page.thumbnail(picture, f"Frames of {path}"),
                page.element("p", page.element("strong", scores.classes[scores.labels[row]])),
                page.element(
                    "p",
                    f"taken for {scores.classes[guess]} ({100 * chances[row, guess]:.1f}%); "
                    f"loss {losses[row]:.2f}",
                ),
                page.element("p", page.breakable(path), class_="soft"),
            )
        )
    return page.join(
        [
            page.element(
                "p",
                "The clips with the highest loss, the cross entropy of their scores.",
            ),
            page.element("ul", *entries, class_="clips"),
        ]
    )


def _clips(folder, scores):
    losses = metrics.losses(scores.logits, scores.labels)
    chances = np.exp(metrics.log_softmax(scores.logits))
    rows = [
        (
            scores.paths[row],
            scores.classes[scores.labels[row]],
            scores.classes[guess := scores.logits[row].argmax()],
            chances[row, guess],
            chances[row, scores.labels[row]],
            losses[row],
        )
        for row in np.argsort(-losses, kind="stable")
    ]
    heads = ["clip", "true class", "taken for", "probability", "of the true class", "loss"]
    with (
        atomic_write(os.path.join(folder, "clips.csv")) as temporary,
        opened(temporary, "w", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(heads)
        for *words, chance, own, loss in rows:
            writer.writerow([*words, f"{chance:.6g}", f"{own:.6g}", f"{loss:.6g}"])
    shown = [
        [*map(page.breakable, words), _percent(chance), _percent(own), f"{loss:.2f}"]
        for *words, chance, own, loss in rows[:_CLIPS]
    ]
    more = f"The first {_CLIPS:,} of {len(rows):,}, the" if len(rows) > _CLIPS else "The"
    return page.join(
        [
            page.element(
                "p",
                f"{more} highest loss first. clips.csv, beside this page, has all of them for a "
                "spreadsheet.",
            ),
            page.element(
                "details",
                page.element("summary", f"{len(shown):,} clips"),
                page.table("All clips", heads, shown, left=(0, 1, 2), long=len(shown) > 30),
            ),
        ]
    )


def _origin(splits, config):
    parts = []
    for number, scores in enumerate(splits, 1):
        settings = dict(scores.settings)
        members = settings.pop("fused", None) or [{"config_hash": scores.config_hash, **settings}]
        heads = list(dict.fromkeys(key for member in members for key in member))
        heads.sort(key=lambda key: key != "name")
        rows = [[_brief(key, member.get(key, "")) for key in heads] for member in members]
        caption = "How the scores were made"
        caption += f", split {number}" if len(splits) > 1 else ""
        caption += "; summed after the softmax" if settings.get("softmax") else ""
        text = [i for i, key in enumerate(heads) if isinstance(members[0].get(key), str)]
        parts.append(page.table(caption, [h.replace("_", " ") for h in heads], rows, left=text))
    if config is not None:
        text = json.dumps(config, indent=2, sort_keys=True, default=str)
        parts.append(
            page.element(
                "details",
                page.element("summary", "The run's config"),
                page.box("The run's config", page.element("pre", text)),
            )
        )
    return page.join(parts)


def _brief(key, value):
    if key == "config_hash":
        return value[:12] or "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _facts(facts):
    return page.table("What this ran on", ["", ""], [[k, v] for k, v in facts.items()], left=(0, 1))
