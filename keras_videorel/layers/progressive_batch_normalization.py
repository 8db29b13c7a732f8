"""Batch normalization whose statistics follow the data slowly, in training as in inference."""

import keras
from keras import ops

from keras_videorel.checks import check_number


@keras.saving.register_keras_serializable(package="keras_videorel")
class ProgressiveBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization by the moving statistics (Relational LSTM, Sec. 5.2).

    With few videos and small batches the statistics of a batch are far from the moving ones, and
    a network that trains with the former and is tested with the latter overfits. This layer
    uses the moving mean and variance, m and s, in both:

    - `y = gamma * (x - m) / sqrt(s + epsilon) + beta`,
    - in training, after that, `m = momentum * m + (1 - momentum) * mean(x)`, and s likewise.

    No gradient flows through the statistics: to the loss they are constants. It is meant for
    networks with trained statistics; those of a new layer (0 and 1) take some
    `1 / (1 - momentum)` steps to follow the data.

    The paper's momentum, "e.g. 0.001, 0.0005", is the weight of the batch; in Keras it is the
    weight of the past, 0.999 and 0.9995.

    The statistics are those of the whole batch, whatever the number of devices it is spread
    over (`tf.distribute.MirroredStrategy`), so `synchronized` makes no difference. A frozen
    layer (`trainable=False`) keeps its statistics.

    Args:
        axis: The axis of the channels.
        momentum: Weight of the past in the moving statistics, in [0, 1].
        epsilon: Added to the variance.
        **kwargs: The other arguments of `keras.layers.BatchNormalization`, but not `renorm`.

    Call arguments:
        inputs: Tensor of any rank.
        training: Whether to update the moving statistics.
        mask: Optional, in the shape of the inputs without their last axis, or of the first axes
            of that, as `(batch, time)`: the positions that the statistics are of. A batch without
            any leaves them as they are.

    Input shape:
        Any, with a known number of channels.

    Output shape:
        The input shape.

    Raises:
        ValueError: If `renorm` is set, `momentum` is out of range, or the mask has another rank
            than described or comes with another `axis` than the last.

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
        """One step of the moving statistics towards those of the batch."""
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        inputs = ops.stop_gradient(ops.cast(inputs, dtype))
        moving_mean = ops.cast(self.moving_mean, dtype)
        moving_variance = ops.cast(self.moving_variance, dtype)

        # Keras's synchronized moments are sums of x and x^2, whose difference is lost to rounding
        # where the mean is large. The moving mean is near it, and the same on all devices.
        shape = [1] * len(inputs.shape)
        shape[self.axis] = -1
        centred = inputs - ops.reshape(moving_mean, shape)
        step = 1.0 - self.momentum
        if mask is None:
            mean, variance = self._global_moments(centred)
        else:
            valid = ops.cast(ops.expand_dims(ops.cast(mask, "bool"), -1), dtype)
            valid = ops.broadcast_to(valid, ops.shape(inputs))
            # `where`, as what is masked may be no number.
            centred = ops.where(valid > 0, centred, 0.0)
            share, _ = self._global_moments(valid)
            step = step * ops.cast(share > 0, dtype)
            share = ops.where(share > 0, share, 1.0)
            mean = self._global_moments(centred)[0] / share
            square = self._global_moments(ops.square(centred))[0] / share
            variance = ops.maximum(square - ops.square(mean), 0.0)
        self.moving_mean.assign(moving_mean + step * mean)
        self.moving_variance.assign(moving_variance + step * (variance - moving_variance))

    def _global_moments(self, x):
        """Mean and variance per channel over the batch of all devices."""
        # The other backends have one array of the global batch, or one device, and refuse this.
        synchronized = keras.backend.backend() == "tensorflow"
        return ops.moments(x, axes=self._reduction_axes, synchronized=synchronized)


def swap_batch_normalization(model, momentum=0.999):
    """A copy of a model whose batch normalizations are `ProgressiveBatchNormalization`.

    Every `keras.layers.BatchNormalization` of the model is replaced by one of the same name,
    arguments and weights: in nested models and in wrappers such as `TimeDistributed` too, and
    by `progressive=True` in this package's own layers. All else is as it was: the weights, the
    `trainable` flags, what is shared, and, the statistics being the same, the outputs in
    inference. In a network that is called with `training=False` the statistics stay fixed.

    Args:
        model: A functional or `Sequential` Keras model; so are the models inside it.
        momentum: Momentum of the moving statistics, see `ProgressiveBatchNormalization`; also
            of those that the model has already.

    Returns:
        A new model that shares nothing with `model`. It is not compiled, even where `model` is.

    Raises:
        ValueError: If the model, or a layer of it, cannot be copied, or a batch normalization
            in it cannot be replaced.

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
    # Keras has no public list of the layers inside layers.
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
        # jax would let both variables hold one array, and a step of one model take it away.
        new.assign(ops.copy(old))
    # From the outside in, as setting it for a layer sets it for all layers inside: what holds
    # another layer, shared or not, holds more.
    pairs = zip(originals, copies, strict=True)
    for old, new in sorted(pairs, key=lambda pair: -len(pair[0]._flatten_layers())):
        new.trainable = old.trainable
    return copy


def _copy_model(model, momentum, copies):
    """A functional or Sequential model anew; `copies`: those of layers met, by the id."""

    def copy_layer(layer):
        if id(layer) not in copies:
            if isinstance(layer, keras.Model):
                copies[id(layer)] = _copy_model(layer, momentum, copies)
            elif type(layer) is keras.layers.TimeDistributed:
                # From its config it would not share with others what it wraps.
                config = {**layer.get_config(), "layer": copy_layer(layer.layer)}
                copies[id(layer)] = keras.layers.TimeDistributed(**config)
            else:
                copies[id(layer)] = _copy_layer(layer, momentum)
        return copies[id(layer)]

    # clone_model would compile the copy as well, with losses that need not be registered.
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
    """A config in which the serialized layers, at any depth, are swapped."""
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
    """Whether a layer is one of ours whose config chooses its batch normalizations."""
    return registered_name.startswith("keras_videorel>") and "progressive" in config
