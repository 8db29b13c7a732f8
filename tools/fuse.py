"""`videorel fuse` from a checkout; --help lists its flags."""

from keras_videorel.cli import exit, run

if __name__ == "__main__":
    exit(run("fuse"))
