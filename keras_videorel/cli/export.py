"""Export a trained model as a SavedModel that takes raw uint8 frames and carries its labels.

A model of optical flow takes fields in 8 bits in their place; `predict` makes them itself.

videorel export --workdir runs/artnet --output saved_models/artnet
"""

from absl import flags

from keras_videorel.cli import run_config

FLAGS = flags.FlagValues()
flags.DEFINE_string("workdir", None, "Folder of a trained run.", flag_values=FLAGS)
flags.DEFINE_string("output", None, "Folder to write, saved_models/NAME.", flag_values=FLAGS)
flags.DEFINE_list("formats", "saved_model", "What to write: saved_model.", flag_values=FLAGS)
flags.DEFINE_integer(
    "clips",
    10,
    "Clips, or groups of snippets, averaged per video.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.mark_flags_as_required(["workdir", "output"], flag_values=FLAGS)


def parse(words):
    return run_config(FLAGS, words)


def main(arguments):
    from keras_videorel import evaluation, export, workdir

    if list(FLAGS.formats) != ["saved_model"]:
        raise ValueError(f"`formats` must be saved_model. Received: {','.join(FLAGS.formats)}")
    config = FLAGS.config
    model, epochs = evaluation.load_model(FLAGS.workdir, config)
    export.export_saved_model(
        model,
        FLAGS.output,
        workdir.read_labels(FLAGS.workdir),
        from_logits=True,
        stream=config.data.stream,
        frame_size=workdir.read_frame_size(FLAGS.workdir),
        clips=FLAGS.clips,
        segments=config.data.segments,
        frame_stride=config.data.frame_stride,
        mean=config.data.mean,
        std=config.data.std,
    )
    print(
        f"{model.name} after {epochs} epochs as a SavedModel in {FLAGS.output}\n"
        f"label a video:  videorel predict --model {FLAGS.output} VIDEO"
    )
