"""Build, initialize, compile and load the network of a run."""

import inspect
import os

import keras

from keras_videorel import caffe, models
from keras_videorel.checks import check_choice
from keras_videorel.runs import workdir
from keras_videorel.runs.config import clip_spec
from keras_videorel.training import optimization


def build_model(config, classes, pretrained=True):
    """The model of a config, giving logits.

    If `config.data.segments` is set, a model of single snippets is wrapped in a
    `TemporalSegmentNetwork`. `RelationalLSTMResNet` takes the segments itself.

    Args:
        config: A config as `keras_videorel.runs.config.base` makes it.
        classes: Number of classes.
        pretrained: Whether to load the `weights` that the config names.

    Returns:
        A `keras.Model` from samples of `clip_spec(config).shape` to logits `(batch, classes)`.
    """
    arguments = dict(config.model)
    name = arguments.pop("name")
    constructors = {key: getattr(models, key) for key in models.__all__ if key[:1].isupper()}
    constructors["CaffeResNet18"] = caffe.CaffeResNet18
    constructor = constructors[check_choice("config.model.name", name, constructors)]
    segments, shape = config.data.segments, clip_spec(config).shape
    takes_segments = "segments" in inspect.signature(constructor).parameters
    if takes_segments:
        arguments["segments"] = segments
    if "weights" in arguments and not pretrained:
        arguments["weights"] = None
    try:
        model = constructor(
            input_shape=shape[1:] if segments else shape,
            classes=classes,
            classifier_activation=None,
            **arguments,
        )
    except TypeError as error:
        raise ValueError(f"`config.model` has an argument that {name} lacks: {error}") from error
    if segments and not takes_segments:
        return models.TemporalSegmentNetwork(model, segments, classifier_activation=None)
    return model


def make_model(config, classes, model=None, pretrained=True):
    """The user's own `model`, as `train` takes it, or the model of the config."""
    if model is None:
        return build_model(config, classes, pretrained)
    model = model if isinstance(model, keras.Model) else model()
    if model.output_shape[-1] != classes:
        raise ValueError(
            f"`model` must give logits of the {classes} classes of the shards. "
            f"Received: output_shape={model.output_shape}"
        )
    return model


def compile_model(model, config):
    """The model to call `fit` of. It is compiled by the config unless its user compiled it."""
    train = config.train
    if is_compiled_by_user(model):
        if train.accumulation_steps > 1:
            raise ValueError(
                "`config.train.accumulation_steps` must be 1 for a model that is compiled already. "
                f"Received: {train.accumulation_steps}"
            )
        return model
    trained = optimization.compile_model(
        model,
        optimizer(config),
        train.weight_decay,
        train.accumulation_steps,
        {"auto": "auto", "on": True, "off": False}[train.jit_compile],
    )
    trained.compiled_by_run = True  # so that training it again compiles it again
    return trained


def is_compiled_by_user(model):
    """Whether a model was compiled before it was given to `train`."""
    return model.compiled and not getattr(model, "compiled_by_run", False)


def optimizer(config):
    """The optimizer of a config, with the learning rate of the first epoch."""
    train = config.train
    return optimization.sgd(
        schedule(config)(0),
        momentum=train.momentum,
        nesterov=train.nesterov,
        gradient_clip_norm=train.gradient_clip_norm,
        ema_momentum=train.ema_momentum,
        # Keras adds it by itself, but not when a checkpoint is read under another policy.
        loss_scaling=config.dtype_policy == "mixed_float16",
    )


def schedule(config):
    """The learning rate of a config, as a function of an epoch and the losses before it."""
    train = config.train
    shared = {"decay_factor": train.decay_factor, "warmup_epochs": train.warmup_epochs}
    if train.schedule == "plateau":
        return optimization.plateau_schedule(
            train.learning_rate, train.plateau_epochs, train.plateau_delta, **shared
        )
    return optimization.step_schedule(train.learning_rate, train.decay_epochs, **shared)


def load_model(folder, config=None, model=None):
    """The model of a run with its newest checkpoint.

    With `config.train.ema_momentum`, the weights of the model are the moving averages.

    Args:
        folder: The run's folder.
        config: The run's config. By default it is read from the folder.
        model: See `runs.train`.

    Returns:
        `(model, epochs)`: a `keras.Model` giving logits, and the epochs that it was trained.
    """
    config = workdir.read_config(folder) if config is None else config
    if not workdir.checkpoints(folder):
        raise FileNotFoundError(f"{folder!r} holds no checkpoint yet: train it first")
    classes = len(workdir.read_labels(folder))
    model = trained = make_model(config, classes, model, pretrained=False)
    if config.train.ema_momentum and not is_compiled_by_user(model):
        # The optimizer holds the averages. A second model on the same weights loads it.
        trained = keras.Model(model.inputs, model.outputs, name=model.name)
        trained.compile(optimizer(config))
    if trained.compiled:
        trained.optimizer.build(trained.trainable_variables)
    epochs = workdir.load_checkpoint(trained, folder).epochs
    if trained.compiled:
        trained.optimizer.finalize_variable_values(trained.trainable_variables)
    return model, epochs


def initialize(model, path, labels=None):
    """Initialize a model from another run, by the names of its layers (Sec. 5.2 and 5.3).

    Args:
        model: The `keras.Model` to initialize.
        path: The other run's folder, or a `.keras` file.
        labels: Names of the model's classes. If the other run has other labels or another order,
            its classifier is not loaded.

    Returns:
        A `models.transfer.WeightsReport`.
    """
    same_classes = True
    if os.path.isdir(path):
        source, _ = load_model(path)
        same_classes = labels is None or workdir.read_labels(path) == labels
    elif os.path.isfile(path):
        source = keras.saving.load_model(path)
    else:
        raise FileNotFoundError(
            "`config.train.initialize_from` must be the folder of a run or a .keras file. "
            f"Received: {path!r}"
        )
    return models.initialize_from(model, source, same_classes)
