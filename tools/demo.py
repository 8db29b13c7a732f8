"""The main job, whole, on the embedded data set: `make demo`.

Renders videos and packs them into shards; trains a network of 2D convolutions, an ARTNet, and
the two-branch network of the relational LSTM over that ARTNet's features; evaluates each, with a
page of figures; fuses two; exports the last as a SavedModel and as LiteRT files, which it compares
with the model on test clips; and labels a video. Each step is the command that a user would type;
it is printed before it runs. A second run goes on where the first stopped.
"""

import os
import sys
import time

import numpy as np
from absl import app, flags, logging

from keras_videorel import cli

# A quarter off a training step, on processors where TensorFlow does not use oneDNN by itself.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

flags.DEFINE_string("output", "demo", "Folder for everything.")
flags.DEFINE_integer("clips_per_class", 40, "Training clips of each of the 20 classes.")
flags.DEFINE_integer("epochs", None, "Epochs of each training; the config's by default.")
FLAGS = flags.FLAGS

# Shorter than configs/demo.py says, for ten minutes in all. The last begins with the second.
MODELS = {
    "c2d": ("--config.train.epochs=3", "--config.train.decay_epochs=(2,)"),
    "artnet_s": (),
    "two_branch": (
        "--config.train.epochs=2",
        "--config.train.decay_epochs=()",
        "--config.train.warmup_epochs=0",
        "--config.train.learning_rate=0.002",
        "--config.train.initialize_from={output}/runs/artnet_s",
    ),
}


def videorel(*words):
    """Run a command of the package, showing it first."""
    print(f"\n$ videorel {' '.join(words)}", flush=True)
    start = time.monotonic()
    status = cli.run(words[0], words[1:])  # in one process, which imports TensorFlow once
    if status:
        sys.exit(status)
    print(f"[{time.monotonic() - start:.0f} s]", flush=True)


def print_results(logits, labels, classes):
    """Accuracies of each network on the test clips, and within the pairs that differ in order."""
    from keras_videorel.data.synthetic import ORDER_PAIRS
    from keras_videorel.evaluation.metrics import accuracy, pair_accuracy

    names = [str(name) for name in classes]
    pairs = [[names.index(name) for name in pair] for pair in ORDER_PAIRS]
    print("\nTest clips; their textures and speeds were never seen in training.")
    print(f"{'':22}   top-1    top-5    order of two halves, which of a pair")
    rows = {}
    for name, scores in logits.items():
        found = accuracy(scores, labels)
        order = np.mean([pair_accuracy(scores, labels, pair) for pair in pairs])
        rows[name] = (found["top1"], found["top5"], order)
    rows["chance"] = (1 / len(names), 5 / len(names), 0.5)
    for name, (top1, top5, order) in rows.items():
        print(f"{name:22}  {top1:6.1%}   {top5:6.1%}   {order:6.1%}")


def main(_):
    start = time.monotonic()
    logging.set_verbosity(logging.WARNING)  # as the commands do: app.run shows TensorFlow's notes
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    config = os.path.join(here, "configs", "demo.py")
    out = FLAGS.output
    videos, shards, exported = f"{out}/videos", f"{out}/shards", f"{out}/saved_models/two_branch"

    videorel("render-videos", "--output", videos, "--clips_per_class", str(FLAGS.clips_per_class))
    videorel(
        "make-tfrecords", "--dataset", "folder", "--videos", videos, "--output", shards,
        "--resize", "56x56",
    )  # fmt: skip
    extra = [] if FLAGS.epochs is None else [f"--config.train.epochs={FLAGS.epochs}"]
    for model, options in MODELS.items():
        workdir = f"{out}/runs/{model}"
        options = [option.format(output=out) for option in options]
        videorel(
            "train", "--config", f"{config}:model={model}", "--workdir", workdir,
            f"--config.data.path={shards}", "--config.eval.clips=2", *options, *extra,
        )  # fmt: skip
        report = f"--report={out}/reports/{model}"
        videorel("evaluate", "--workdir", workdir, "--scores", f"{workdir}/scores.npz", report)
    videorel(
        "fuse", "--scores", f"{out}/runs/artnet_s/scores.npz",
        "--scores", f"{out}/runs/two_branch/scores.npz",
        "--against", f"{out}/runs/artnet_s/scores.npz",
        "--videos", videos, "--report", f"{out}/reports/fused",
    )  # fmt: skip
    videorel(
        "export", "--workdir", f"{out}/runs/two_branch", "--output", exported,
        "--formats=saved_model,tflite,tflite_int8",
        "--samples=40",
        "--min_agreement=0",  # of a network of some minutes: the figures are printed
    )  # fmt: skip
    folder = f"{videos}/test/left_then_right"
    videorel("predict", "--model", exported, os.path.join(folder, sorted(os.listdir(folder))[0]))

    scores = {model: np.load(f"{out}/runs/{model}/scores.npz") for model in MODELS}
    logits = {model: scores[model]["logits"] for model in MODELS}
    logits["artnet_s + two_branch"] = logits["artnet_s"] + logits["two_branch"]
    print_results(logits, scores["c2d"]["labels"], scores["c2d"]["classes"])
    print(
        f"\nvideos          {videos}\n"
        f"shards          {shards}\n"
        f"checkpoints     {out}/runs/two_branch/checkpoints\n"
        f"logs            {out}/runs/two_branch/logs (train.csv; TensorBoard)\n"
        f"pictures        {out}/runs/two_branch/figures/curves.png, confusion.png\n"
        f"pages           {out}/reports/*/report.html: curves, confusions, classes, hardest clips\n"
        f"exported model  {exported}\n"
        f"\nLabel a video of your own:\n"
        f"  {os.path.relpath(sys.executable)} tools/predict.py --model {exported} VIDEO\n"
        f"\ndone in {(time.monotonic() - start) / 60:.1f} minutes"
    )


if __name__ == "__main__":
    app.run(main)
