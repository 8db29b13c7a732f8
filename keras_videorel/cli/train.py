"""Train a model from a config. The same command resumes training that was stopped.

    videorel train --config configs/demo.py:model=artnet_s --workdir runs/artnet \\
        --config.train.epochs=20

Any key of the config is a flag: `--config.KEY=VALUE`, `--config.GROUP.KEY=VALUE`.
"""

import shlex

from keras_videorel import tensorflow_import
from keras_videorel.cli import Flags

INTERRUPTED = "interrupted; the same command goes on after the last checkpoint"
TAKES_CONFIG = True
NEEDS_TENSORFLOW = False  # loaded when the flags are known to be good
FLAGS = Flags()
FLAGS.string("config", None, "Config file, FILE.py or FILE.py:key=value,...")
FLAGS.string("workdir", None, "Folder for checkpoints, logs and results.")
FLAGS.boolean(
    "override",
    False,
    "Go on in a folder with other values than it was begun with; history.json tells which.",
)
FLAGS.boolean("print_config", False, "Print all keys and values, and do nothing.")
FLAGS.boolean(
    "dry_run", False, "Tell data, model, memory and time, measured by one step, and write nothing."
)


def more_help():
    from keras_videorel.runs import config_files
    from keras_videorel.runs.config import base

    return f"Keys, their defaults and what they mean:\n\n{config_files.describe(base())}"


def main(arguments):
    for name, example in (("config", "configs/demo.py"), ("workdir", "runs/mine")):
        needed = name == "config" or not (FLAGS.print_config or FLAGS.dry_run)
        if needed and not FLAGS[name].present:
            raise ValueError(f"--{name} is needed: --{name} {example}")
    tensorflow_import.import_tensorflow()
    from keras_videorel import runs
    from keras_videorel.models.complexity import multiply_adds, trainable_parameters
    from keras_videorel.runs import config_files, workdir
    from keras_videorel.training import distribution

    config, folder = FLAGS.config, FLAGS.workdir
    if FLAGS.print_config:
        print(config_files.describe(config))
        return
    if FLAGS.dry_run:
        print(runs.dry_run(config, folder, override=FLAGS.override))
        return
    model = runs.train(config, folder, override=FLAGS.override)
    if distribution.read_tf_config()[1]:
        return  # the chief tells
    madds = multiply_adds(model)
    print(
        f"{model.name}: {trainable_parameters(model):,} trainable parameters"
        f"{'' if madds is None else f', {madds / 1e9:.2f} G multiply-adds a clip'}\n"
        f"{_last_accuracy(folder)}\n"
        f"checkpoint  {workdir.checkpoints(folder)[0].path}\n"
        f"curves      {folder}/figures/curves.png\n"
        f"logs        {folder}/logs (train.csv, TensorBoard)\n"
        f"next        videorel evaluate --workdir {shlex.quote(folder)}"
    )


def _last_accuracy(folder):
    """A line with the accuracy of the last epoch of a run."""
    from keras_videorel.runs import workdir

    columns = workdir.read_log(folder)
    names = {"top1": "of training", "val_top1": "of validation, one view a clip"}
    found = [f"{columns[k][-1][1]:.2%} {name}" for k, name in names.items() if columns.get(k)]
    return f"top-1       {', '.join(found) or 'not known: the log is gone'}"
