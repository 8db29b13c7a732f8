"""Write the model card of an export: what the model is, its inputs and its outputs."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

import keras
import numpy as np

import keras_videorel
from keras_videorel import layers
from keras_videorel.clip_spec import ClipSpec
from keras_videorel.export import attention

RELATIONAL_LSTM = (
    "[Relational Long Short-Term Memory for Video Action Recognition]"
    "(https://arxiv.org/abs/1811.07059)"
)
ARTNET = (
    "[Appearance-and-Relation Networks for Video Classification](https://arxiv.org/abs/1711.09125)"
)
TSN = "[Temporal Segment Networks](https://arxiv.org/abs/1608.00859)"
# Descriptions of a network by the layers that it has.
NETWORKS = {
    layers.RelationalLSTM: "A relational LSTM, whose state is a feature map and whose transitions "
    f"are non-local operations, over the features of snippets: {RELATIONAL_LSTM}.",
    layers.SegmentConsensus: "Scores or features of snippets are averaged over the segments of a "
    f"video: {TSN}.",
    layers.SMART: "Clips go through SMART blocks, an appearance branch beside a relation branch "
    f"that squares and pools: {ARTNET}.",
    layers.SquarePooling: f"Clips go through relation branches that square and pool: {ARTNET}, "
    "Sec. 4.2.",
    layers.SymmetricConv3D: f"Clips go through a residual network of Table 1 or 2 of {ARTNET}.",
}
FILES = {
    "saved_model.pb": "TensorFlow SavedModel, with `variables/`",
    "model_fp32.tflite": "LiteRT, float32",
    "model_fp16.tflite": "LiteRT, float16 weights",
    "model_dynamic.tflite": "LiteRT, int8 weights",
    "model_int8.tflite": "LiteRT, int8 weights and activations, calibrated",
    "stream": "one snippet at a time, its state in and out: SavedModel, and LiteRT",
    "model.onnx": "ONNX, any batch",
}


def model_card(
    model: keras.Model,
    clip: ClipSpec,
    class_names: Sequence[str],
    clips: int,
    figures: dict[str, dict],
    training: dict | None = None,
) -> str:
    """Return a model card in Markdown, with the `figures` of each file or folder."""
    classes = len(class_names)
    kinds = {type(layer) for layer in _layers(model)}
    if layers.SMART in kinds:  # which says it all
        kinds -= {layers.SquarePooling, layers.SymmetricConv3D}
    network = [text for kind, text in NETWORKS.items() if kind in kinds]
    files = []
    for name, found in figures.items():
        files.append([f"`{name}`", FILES[name], f"{found['bytes'] / 1e6:.1f}", "", ""])
        if "agreement" in found:
            files[-1][3:] = f"{found['max_error']:.1g}", f"{found['agreement']:.1%}"
    parts = [
        f"# {model.name}",
        " ".join([f"Names the action in a video, of {classes} classes.", *network]),
        f"{_input(clip, clips)} {model.count_params():,} parameters. `labels.txt` names the "
        "classes in the order of the scores; `export.json` has these settings.",
        _table(("file", "what", "MB", "max error", "same class"), files),
    ]
    if "saved_model.pb" in figures:
        parts += ["## Signatures of the SavedModel", _signatures(model, clip, classes), _LOADING]
    if any(name.endswith(".tflite") for name in figures):
        parts += [
            "## LiteRT",
            f"Input: a sample {(1, *clip.shape)}, float32, prepared as above. Outputs: `logits` "
            f"and `probabilities`, float32 (1, {classes}).",
        ]
    if "stream" in figures:
        parts += ["## Streaming", _STREAM]
    unknown = "Nothing is known here of how it was trained."
    parts += [
        "## Training",
        _table(("", ""), training.items()) if training else unknown,
        "## Limits",
        _LIMITS + _ORDER * bool(clip.segments),
        f"Written by keras_videorel {keras_videorel.__version__}, Keras {keras.__version__}, on "
        f"{datetime.date.today():%d %B %Y}.",
    ]
    return "\n\n".join(parts) + "\n"


def _layers(model):
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


def _input(clip, clips):
    frames = "RGB frames"
    if clip.stream == "flow":
        frames = "fields of optical flow, as 8-bit levels of x and y"
    size = clip.frame_size
    size = f"a shorter side of {size}" if isinstance(size, int) else "{}x{}".format(*size)
    stride = f", {clip.frame_stride} apart" if clip.frame_stride > 1 else ""
    taken = f"{clip.frames} {frames}{stride}"
    if clip.segments:
        taken += f", of each of {clip.segments} equal segments"
    else:
        taken = f"a clip of {taken}"
    height, width = clip.crop_size
    return (
        f"A sample is {taken}: resized to {size}, of which the middle ({clip.test_scale:.3g} of "
        f"the shorter side) is resized to {height}x{width}, less {_numbers(clip.mean)}, divided by "
        f"{_numbers(np.ravel(clip.std))}. The scores of up to {clips} samples of a video are "
        "averaged before the softmax."
    )


def _signatures(model, clip, classes):
    channels, both = clip.channels, "`probabilities`, `logits`"
    taken = f"`clips`: uint8 (batch, {clip.num_frames}, height, width, {channels})"
    rows = [
        ("`serving_default`", f"`frames`: uint8 (batch, time, height, width, {channels})", both),
        ("`jpegs`", "`jpegs`: string (batch, time)", both),
        ("`clips`", taken, both),
        ("`preprocessed`", f"`samples`: float32 (batch, {_numbers(clip.shape)})", both),
    ]
    layer = attention.relational_lstm_of(model)
    if layer is not None:
        places = layer.cell.positions
        omega = f"`relations`: float32 (batch, {clip.segments}, 4, {places}, {places})"
        rows.append(("`relations`", taken, f"{both}, {omega}"))
    rows.append(("`labels`", "", "`labels`: string"))
    text = _table(("signature", "takes", "gives"), rows)
    text += f"\n\nScores are float32 (batch, {classes}). Height, width and time are free."
    if layer is None:
        return text
    (height, width), times = attention.feature_map_sizes(model).values()
    several = f": {times} maps of {height // times} lines, one time after the other"
    return text + (
        "\n\n`relations` are the weights of r(X_t, H_{t-1}) for each step and gate (i, f, g, o): a "
        "row for each position of X_t, which sums to 1 over the positions of H_{t-1}. Positions "
        f"are those of a feature map of {height}x{width}, line by line{several * (times > 1)}."
    )


def _numbers(values):
    return ", ".join(f"{value:g}" for value in values)


def _table(head: Sequence[str], rows: Iterable[Sequence]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


_LIMITS = """It answers with one of its classes whatever the video shows. Videos unlike those of its
training (camera, place, people, speed) may be labeled worse. Times between frames are not read: it
expects the frame rate of its training."""
_ORDER = " Order matters: a video that is much longer than its action should be cut."
_LOADING = """```python
import tensorflow as tf

model = tf.saved_model.load("FOLDER")
scores = model.signatures["serving_default"](frames=video)  # uint8 (batch, time, ...)
labels = model.signatures["labels"]()["labels"]
```

TensorFlow is all that it needs."""
_STREAM = """`stream/` takes a video snippet by snippet: after each it gives what the network
gives for all snippets so far, in constant time and memory.

```python
stream = tf.saved_model.load("FOLDER/stream")
states = stream.signatures["initial_state"](batch_size=tf.constant(1))  # also starts again
for frames in snippets:  # uint8 (1, frames, height, width, ...)
    outputs = stream.signatures["step_frames"](frames=frames, **states)
    states = {name: outputs[name] for name in states}
```"""
