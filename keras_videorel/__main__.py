"""`python -m keras_videorel COMMAND` is `videorel COMMAND`."""

from keras_videorel.cli import main

if __name__ == "__main__":
    main()
