"""`videorel summary` from a checkout: see keras_videorel/cli/summary.py, or --help."""

import sys

from keras_videorel.cli import run

if __name__ == "__main__":
    sys.exit(run("summary"))
