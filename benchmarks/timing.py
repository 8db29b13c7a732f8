"""Seconds of steps, measured in turns so that the machine's moods fall on all alike."""

import time

import numpy as np


def seconds_in_turns(steps, rounds=5):
    """Median seconds of each step.

    Args:
        steps: Dict from name to a function without arguments.
        rounds: How often each is run, after a first time that is not counted.

    Returns:
        Dict from name to seconds.
    """
    for step in steps.values():
        step()
    taken = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            taken[name].append(time.perf_counter() - start)
    return {name: float(np.median(times)) for name, times in taken.items()}


def training_and_inference(models, x):
    """Seconds of a training step and of a prediction of each model, on one batch.

    Args:
        models: Dict from name to a `keras.Model` of one output.
        x: The batch.

    Returns:
        Two dicts from name to seconds.
    """
    for model in models.values():
        model.compile("sgd", "mse")
    targets = {
        name: np.zeros((len(x), *model.output_shape[1:]), "float32")
        for name, model in models.items()
    }
    training = {
        name: lambda model=model, y=targets[name]: model.train_on_batch(x, y)
        for name, model in models.items()
    }
    inference = {
        name: lambda model=model: model.predict_on_batch(x) for name, model in models.items()
    }
    return seconds_in_turns(training), seconds_in_turns(inference)


def print_ratios(title, seconds, reference):
    """Print seconds, and how many times the reference's each takes."""
    print(f"\n{title}")
    for name, value in seconds.items():
        print(f"  {name:34}{value:9.3f} s   {value / seconds[reference]:6.2f}")
