"""The experiments of docs/results.md: `make study`.

    python tools/study.py --hand_gestures DIR --output runs/study

Trains each network on each data set with several seeds, by the commands that a user would type,
and prints the tables of docs/results.md: mean and standard deviation over the seeds. Finished runs
are not repeated.
"""

import concurrent.futures
import json
import os
import subprocess
import sys
import time

import numpy as np
from absl import app, flags

flags.DEFINE_string("output", "runs/study", "Folder for everything.")
flags.DEFINE_string("hand_gestures", None, "Folder of videos.csv; left out if not given.")
flags.DEFINE_list("seeds", "0,1,2", "Seeds.")
flags.DEFINE_list("models", "c2d,c3d,artnet_s,artnet_d", "Networks on the hand gestures.")
flags.DEFINE_list(
    "embedded_models",
    "artnet_s,c2d,local,two_branch",
    "Networks on the embedded data set; local, nonlocal and two_branch begin with artnet_s.",
)
flags.DEFINE_integer("parallel", 2, "Runs at a time, which share the cores.")
flags.DEFINE_list("data", "hand_gestures,frame,embedded", "Experiments.")
FLAGS = flags.FLAGS

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def videorel(*words, **environment):
    """Run a command of the package, showing it first."""
    print(f"\n$ videorel {' '.join(words)}", flush=True)
    command = [sys.executable, "-m", "keras_videorel", *words]
    subprocess.run(command, check=True, env={**os.environ, **environment})


def shards_of(data):
    """Make the shards of a data set; return their folder."""
    shards = f"{FLAGS.output}/shards/{data}"
    if data == "hand_gestures":
        source = FLAGS.hand_gestures
        videorel(
            "make-tfrecords", "--dataset", "csv", "--videos", f"{source}/videos",
            "--annotations", f"{source}/videos.csv", "--output", shards, "--resize", "56x56",
            "--jpeg_quality", "95",
        )  # fmt: skip
    else:
        videos = f"{FLAGS.output}/videos/{data}"
        videorel("render-videos", "--output", videos, "--clips_per_class", "48")
        videorel(
            "make-tfrecords", "--dataset", "folder", "--videos", videos, "--output", shards,
            "--resize", "56x56", "--jpeg_quality", "95",
        )  # fmt: skip
    return shards


def run(data, model, seed, shards, *options):
    """Train and evaluate one network; return its results, and the seconds of training."""
    workdir = f"{FLAGS.output}/{data}/{model}-{seed}"
    config = "hand_gestures" if data == "hand_gestures" else "demo"
    results, scores = f"{workdir}/results.json", f"{workdir}/scores.npz"
    if model in ("local", "nonlocal", "two_branch"):
        source = f"{FLAGS.output}/{data}/artnet_s-{seed}"
        options = (*options, f"--config.train.initialize_from={source}")
    if not os.path.exists(scores):
        # Small networks make better use of two cores as two runs than as one.
        threads = str(max(1, os.cpu_count() // FLAGS.parallel))
        share = {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
        start = time.monotonic()
        videorel(
            "train", "--config", f"{HERE}/configs/{config}.py:model={model}", "--workdir", workdir,
            f"--config.data.path={shards}", f"--config.seed={seed}", *options, **share,
        )  # fmt: skip
        seconds = time.monotonic() - start
        videorel("evaluate", "--workdir", workdir, "--scores", scores, **share)
        with open(f"{workdir}/seconds.json", "w", encoding="utf-8") as file:
            json.dump(seconds, file)
    with open(results, encoding="utf-8") as file:
        return {**json.load(file), **from_scores(scores)}


def from_scores(path):
    """Mean cross entropy of the averaged logits, and accuracy within each pair of classes."""
    from keras_videorel.data.synthetic import PAIRS
    from keras_videorel.evaluation.metrics import losses, pair_accuracy
    from keras_videorel.evaluation.score_files import read_scores

    scores = read_scores(path)
    classes = scores.classes
    pairs = {
        " / ".join(pair): pair_accuracy(
            scores.logits, scores.labels, [classes.index(name) for name in pair]
        )
        for pair in PAIRS
        if set(pair) <= set(classes)
    }
    return {"loss": float(losses(scores.logits, scores.labels).mean()), "pairs": pairs}


def run_all(data, models, shards, *options):
    """All runs of an experiment; a dict from network to the results of its seeds."""
    with concurrent.futures.ThreadPoolExecutor(FLAGS.parallel) as pool:
        runs = {
            (model, seed): pool.submit(run, data, model, seed, shards, *options)
            for model in models  # one after the other: some begin with what another learned
            for seed in FLAGS.seeds
        }
    return {model: [runs[model, seed].result() for seed in FLAGS.seeds] for model in models}


def mean_std(values, factor=100.0, digits=1):
    mean, deviation = factor * np.mean(values), factor * np.std(values, ddof=1)
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def print_table(title, rows, seeds):
    """Print a table of results in Markdown; `rows` maps a name to a list of results."""
    print(f"\n### {title}\n\nMean ± standard deviation over seeds {', '.join(seeds)}.\n")
    print("| network | top-1 % | top-5 % | mean class % | test loss |")
    print("|---|---|---|---|---|")
    for name, results in rows.items():
        cells = [
            mean_std([r[key] for r in results]) for key in ("top1", "top5", "mean_class_accuracy")
        ]
        print(f"| {name} | {' | '.join(cells)} | {mean_std([r['loss'] for r in results], 1, 2)} |")
    chance = next(iter(rows.values()))[0]["chance"]
    print(f"| chance | {100 * chance:.1f} | {500 * chance:.1f} | {100 * chance:.1f} | |")


def print_pairs(rows):
    names = list(rows)
    print(f"\n| within the pair (chance 50%) | {' | '.join(names)} |")
    print("|---|" + "---|" * len(names))
    for pair in next(iter(rows.values()))[0]["pairs"]:
        cells = [mean_std([r["pairs"][pair] for r in rows[name]]) for name in names]
        print(f"| {pair} | {' | '.join(cells)} |")


def main(_):
    tables = []
    if FLAGS.hand_gestures and "hand_gestures" in FLAGS.data:
        shards = shards_of("hand_gestures")
        rows = run_all("hand_gestures", FLAGS.models, shards)
        tables.append(("Hand gestures", rows))
    if {"frame", "embedded"} & set(FLAGS.data):
        shards = shards_of("embedded")
    if "frame" in FLAGS.data:
        # Random frames in training, ten over the whole clip in testing.
        options = ("--config.data.frames=1", "--config.eval.clips=10")
        rows = {"single frame": run_all("frame", ["c2d"], shards, *options)["c2d"]}
        tables.append(("Embedded data set, one frame at a time", rows))
    if "embedded" in FLAGS.data:
        tables.append(("Embedded data set", run_all("embedded", FLAGS.embedded_models, shards)))
    for title, rows in tables:
        print_table(title, rows, FLAGS.seeds)
        if title != "Hand gestures":
            print_pairs(rows)


if __name__ == "__main__":
    app.run(main)
