"""A trained model as an ONNX file, by Keras's own export."""

import numpy as np

from keras_videorel.extras import check_importable


def check_installed():
    """Refuse to go on without what converts and runs ONNX files.

    Raises:
        ImportError: If something is not installed.
    """
    check_importable("ONNX files", "onnx")


def write(model, path, samples):
    """Write an ONNX file from samples `(batch, *shape)` to logits `(batch, classes)`, float32.

    Args:
        model: A `keras.Model` from samples to logits.
        path: The file.
        samples: The `Samples` of the model.

    Raises:
        ImportError: If tf2onnx or onnxruntime is not installed.
    """
    check_installed()
    model(np.zeros((1, *samples.shape), np.float32))  # Keras wants it called once
    model.export(path, format="onnx", verbose=False)


def scorer(path):
    """A function from samples to the logits that an ONNX file gives.

    Raises:
        ValueError: If the file is no valid network.
    """
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # of the runtime's own, without a common base
        raise ValueError(f"the network has no valid ONNX form: {error}") from None
    (name,) = (entry.name for entry in session.get_inputs())
    return lambda x: session.run(None, {name: np.asarray(x, np.float32)})[0]
