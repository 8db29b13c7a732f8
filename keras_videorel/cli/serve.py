"""Serve a page in the browser to try exported models on.

    videorel serve --models saved_models

Upload or record a video. The page shows its labels, the labels over time, and an annotated video.
Only this machine can open the page, unless --host is set. The command needs the extra [serve].
"""

import signal

from keras_videorel.cli import Flags

FLAGS = Flags()
FLAGS.string("models", "saved_models", "Folder of folders written by export.")
FLAGS.string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for all of this machine.")
FLAGS.integer(
    "port", 7860, "Port to listen on; 0 for any that is free.", lower_bound=0, upper_bound=65535
)
FLAGS.float("max_seconds", 60.0, "Longest video that is labeled.", lower_bound=1)
FLAGS.float("max_megabytes", 100.0, "Largest file that is taken.", lower_bound=0.1)


def main(_):
    from keras_videorel import serving

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
    limits = serving.Limits(FLAGS.max_seconds, FLAGS.max_megabytes)
    serving.serve(FLAGS.models, host=FLAGS.host, port=FLAGS.port, limits=limits)
