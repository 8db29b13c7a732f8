"""Export a model as a LiteRT file (.tflite), for phones and small machines."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from keras_videorel.checks import check_choice
from keras_videorel.export.agreement import check_agreement, compare
from keras_videorel.export.folding import fold
from keras_videorel.export.quantization import quantize
from keras_videorel.export.samples import as_samples
from keras_videorel.extras import check_importable
from keras_videorel.files import atomic_write, plain_path

# Minimum share of samples on which a file must have the same best class as Keras.
MIN_AGREEMENT = {"fp32": 0.99, "fp16": 0.99, "dynamic": 0.97, "int8": 0.97}
_REMEDY = 'A precision of more bits is closer to the model; "int8" may need more calibration clips.'
# An int8 file computes attention and the logits in float. In 8 bits, they cause two in five of
# the changed best classes, and they are little work (docs/performance.md).
FLOAT_OPERATORS = ("BATCH_MATMUL", "SOFTMAX")
LOGITS = "StatefulPartitionedCall:0"  # the operator of the first output in alphabetical order


def export_litert(
    model: keras.Model,
    path: str | os.PathLike,
    precision: str = "fp32",
    calibration: Iterable[np.ndarray] | tf.data.Dataset | None = None,
    *,
    verification: Iterable[np.ndarray] | tf.data.Dataset | None = None,
    from_logits: bool = False,
    min_agreement: float | None = None,
    threads: int = 2,
) -> dict:
    """Export a model as a LiteRT file of built-in operators, run it, and compare it with Keras.

    The model is folded first (`folding.fold`). In every precision, the file takes one normalized
    sample, `inputs`, float32 `(1, ...)`. A classifier returns `logits` and `probabilities`, any
    other model returns `outputs`, all float32.

    Args:
        model: A functional or `Sequential` Keras model with one input, one output and known sizes.
        path: The file to write. An older file is replaced.
        precision: `"fp32"`; `"fp16"` (weights in 16 bits); `"dynamic"` (weights in 8 bits,
            activations quantized at run time); or `"int8"` (both in 8 bits, but attention and the
            layer that computes the logits in float).
        calibration: As for `export_model`, about a hundred samples. Required for `"int8"`.
        verification: As for `export_model`; by default the calibration samples, or normal noise
            without them.
        from_logits: Whether the model returns logits. If not, only a model that ends with a
            softmax counts as a classifier.
        min_agreement: As for `export_model`.
        threads: Number of threads for the run.

    Returns:
        A dict of the figures of `agreement.compare` and of `precision`, `bytes`, `operators`
        (names), `largest` (largest absolute output), `seconds` and `keras_seconds` (the fastest run
        of a sample in LiteRT and in Keras).

    Raises:
        ValueError: If an argument is out of range, a sample has the wrong shape, the model cannot
            be converted, or the file does not agree with Keras. No file is written then.
        ImportError: If `ai-edge-litert` is not installed.
    """
    check_choice("precision", precision, tuple(MIN_AGREEMENT))
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "`model` must be a built functional or Sequential Keras model of one input and one "
            f"output. Received: {model!r}"
        )
    check_importable("LiteRT files", "litert")
    shape = (1, *model.inputs[0].shape[1:])
    calibration, verification = as_samples(calibration), as_samples(verification)
    for name, samples in (("calibration", calibration), ("verification", verification)):
        for sample in samples:
            if sample.shape != shape:
                raise ValueError(
                    f"`{name}` must give samples of shape {shape}. Received: shape {sample.shape}"
                )
    if precision == "int8" and not calibration:
        raise ValueError('`calibration` must give samples for precision="int8". Received: none')
    network, is_classifier = _without_softmax(model)
    is_classifier = is_classifier or from_logits
    folded = fold(network)
    if not verification and not calibration:
        noise = np.random.default_rng(0)
        verification = [noise.normal(size=shape).astype("float32") for _ in range(8)]

    content = _convert(folded, precision, calibration, is_classifier)
    with atomic_write(path) as temporary:
        with open(temporary, "wb") as file:
            file.write(content)
        figures = {
            "precision": precision,
            "bytes": len(content),
            "operators": _operators(content),
            **_compare(temporary, network, verification or calibration, threads),
        }
        least = MIN_AGREEMENT[precision] if min_agreement is None else min_agreement
        name = os.path.basename(os.fspath(path))
        check_agreement(name, figures, least, _REMEDY)
    return figures


def _operators(content):
    """Return the sorted names of the operators in the bytes of a LiteRT file."""
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name[0].isupper()}
    file = schema.Model.GetRootAs(content, 0)
    codes = [file.OperatorCodes(place) for place in range(file.OperatorCodesLength())]
    return sorted({names[max(c.BuiltinCode(), c.DeprecatedBuiltinCode())] for c in codes})


def _without_softmax(model):
    """Return the model without a final softmax, and whether it had one."""
    last = model.layers[-1]
    if getattr(last, "activation", None) is not keras.activations.softmax:
        return model, False
    copy = type(last).from_config({**last.get_config(), "activation": "linear"})
    logits = copy(last.input)
    copy.set_weights(last.get_weights())
    return keras.Model(model.inputs[0], logits, name=model.name), True


def _convert(folded, precision, calibration, is_classifier):
    """Return the bytes of a LiteRT file."""

    @tf.function(
        input_signature=[tf.TensorSpec(folded.inputs[0].shape, tf.float32, name="inputs")],
        autograph=False,
    )
    def serve(inputs):
        y = folded(inputs)
        return {"logits": y, "probabilities": tf.nn.softmax(y)} if is_classifier else {"outputs": y}

    module = tf.Module()
    module.variables_of_layers = [variable.value for variable in folded.variables]
    with tempfile.TemporaryDirectory() as folder:
        # keras.export.ExportArchive would trace the network several times.
        tf.saved_model.save(module, folder, {"serving_default": serve.get_concrete_function()})
        if precision == "int8":
            nodes = [LOGITS] if is_classifier else []
            return quantize(folder, calibration, FLOAT_OPERATORS, nodes)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["serving_default"]
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if precision != "fp32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "fp16":
            converter.target_spec.supported_types = [tf.float16]
        try:
            return converter.convert()
        except Exception as error:  # ConverterError has no public name
            raise ValueError(
                f"`model` cannot be converted to LiteRT: {' '.join(str(error).split())[:500]}"
            ) from error


def _compare(path, network, samples, threads):
    """Compare a file with the Keras model that returns the same logits or outputs."""
    from ai_edge_litert.interpreter import Interpreter

    with plain_path(path) as plain:
        interpreter = Interpreter(model_path=plain, num_threads=threads)
    runner = interpreter.get_signature_runner()
    keras_function = tf.function(lambda x: network(x, training=False), autograph=False)

    def run_file(x):
        outputs = runner(inputs=x)
        return outputs.get("logits", outputs.get("outputs"))

    expected, keras_seconds = _timed(lambda x: keras_function(tf.constant(x)).numpy(), samples)
    received, seconds = _timed(run_file, samples)
    return {
        **compare(expected, received),
        "largest": float(np.abs(expected).max()),
        "seconds": seconds,
        "keras_seconds": keras_seconds,
    }


def _timed(run, samples):
    """Return the outputs for samples, and the seconds of the fastest run."""
    run(samples[0])  # the first run takes longer
    outputs, seconds = [], []
    for sample in samples:
        start = time.perf_counter()
        outputs.append(run(sample))
        seconds.append(time.perf_counter() - start)
    return np.concatenate(outputs), min(seconds)
