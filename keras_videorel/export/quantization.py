"""Convert a model to an int8 LiteRT file in a child process.

TensorFlow's calibrator runs the network on samples. With some networks, such as networks with
loops, it crashes the process (TensorFlow 2.21). A crash then only ends the child process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence

import numpy as np

SAMPLES, FILE = "samples.npy", "model.tflite"  # beside the SavedModel


def quantize(
    folder: str,
    samples: Sequence[np.ndarray],
    float_operators: Sequence[str],
    float_nodes: Sequence[str],
) -> bytes:
    """Return the bytes of an int8 file of a SavedModel whose `serving_default` takes `inputs`.

    The samples set the ranges of activations. Operators of the types `float_operators`, and the
    operators that compute the tensors `float_nodes`, stay in float.
    """
    np.save(os.path.join(folder, SAMPLES), np.stack(samples))
    command = f"import runpy; runpy.run_path({os.path.abspath(__file__)!r}, run_name='__main__')"
    arguments = [folder, json.dumps(float_operators), json.dumps(float_nodes)]
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    child = subprocess.run(
        [sys.executable, "-c", command, *arguments],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    if child.returncode == 0:
        with open(os.path.join(folder, FILE), "rb") as file:
            return file.read()
    if child.returncode < 0:
        message = f"TensorFlow's converter ended with {signal.Signals(-child.returncode).name}"
    else:
        message = child.stderr.decode(errors="replace").strip().split("\n")[-1]
    raise ValueError(
        f'`model` cannot be converted for precision="int8"; "dynamic" may do. Received: {message}'
    )


def main(folder: str, float_operators: str, float_nodes: str) -> None:
    """Convert the model; runs in the child process."""
    import tensorflow as tf

    samples = np.load(os.path.join(folder, SAMPLES), mmap_mode="r")
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ({"inputs": np.array(x)} for x in samples)
    # The debugger can leave some operators in float. The converter quantizes all or none.
    options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_ops=json.loads(float_operators), denylisted_nodes=json.loads(float_nodes)
    )
    warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
    try:
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=converter.representative_dataset,
            debug_options=options,
        )
    except ValueError as error:  # raised, too, if there is no operator to quantize
        raise ValueError(
            "no layer that can be computed in 8 bits, before the one that gives logits, or "
            f"another fault: {error}"
        ) from error
    with open(os.path.join(folder, FILE), "wb") as file:
        file.write(debugger.get_nondebug_quantized_model())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        sys.exit(" ".join(str(error).split()))  # the parent reads the last line of stderr
