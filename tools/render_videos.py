"""`videorel render-videos` from a checkout: see keras_videorel/cli/render_videos.py, or --help."""

import sys

from keras_videorel.cli import run

if __name__ == "__main__":
    sys.exit(run("render-videos"))
