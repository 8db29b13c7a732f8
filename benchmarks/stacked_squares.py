"""How far stacked squares carry what is out of range, with and without the bound.

    python benchmarks/stacked_squares.py --workdir runs/study/hand_gestures/artnet_d-0

Loads a trained ARTNet (d), prints the largest normalized response before each square on test
clips without the bound, and the largest logit on test clips and on strange ones, with and without.
"""

import keras
import numpy as np
from absl import app, flags

from keras_videorel.data import pipeline
from keras_videorel.data.manifest import read_manifest
from keras_videorel.layers import SMART
from keras_videorel.models import video_resnet
from keras_videorel.runs import train as training
from keras_videorel.runs import workdir
from keras_videorel.runs.config import clip_spec

flags.DEFINE_string("workdir", None, "Folder of a trained run of ARTNet (d).", required=True)
flags.DEFINE_integer("clips", 48, "Test clips.")
FLAGS = flags.FLAGS


def load(config, classes, limit):
    video_resnet.HIDDEN_LIMIT = limit
    model = training.build_model(config, classes)
    workdir.load_checkpoint(model, FLAGS.workdir)
    return model


def main(_):
    config = workdir.read_config(FLAGS.workdir)
    info = read_manifest(config.data.path)
    views = pipeline.evaluation_views(info, clip_spec(config), clips=1, crops=1)
    seen = np.concatenate([view.numpy() for view, _, _ in views.take(FLAGS.clips)])
    rng, shape, mean = np.random.default_rng(0), seen[:8].shape, np.array(config.data.mean)
    flicker = 255.0 * (np.arange(shape[1]) % 2)[None, :, None, None, None]
    clips = {
        "test clips": seen,
        "noise": rng.integers(0, 256, shape) - mean,
        "flicker": np.broadcast_to(flicker, shape) - mean,
        "white": np.full(shape, 255.0) - mean,
        "ten times the contrast": 10.0 * seen[:8],
    }
    bound = video_resnet.HIDDEN_LIMIT
    for limit in (None, bound):
        model = load(config, len(info.labels), limit)
        print(f"\nbound: {limit}")
        for layer in model.layers:
            if isinstance(layer, SMART):
                inputs = keras.Model(model.input, layer.input).predict(seen, verbose=0)
                u = layer.relation.hidden_normalization(layer.relation.convolution(inputs))
                u = np.abs(keras.ops.convert_to_numpy(u))
                print(
                    f"  {layer.name:10} largest |u| {u.max():10.4g}   beyond {bound:g}: "
                    f"{100 * (u > bound).mean():.3f}%"
                )
        for name, clip in clips.items():
            logits = model.predict(clip.astype("float32"), verbose=0)
            print(f"  largest logit on {name:24} {np.abs(logits).max():10.4g}")


if __name__ == "__main__":
    app.run(main)
