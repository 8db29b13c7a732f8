"""`videorel make-tfrecords` from a checkout: see keras_videorel/cli/make_tfrecords.py, or --help."""

import sys

from keras_videorel.cli import run

if __name__ == "__main__":
    sys.exit(run("make-tfrecords"))
