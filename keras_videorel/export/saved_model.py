"""A trained model as a SavedModel that takes raw frames."""

import os

import keras
import tensorflow as tf

from keras_videorel.data import pipeline, sampling, transforms
from keras_videorel.files import write_json, written_whole


def export_saved_model(
    model,
    path,
    labels=None,
    *,
    from_logits=False,
    stream="rgb",
    frame_size=(128, 170),
    clips=10,
    segments=0,
    frame_stride=1,
    mean=(123.0, 117.0, 104.0),
    std=1.0,
):
    """Export a classifier of clips or of snippets as a SavedModel with preprocessing inside.

    The signature `serving_default` takes `frames`, uint8 `(batch, time, height, width, 3)` RGB
    with any number of frames of any size, and gives `probabilities` and `logits`, float32
    `(batch, classes)`: frames are resized, clips (or groups of snippets) are taken at equal
    distances (the last frame repeats in a short video), cropped in the center, normalized,
    scored, and averaged before the softmax. The signature `clips` takes `clips`, the frames of
    clips or groups that were taken already, and gives the same of each of them. The signature
    `labels` gives the names of the classes, a string tensor. The folder also holds `labels.txt`
    and `export.json`.

    A model of optical flow takes fields in the place of frames, as levels (`data.flow.to_levels`),
    uint8 with 2 channels, in pixels of the frames as they come: resizing scales them.

    Args:
        model: A `keras.Model` to scores, from samples, clips or snippets, as
            `data.pipeline.sample_shape` has them.
        path: The folder to write; an older export of that name is replaced, any other folder
            refused.
        labels: Names of the classes, in index order; numbers by default.
        from_logits: Whether the model gives logits. If not, the logits are the logarithms of
            its probabilities.
        stream: `"rgb"`, or `"flow"` for a model of optical flow.
        frame_size: `(height, width)` that frames are resized to before the crop, or an integer:
            their shorter side.
        clips: Clips, or groups of snippets, that are averaged.
        segments: 0 for clips; T > 0 for a snippet of each of T segments of the video.
        frame_stride: Step between the frames of a clip or snippet.
        mean: Mean of the channels, (R, G, B) or (x, y), subtracted.
        std: What they are then divided by.

    Returns:
        `path`.

    Raises:
        ValueError: If the labels, `stream` or `segments` do not fit the model, the mean the
            stream, or the crop the frames, or if `path` holds something else than an export.
    """
    channels = pipeline.sample_shape(0, 1, 1, stream)[-1]
    frames, height, width = _sample_size(model, segments, stream)
    classes = model.output_shape[-1]
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
    mean = tuple(mean)
    if len(mean) != channels:
        raise ValueError(
            f"`mean` must have a number for each of the {channels} channels. Received: mean={mean}"
        )
    whole = frame_size if isinstance(frame_size, int) else tuple(frame_size)
    least = (whole, whole) if isinstance(whole, int) else whole
    if least[0] < height or least[1] < width:
        raise ValueError(
            f"`frame_size` must hold the model's input of {height}x{width}. "
            f"Received: frame_size={frame_size}"
        )

    sampled = max(segments, 1) * frames  # frames of a clip, or of a group of snippets
    stacked = stream == "flow" and segments and len(model.input_shape) == 5

    # One function for both signatures: the network is traced and stored once.
    @tf.function(input_signature=[tf.TensorSpec((None, None, None, channels), tf.uint8)])
    def score(images):
        """Logits `(samples, classes)` of the frames of samples, one after the other."""
        x = transforms.resize(images, whole)
        if stream == "flow":
            x = _rescale(x, tf.shape(images))
        x = transforms.normalize(transforms.center_crop(x, (height, width)), mean, std)
        if stacked:  # x1, y1, x2, y2, ... of a snippet are its channels
            x = tf.reshape(x, (-1, frames, height, width, 2))
            x = tf.transpose(x, (0, 2, 3, 1, 4))
        x = tf.reshape(x, (-1, *model.input_shape[1:]))
        scores = tf.cast(model(x, training=False), tf.float32)
        return scores if from_logits else tf.math.log(tf.maximum(scores, 1e-30))

    def serve(videos):
        batch, time = tf.unstack(tf.shape(videos)[:2])
        # A short video has room for fewer different clips.
        count = tf.minimum(clips, sampling.most_samples(time, segments, frames, frame_stride))
        indices = sampling.uniform_samples(time, count, segments, frames, frame_stride)
        x = tf.gather(videos, indices, axis=1)  # (batch, count, sampled, height, width, channels)
        logits = score(tf.reshape(x, tf.concat([[-1], tf.shape(videos)[2:]], axis=0)))
        logits = tf.reduce_mean(tf.reshape(logits, (batch, count, classes)), axis=1)
        return {"probabilities": tf.nn.softmax(logits), "logits": logits}

    def serve_clips(taken):
        logits = score(tf.reshape(taken, tf.concat([[-1], tf.shape(taken)[2:]], axis=0)))
        return {"probabilities": tf.nn.softmax(logits), "logits": logits}

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serve",
        serve,
        input_signature=[
            tf.TensorSpec((None, None, None, None, channels), tf.uint8, name="frames")
        ],
    )
    archive.add_endpoint(
        "clips",
        serve_clips,
        input_signature=[
            tf.TensorSpec((None, sampled, None, None, channels), tf.uint8, name="clips")
        ],
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
                "stream": stream,
                "segments": segments,
                "frames": frames,
                "frame_stride": frame_stride,
                "frame_size": whole,
                "clips": clips,
                "crop_size": [height, width],
                "mean": list(mean),
                "std": std,
            },
        )
    return path


# What a model takes, by stream and whether there are segments.
_SAMPLES = {
    ("rgb", False): "(frames, height, width, 3)",
    ("rgb", True): "(T, [frames,] height, width, 3)",
    ("flow", False): "(frames, height, width, 2)",
    ("flow", True): "(T, height, width, 2 * frames) or (T, frames, height, width, 2)",
}


def _sample_size(model, segments, stream):
    """Frames of a clip or snippet, height and width of a model's input."""
    shape = tuple(model.input_shape[1:])
    if None in shape:
        raise ValueError(
            f"`model` must have a known input shape. Received: input_shape={model.input_shape}"
        )
    size = shape[-3:-1]
    images = len(shape) == 4  # or clips
    if stream == "flow" and segments and images:
        frames = shape[-1] // 2
    else:
        frames = shape[-4] if len(shape) == (5 if segments else 4) else 1
    if len(size) < 2 or shape != pipeline.sample_shape(segments, frames, size, stream, images):
        of_segments = ", T the number of segments" if segments else ""
        raise ValueError(
            f"`model` must take samples {_SAMPLES[stream, segments > 0]}{of_segments}. Received: "
            f"input_shape={model.input_shape} with segments={segments}, stream={stream!r}"
        )
    return frames, *size


def _rescale(levels, shape):
    """Levels of flow that were resized from frames of `shape`, in pixels of their new size."""
    scale = tf.shape(levels)[1:3] / shape[1:3]  # of y and x
    still = 127.5
    return (levels - still) * tf.cast(scale[::-1], tf.float32) + still
