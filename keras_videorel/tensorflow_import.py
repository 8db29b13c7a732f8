"""Importing TensorFlow without its start-up notices."""

import importlib
import os
import sys


def import_tensorflow():
    """Import TensorFlow with its notices on stderr left out.

    TensorFlow 2.21 writes them before it looks at `TF_CPP_MIN_LOG_LEVEL`, once in each process;
    they would bury progress bars and one-line errors.
    """
    if "tensorflow" in sys.modules:
        return
    # What is written later: no GPU, optimizer passes that do not apply to a graph.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        importlib.import_module("tensorflow")
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
