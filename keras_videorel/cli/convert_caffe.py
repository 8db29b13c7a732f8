"""Turn a .caffemodel of ARTNet's authors into a Keras model, without Caffe.

    videorel convert-caffe --caffemodel 112_artnet_resnet_18_kinetics.caffemodel \\
        --model artnet_d --classes 400 --output artnet_d_kinetics.keras

The model takes clips of RGB frames, from which the mean (123, 117, 104) is subtracted, and gives
scores before the softmax. To fine-tune it, use a config whose model is CaffeResNet18 and set
config.train.initialize_from to the .keras file. A .weights.h5 file is for weights="..." of the
constructor. The command prints where each part of the file went. docs/architecture.md tells how the
conversion was verified.
"""

import os

from keras_videorel.cli import Flags
from keras_videorel.data.manifest import write_class_names

FLAGS = Flags()
FLAGS.string("caffemodel", None, "File to convert.", required=True)
FLAGS.enum("model", "artnet_d", ["artnet_d", "artnet_s", "c3d"], "Network of the file.")
FLAGS.integer("classes", 400, "Classes of the file.", lower_bound=1)
FLAGS.integer("width", 64, "Channels of conv1 in the file.")
FLAGS.string("labels", None, "Text file with a class name a line; copied beside the model.")
FLAGS.string("output", None, "File to write, NAME.keras or NAME.weights.h5.", required=True)


def main(arguments):
    from keras_videorel import caffe
    from keras_videorel.files import atomic_write
    from keras_videorel.models.complexity import trainable_parameters

    output = FLAGS.output
    name = output.removesuffix(".keras").removesuffix(".weights.h5")
    if name == output or not os.path.basename(name):
        raise ValueError(f"`output` must be NAME.keras or NAME.weights.h5. Received: {output!r}")
    labels = _read_labels(FLAGS.labels, FLAGS.classes) if FLAGS.labels else None
    conversion = caffe.convert(FLAGS.caffemodel, FLAGS.model, FLAGS.classes, FLAGS.width)
    model = conversion.model
    with atomic_write(output) as temporary:
        (model.save if output.endswith(".keras") else model.save_weights)(temporary)
    print(conversion)
    print(f"{model.name}, {trainable_parameters(model):,} trainable parameters, in {output}")
    if labels:
        write_class_names(f"{name}.labels.txt", labels)
        print(f"names of its classes in {name}.labels.txt")


def _read_labels(path, classes):
    from keras_videorel.data.manifest import read_class_names

    labels = read_class_names(path)
    if len(labels) != classes:
        raise ValueError(
            f"`labels` must name each of the {classes} classes on a line. "
            f"Received: {path!r} with {len(labels)} lines"
        )
    return labels
