"""Export a model as a SavedModel that takes raw frames."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_videorel.clip_spec import ClipSpec
from keras_videorel.data import sampling, transforms
from keras_videorel.export import attention
from keras_videorel.export.scores import scores
from keras_videorel.files import plain_path


def write(
    model: keras.Model, folder: str, clip: ClipSpec, class_names: tuple[str, ...], clips: int
) -> None:
    """Write a model that returns logits, with the signatures of `export.export_saved_model`."""
    classes, channels = len(class_names), clip.channels
    frames_shape = (None, None, channels)

    # All signatures share one function, so the network is traced and stored once.
    @tf.function(input_signature=[tf.TensorSpec((None, *clip.shape), tf.float32)])
    def network(x):
        return model(x, training=False)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, channels), tf.uint8)])
    def prepare(images):
        return transforms.prepare_frames(images, clip)

    def of_video(prepared, batch):
        """Return the scores of videos from the prepared frames of all their samples."""
        samples = transforms.join_frames(prepared, clip.shape)
        logits = tf.reshape(network(samples), (batch, -1, classes))
        logits = tf.cast(logits, tf.float32)
        return scores(tf.reduce_mean(logits, axis=1))

    def serve(videos):
        videos = _pixels(videos, "frames", channels)
        batch, time = tf.unstack(tf.shape(videos)[:2])
        taken = tf.gather(videos, sampling.distinct_samples(time, clips, clip), axis=1)
        return of_video(prepare(_in_a_row(taken)), batch)

    def serve_jpegs(jpegs):
        jpegs = _checked(jpegs, "jpegs", (None,))
        batch, time = tf.unstack(tf.shape(jpegs))
        used, places = tf.unique(tf.reshape(sampling.distinct_samples(time, clips, clip), [-1]))

        def picture(jpeg):
            # JPEGs of flow have three channels, as in the shards. Blue holds nothing.
            image = tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE")
            return prepare(image[tf.newaxis, ..., :channels])[0]

        # Clips overlap, so each frame is decoded and prepared once. Frames may differ in size.
        prepared = tf.map_fn(
            picture,
            tf.reshape(tf.gather(jpegs, used, axis=1), [-1]),
            fn_output_signature=tf.TensorSpec((*clip.crop_size, channels), tf.float32),
        )
        prepared = tf.reshape(prepared, (batch, -1, *clip.crop_size, channels))
        return of_video(_in_a_row(tf.gather(prepared, places, axis=1)), batch)

    def samples_of(taken):
        taken = _pixels(taken, "clips", channels)
        return transforms.join_frames(prepare(_in_a_row(taken)), clip.shape)

    def serve_clips(taken):
        return scores(network(samples_of(taken)))

    clips_spec = tf.TensorSpec((None, clip.num_frames, *frames_shape), tf.uint8, name="clips")
    endpoints = {
        "serve": (serve, tf.TensorSpec((None, None, *frames_shape), tf.uint8, name="frames")),
        "clips": (serve_clips, clips_spec),
        "preprocessed": (
            lambda x: scores(network(_checked(x, "samples", clip.shape))),
            tf.TensorSpec((None, *clip.shape), tf.float32, name="samples"),
        ),
        "jpegs": (serve_jpegs, tf.TensorSpec((None, None), tf.string, name="jpegs")),
    }
    if attention.relational_lstm_of(model) is not None:
        attend = attention.with_attention_maps(model)

        def serve_relations(taken):
            logits, omega = attend(samples_of(taken))
            return {**scores(logits), "relations": omega}

        endpoints["relations"] = (serve_relations, clips_spec)
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, (function, spec) in endpoints.items():
        archive.add_endpoint(name, function, input_signature=[spec])
    archive.add_endpoint("labels", lambda: {"labels": tf.constant(class_names)}, input_signature=[])
    archive.write_out(folder, verbose=False)


def scorer(folder: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs a SavedModel, from samples to logits."""
    with plain_path(folder) as path:
        model = tf.saved_model.load(path)
    return lambda x: model.signatures["preprocessed"](samples=tf.constant(x))["logits"].numpy()


def _checked(x, name, shape):
    """Check in the graph that `x` is not empty and has `shape` after the batch axis.

    TensorFlow does not check the shapes of a signature's inputs.
    """
    x = tf.compat.v1.placeholder_with_default(x, [None] * len(x.shape))
    found, fixed = tf.shape(x), tf.constant([-1, *(-1 if n is None else n for n in shape)])
    words = ", ".join("any" if size is None else str(size) for size in shape)
    checks = [
        tf.debugging.assert_positive(
            found, f"`{name}` must not be empty: a size of it is 0 in the shape below"
        ),
        tf.debugging.assert_equal(
            found, tf.where(fixed < 0, found, fixed), f"`{name}` must be of shape (batch, {words})"
        ),
    ]
    with tf.control_dependencies(checks):
        return tf.ensure_shape(x, (None, *shape))


def _pixels(x, name, channels):
    """Convert frames to the channels of the model; an RGB model also takes gray and RGBA."""
    x = _checked(x, name, (*x.shape[1:-1], None))
    known, what = ([1, 3, 4], "3 channels (RGB), 1 (gray) or 4 (RGBA)")
    if channels != 3:
        known, what = [channels], f"{channels} channels (optical flow in x and y)"
    message = f"`{name}` must have {what}"
    right = tf.debugging.assert_equal(tf.reduce_any(tf.shape(x)[-1] == known), True, message)
    with tf.control_dependencies([right]):
        x = tf.identity(x)
    x = tf.cond(
        tf.shape(x)[-1] == 1, lambda: tf.repeat(x, channels, axis=-1), lambda: x[..., :channels]
    )
    return tf.ensure_shape(x, (*x.shape[:-1], channels))


def _in_a_row(frames):
    """Reshape frames `(..., height, width, channels)` to rank 4."""
    return tf.reshape(frames, tf.concat([[-1], tf.shape(frames)[-3:]], axis=0))
