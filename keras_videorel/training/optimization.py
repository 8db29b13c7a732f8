"""SGD as both papers use it: learning rates, weight decay, loss and metrics."""

import keras
import tensorflow as tf

from keras_videorel.evaluation.metrics import TOP5_CLASSES
from keras_videorel.training.accumulation import AccumulatingModel


class SGD(keras.optimizers.SGD):
    """SGD that clips the gradient of the whole batch.

    Keras 3.15.1 clips the gradient of each device, as its TensorFlow ancestor did:
    https://github.com/tensorflow/tensorflow/issues/33929
    """

    def _clip_gradients(self, grads):
        replica = tf.distribute.get_replica_context()
        devices = replica.num_replicas_in_sync if replica else 1
        if devices == 1 or not self.global_clipnorm:
            return super()._clip_gradients(grads)
        clipped = super()._clip_gradients(replica.all_reduce("sum", grads))
        return [gradient / devices for gradient in clipped]  # Keras sums them over the devices


def sgd(
    learning_rate,
    momentum=0.9,
    nesterov=False,
    gradient_clip_norm=0.0,
    ema_momentum=0.0,
    loss_scaling=False,
):
    """SGD with momentum.

    Args:
        learning_rate: The rate of the first step.
        gradient_clip_norm: Largest norm of the gradient of all weights; 0: no limit.
        ema_momentum: Momentum of moving averages of the weights; 0: no averages.
        loss_scaling: Whether to scale the loss and to skip steps that overflow, for float16.
    """
    optimizer = SGD(
        learning_rate,
        momentum=momentum,
        nesterov=nesterov,
        global_clipnorm=gradient_clip_norm or None,
        use_ema=ema_momentum > 0,
        ema_momentum=ema_momentum,
    )
    return keras.optimizers.LossScaleOptimizer(optimizer) if loss_scaling else optimizer


def step_schedule(learning_rate, decay_epochs=(), decay_factor=0.1, warmup_epochs=0):
    """Linear warm-up, then a step down at each of `decay_epochs` (relational LSTM, Sec. 5.2).

    Args:
        learning_rate: The highest rate.
        decay_epochs: Epochs, from 0, that begin with a step down.
        decay_factor: Factor of the learning rate at each step down.
        warmup_epochs: Number of epochs of the warm-up.

    Returns:
        The learning rate as a function of an epoch and the losses of the epochs before it.
    """

    def decays(epoch, losses):
        return sum(start <= epoch for start in decay_epochs)

    return _schedule(learning_rate, decays, decay_factor, warmup_epochs)


def plateau_schedule(learning_rate, patience, min_delta, decay_factor=0.1, warmup_epochs=0):
    """Linear warm-up, then a step down each time the loss has saturated (ARTNet, Sec. 3.3).

    Arguments and result are as of `step_schedule` and `plateaus`. Losses in the warm-up do not
    count. The rate depends only on the epoch and the losses, so that resuming does not change it.
    """

    def decays(epoch, losses):
        return plateaus(losses[warmup_epochs:epoch], patience, min_delta)

    return _schedule(learning_rate, decays, decay_factor, warmup_epochs)


def _schedule(learning_rate, decays, decay_factor, warmup_epochs):
    def rate(epoch, losses=()):
        if epoch < warmup_epochs:
            return learning_rate * (epoch + 1) / (warmup_epochs + 1)
        return learning_rate * decay_factor ** decays(epoch, losses)

    return rate


def plateaus(losses, patience, min_delta):
    """The number of plateaus in a series of losses, one loss for each epoch.

    Args:
        losses: The losses.
        patience: Epochs of a plateau, in which the loss reaches no new lowest value.
        min_delta: How much lower a new lowest loss must be.
    """
    lowest, waited, found = float("inf"), 0, 0
    for loss in losses:
        if loss < lowest - min_delta:
            lowest, waited = loss, 0
        else:
            waited += 1
        if waited == patience:
            waited, found = 0, found + 1
    return found


def add_weight_decay(model, weight_decay):
    """L2 on matrices, as in both papers, and not on biases or batch normalization.

    The loss gains `weight_decay / 2 * |w|^2`. The gradient gains `weight_decay * w` inside the
    momentum, as in Caffe, while Keras's own `weight_decay` is decoupled. The regularizer is set on
    the variables and not on the layers, so that a saved model does not contain it.
    """
    regularizer = keras.regularizers.L2(weight_decay / 2)
    for variable in model.trainable_variables:
        if variable.path.split("/")[-1] not in ("bias", "beta", "gamma"):
            variable.regularizer = regularizer


def compile_model(model, optimizer, weight_decay=0.0, accumulation_steps=1, jit_compile="auto"):
    """Compile with L2 on matrices, cross entropy on logits, top-1 and top-5.

    Top-5 is measured with six classes or more. With fewer it would always be 1.

    Args:
        model: A `keras.Model` giving logits.
        optimizer: A Keras optimizer.
        weight_decay: See `add_weight_decay`.
        accumulation_steps: Number of parts of a batch, see `AccumulatingModel`.
        jit_compile: As in `keras.Model.compile`.

    Returns:
        The model to call `fit` of: `model`, or an `AccumulatingModel` of the same layers.
    """
    add_weight_decay(model, weight_decay)
    if accumulation_steps > 1:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "`accumulation_steps` must be 1 on other backends than tensorflow. Received: "
                f"accumulation_steps={accumulation_steps}, backend {keras.backend.backend()!r}"
            )
        model = AccumulatingModel(
            model.inputs, model.outputs, steps=accumulation_steps, name=model.name
        )
    metrics = [keras.metrics.SparseCategoricalAccuracy(name="top1")]
    if model.output_shape[-1] >= TOP5_CLASSES:
        metrics.append(keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5"))
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=metrics,
        jit_compile=jit_compile,
    )
    return model
