"""Compare the scores of an exported file with the scores of its model."""

from __future__ import annotations

import math

import numpy as np

Z = 1.96  # 95% of a normal distribution lies within this many standard deviations


def compare(expected: np.ndarray, found: np.ndarray) -> dict:
    """Compare a file's outputs `(samples, classes)` with the outputs that the model gives.

    Returns:
        A dict of `samples` (their number), `agreement` (share of samples with the same best
        class), `agreement_interval` (its 95% interval), `max_error` and `mean_error`.
    """
    error = np.abs(found - expected)
    same = found.argmax(axis=-1) == expected.argmax(axis=-1)
    return {
        "samples": len(found),
        "agreement": float(same.mean()),
        "agreement_interval": list(interval(int(same.sum()), same.size)),
        "max_error": float(error.max()),
        "mean_error": float(error.mean()),
    }


def interval(same: int, count: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share, where `same` of `count` samples agreed."""
    share, extent = same / count, Z**2 / count
    middle = (share + extent / 2) / (1 + extent)
    half = math.sqrt(share * (1 - share) * extent + extent**2 / 4) / (1 + extent)
    return (
        0.0 if same == 0 else middle - half,
        1.0 if same == count else middle + half,
    )


def check_agreement(name: str, figures: dict, min_agreement: float, remedy: str = "") -> None:
    """Raise a `ValueError` if the 95% interval in `figures` lies below `min_agreement`.

    The check uses the interval because a few samples cannot show a share of 99%. If one of 33
    samples differs, the share is 97%, but it may be 99% over more samples.
    """
    low, high = figures["agreement_interval"]
    if high < min_agreement:
        raise ValueError(
            f"{name} agrees with Keras on {figures['agreement']:.3f} of {figures['samples']} "
            f"samples (95% interval {low:.3f} to {high:.3f}), less than "
            f"min_agreement={min_agreement}. {remedy}".strip()
        )
