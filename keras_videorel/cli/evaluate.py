"""Evaluate a trained model on the test views of its videos.

    videorel evaluate --workdir runs/artnet --config.eval.clips=25 --config.eval.crops=10

The scores of a video are the average of the logits of its views, or with
--config.eval.average=probabilities of their probabilities. If there is no GPU and the config asks
for more than 10 views, 5 clips x 1 crop are taken, unless a flag sets the clips or the crops. The
command writes results.json and figures/confusion.png into the run's folder.
"""

from keras_videorel.cli import Flags

TAKES_CONFIG = True
FLAGS = Flags()
FLAGS.string("workdir", None, "Folder of a trained run.", required=True)
FLAGS.string("scores", None, "Optional .npz file for every video's scores.")
FLAGS.string("report", None, "Optional folder for a page to look at, report.html.")
FLAGS.string("split", "test", "Split of the shards to evaluate on.")

CPU_VIEWS = (5, 1)  # clips and crops without a GPU; 25 x 10 take minutes a video


def main(arguments):
    from keras_videorel import runs

    _fewer_views(FLAGS.config, FLAGS.config_keys)
    runs.evaluate(FLAGS.config, FLAGS.workdir, FLAGS.scores, FLAGS.split, FLAGS.report, _tell)
    print(
        f"results    {FLAGS.workdir}/results.json\n"
        f"confusion  {FLAGS.workdir}/figures/confusion.png"
        + (f"\nreport     {FLAGS.report}/report.html" if FLAGS.report else "")
    )


def _tell(results):
    print(
        f"{results['videos']} videos, {results['clips']} clips x {results['crops']} crops each, "
        f"after {results['epochs']} epochs\n"
        f"top-1                {results['top1']:7.2%}   (chance {results['chance']:.2%})\n"
        + (
            f"top-5                {results['top5']:7.2%}\n"
            f"average of the two   {results['average']:7.2%}\n"
            if "top5" in results
            else ""
        )
        + f"mean class accuracy  {results['mean_class_accuracy']:7.2%}",
        flush=True,
    )


def _fewer_views(config, named):
    """Without a GPU, take fewer views than the config says, and print a line."""
    import tensorflow as tf

    views = config.eval.clips, config.eval.crops
    fewer = tuple(map(min, views, CPU_VIEWS))
    if (
        {"eval.clips", "eval.crops"} & set(named)
        or views[0] * views[1] <= 10
        or tf.config.list_physical_devices("GPU")
    ):
        return
    config.eval.clips, config.eval.crops = fewer
    print(
        f"no GPU: {fewer[0]} clips x {fewer[1]} crop of each video, not the config's {views[0]} x "
        f"{views[1]}, which take {views[0] * views[1] // (fewer[0] * fewer[1])} times as long: "
        f"--config.eval.clips={views[0]} --config.eval.crops={views[1]}"
    )
