"""`videorel train` from a checkout; --help lists its flags."""

import sys

from keras_videorel.cli import run

if __name__ == "__main__":
    sys.exit(run("train"))
