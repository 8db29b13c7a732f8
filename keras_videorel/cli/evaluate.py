"""Evaluate a trained model on the test views of its videos.

    videorel evaluate --workdir runs/artnet --config.eval.clips=25 --config.eval.crops=10

Scores of a video's views are averaged before the softmax, or after it with
--config.eval.averaged=after. Writes results.json and figures/confusion.png into the run's folder.
"""

from absl import flags

from keras_videorel.cli import run_config

FLAGS = flags.FlagValues()
flags.DEFINE_string("workdir", None, "Folder of a trained run.", flag_values=FLAGS)
flags.DEFINE_string(
    "scores", None, "Optional .npz file for every video's scores.", flag_values=FLAGS
)
flags.DEFINE_string(
    "report", None, "Optional folder for a page to look at, report.html.", flag_values=FLAGS
)
flags.DEFINE_string("split", "test", "Split of the shards to evaluate on.", flag_values=FLAGS)
flags.mark_flag_as_required("workdir", flag_values=FLAGS)


def parse(words):
    return run_config(FLAGS, words)


def main(arguments):
    from keras_videorel import evaluation

    results = evaluation.evaluate(
        FLAGS.config, FLAGS.workdir, FLAGS.scores, FLAGS.split, FLAGS.report
    )
    print(
        f"{results['videos']} videos, {results['clips']} clips x {results['crops']} crops each, "
        f"after {results['epochs']} epochs\n"
        f"top-1                {results['top1']:7.2%}   (chance {results['chance']:.2%})\n"
        f"top-5                {results['top5']:7.2%}\n"
        f"average of the two   {results['average']:7.2%}\n"
        f"mean class accuracy  {results['mean_class_accuracy']:7.2%}\n"
        f"results    {FLAGS.workdir}/results.json\n"
        f"confusion  {FLAGS.workdir}/figures/confusion.png"
        + (f"\nreport     {FLAGS.report}/report.html" if FLAGS.report else "")
    )
