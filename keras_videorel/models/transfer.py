"""Copy weights between models by the names of layers."""

from typing import NamedTuple

import keras
import numpy as np


class WeightsReport(NamedTuple):
    """The result of `initialize_from`.

    Attributes:
        loaded: Names of the layers whose weights were copied.
        adapted: Names of the layers that were initialized across modalities.
        skipped: Dict from the names of unchanged layers to the reason.
    """

    loaded: list
    adapted: list
    skipped: dict

    def __str__(self):
        lines = [
            f"{len(self.loaded)} layers loaded, {len(self.adapted)} adapted to other channels "
            f"({', '.join(self.adapted) or 'none'}), {len(self.skipped)} left as initialized"
        ]
        reasons = {}
        for name, reason in self.skipped.items():
            reasons.setdefault(reason, []).append(name)
        for reason, names in reasons.items():
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            lines.append(f"  {reason}: {', '.join(names[:3])}{more}")
        return "\n".join(lines)


def initialize_from(model, source, same_classes=True):
    """Copy the weights of all layers that have the same name and shapes in another model.

    Names match in nested models, too. For example, a relational LSTM network takes conv1 to
    conv5_3 from a temporal segment network or from a backbone (Sec. 5.3).

    If a convolution differs only in its input channels, it is initialized across modalities
    (Sec. 5.2). An example is the first convolution of a flow stream and a trained spatial stream.
    The kernel is averaged over the channels of the source, repeated over the channels of the
    model, and scaled. For an input with equal channels, the response is the same as in the
    source, as the batch normalization after it expects.

    Args:
        model: The `keras.Model` to initialize, in place.
        source: A trained `keras.Model`.
        same_classes: Whether both models have the same classes in the same order. If not, the
            classifier (the last layer with weights) does not change.

    Returns:
        A `WeightsReport` of the loaded, adapted and skipped layers.

    Raises:
        ValueError: If no layer of the source matches.
    """
    sources = dict(_leaves(source))
    loaded, adapted, skipped = [], [], {}
    leaves = list(_leaves(model))
    if not same_classes and leaves:
        skipped[leaves.pop()[0]] = "the classifier, since the source has other classes"
    for name, layer in leaves:
        values = sources.get(name)
        if values is None:
            skipped[name] = "no such layer in the source"
            continue
        theirs = [keras.ops.convert_to_numpy(v) for v in values.weights]
        wanted = [tuple(v.shape) for v in layer.weights]
        if [v.shape for v in theirs] == wanted:
            layer.set_weights(theirs)
            loaded.append(name)
        elif _differ_in_input_channels(theirs, wanted):
            layer.set_weights(
                [_across_modalities(v, shape) for v, shape in zip(theirs, wanted, strict=True)]
            )
            adapted.append(name)
        else:
            skipped[name] = "other shapes in the source"
    if not loaded and not adapted:
        raise ValueError(
            f"`source` must have layers of the same names as the model. Received: {source.name!r}, "
            f"whose layers have nothing in common with those of {model.name!r}"
        )
    return WeightsReport(loaded, adapted, skipped)


def _leaves(model):
    """Yield names and layers with weights, also of nested models."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        elif layer.weights:
            yield layer.name, layer


def _differ_in_input_channels(theirs, wanted):
    different = [
        (value.shape, shape)
        for value, shape in zip(theirs, wanted, strict=False)
        if value.shape != shape
    ]
    return len(theirs) == len(wanted) and all(
        # Input channels are the next to last axis of a kernel, after its spatial axes.
        len(a) == len(b) >= 4 and a[:-2] == b[:-2] and a[-1] == b[-1]
        for a, b in different
    )


def _across_modalities(value, shape):
    if value.shape == shape:
        return value
    mean = value.mean(axis=-2, keepdims=True) * (value.shape[-2] / shape[-2])
    return np.broadcast_to(mean, shape)
