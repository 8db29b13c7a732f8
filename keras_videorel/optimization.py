"""The optimizer of a config: SGD, its rates, weight decay, loss and metrics."""

import keras

from keras_videorel.distribution import SGD


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


def learning_rate(config, epoch):
    """The rate of an epoch: linear warm-up, then a step down at each of `decay_epochs`."""
    train = config.train
    if epoch < train.warmup_epochs:
        return train.learning_rate * (epoch + 1) / (train.warmup_epochs + 1)
    return train.learning_rate * train.decay_factor ** sum(e <= epoch for e in train.decay_epochs)


def compile_model(model, config):
    """Compile with SGD, L2 of kernels, cross entropy on logits, top-1 and top-5."""
    train = config.train
    add_weight_decay(model, train.weight_decay)
    clip = train.gradient_clip_norm
    model.compile(
        optimizer=SGD(
            learning_rate(config, 0),
            momentum=train.momentum,
            nesterov=train.nesterov,
            global_clipnorm=clip if clip > 0 else None,
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="top1"),
            keras.metrics.SparseTopKCategoricalAccuracy(
                min(5, model.output_shape[-1]), name="top5"
            ),
        ],
    )
