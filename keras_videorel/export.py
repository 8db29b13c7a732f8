"""A trained model as a SavedModel that takes raw frames."""

import os

import keras
import tensorflow as tf

from keras_videorel.data import sampling, transforms
from keras_videorel.files import write_json, written_whole


def export_saved_model(
    model,
    path,
    labels=None,
    *,
    from_logits=False,
    frame_size=(128, 170),
    clips=10,
    frame_stride=1,
    mean=(123.0, 117.0, 104.0),
):
    """Export a clip classifier as a SavedModel with preprocessing inside.

    The signature `serving_default` takes `frames`, uint8 `(batch, time, height, width, 3)` RGB
    with any number of frames of any size, and gives `probabilities` and `logits`, float32
    `(batch, classes)`: frames are resized, clips are taken at equal distances (the last frame
    repeats in a short video), cropped in the center, normalized, scored, and averaged before
    the softmax. The signature `labels` gives the names of the classes, a string tensor. The
    folder also holds `labels.txt` and `export.json`.

    Args:
        model: A `keras.Model` from clips `(batch, frames, size, size, 3)` to scores.
        path: The folder to write; an older export of that name is replaced, any other folder
            refused.
        labels: Names of the classes, in index order; numbers by default.
        from_logits: Whether the model gives logits. If not, the logits are the logarithms of
            its probabilities.
        frame_size: `(height, width)` that frames are resized to before the crop, or an integer:
            their shorter side.
        clips: Clips that are averaged.
        frame_stride: Step between the frames of a clip.
        mean: Mean of the channels (R, G, B), subtracted.

    Returns:
        `path`.

    Raises:
        ValueError: If the labels do not fit the model, or the crop the frames, or `path` holds
            something else than an export.
    """
    frames, height, width = model.input_shape[1:4]
    classes = model.output_shape[-1]
    if None in (frames, height, width):
        raise ValueError(
            f"`model` must have a known input shape. Received: input_shape={model.input_shape}"
        )
    if os.path.exists(path) and not os.path.exists(os.path.join(path, "export.json")):
        raise ValueError(
            "`path` must be a new folder or an older export; what it holds would be lost. "
            f"Received: {os.fspath(path)!r}, which has no export.json"
        )
    labels = [str(i) for i in range(classes)] if labels is None else list(labels)
    if len(labels) != classes:
        raise ValueError(
            f"`labels` must name each of the model's {classes} classes. Received: {len(labels)}"
        )
    whole = frame_size if isinstance(frame_size, int) else tuple(frame_size)
    least = (whole, whole) if isinstance(whole, int) else whole
    if least[0] < height or least[1] < width:
        raise ValueError(
            f"`frame_size` must hold the model's input of {height}x{width}. "
            f"Received: frame_size={frame_size}"
        )

    def serve(videos):
        batch, time = tf.unstack(tf.shape(videos)[:2])
        # A short video has room for fewer different clips.
        count = tf.minimum(clips, sampling.last_start(time, frames, frame_stride) + 1)
        indices = sampling.uniform_clips(time, count, frames, frame_stride)
        x = tf.gather(videos, indices, axis=1)  # (batch, count, frames, height, width, 3)
        x = tf.reshape(x, tf.concat([[-1], tf.shape(videos)[2:]], axis=0))
        x = transforms.center_crop(transforms.resize(x, whole), (height, width))
        x = tf.reshape(x, (-1, frames, height, width, 3))
        scores = tf.cast(model(transforms.normalize(x, mean), training=False), tf.float32)
        if not from_logits:
            scores = tf.math.log(tf.maximum(scores, 1e-30))
        logits = tf.reduce_mean(tf.reshape(scores, (batch, count, classes)), axis=1)
        return {"probabilities": tf.nn.softmax(logits), "logits": logits}

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serve",
        serve,
        input_signature=[tf.TensorSpec((None, None, None, None, 3), tf.uint8, name="frames")],
    )
    archive.add_endpoint("labels", lambda: {"labels": tf.constant(labels)}, input_signature=[])
    with written_whole(path) as beside:
        archive.write_out(beside, verbose=False)
        with open(os.path.join(beside, "labels.txt"), "w", encoding="utf-8") as file:
            file.writelines(f"{label}\n" for label in labels)
        write_json(
            os.path.join(beside, "export.json"),
            {
                "model": model.name,
                "frames": frames,
                "frame_stride": frame_stride,
                "frame_size": whole,
                "clips": clips,
                "crop_size": [height, width],
                "mean": list(mean),
            },
        )
    return path
