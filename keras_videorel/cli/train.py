"""Train a model from a config; run it again with the same --workdir to go on where it stopped.

    videorel train --config configs/demo.py:model=artnet_s --workdir runs/artnet \\
        --config.train.epochs=20

Any key of the config is a flag: `--config.KEY=VALUE`, `--config.GROUP.KEY=VALUE`.
"""

from absl import flags
from ml_collections import config_flags

FLAGS = flags.FlagValues()
config_flags.DEFINE_config_file(
    "config", None, "Config file, FILE.py or FILE.py:key=value,...", flag_values=FLAGS
)
flags.DEFINE_string("workdir", None, "Folder for checkpoints, logs and results.", flag_values=FLAGS)
flags.mark_flags_as_required(["config", "workdir"], flag_values=FLAGS)


def main(arguments):
    from keras_videorel import distribution, training, workdir
    from keras_videorel.models.summary import multiply_adds, trainable_parameters

    config = FLAGS.config
    model = training.train(config, FLAGS.workdir)
    if distribution.read_tf_config()[1]:
        return  # the chief tells
    madds = multiply_adds(model)
    print(
        f"{model.name}: {trainable_parameters(model):,} trainable parameters"
        f"{'' if madds is None else f', {madds / 1e9:.2f} G multiply-adds a clip'}\n"
        f"checkpoint  {workdir.checkpoints(FLAGS.workdir)[0].path}\n"
        f"curves      {FLAGS.workdir}/figures/curves.png\n"
        f"logs        {FLAGS.workdir}/logs (train.csv, TensorBoard)"
    )
