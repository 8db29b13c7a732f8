"""Label video files with an exported model.

    videorel predict --model saved_models/artnet VIDEO... --top 5

Prints a block a video, or with --json a JSON object a line. A file that cannot be decoded is
reported on stderr, the others are labelled, and the exit status is 1.
"""

import json
import sys

from absl import flags

FLAGS = flags.FlagValues()
flags.DEFINE_string("model", None, "Folder written by export.", flag_values=FLAGS)
flags.DEFINE_integer("top", 5, "Number of classes to print.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_boolean("json", False, "Print JSON lines.", flag_values=FLAGS)
flags.mark_flag_as_required("model", flag_values=FLAGS)

TAKES_WORDS = True


def main(arguments):
    from keras_videorel.prediction import Predictor

    if not arguments:
        raise ValueError("name at least one video file: videorel predict --model DIR VIDEO...")
    predictor = Predictor(FLAGS.model)
    failed = 0
    for path in arguments:
        try:
            prediction = predictor(path, FLAGS.top)
        except (ValueError, OSError) as error:
            failed += 1
            if FLAGS.json:
                print(json.dumps({"path": path, "error": str(error)}), flush=True)
            print(f"videorel predict: {error}", file=sys.stderr)
            continue
        pairs = list(zip(prediction.labels, prediction.probabilities, strict=True))
        if FLAGS.json:
            top = [{"label": label, "probability": value} for label, value in pairs]
            line = {"path": path, "frames": prediction.frames, "predictions": top}
            print(json.dumps(line), flush=True)
        else:
            print(f"{path} ({prediction.frames} frames)")
            for label, value in pairs:
                print(f"  {value:7.2%}  {label}", flush=True)
    return 1 if failed else 0
