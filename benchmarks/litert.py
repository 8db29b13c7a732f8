"""LiteRT files of folded networks, against Keras's own and OpenVINO, on one clip with 2 threads.

    python tools/benchmark.py litert
    python benchmarks/litert.py c3d artnet_s artnet_d

Keras's forward, Keras's own LiteRT export, ours in each precision, and OpenVINO's where `openvino`
and `nncf` are installed, on 16x112x112. All run in turns; figures are the best of the rounds,
of time on the wall and of the processor time of all threads. Weights are random: the figures
are of size and speed alone.
"""

import os
import sys
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

from keras_videorel.export import export_litert
from keras_videorel.models import ARTNetResNet18, C3DResNet18

NETWORKS = {
    "c3d": C3DResNet18,
    "artnet_s": lambda: ARTNetResNet18("s"),
    "artnet_d": lambda: ARTNetResNet18("d"),
}
PRECISIONS = ("fp32", "fp16", "dynamic", "int8")
THREADS, ROUNDS = 2, 30


def litert_runner(path, clip):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=THREADS)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], clip)
    return interpreter.invoke


def kerases_own(model, path, clips, precision):
    """Keras's LiteRT export of the model as it is."""
    options = {}
    if precision == "int8":
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
        options["representative_dataset"] = lambda: ([clip] for clip in clips)
    signature = [keras.InputSpec(shape=clips[0].shape, dtype="float32", name="clips")]
    model.export(path, format="litert", input_signature=signature, verbose=False, **options)


def openvino_runners(model, clips, folder):
    """OpenVINO's float32 and int8, and their sizes; nothing where it is not installed."""
    try:
        import nncf
        import openvino
    except ImportError:
        return {}, {}
    model.export(os.path.join(folder, "saved"), format="tf_saved_model", verbose=False)
    network = openvino.convert_model(os.path.join(folder, "saved"), input=[clips[0].shape])
    runners, sizes = {}, {}
    for precision in ("fp32", "int8"):
        if precision == "int8":
            network = nncf.quantize(network, nncf.Dataset(clips), subset_size=len(clips))
        path = os.path.join(folder, f"{precision}.xml")
        openvino.save_model(network, path, compress_to_fp16=False)
        sizes[f"OpenVINO {precision}"] = os.path.getsize(path.replace(".xml", ".bin"))
        settings = {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": "f32"}
        request = openvino.Core().compile_model(network, "CPU", settings).create_infer_request()
        runners[f"OpenVINO {precision}"] = lambda r=request: r.infer([clips[0]])
    return runners, sizes


def best_in_turns(runners):
    """Best seconds on the wall and of the processor of each."""
    best = {name: np.full(2, np.inf) for name in runners}
    for _ in range(ROUNDS):
        for name, run in runners.items():
            start = time.perf_counter(), time.process_time()
            run()
            taken = time.perf_counter() - start[0], time.process_time() - start[1]
            best[name] = np.minimum(best[name], taken)
    return best


def main(names):
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    for name in names:
        keras.utils.set_random_seed(0)
        model = NETWORKS[name]()
        numbers = np.random.default_rng(0)
        shape = (1, *model.input_shape[1:])
        clips = [numbers.normal(size=shape).astype("float32") for _ in range(2)]
        forward = tf.function(lambda x, model=model: model(x, training=False), autograph=False)
        clip = tf.constant(clips[0])
        runners = {"Keras": lambda f=forward, x=clip: f(x).numpy()}
        sizes = {"Keras": 4 * model.count_params()}
        with tempfile.TemporaryDirectory() as folder:
            for precision in ("fp32", "int8"):
                path = os.path.join(folder, f"own_{precision}.tflite")
                kerases_own(model, path, clips, precision)
                title = f"Keras's LiteRT {precision}"
                runners[title], sizes[title] = litert_runner(path, clips[0]), os.path.getsize(path)
            for precision in PRECISIONS:
                path = os.path.join(folder, f"{precision}.tflite")
                export_litert(model, path, precision, clips, min_agreement=0, threads=THREADS)
                title = f"folded {precision}"
                runners[title], sizes[title] = litert_runner(path, clips[0]), os.path.getsize(path)
            of_openvino, their_sizes = openvino_runners(model, clips, folder)
            runners |= of_openvino
            sizes |= their_sizes
            best = best_in_turns(runners)
        print(f"\n{name}: MB, seconds, of the processor, times the wall of Keras's LiteRT fp32")
        for title, (wall, processor) in best.items():
            ratio = wall / best["Keras's LiteRT fp32"][0]
            megabytes = sizes[title] / 1e6
            print(
                f"  {title:22}{megabytes:8.1f}{wall:9.4f}{processor:9.4f}{ratio:8.3f}", flush=True
            )


if __name__ == "__main__":
    main(sys.argv[1:] or list(NETWORKS))
