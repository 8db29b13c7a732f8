"""Import TensorFlow without its start-up notices."""

import importlib
import os
import sys


def import_tensorflow():
    """Import TensorFlow without its notices on stderr, among which one-line errors get lost.

    TensorFlow 2.21 writes them before it reads `TF_CPP_MIN_LOG_LEVEL`, once in each process.
    """
    if "tensorflow" in sys.modules:
        return
    # For later notices: no GPU, optimizer passes that do not apply to a graph.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        importlib.import_module("tensorflow")
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
