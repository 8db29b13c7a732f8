"""Print parameters and multiply-adds of a network, layer by layer, beside the paper's figures.

    videorel summary --model ARTNetResNet18 --variant d
    videorel summary --model RelationalLSTMResNet --classes 101

The multiply-adds come out 3-4% above those printed in ARTNet's Table 1; the differences between
its networks agree. Those of networks of snippets are not counted.
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
    from keras_videorel.models.summary import model_summary

    takes_classes = (
        name
        for name in models.__all__
        if "classes" in inspect.signature(getattr(models, name)).parameters
    )
    check_choice("model", FLAGS.model, tuple(takes_classes))
    constructor = getattr(models, FLAGS.model)
    keys = ("variant", "backbone", "stream", "classes", "width", "input_shape")
    options = {key: FLAGS[key].value for key in keys if FLAGS[key].value is not None}
    known = inspect.signature(constructor).parameters
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"`--{unknown[0]}` is not of {FLAGS.model}")
    if "input_shape" in options:
        try:
            options["input_shape"] = tuple(int(n) for n in options["input_shape"])
        except ValueError:
            options["input_shape"] = (0,)
        if min(options["input_shape"]) < 1:
            raise ValueError(
                "`input_shape` must be positive integers, 16,112,112,3 say. "
                f"Received: {','.join(FLAGS.input_shape)}"
            )
    print(model_summary(constructor(**options, weights=None)))
