"""`videorel evaluate` from a checkout: see keras_videorel/cli/evaluate.py, or --help."""

import sys

from keras_videorel.cli import run

if __name__ == "__main__":
    sys.exit(run("evaluate"))
