"""A trained model as an ONNX file, by Keras's own export."""

import numpy as np


def write(model, path, samples):
    """Write an ONNX file from samples `(batch, *shape)` to logits `(batch, classes)`, float32.

    Args:
        model: A `keras.Model` from samples to logits.
        path: The file.
        samples: The `Samples` of the model.

    Raises:
        ImportError: If the extra `onnx` is not installed.
    """
    try:
        import onnxruntime  # noqa: F401  what `scorer` needs: known before the conversion
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"ONNX files need the extra [onnx]: pip install 'keras-videorel[onnx]' ({error})"
        ) from None
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
