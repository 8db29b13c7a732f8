"""A trained model as an ONNX file, by Keras's own export."""

import numpy as np

from keras_videorel.extras import check_importable


def check_installed():
    """Raise an `ImportError` without what converts and runs ONNX files."""
    check_importable("ONNX files", "onnx")


def write(model, path, clip, class_names, clips):
    """Write an ONNX file from samples `(batch, *shape)` to logits `(batch, classes)`, float32."""
    model(np.zeros((1, *clip.shape), np.float32))  # Keras wants it called once
    model.export(path, format="onnx", verbose=False)


def scorer(path):
    """A function from samples to the logits that an ONNX file gives."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # of the runtime's own, without a common base
        raise ValueError(f"the network has no valid ONNX form: {error}") from None
    (name,) = (entry.name for entry in session.get_inputs())
    return lambda x: session.run(None, {name: np.asarray(x, np.float32)})[0]
