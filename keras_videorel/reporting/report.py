"""A report of results: a self-contained HTML page, with its charts as PNG files beside it."""

import contextlib
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
from keras_videorel.files import atomic_write, opened
from keras_videorel.reporting import charts, html
from keras_videorel.reporting.html import breakable, element, join

HARDEST = 12  # clips with pictures
_ROWS = 2000  # of a table, since browsers are slow to lay out more
_LONG = 60  # classes; a longer table scrolls in a frame
_GAINS = 10  # classes with gains, and with losses, as in Fig. 3 of Relational LSTM
_PACKAGES = ("tensorflow", "keras", "jax", "torch", "numpy", "av", "opencv-contrib-python-headless")


def write_report(
    folder,
    title,
    folds,
    *,
    results=None,
    baseline=None,
    published=(),
    log=None,
    thumbnail=None,
    config=None,
    training_clips=None,
):
    """Write `report.html`, its charts, and `clips.csv` with every clip into a folder.

    Args:
        folder: The folder. It is made if it does not exist, and an older report is replaced.
        title: Title of the page.
        folds: List of `Scores` of the model, one for each fold.
        results: List of `significance.Result`, first of the model and then of other models to show
            beside it. By default the model is measured on `folds`.
        baseline: Optional `(name, folds, comparison)` of another model on the same clips, for the
            classes with the largest gains. `comparison` is a `significance.Comparison`.
        published: Rows `(name, ours, paper)` of fractions or None.
        log: Optional columns of the log of `fit`, see `charts.curves`.
        thumbnail: Optional function from a clip's path to the bytes of a JPEG, or None.
        config: Optional config, as a dict.
        training_clips: Optional dict from names of classes to their clips in training.

    Returns:
        The path of the page.

    Raises:
        ValueError: If the scores do not fit together.
        OSError: If a file cannot be read or written.
    """
    if results is None:
        results = [significance.measure(title, folds)]
    scores = _together(folds)
    clips = list(_ranked(scores))
    lead = f"{len(scores.paths):,} videos of {len(scores.classes):,} classes"
    if len(folds) > 1:
        lead += f" in {len(folds)} folds: results are their means, the rest is of all together"
    names = metrics.names(len(scores.classes))
    sections = [("Results", _results(results, names, scores))]
    if published:
        sections.append(("Beside the paper", _published(published)))
    if baseline is not None:
        name, theirs, comparison = baseline
        content = _comparison(
            folder, comparison, names, scores, results[0].name, _together(theirs), name
        )
        sections.append((f"Compared with {name}", content))
    if log:
        sections.append(("Training", _curves(folder, log)))
    environment = html.table("What this ran on", ["", ""], _environment(), left=(0, 1))
    sections += [
        ("Classes", _classes(folder, scores, training_clips)),
        ("Confusions", _confusions(folder, scores)),
        ("Hardest clips", _hardest(clips[:HARDEST], thumbnail)),
        ("All clips", _clips(folder, clips)),
        ("Scores and config", _origin(folds, config)),
        ("Environment", [environment]),
    ]
    path = os.path.join(folder, "report.html")
    with atomic_write(path) as temporary, opened(temporary, "w") as file:
        file.write(html.document(title, lead, sections))
    return path


