"""Print parameters and multiply-adds of a network, layer by layer, beside the paper's figures.

    videorel summary --model ARTNetResNet18 --variant d

The multiply-adds come out 3-4% above those printed in the paper's Table 1; the differences
between its networks agree.
"""

from absl import flags

from keras_videorel import models
from keras_videorel.models.summary import model_summary

FLAGS = flags.FlagValues()
flags.DEFINE_enum("model", "ARTNetResNet18", models.__all__, "Network.", flag_values=FLAGS)
flags.DEFINE_enum("variant", "d", ["s", "d"], "Variant, of those that have it.", flag_values=FLAGS)
flags.DEFINE_integer("classes", 400, "Number of classes.", flag_values=FLAGS)
flags.DEFINE_integer("width", 64, "Channels of conv1.", flag_values=FLAGS)
flags.DEFINE_list(
    "input_shape", "16,112,112,3", "Time, height, width and channels.", flag_values=FLAGS
)


def main(arguments):
    options = (
        {"variant": FLAGS.variant} if FLAGS.model in ("ARTNetResNet18", "RelationResNet18") else {}
    )
    model = getattr(models, FLAGS.model)(
        input_shape=tuple(int(n) for n in FLAGS.input_shape),
        classes=FLAGS.classes,
        width=FLAGS.width,
        **options,
    )
    print(model_summary(model))
