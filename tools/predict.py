"""`videorel predict` from a checkout: see keras_videorel/cli/predict.py, or --help."""

import sys

from keras_videorel.cli import run

if __name__ == "__main__":
    sys.exit(run("predict"))
