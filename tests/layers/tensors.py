"""Values and gradients of layers, on every Keras backend."""

import keras
import numpy as np

NAMES = ("theta_x", "phi_x", "g_x", "theta_h", "phi_h", "g_h", "bias")


def array(tensor):
    """A tensor or variable as a float64 array."""
    if keras.backend.standardize_dtype(tensor.dtype) in ("bfloat16", "float16"):
        tensor = keras.ops.cast(tensor, "float32")
    return keras.ops.convert_to_numpy(tensor).astype("float64")


def normal(shape, seed=0, scale=1.0):
    """Fixed standard normal values, float32."""
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype("float32")


def randomize(layer, seed=0):
    """Gives every weight normal values that keep the variance of its input."""
    rng = np.random.default_rng(seed)
    for variable in layer.weights:
        fan = variable.shape[0] if len(variable.shape) > 1 else 1
        variable.assign(rng.normal(size=variable.shape).astype("float32") / np.sqrt(fan))
    return layer


def weights_of(cell):
    """A relational cell's weights as float64 arrays, by name."""
    values = {name: getattr(cell, name, None) for name in NAMES}
    return {name: array(value) for name, value in values.items() if value is not None}


def copy_weights(source, target):
    """Gives `target` the weights of `source`, which are of the same shapes in the same order."""
    target.set_weights([keras.ops.convert_to_numpy(v) for v in source.weights])


def cost_weights(shape):
    """Fixed weights of an output in `gradients`, different everywhere."""
    return np.cos(np.arange(np.prod(shape))).reshape(shape).astype("float32")


def _cost(outputs):
    ops = keras.ops
    return sum(
        ops.sum(ops.multiply(ops.cast(output, "float32"), cost_weights(tuple(output.shape))))
        for output in keras.tree.flatten(outputs)
    )


def gradients(function, variables, x):
    """Gradients of a fixed linear cost of all outputs of `function(x)`.

    Args:
        function: Of a tensor, to a tensor or a nest of tensors.
        variables: Keras variables that it uses.
        x: An array.

    Returns:
        Float64 arrays: a list for `variables`, and one for `x`.
    """
    x = keras.ops.convert_to_tensor(x)
    values = [v.value for v in variables]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            cost = _cost(function(x))
        found = tape.gradient(cost, [*values, x], unconnected_gradients="zero")
    elif keras.backend.backend() == "jax":
        import jax

        def cost(values, x):
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return _cost(function(x))

        of_values, of_x = jax.jit(jax.grad(cost, argnums=(0, 1)))(values, x)
        found = [*of_values, of_x]
    else:
        import torch

        x.requires_grad_()
        with torch.enable_grad():
            cost = _cost(function(x))
        found = torch.autograd.grad(cost, [*values, x], allow_unused=True)
        found = [
            torch.zeros_like(value) if grad is None else grad
            for grad, value in zip(found, [*values, x], strict=True)
        ]
    *of_values, of_x = [array(grad) for grad in found]
    return of_values, of_x


def assert_same_gradients(actual, expected, atol=1e-5):
    """Compares two results of `gradients`."""
    for a, e in zip([*actual[0], actual[1]], [*expected[0], expected[1]], strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=atol)