def _environment():
    """Pairs of text about versions and the machine."""
    yield "keras_videorel", keras_videorel.__version__
    yield "python", platform.python_version()
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield package, importlib.metadata.version(package)
    yield "system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def video_thumbnails(folder, height=120, count=3):
    """Thumbnails of video files, for `write_report`.

    Args:
        folder: The folder of the clips' relative paths.
        height: Height of a frame in pixels.
        count: Number of frames side by side, at equal distances in time.

    Returns:
        A function from a path to the bytes of a JPEG, or to None if the video does not decode.
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
    """The bytes of a JPEG, `height` pixels high, of RGB frames side by side."""
    picture = np.concatenate(list(frames), axis=1)[:, :, ::-1]
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def _together(folds):
    """The videos of all folds as one `Scores`."""
    return folds[0]._replace(
        paths=[path for scores in folds for path in scores.paths],
        labels=np.concatenate([scores.labels for scores in folds]),
        logits=np.concatenate([scores.logits for scores in folds]),
    )


def _percent(fraction):
    return "-" if fraction is None or np.isnan(fraction) else f"{100 * fraction:.2f}%"


def _points(difference):
    return f"{100 * difference:+.2f}"


def _results(results, names, scores):
    first, by_chance = results[0], metrics.chance(len(scores.classes))

    def interval(result, key):
        low, high = result.intervals[key]
        return f"{100 * low:.2f} to {100 * high:.2f}"

    def cell(result, key):
        return join([_percent(result.mean[key]), element("small", interval(result, key))])

    remarks = {k: f"{interval(first, k)}; chance {_percent(by_chance[k])}" for k in names}
    majority = _percent(np.bincount(scores.labels).max() / len(scores.labels))
    parts = [
        html.tiles([(name, _percent(first.mean[k]), remarks[k]) for k, name in names.items()]),
        element(
            "p", f"Always naming the most frequent class is right for {majority} of the videos."
        ),
    ]
    heads = ["", *names.values()]
    if len(results) > 1:
        rows = [[result.name, *(cell(result, key) for key in names)] for result in results]
        parts.append(html.table("All models, with 95% bootstrap intervals", heads, rows))
    if len(first.splits) > 1:
        rows = [
            [f"fold {number}", *(_percent(found[key]) for key in names)]
            for number, found in enumerate(first.splits, 1)
        ]
        parts.append(html.table(f"Folds of {first.name}", heads, rows))
    text = (
        "Intervals are 95% percentile intervals of resampled videos: they say how much the results "
        "depend on which videos were tested, not how much on the training's seed."
    )
    return [*parts, element("p", text, class_="soft")]


def _published(rows):
    cells = []
    for name, ours, paper in rows:
        difference = "-" if None in (ours, paper) else _points(ours - paper)
        cells.append([name, _percent(ours), _percent(paper), difference])
    caption = "Top-1 accuracy beside the published one"
    return [html.table(caption, ["", "here", "paper", "difference"], cells)]


def _comparison(folder, comparison, names, ours, own_name, theirs, name):
    rows = [
        [names[key], _points(difference), " to ".join(map(_points, comparison.intervals[key]))]
        for key, difference in comparison.differences.items()
    ]
    caption = f"{own_name} less {name}, in percentage points"
    text = (
        f"Right with {own_name} alone: {comparison.gained:,} videos; with {name} alone: "
        f"{comparison.lost:,}. McNemar's test: p = {comparison.exact:.3g} (exact), "
        f"{comparison.mid_p:.3g} (mid-p)."
    )
    table = html.table(caption, ["", "difference", "95% interval"], rows)
    parts = [table, element("p", text)]
    before = metrics.class_accuracy(theirs.logits, theirs.labels)
    after = metrics.class_accuracy(ours.logits, ours.labels)
    videos = np.bincount(ours.labels, minlength=len(ours.classes))
    gain = np.nan_to_num(after - before)
    order = sorted(range(len(gain)), key=lambda i: (-gain[i], ours.classes[i]))
    gained = [i for i in order if gain[i] > 0][:_GAINS]
    lost = [i for i in reversed(order) if gain[i] < 0][:_GAINS]
    for kind, chosen in (("gains", gained), ("losses", lost)):
        if not chosen:
            continue
        pair = before[chosen], after[chosen]
        classes = [ours.classes[i] for i in chosen]
        figure = charts.class_accuracy(classes, *pair, names=(name, own_name))
        if kind == "gains":
            charts.save(figure, os.path.join(folder, "gains.png"))
        shares = (map("{:.1%}".format, shares) for shares in pair)
        points = map(_points, gain[chosen])
        rows = zip(map(breakable, classes), *shares, points, videos[chosen], strict=True)
        parts += [
            element("h3", f"Classes with the largest {kind}"),
            _chart(figure, f"Top-1 accuracy of the classes with the largest {kind}"),
            html.table("Top-1 accuracy", ["", name, own_name, "difference", "videos"], rows),
        ]
    return parts


def _chart(figure, alt, long=False):
    return html.box(alt, html.image(charts.svg(figure), "svg+xml", alt, class_="chart"), long)


def _curves(folder, columns):
    figure = charts.curves(columns)
    charts.save(figure, os.path.join(folder, "curves.png"))
    ends = []
    for key, (title, factor) in charts.CURVES.items():
        for prefix, name in charts.SERIES.items():
            if points := columns.get(prefix + key):
                ends.append(f"{title}, {name}, ends at {factor * points[-1][1]:.3g}")
    epochs = sorted({epoch for points in columns.values() for epoch, _ in points})
    values = [dict(points) for points in columns.values()]
    rows = [
        [epoch, *(f"{found[epoch]:.4g}" if epoch in found else "" for found in values)]
        for epoch in epochs
    ]
    table = html.table("The log of training", ["epoch", *columns], rows, long=len(rows) > 30)
    chart = _chart(figure, f"Curves over the epochs: {'; '.join(ends)}")
    return [chart, html.details(f"{len(epochs):,} epochs", table)]


def _classes(folder, scores, training_clips):
    shares = metrics.class_accuracy(scores.logits, scores.labels)
    videos = np.bincount(scores.labels, minlength=len(shares))
    tested = np.flatnonzero(videos)
    order = sorted(tested, key=lambda i: (shares[i], scores.classes[i]))
    figure = charts.class_accuracy([scores.classes[i] for i in order], shares[order])
    charts.save(figure, os.path.join(folder, "classes.png"))
    text = "Top-1 accuracy of each class, the lowest first."
    if len(tested) < len(shares):
        without = len(shares) - len(tested)
        text += f" {without} of {len(shares)} classes have no video here."

    found = metrics.precision_recall_f1(scores.logits, scores.labels)
    rows = [
        [breakable(name), f"{videos[i]:,}", *(_percent(values[i]) for values in found)]
        for i, name in enumerate(scores.classes)
    ]
    rows.append(["mean", "", *(_percent(np.nan_to_num(values)[tested].mean()) for values in found)])
    heads = ["class", "videos here", "precision", "recall", "F1"]
    if training_clips is not None:
        heads.insert(1, "clips in training")
        for row, name in zip(rows, scores.classes, strict=False):
            row.insert(1, f"{training_clips.get(name, 0):,}")
        rows[-1].insert(1, "")
    caption = (
        "Precision: of the videos taken for the class, the share that is of it. Recall: of its "
        "videos, the share that is found. F1: their harmonic mean. The means are of the classes "
        "with videos."
    )
    table = html.table(caption, heads, rows, long=len(rows) > _LONG)
    alt = f"Bars of the top-1 accuracy of {len(tested)} classes; the table below has their recall"
    return [element("p", text), _chart(figure, alt, long=len(tested) > _LONG), table]


def _confusions(folder, scores):
    counts = metrics.confusion_matrix(scores.logits, scores.labels)
    figure = charts.confusion(counts, scores.classes)
    charts.save(figure, os.path.join(folder, "confusion.png"))
    totals = counts.sum(axis=1)
    wrong = [(r, c) for r, c in zip(*np.nonzero(counts), strict=True) if r != c]
    wrong.sort(key=lambda pair: (-counts[pair], -counts[pair] / totals[pair[0]], pair))
    rows = [
        [*(breakable(scores.classes[i]) for i in (r, c)), f"{counts[r, c]} of {totals[r]}"]
        for r, c in wrong[:_ROWS]
    ]
    alt = (
        f"Confusion matrix of {len(scores.classes)} classes: {counts.trace():,} of "
        f"{counts.sum():,} videos on the diagonal"
    )
    text = (
        "Rows are the true classes, columns the predicted ones. The stronger the color of a cell, "
        "the larger its share of the row."
    )
    parts = [element("p", text), _chart(figure, alt, long=len(scores.classes) > 30)]
    if rows:
        caption, heads = "The most frequent pairs of classes", ("true", "taken for", "videos")
        parts += [
            element("h3", "Most frequent confusions"),
            html.table(caption, heads, rows, left=(0, 1), long=len(rows) > 15),
        ]
    return parts


def _ranked(scores):
    """Rows of `clips.csv`, the highest loss first."""
    losses = metrics.losses(scores.logits, scores.labels)
    probabilities = np.exp(metrics.log_softmax(scores.logits))
    for row in np.argsort(-losses, kind="stable"):
        pair = scores.logits[row].argmax(), scores.labels[row]
        guess, own = (scores.classes[index] for index in pair)
        yield scores.paths[row], own, guess, *probabilities[row, pair], losses[row]


def _hardest(clips, thumbnail):
    entries = []
    for path, own, guess, probability, _, loss in clips:
        picture = None if thumbnail is None else thumbnail(path)
        entries.append(
            element(
                "li",
                "" if picture is None else html.image(picture, "jpeg", f"Frames of {path}"),
                element("p", element("strong", own)),
                element("p", f"taken for {guess} ({100 * probability:.1f}%); loss {loss:.2f}"),
                element("p", breakable(path), class_="soft"),
            )
        )
    text = "The clips with the highest loss, the cross entropy of their scores."
    return [element("p", text), element("ul", *entries, class_="clips")]


def _clips(folder, clips):
    heads = ["clip", "true class", "taken for", "probability", "of the true class", "loss"]
    with (
        atomic_write(os.path.join(folder, "clips.csv")) as temporary,
        opened(temporary, "w", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(heads)
        for *words, probability, own, loss in clips:
            writer.writerow([*words, f"{probability:.6g}", f"{own:.6g}", f"{loss:.6g}"])
    shown = [
        [*map(breakable, words), _percent(probability), _percent(own), f"{loss:.2f}"]
        for *words, probability, own, loss in clips[:_ROWS]
    ]
    more = f"The first {_ROWS:,} of {len(clips):,}, the" if len(clips) > _ROWS else "The"
    text = f"{more} highest loss first. clips.csv, beside this page, has all of them."
    table = html.table("All clips", heads, shown, left=(0, 1, 2), long=len(shown) > 30)
    return [element("p", text), html.details(f"{len(shown):,} clips", table)]


def _origin(folds, config):
    parts = []
    for number, scores in enumerate(folds, 1):
        settings = dict(scores.settings)
        members = settings.pop("fused", None) or [{"config_hash": scores.config_hash, **settings}]
        heads = list(dict.fromkeys(key for member in members for key in member))
        heads.sort(key=lambda key: key != "name")
        rows = [[_brief(key, member.get(key, "")) for key in heads] for member in members]
        caption = "How the scores were made"
        caption += f", fold {number}" if len(folds) > 1 else ""
        caption += "; summed after the softmax" if settings.get("softmax") else ""
        text = [i for i, key in enumerate(heads) if isinstance(members[0].get(key), str)]
        parts.append(html.table(caption, [h.replace("_", " ") for h in heads], rows, left=text))
    if config is not None:
        text = element("pre", json.dumps(config, indent=2, sort_keys=True, default=str))
        parts.append(html.details("The run's config", html.box("The run's config", text)))
    return parts


def _brief(key, value):
    if key == "config_hash":
        return value[:12] or "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)
