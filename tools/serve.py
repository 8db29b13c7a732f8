"""`videorel serve` from a checkout; --help lists its flags."""

from keras_videorel.cli import leave, run

if __name__ == "__main__":
    leave(run("serve"))
