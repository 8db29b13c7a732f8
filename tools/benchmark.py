"""Run a benchmark of benchmarks/, or all that need no trained model: `make bench`.

python tools/benchmark.py relational_lstm
python tools/benchmark.py all
"""

import os
import subprocess
import sys

from absl import app

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "benchmarks")
SUITES = (
    "relational_lstm",
    "strided_convolution",
    "gradient_checkpointing",
    "input_pipeline",
    "litert",
    "sliding_window",
    "streaming",
)


def main(arguments):
    suites = SUITES if arguments[1:] == ["all"] else arguments[1:]
    if not suites or set(suites) - set(SUITES):
        sys.exit(f"SUITE must be one of {', '.join(SUITES)}, or all. Received: {arguments[1:]}")
    for suite in suites:
        print(f"\n== {suite}", flush=True)
        subprocess.run([sys.executable, os.path.join(FOLDER, f"{suite}.py")], check=True)


if __name__ == "__main__":
    app.run(main)
