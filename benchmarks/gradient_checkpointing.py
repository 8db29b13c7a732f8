"""Memory and time of a training step of the two-branch network with gradient checkpointing.

    python tools/benchmark.py gradient_checkpointing

ResNet-50-v2 on 4 snippets of 160x160, batch 2. Each variant runs in a process of its own, whose
peak memory is the operating system's figure.
"""

import resource
import subprocess
import sys


def measure(gradient_checkpointing):
    """Print peak memory before and after training, in MB, and the seconds of a step."""
    import numpy as np
    from timing import seconds_in_turns

    from keras_videorel.models import RelationalLSTMResNet

    model = RelationalLSTMResNet(
        backbone="resnet50v2", weights=None, segments=4, input_shape=(160, 160, 3), classes=10,
        progressive_momentum=0.999, gradient_checkpointing=gradient_checkpointing,
    )  # fmt: skip
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).normal(size=(2, 4, 160, 160, 3)).astype("float32")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = seconds_in_turns({"step": lambda: model.train_on_batch(x, np.arange(2))}, rounds=3)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"RESULT {after - before:.0f} {seconds['step']:.2f}")


def main():
    print(f"{'gradient_checkpointing':26}{'MB for training':>16}{'s a step':>10}")
    for value in (False, True):
        command = [sys.executable, __file__, str(int(value))]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        _, memory, seconds = output[output.index("RESULT") :].split()
        print(f"{value!s:26}{memory:>16}{seconds:>10}")


if __name__ == "__main__":
    measure(bool(int(sys.argv[1]))) if len(sys.argv) > 1 else main()
