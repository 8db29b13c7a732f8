"""The main job, whole, on the embedded data set: `make demo`.

Renders videos, packs them into shards, trains a network of 2D convolutions and an ARTNet on
them, evaluates both, exports the ARTNet and labels a video. Each step is the command that a
user would type; it is printed before it runs. A second run goes on where the first stopped.
"""

import json
import os
import subprocess
import sys
import time

from absl import app, flags

flags.DEFINE_string("output", "demo", "Folder for everything.")
flags.DEFINE_integer("clips_per_class", 60, "Training clips of each of the 16 classes.")
flags.DEFINE_integer("epochs", None, "Epochs of each training; the config's by default.")
FLAGS = flags.FLAGS

MODELS = ("c2d", "artnet_s")


def videorel(*words):
    """Run a command of the package, showing it first."""
    print(f"\n$ videorel {' '.join(words)}", flush=True)
    start = time.monotonic()
    status = subprocess.run([sys.executable, "-m", "keras_videorel", *words]).returncode
    if status:
        sys.exit(status)
    print(f"[{time.monotonic() - start:.0f} s]", flush=True)


def main(_):
    start = time.monotonic()
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    config = os.path.join(here, "configs", "demo.py")
    out = FLAGS.output
    videos, shards, exported = f"{out}/videos", f"{out}/shards", f"{out}/saved_models/artnet_s"

    videorel("render-videos", "--output", videos, "--clips_per_class", str(FLAGS.clips_per_class))
    videorel(
        "make-tfrecords", "--dataset", "folder", "--videos", videos, "--output", shards,
        "--resize", "56x56",
    )  # fmt: skip
    extra = [] if FLAGS.epochs is None else [f"--config.train.epochs={FLAGS.epochs}"]
    for model in MODELS:
        workdir = f"{out}/runs/{model}"
        videorel(
            "train", "--config", f"{config}:model={model}", "--workdir", workdir,
            f"--config.data.path={shards}", *extra,
        )  # fmt: skip
        videorel("evaluate", "--workdir", workdir)
    videorel("export", "--workdir", f"{out}/runs/artnet_s", "--output", exported)
    folder = f"{videos}/test/circle_cw"
    videorel("predict", "--model", exported, os.path.join(folder, sorted(os.listdir(folder))[0]))

    print(f"\n{'':14}top-1    top-5    (test clips; textures and speeds never seen in training)")
    for model in MODELS:
        with open(f"{out}/runs/{model}/results.json", encoding="utf-8") as file:
            results = json.load(file)
        print(f"{model:14}{results['top1']:6.1%}   {results['top5']:6.1%}")
    print(f"{'chance':14}{results['chance']:6.1%}   {5 * results['chance']:6.1%}")
    print(
        f"\nvideos          {videos}\n"
        f"shards          {shards}\n"
        f"checkpoints     {out}/runs/artnet_s/checkpoints\n"
        f"logs            {out}/runs/artnet_s/logs (train.csv; TensorBoard)\n"
        f"pictures        {out}/runs/artnet_s/figures/curves.png, confusion.png\n"
        f"exported model  {exported}\n"
        f"\nLabel a video of your own:\n"
        f"  {os.path.relpath(sys.executable)} tools/predict.py --model {exported} VIDEO\n"
        f"\ndone in {(time.monotonic() - start) / 60:.1f} minutes"
    )


if __name__ == "__main__":
    app.run(main)
