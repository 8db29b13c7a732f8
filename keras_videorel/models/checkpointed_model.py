"""Gradient checkpointing: a model whose activations are computed again for its gradients."""

import keras


@keras.saving.register_keras_serializable(package="keras_videorel")
class CheckpointedModel(keras.Model):
    """A functional model that keeps its input in training, and none of its activations.

    They are computed again when gradients are taken: less memory, more time. The
    weights and the statistics of batch normalization go in and out as values, so gradients and
    updates are those of the model without checkpointing; `keras.RematScope` (Keras 3.15.1) would
    update the statistics once more with every recomputation, and fails in TensorFlow's graphs.

    Args:
        inputs: As for a functional `keras.Model`.
        outputs: As for a functional `keras.Model`.
        **kwargs: `name`, `trainable`.
    """

    def call(self, inputs, training=None, mask=None):
        if not training:
            return super().call(inputs, training=training, mask=mask)
        call = super().call
        weights, states = self.trainable_variables, self.non_trainable_variables
        variables = [*weights, *states]

        def run(x, *values):
            pairs = zip(variables, values, strict=True)
            with keras.StatelessScope(state_mapping=pairs) as scope:
                y = call(x, training=True, mask=mask)
            return y, [scope.get_current_value(variable) for variable in states]

        # States are copied, for torch assigns in place what the recomputation still needs.
        values = [keras.ops.convert_to_tensor(variable) for variable in weights]
        values += [keras.ops.copy(variable) for variable in states]
        y, updates = keras.remat(run)(inputs, *values)
        for variable, value in zip(states, updates, strict=True):
            variable.assign(value)
        return y


def checkpointed(model, cuts):
    """A functional model of the same weights in parts, each of them a `CheckpointedModel`.

    `cuts` are the names of layers, in order, whose output is all that later layers need.
    """
    inputs = x = keras.Input(model.input_shape[1:])
    start = model.input
    for place, name in enumerate([*cuts, None], start=1):
        end = model.output if name is None else model.get_layer(name).output
        x = CheckpointedModel(start, end, name=f"part_{place}")(x)
        start = end
    return keras.Model(inputs, x, name=model.name)
