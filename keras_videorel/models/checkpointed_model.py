"""Gradient checkpointing: compute the activations of a model again for its gradients."""

import keras


@keras.saving.register_keras_serializable(package="keras_videorel")
class CheckpointedModel(keras.Model):
    """A functional model that does not store its activations in training.

    The activations are computed again for the gradients, which saves memory and costs time.
    Weights and batch statistics go in and out as values, so gradients and updates equal those of
    an ordinary model. `keras.RematScope` (Keras 3.15.1) would update the statistics again in
    every recomputation, and fails in TensorFlow graphs.

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

        # States are copied, because torch assigns in place and the recomputation needs old values.
        values = [keras.ops.convert_to_tensor(variable) for variable in weights]
        values += [keras.ops.copy(variable) for variable in states]
        y, updates = keras.remat(run)(inputs, *values)
        for variable, value in zip(states, updates, strict=True):
            variable.assign(value)
        return y


def checkpointed(model, cuts):
    """Rebuild a functional model as a chain of `CheckpointedModel`s that share its weights.

    `cuts` are the names of the last layers of the parts, in order. Later layers may only use the
    outputs of these layers.
    """
    inputs = x = keras.Input(model.input_shape[1:])
    start = model.input
    for place, name in enumerate([*cuts, None], start=1):
        end = model.output if name is None else model.get_layer(name).output
        x = CheckpointedModel(start, end, name=f"part_{place}")(x)
        start = end
    return keras.Model(inputs, x, name=model.name)
