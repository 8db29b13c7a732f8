"""Seconds of a training step of configs, the rate of arithmetic, and what a whole run costs.

    python benchmarks/step_time.py --batch 2 --rounds 10 CONFIG.py:argument ...

The configs take turns, and between them a product of large matrices, whose rate is what this
machine gives at that time; each has its best time of all rounds (none: arithmetic alone). Core
seconds, processor time of all threads, are little disturbed by what else the machine does.
Multiply-adds are counted in TensorFlow's graph of a forward pass (convolutions and products of
matrices); a step is taken for three of these, a multiply-add for two operations.
"""

import argparse
import importlib.util
import math
import time

import keras
import numpy as np
import tensorflow as tf

from keras_videorel.runs import networks

CLASSES = {"kinetics": 400, "ucf101": 101, "hmdb51": 51}
# Training and test videos of each: ARTNet, Sec. 4.1; split 1 of the official lists.
VIDEOS = {"kinetics": (240_000, 20_000), "ucf101": (9537, 3783), "hmdb51": (3570, 1530)}
SIDE = 2048  # of the matrices


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--batch", type=int, default=4, help="samples in a step")
    parser.add_argument("--rounds", type=int, default=8, help="steps of each")
    flags = parser.parse_args()

    steps, counted = {"product": _product()}, {"product": SIDE**3}
    print("| config | G multiply-adds a sample | steps | PFLOP of training | of testing |")
    print("|---" * 5 + "|", flush=True)
    for text in flags.configs:
        config = read_config(text)
        model = networks.build_model(config, CLASSES[_data_set(config)], pretrained=False)
        madds = counted[text] = multiply_adds(model)
        print(f"| {text} | {madds / 1e9:.1f} | {' | '.join(whole(config, madds))} |", flush=True)
        if flags.rounds:
            steps[text] = _step(model, config, flags.batch)
    if not flags.rounds:
        return
    best = best_in_turns(steps, flags.rounds)
    print(f"\nbatch {flags.batch}, best of {flags.rounds}\n")
    print("| config | s a step | core s a step | GFLOP a core s | of the product's |")
    print("|---" * 5 + "|")
    peak = 2 * counted["product"] / best["product"][1] / 1e9
    for text, (seconds, core_seconds) in best.items():
        work = 2 * counted[text] if text == "product" else 6 * counted[text] * flags.batch
        rate = work / core_seconds / 1e9
        print(f"| {text} | {seconds:.2f} | {core_seconds:.2f} | {rate:.0f} | {rate / peak:.2f} |")


def whole(config, madds):
    """Steps of a run, PFLOP of its training and of its test, as text."""
    train, test = VIDEOS[_data_set(config)]
    steps = train // config.train.batch_size * config.train.epochs
    # ARTNet under TSN is tested clip by clip.
    clips = config.data.segments if config.data.segments and config.data.frames == 16 else 1
    views = config.eval.clips * config.eval.crops * test
    training = 6 * madds * config.train.batch_size * steps / 1e15
    return f"{steps:,}", f"{training:,.0f}", f"{2 * madds / clips * views / 1e15:,.0f}"


def read_config(text):
    """The config of `FILE.py:argument`."""
    path, _, argument = text.partition(":")
    spec = importlib.util.spec_from_file_location("config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(argument)


def multiply_adds(model):
    """Multiply-adds of one sample, forward: of convolutions and products of matrices."""
    recurrent = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN)]
    for layer in recurrent:  # a loop's body would be counted once
        layer.unroll = True
    specification = tf.TensorSpec((1, *model.input_shape[1:]))
    graph = tf.function(lambda x: model(x)).get_concrete_function(specification).graph
    for layer in recurrent:
        layer.unroll = False
    total = 0
    for operation in graph.get_operations():
        if operation.type in ("Conv2D", "Conv3D"):
            summed = operation.inputs[1].shape[:-1]
        elif operation.type in ("MatMul", "BatchMatMulV2"):
            transposed = operation.get_attr(
                "transpose_a" if operation.type == "MatMul" else "adj_x"
            )
            summed = operation.inputs[0].shape[-2 if transposed else -1 :][:1]
        else:
            continue
        total += math.prod(operation.outputs[0].shape) * math.prod(summed)
    return total


def best_in_turns(steps, rounds):
    """The least seconds and core seconds of each step, after one that is not counted."""
    best = {name: (math.inf, math.inf) for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            start, core_start = time.perf_counter(), time.process_time()
            step()
            taken = time.perf_counter() - start, time.process_time() - core_start
            if turn:
                best[name] = tuple(map(min, best[name], taken))
        least = ", ".join(f"{core:.2f}" for _, core in best.values())
        print(f"round {turn} of {rounds}: core seconds {least}", flush=True)
    return best


def _product():
    a = tf.random.normal((SIDE, SIDE))
    return lambda: tf.linalg.matmul(a, a).numpy()


def _step(model, config, batch):
    networks.compile_model(model, config)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, *model.input_shape[1:])).astype("float32")
    y = rng.integers(0, model.output_shape[-1], batch)
    return lambda: model.train_on_batch(x, y)


def _data_set(config):
    return next(name for name in CLASSES if name in config.data.path)


if __name__ == "__main__":
    main()
