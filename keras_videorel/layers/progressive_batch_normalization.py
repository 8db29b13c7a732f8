"""Batch normalization with moving statistics in training and inference."""

import keras
from keras import ops

from keras_videorel.checks import check_number


@keras.saving.register_keras_serializable(package="keras_videorel")
class ProgressiveBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization with moving statistics (Relational LSTM, Sec. 5.2).

    With few videos and small batches, the statistics of a batch differ much from the moving
    statistics. A network that trains with batch statistics and is tested with moving statistics
    then overfits. This layer uses the moving mean m and variance s in both cases:

    - `y = gamma * (x - m) / sqrt(s + epsilon) + beta`;
    - in training, afterwards, `m = momentum * m + (1 - momentum) * mean(x)`, and the same for s.

    No gradient flows through the statistics. The layer is meant for networks with trained
    statistics. In a new layer, they need about `1 / (1 - momentum)` steps to follow the data.

    The momentum of the paper, "e.g. 0.001, 0.0005", is the weight of the batch. The momentum of
    Keras is the weight of the past, here 0.999 or 0.9995.

    With several devices (`tf.distribute.MirroredStrategy`), the statistics cover the global batch,
    and `synchronized` has no effect. A frozen layer (`trainable=False`) keeps its statistics.

    Args:
        axis: The axis of the channels.
        momentum: Weight of the past in the moving statistics, in [0, 1].
        epsilon: Added to the variance.
        **kwargs: Other arguments of `keras.layers.BatchNormalization`, except `renorm`.

    Call arguments:
        inputs: Tensor of any rank.
        training: Whether to update the moving statistics.
        mask: Positions that count in the statistics. Optional. Its shape is the input shape
            without the last axis, or the first axes of it, such as `(batch, time)`. If every
            position is masked, the statistics do not change.

    Input shape:
        Any shape with a known number of channels.

    Output shape:
        The input shape.

    Raises:
        ValueError: If `renorm` is set, `momentum` is out of range, a mask has the wrong rank, or a
            mask is given although `axis` is not the last axis.

    Example:

    >>> model = keras.applications.ResNet101V2(include_top=False, pooling="avg")
    >>> model = swap_batch_normalization(model, momentum=0.999)  # then compile and fit

    References:
        [Relational Long Short-Term Memory for Video Action Recognition](
        https://arxiv.org/abs/1811.07059), Sec. 5.2.
    """

    def __init__(self, axis=-1, momentum=0.999, epsilon=1e-3, **kwargs):
        if kwargs.get("renorm"):
            raise ValueError(
                "`renorm` corrects for the statistics of the batch, which this layer does not "
                f"normalize with; it must be False. Received: renorm={kwargs['renorm']}"
            )
        check_number("momentum", momentum, 0, max_value=1)
        super().__init__(axis=axis, momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs, training=None, mask=None):
        if mask is not None and self.axis not in (-1, len(inputs.shape) - 1):
            raise ValueError(
                "A mask is of the positions before the last axis, so that `axis` must be the "
                f"last. Received: axis={self.axis}, inputs.shape={inputs.shape}"
            )
        if mask is not None:
            for _ in range(len(mask.shape), len(inputs.shape) - 1):
                mask = ops.expand_dims(mask, axis=-1)
        outputs = super().call(inputs, training=False, mask=mask)
        if training and self.trainable:
            self._update_statistics(inputs, mask)
        return outputs

    def _update_statistics(self, inputs, mask):
        """Move the moving statistics one step toward the statistics of the batch."""
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        inputs = ops.stop_gradient(ops.cast(inputs, dtype))
        moving_mean = ops.cast(self.moving_mean, dtype)
        moving_variance = ops.cast(self.moving_variance, dtype)

        # Keras computes synchronized moments from sums of x and x^2, which loses precision if the
        # mean is large. So the moving mean, which is the same on all devices, is subtracted first.
        shape = [1] * len(inputs.shape)
        shape[self.axis] = -1
        centered = inputs - ops.reshape(moving_mean, shape)
        step = 1.0 - self.momentum
        if mask is None:
            mean, variance = self._global_moments(centered)
        else:
            valid = ops.cast(ops.expand_dims(ops.cast(mask, "bool"), -1), dtype)
            valid = ops.broadcast_to(valid, ops.shape(inputs))
            # `where`, because masked values may be NaN.
            centered = ops.where(valid > 0, centered, 0.0)
            share, _ = self._global_moments(valid)
            step = step * ops.cast(share > 0, dtype)
            share = ops.where(share > 0, share, 1.0)
            mean = self._global_moments(centered)[0] / share
            square = self._global_moments(ops.square(centered))[0] / share
            variance = ops.maximum(square - ops.square(mean), 0.0)
        self.moving_mean.assign(moving_mean + step * mean)
        self.moving_variance.assign(moving_variance + step * (variance - moving_variance))

    def _global_moments(self, x):
        """Return the mean and variance of each channel over the global batch."""
        # The other backends hold the global batch in one array, or use one device, and refuse it.
        synchronized = keras.backend.backend() == "tensorflow"
        return ops.moments(x, axes=self._reduction_axes, synchronized=synchronized)


def swap_batch_normalization(model, momentum=0.999):
    """Copy a model and replace batch normalization by `ProgressiveBatchNormalization`.

    Each `keras.layers.BatchNormalization` is replaced by a layer with the same name, arguments and
    weights. This includes nested models and wrappers such as `TimeDistributed`. The layers of this
    package get `progressive=True`. Weights, `trainable` flags, shared layers and the outputs in
    inference stay the same.

    Args:
        model: A functional or `Sequential` Keras model. Models inside it must be, too.
        momentum: Momentum of the moving statistics. It also applies to the
            `ProgressiveBatchNormalization` layers that the model already has.

    Returns:
        A new model that shares nothing with `model`. The new model is not compiled.

    Raises:
        ValueError: If the model or one of its layers cannot be copied, or a batch normalization
            cannot be replaced.

    Example:

    >>> backbone = keras.applications.MobileNetV2(include_top=False, pooling="avg")
    >>> frames = keras.Input((8, 224, 224, 3))
    >>> features = keras.layers.TimeDistributed(backbone)(frames)
    >>> scores = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling1D()(features))
    >>> model = swap_batch_normalization(keras.Model(frames, scores), momentum=0.999)
    """
    try:
        copy = _copy_model(model, momentum, {})
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            "`model`, and each model inside it, must be a functional or Sequential Keras model of "
            f"layers with `get_config()`. Received: model={model!r}, which cannot be copied: "
            f"{error}"
        ) from error
    # Keras has no public method that lists the layers inside layers.
    originals, copies = model._flatten_layers(), copy._flatten_layers()
    for layer in copies:
        if type(layer) is keras.layers.BatchNormalization:
            raise ValueError(
                f'The batch normalization "{layer.path}" is made by a layer of its own accord, '
                f"so that it cannot be replaced from outside. Received: model={model.name}"
            )
    same = len(originals) == len(copies) and all(
        type(new) in (type(old), ProgressiveBatchNormalization)
        for old, new in zip(originals, copies, strict=True)
    )
    weights = [[(v.name, tuple(v.shape)) for v in m.weights] for m in (model, copy)]
    if not same or weights[0] != weights[1]:
        raise ValueError(
            "`model` cannot be copied: layers made from its layers' `get_config()` have other "
            "parts or weights, or share what is inside them in another way. "
            f"Received: model={model.name}"
        )
    for old, new in zip(model.weights, copy.weights, strict=True):
        # In JAX, both variables would hold one array, and a train step of one model deletes it.
        new.assign(ops.copy(old))
    # Setting `trainable` of a layer also sets it for the layers inside, so outer layers go first.
    # A layer that holds another layer holds more layers.
    pairs = zip(originals, copies, strict=True)
    for old, new in sorted(pairs, key=lambda pair: -len(pair[0]._flatten_layers())):
        new.trainable = old.trainable
    return copy


def _copy_model(model, momentum, copies):
    """Copy a functional or Sequential model. `copies` maps ids of layers to their copies."""

    def copy_layer(layer):
        if id(layer) not in copies:
            if isinstance(layer, keras.Model):
                copies[id(layer)] = _copy_model(layer, momentum, copies)
            elif type(layer) is keras.layers.TimeDistributed:
                # A copy from its config would not share the wrapped layer.
                config = {**layer.get_config(), "layer": copy_layer(layer.layer)}
                copies[id(layer)] = keras.layers.TimeDistributed(**config)
            else:
                copies[id(layer)] = _copy_layer(layer, momentum)
        return copies[id(layer)]

    # clone_model would also compile the copy, which fails for losses that are not registered.
    compiled, model.compiled = model.compiled, False
    try:
        copy = keras.models.clone_model(model, clone_function=copy_layer)
    finally:
        model.compiled = compiled
    if type(copy) is not type(model):
        raise TypeError(
            f"of {type(model).__name__} itself only the layers would be copied; "
            "keras.Model(model.inputs, model.outputs) is a model without more than those"
        )
    return copy


def _copy_layer(layer, momentum):
    config = _swapped_config(layer.get_config(), momentum)
    if type(layer) in (keras.layers.BatchNormalization, ProgressiveBatchNormalization):
        return ProgressiveBatchNormalization.from_config({**config, "momentum": momentum})
    if _has_switch(keras.saving.get_registered_name(type(layer)), config):
        config = {**config, "progressive": True, "momentum": momentum}
    return type(layer).from_config(config)


def _swapped_config(config, momentum):
    """Return a config in which serialized batch normalizations are swapped, at any depth."""
    if isinstance(config, (list, tuple)):
        items = [_swapped_config(item, momentum) for item in config]
        return tuple(items) if isinstance(config, tuple) else items
    if not isinstance(config, dict):
        return config
    config = {key: _swapped_config(value, momentum) for key, value in config.items()}
    if "class_name" not in config or not isinstance(config.get("config"), dict):
        return config
    config.pop("compile_config", None)
    name = config.get("registered_name") or config["class_name"]
    ours = keras.saving.get_registered_name(ProgressiveBatchNormalization)
    if (config.get("module"), name) == ("keras.layers", "BatchNormalization"):
        config["module"] = ProgressiveBatchNormalization.__module__
        config["class_name"] = ProgressiveBatchNormalization.__name__
        config["registered_name"] = name = ours
    if name == ours:
        config["config"]["momentum"] = momentum
    elif _has_switch(name, config["config"]):
        config["config"].update(progressive=True, momentum=momentum)
    return config


def _has_switch(registered_name, config):
    """Return whether a layer is from this package and has the argument `progressive`."""
    return registered_name.startswith("keras_videorel>") and "progressive" in config
