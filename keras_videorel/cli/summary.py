"""Print parameters and multiply-adds of a network, layer by layer, beside the paper's figures.

    videorel summary --model ARTNetResNet18 --variant d
    videorel summary --model RelationalLSTMResNet --classes 101

The multiply-adds are 3-4% above the numbers in ARTNet's Table 1, and the differences between its
networks agree. They are not counted for networks of snippets.
"""

import inspect

from keras_videorel.cli import Flags

FLAGS = Flags()
FLAGS.string(
    "model",
    "ARTNetResNet18",
    "Network: a constructor of keras_videorel.models, such as RelationalLSTMResNet.",
)
FLAGS.enum("variant", None, ["s", "d"], "Variant, of those that have it.")
FLAGS.string("backbone", None, "Backbone, of those that have it.")
FLAGS.enum("stream", None, ["rgb", "flow"], "Stream, of those that have it.")
FLAGS.integer("classes", None, "Number of classes.", lower_bound=1)
FLAGS.integer("width", None, "Channels of an ARTNet's conv1.", lower_bound=1)
FLAGS.list("input_shape", None, "[Time,] height, width and channels, 16,112,112,3.")


def main(arguments):
    from keras_videorel import models
    from keras_videorel.checks import check_choice
    from keras_videorel.models.complexity import model_summary

    known = {name: inspect.signature(getattr(models, name)).parameters for name in models.__all__}
    networks = [name for name in known if "classes" in known[name]]
    options = {name: v for name, v in FLAGS.flag_values_dict().items() if v is not None}
    name = check_choice("model", options.pop("model"), networks)
    for option in options:
        if option not in known[name]:
            raise ValueError(f"`--{option}` is not of {name}")
    if "input_shape" in options:
        if not all(n.isdecimal() and int(n) for n in FLAGS.input_shape):
            raise ValueError(
                "`input_shape` must be positive integers, 16,112,112,3 say. "
                f"Received: {','.join(FLAGS.input_shape)}"
            )
        options["input_shape"] = tuple(map(int, FLAGS.input_shape))
    print(model_summary(getattr(models, name)(**options, weights=None)))
