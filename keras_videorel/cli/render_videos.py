"""Render the embedded data set: H.264 videos of two objects in twenty classes of motion.

    videorel render-videos --output videos

The command writes videos/SPLIT/LABEL/NNNN.mp4 (60 frames at 25 fps) for the splits train and test,
and videos/clips.csv with a row per clip. The same seed gives the same videos. A second run with the
same options renders missing videos.
"""

from keras_videorel.cli import Flags
from keras_videorel.data import rendering

NEEDS_TENSORFLOW = False  # its processes load what they need
FLAGS = Flags()
FLAGS.string("output", None, "Folder to write to; made if need be.", required=True)
FLAGS.integer("clips_per_class", 38, "Training clips per class.")
FLAGS.integer(
    "test_clips_per_class", None, "Test clips per class; by default a third of clips_per_class."
)
FLAGS.integer("seed", 0, "Seed of the data set.")
FLAGS.integer("size", 112, "Height and width in pixels.")
FLAGS.integer("workers", None, "Processes; by default all cores.")


def main(arguments):
    if not FLAGS.output:
        raise ValueError(f"`output` must name a folder. Received: {FLAGS.output!r}")
    table = rendering.write_dataset(
        FLAGS.output,
        clips_per_class=FLAGS.clips_per_class,
        test_clips_per_class=FLAGS.test_clips_per_class,
        seed=FLAGS.seed,
        size=FLAGS.size,
        workers=FLAGS.workers,
    )
    print(f"clips and labels: {table}")
