"""The optimizer of a config: SGD, its rates, weight decay, loss and metrics."""

import keras
import tensorflow as tf

from keras_videorel.checks import check_choice, check_number
from keras_videorel.evaluation.metrics import TOP5_CLASSES
from keras_videorel.training.accumulation import AccumulatingModel
from keras_videorel.training.distribution import SGD

SCHEDULES = ("step", "plateau")
_JIT_COMPILE = {"auto": "auto", "on": True, "off": False}


def add_weight_decay(model, weight_decay):
    """L2 of all matrices, as both papers train; not of biases nor of batch normalization.

    The loss gains `weight_decay / 2 * |w|^2`, so that the gradient gains `weight_decay * w`,
    inside the momentum: what Caffe does, and what Keras's own decoupled `weight_decay` does not.
    It is set on the variables, not on the layers, so that a saved model does not carry it.
    """
    regularizer = keras.regularizers.L2(weight_decay / 2)
    for variable in model.trainable_variables:
        if variable.path.split("/")[-1] not in ("bias", "beta", "gamma"):
            variable.regularizer = regularizer


def learning_rate(config, epoch, losses=()):
    """The rate of an epoch: linear warm-up, then steps down.

    With `schedule="step"` there is a step at each of `decay_epochs` (relational LSTM, Sec. 5.2);
    with `"plateau"` wherever the loss has saturated (ARTNet, Sec. 3.3). It is a function of the
    losses and of nothing else, so a run that goes on has the rates of one that never stopped.

    Args:
        config: A config as `keras_videorel.runs.config.base` makes it.
        epoch: Number of the epoch, from 0.
        losses: Validation losses of the epochs before it, for `"plateau"`.

    Returns:
        A float.

    Raises:
        ValueError: If there is no such schedule.
    """
    train = config.train
    check_choice("config.train.schedule", train.schedule, SCHEDULES)
    if epoch < train.warmup_epochs:
        return train.learning_rate * (epoch + 1) / (train.warmup_epochs + 1)
    if train.schedule == "plateau":
        seen = losses[train.warmup_epochs : epoch]
        decays = plateaus(seen, train.plateau_epochs, train.plateau_delta)
    else:
        decays = sum(e <= epoch for e in train.decay_epochs)
    return train.learning_rate * train.decay_factor**decays


def plateaus(losses, patience, delta):
    """How often a series of losses has saturated.

    Args:
        losses: The losses, one an epoch.
        patience: Epochs without a new lowest loss that make a plateau; the next begins after it.
        delta: By how much a loss must be below the lowest to be one.

    Returns:
        The number of plateaus.
    """
    lowest, waited, found = float("inf"), 0, 0
    for loss in losses:
        if loss < lowest - delta:
            lowest, waited = loss, 0
        else:
            waited += 1
        if waited == patience:
            waited, found = 0, found + 1
    return found


def sgd(config):
    """The optimizer: SGD with momentum, and what the config asks for besides.

    Under `mixed_float16` it scales the loss dynamically, and skips a step whose gradients
    overflow. With `ema_momentum` it keeps moving averages of the weights, updated at each step.
    """
    train = config.train
    clip = train.gradient_clip_norm
    optimizer = SGD(
        learning_rate(config, 0),
        momentum=train.momentum,
        nesterov=train.nesterov,
        global_clipnorm=clip if clip > 0 else None,
        use_ema=train.ema_momentum > 0,
        ema_momentum=train.ema_momentum,
    )
    if config.dtype_policy == "mixed_float16":
        # Keras would do it by itself, but not where a checkpoint is read under another policy.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def compile_model(model, config):
    """Compile with SGD, L2 of matrices, cross entropy on logits, top-1 and top-5.

    Below six classes top-5 is left out: it would always be 1.

    Args:
        model: A `keras.Model` giving logits.
        config: A config as `keras_videorel.runs.config.base` makes it.

    Returns:
        What to call `fit` of: the model; or, where gradients are accumulated, an
        `AccumulatingModel` of the same layers.

    Raises:
        ValueError: If an option has no such value, or the batch cannot be divided.
    """
    train = config.train
    check_choice("config.train.jit_compile", train.jit_compile, _JIT_COMPILE)
    check_number("config.train.ema_momentum", train.ema_momentum, 0, below=1)
    add_weight_decay(model, train.weight_decay)
    steps = train.accumulation_steps
    devices = tf.distribute.get_strategy().num_replicas_in_sync
    if steps < 1 or train.batch_size % (steps * devices):
        raise ValueError(
            "`config.train.batch_size` must be a multiple of `config.train.accumulation_steps` "
            f"times the devices. Received: batch_size={train.batch_size}, "
            f"accumulation_steps={steps}, {devices} device{'s'[: devices > 1]}"
        )
    if steps > 1 and keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`config.train.accumulation_steps` must be 1 on other backends than tensorflow. "
            f"Received: accumulation_steps={steps}, backend {keras.backend.backend()!r}"
        )
    if steps > 1:
        model = AccumulatingModel(model.inputs, model.outputs, steps=steps, name=model.name)
    metrics = [keras.metrics.SparseCategoricalAccuracy(name="top1")]
    if model.output_shape[-1] >= TOP5_CLASSES:
        metrics.append(keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5"))
    model.compile(
        optimizer=sgd(config),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=metrics,
        jit_compile=_JIT_COMPILE[train.jit_compile],
    )
    return model
