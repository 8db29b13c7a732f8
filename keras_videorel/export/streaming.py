"""Export a network of snippets as a model of one snippet, with its state as input and output."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from keras_videorel.clip_spec import ClipSpec
from keras_videorel.data import transforms
from keras_videorel.export.folding import fold, is_graph
from keras_videorel.export.scores import check_class_names, scores, with_logits
from keras_videorel.files import (
    atomic_write,
    check_replaceable,
    plain_path,
    read_json,
    write_json,
)
from keras_videorel.layers import RelationalLSTM, SegmentConsensus, UnfoldSegments

LITERT = "model_fp32.tflite"  # beside the SavedModel
MANIFEST = "stream.json"
COUNT = "count"

# Kinds of tensors in a network of snippets.
_SEQUENCE = "sequence"  # (batch, T, ...): features of each snippet, in order
_FOLDED = "folded"  # (batch * T, ...): features of each snippet, folded into the batch
_VIDEO = "video"  # (batch, ...): features of the video
# Keras cannot copy the cells of these layers.
_CONVOLUTIONAL = (keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D)


def export_stream(
    model: keras.Model,
    path: str | os.PathLike,
    clip: ClipSpec,
    class_names: Sequence[str] | None = None,
    *,
    from_logits: bool = False,
) -> str | os.PathLike:
    """Export a network of snippets as a model of one snippet, with its state as input and output.

    After n snippets, the scores equal the scores of the network for n snippets (`step_model`).
    Every step takes the same time and memory. The folder holds

    - a SavedModel. Its signature `step` takes a prepared `snippet` and the states, and returns
      `probabilities`, `logits` and the next states. `step_frames` takes raw `frames` instead of
      the snippet. `initial_state` takes `batch_size` and returns zeros. `labels` returns the class
      names.
    - `model_fp32.tflite`: `step` for LiteRT, with batch size 1 and built-in operators.
    - `stream.json`: the shapes of the snippet and of the states.

    An older export of this kind is replaced. `step_model` must accept `model`. Arguments and
    errors are otherwise the same as for `export_model`. Returns `path`.
    """
    clip.check_model(model)
    class_names = check_class_names(model, class_names)
    check_replaceable(path, MANIFEST)
    with atomic_write(path) as temporary:
        write(with_logits(model, from_logits), temporary, clip.with_frame_size(), class_names)
    return path


def write(
    model: keras.Model, folder: str, clip: ClipSpec, class_names: tuple[str, ...], clips: int = 1
) -> None:
    """Write the folder of `export_stream` for a model that returns logits."""
    step = step_model(model)
    names = [name for name in step.input if name != "snippet"]
    shapes = {name: tuple(step.input[name].shape[1:]) for name in step.input}

    def signature(batch, names):
        return [tf.TensorSpec((batch, *shapes[name]), tf.float32, name=name) for name in names]

    def stepping(network):
        def take(snippet, *states):
            outputs = network({"snippet": snippet, **dict(zip(names, states, strict=True))})
            return {**scores(outputs["scores"]), **{name: outputs[name] for name in names}}

        return take

    take = tf.function(stepping(step), input_signature=signature(None, step.input))

    def take_frames(frames, *states):
        images = tf.reshape(frames, tf.concat([[-1], tf.shape(frames)[2:]], axis=0))
        prepared = transforms.prepare_frames(images, clip)
        return take(transforms.join_frames(prepared, shapes["snippet"]), *states)

    def begin(batch_size):
        return {name: tf.zeros((batch_size, *shapes[name])) for name in names}

    frames = tf.TensorSpec((None, clip.frames, None, None, clip.channels), tf.uint8, name="frames")
    archive = keras.export.ExportArchive()
    archive.track(step)
    archive.add_endpoint("step", take, input_signature=signature(None, step.input))
    archive.add_endpoint(
        "step_frames", take_frames, input_signature=[frames, *signature(None, names)]
    )
    batch_size = tf.TensorSpec((), tf.int32, name="batch_size")
    archive.add_endpoint("initial_state", begin, input_signature=[batch_size])
    archive.add_endpoint("labels", lambda: {"labels": tf.constant(class_names)}, input_signature=[])
    archive.write_out(folder, verbose=False)
    with open(os.path.join(folder, LITERT), "wb") as file:
        file.write(_litert(stepping(fold(step)), signature(1, step.input)))
    write_json(
        os.path.join(folder, MANIFEST),
        {
            "snippet": list(shapes["snippet"]),
            "states": {name: list(shapes[name]) for name in names},
            "frames": clip.frames,
            "frame_stride": clip.frame_stride,
        },
    )


def scorer(folder: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from groups of snippets to the logits after the last, run by LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    states = read_json(os.path.join(folder, MANIFEST))["states"]
    with plain_path(os.path.join(folder, LITERT)) as plain:
        step = Interpreter(plain).get_signature_runner()

    def score(samples):
        logits = []
        for snippets in np.asarray(samples, np.float32):
            outputs = {name: np.zeros((1, *shape), np.float32) for name, shape in states.items()}
            for snippet in snippets:
                outputs = step(snippet=snippet[None], **{name: outputs[name] for name in states})
            logits.append(outputs["logits"])
        return np.concatenate(logits)

    return score


def _litert(take, signature):
    """Convert the step of one snippet to a LiteRT file."""
    concrete = tf.function(take, input_signature=signature).get_concrete_function()
    # Weights become constants. The converter would leave them as variables that start empty.
    frozen = convert_variables_to_constants_v2(concrete)

    def call(*inputs):
        return tf.nest.pack_sequence_as(concrete.structured_outputs, frozen(*inputs))

    static = tf.function(call, input_signature=signature).get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([static], tf.Module()).convert()


def step_model(model: keras.Model) -> keras.Model:
    """Turn a network of T snippets into a model of one snippet and a state.

    Called for n snippets one after the other, it returns the scores that the network for n
    snippets returns. A recurrent layer becomes one step of its cell, and an average consensus
    becomes a sum and a count. Every step takes the same time and memory.

    Args:
        model: A functional or `Sequential` Keras model from `(batch, T, *snippet)` to scores. It
            encodes snippets in `keras.layers.TimeDistributed` or folded into the batch. Only
            forward recurrent layers and `SegmentConsensus` may combine them. The step model shares
            its weights.

    Returns:
        A functional `keras.Model` from a dict of `snippet`, `(batch, *snippet)`, and states to a
        dict of `scores` and the next states, all float32. States are named after their layers:
        `relational_lstm_0` is H_t and `relational_lstm_1` is C_t. A stream begins with zeros.

    Raises:
        ValueError: If other layers combine snippets, or no layer does.
    """
    if not is_graph(model) or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "`model` must be a built functional or Sequential Keras model of one input and one "
            f"output to be streamed. Received: {model!r}"
        )
    model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    shape = tuple(model.input_shape)
    if len(shape) < 3 or None in shape[1:] or shape[1] < 2:
        raise ValueError(
            "`model` must take (batch, T, *snippet) of known sizes, T > 1, to be streamed. "
            f"Received: {model.name!r} with input_shape={shape}"
        )
    snippet = keras.Input(shape[2:], name="snippet")
    steps = _Steps(shape[1])
    sequence = steps.marked(ops.expand_dims(snippet, axis=1), _SEQUENCE)
    # `keras.models.clone_model` does the same, but cannot add inputs. Keras 3.12 requires
    # `operation_fn`.
    scores = model._run_through_graph(sequence, operation_fn=lambda layer: layer, call_fn=steps)
    if steps.kind(scores) != _VIDEO:
        raise ValueError(
            "`model` must make one prediction of all snippets to be streamed, with a recurrent "
            "layer that returns its last output, or a SegmentConsensus. "
            f"Received: {model.name!r}, which has neither"
        )
    outputs = {"scores": ops.cast(scores, "float32"), **steps.next_states}
    return keras.Model({"snippet": snippet, **steps.states}, outputs, name=f"{model.name}_step")


def _is_steppable(layer):
    """Return whether a layer is recurrent and one step of its cell can replace it."""
    if not isinstance(layer, keras.layers.RNN) or isinstance(layer, _CONVOLUTIONAL):
        return False
    return not layer.return_state and not layer.go_backwards


class _Steps:
    """Calls the operations of a network for one snippet, and collects the states."""

    def __init__(self, segments):
        self.states, self.next_states = {}, {}  # inputs and outputs by the same names
        self._segments = segments
        self._marked = {}  # from id to (kind, tensor); holding the tensor keeps its id unique

    def marked(self, x, kind):
        """Remember the kind of a tensor, and return the tensor."""
        self._marked[id(x)] = kind, x
        return x

    def kind(self, x):
        """Return the kind of a tensor."""
        return self._marked[id(x)][0]

    def __call__(self, operation, *args, **kwargs):
        tensors = [x for x in keras.tree.flatten((args, kwargs)) if id(x) in self._marked]
        kinds = {self.kind(x) for x in tensors}
        x = tensors[0]
        if isinstance(operation, UnfoldSegments) and len(tensors) == 2:
            return self._sequence(x)  # the second tensor only tells the number of snippets
        if len(tensors) == 1 and kinds == {_SEQUENCE}:
            if _is_steppable(operation):
                output = self._recurrent(operation, x)
                if operation.return_sequences:
                    return self._sequence(output)
                return self.marked(output, _VIDEO)
            if isinstance(operation, keras.layers.TimeDistributed):
                return self._sequence(operation.layer(ops.squeeze(x, axis=1)))
            if isinstance(operation, SegmentConsensus):
                return self.marked(self._consensus(operation, x), _VIDEO)
        # The class of this keras.ops operation has no public name.
        if len(tensors) == 1 and type(operation).__name__ == "Reshape":
            folded = self._reshape(operation, x)
            if folded is not None:
                return folded
        if len(kinds) > 1 or _SEQUENCE in kinds:
            raise ValueError(
                "`model` cannot be streamed: its snippets must meet in a SegmentConsensus, or in "
                "recurrent layers of features, or RelationalLSTM, that go forward and return no "
                f"states. Received: {operation.name!r}, a {type(operation).__name__}"
            )
        result = operation(*args, **kwargs)
        for output in keras.tree.flatten(result):
            self.marked(output, *kinds)
        return result

    def _sequence(self, x):
        """Return features of one snippet as a sequence of length 1."""
        return self.marked(ops.expand_dims(x, axis=1), _SEQUENCE)

    def _reshape(self, operation, x):
        """Fold snippets into the batch, unfold them, or reshape each; otherwise `None`."""
        before, after = operation.input.shape, operation.output.shape
        if self.kind(x) == _VIDEO or None in (*before[1:], *after[1:]):
            return None
        ratio = math.prod(before[1:]) / math.prod(after[1:])
        if self.kind(x) == _SEQUENCE and ratio == self._segments:
            return self.marked(ops.reshape(x, (-1, *after[1:])), _FOLDED)
        of_all = self.kind(x) == _SEQUENCE and ratio == 1
        if after[1] == self._segments and (of_all or ratio == 1 / self._segments):
            return self.marked(ops.reshape(x, (-1, 1, *after[2:])), _SEQUENCE)
        return None

    def _recurrent(self, layer, x):
        initial = layer.get_initial_state(batch_size=1)
        states = [
            self._state(f"{layer.name}_{place}", state.shape[1:])
            for place, state in enumerate(keras.tree.flatten(initial))
        ]
        layer.cell.name = f"{layer.name}_cell"  # Keras gives all cells of a class one name
        output, following = layer.cell(
            ops.squeeze(x, axis=1), keras.tree.pack_sequence_as(initial, states)
        )
        for state, next_state in zip(states, keras.tree.flatten(following), strict=True):
            self.next_states[state.name] = ops.cast(next_state, "float32")
        if isinstance(layer, RelationalLSTM):
            return ops.reshape(output, (-1, *layer.cell.spatial_shape, layer.cell.units))
        return output

    def _consensus(self, layer, x):
        if COUNT not in self.states:
            count = self._state(COUNT, (1,))
            self.next_states[COUNT] = count + 1
        x = ops.squeeze(ops.cast(x, "float32"), axis=1)
        name = f"{layer.name}_{'sum' if layer.consensus == 'average' else 'max'}"
        state = self._state(name, x.shape[1:])
        shape = (-1, *(1 for _ in x.shape[1:]))
        if layer.consensus == "average":
            self.next_states[name] = state + x
            result = (state + x) / ops.reshape(self.next_states[COUNT], shape)
        else:  # before the first snippet, the state of zeros is not a maximum
            first = ops.reshape(self.states[COUNT], shape) < 0.5
            result = self.next_states[name] = ops.where(first, x, ops.maximum(state, x))
        return ops.cast(result, layer.compute_dtype)

    def _state(self, name, shape):
        self.states[name] = keras.Input(tuple(shape), name=name)
        return self.states[name]
