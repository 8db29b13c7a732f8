"""One check that every layer passes: what Keras users expect of any layer."""

import keras
import numpy as np


def check_layer(layer_class, arguments, input_shape, directory, atol=1e-5, unknown=None):
    """Config round trip, symbolic and eager call, a training step, mixed precision, save and load.

    Args:
        layer_class: The layer's class.
        arguments: Its arguments, all different from the defaults where possible.
        input_shape: Shape of an input, with the batch.
        directory: Where to save.
        atol: Tolerance of equal outputs.
        unknown: Axes of the input whose size may be unknown; None is all but the channels.
    """
    x = np.random.default_rng(0).normal(size=input_shape).astype("float32")

    layer = layer_class(**arguments)
    config = layer.get_config()
    missing = set(arguments) - set(config)
    assert not missing, f"get_config lacks {missing}"
    again = layer_class.from_config(config)
    assert again.get_config() == config

    # Symbolic shapes, known and unknown, are those of the values.
    eager = keras.ops.convert_to_numpy(layer(x))
    assert np.isfinite(eager).all()
    assert layer.compute_output_shape(input_shape) == eager.shape
    unknown = range(len(input_shape) - 1) if unknown is None else unknown
    batch_shape = [None if k in unknown else size for k, size in enumerate(input_shape)]
    symbolic = layer_class(**arguments)(keras.Input(batch_shape=batch_shape))
    assert len(symbolic.shape) == eager.ndim and symbolic.shape[-1] == eager.shape[-1]

    # A functional model gives what the layer gives, and learns with every weight.
    inputs = keras.Input(input_shape[1:])
    model = keras.Model(inputs, layer(inputs))
    np.testing.assert_allclose(model.predict(x, verbose=0), eager, atol=atol)
    before = [keras.ops.convert_to_numpy(v) for v in layer.trainable_variables]
    model.compile(keras.optimizers.SGD(0.5), "mse")
    model.fit(x, np.ones_like(eager), batch_size=len(x), verbose=0)
    after = [keras.ops.convert_to_numpy(v) for v in layer.trainable_variables]
    still = [
        v.path
        for v, a, b in zip(layer.trainable_variables, before, after, strict=True)
        if np.array_equal(a, b)
    ]
    assert not still, f"one step left {still} unchanged"

    trained = model.predict(x, verbose=0)
    path = directory / "layer.keras"
    model.save(path)
    loaded = keras.saving.load_model(path, safe_mode=True)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), trained, atol=1e-6)

    for policy in ("mixed_bfloat16", "mixed_float16"):
        mixed = layer_class(**arguments, dtype=policy)
        mixed.build(input_shape)
        mixed.set_weights([keras.ops.convert_to_numpy(v) for v in layer.weights])
        y = mixed(x)
        assert keras.backend.standardize_dtype(y.dtype) == policy.removeprefix("mixed_")
        assert all(v.dtype == "float32" for v in mixed.weights)
        y = keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))
        close = np.abs(y - trained) <= 0.05 * (1 + np.abs(trained))
        assert close.mean() > 0.98, f"{policy} gives other values than float32"
