"""How far the scores of an exported file agree with those of its model."""

from __future__ import annotations

import math

import numpy as np

Z = 1.96  # of a normal distribution: 95% within


def compare(expected: np.ndarray, found: np.ndarray) -> dict:
    """Figures of a file's outputs `(samples, classes)` against those that the model gives.

    `samples`; `agreement`, the share with the same largest output, and its 95% interval,
    `agreement_interval`; `max_error` and `mean_error`.
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
    """Wilson's 95% interval of a share, of which `same` of `count` were seen."""
    share, extent = same / count, Z**2 / count
    middle = (share + extent / 2) / (1 + extent)
    half = math.sqrt(share * (1 - share) * extent + extent**2 / 4) / (1 + extent)
    return (
        0.0 if same == 0 else middle - half,
        1.0 if same == count else middle + half,
    )


def check_agreement(name: str, figures: dict, min_agreement: float, remedy: str = "") -> None:
    """Raise a `ValueError` if a file agrees too seldom for that to be chance.

    A few samples cannot show a share of 99%: one of 33 that differs is 97%, and may be one of 500.
    So the upper end of the interval in the figures of `compare` must reach `min_agreement`.
    """
    low, high = figures["agreement_interval"]
    if high < min_agreement:
        raise ValueError(
            f"{name} agrees with Keras on {figures['agreement']:.3f} of {figures['samples']} "
            f"samples (95% interval {low:.3f} to {high:.3f}), less than "
            f"min_agreement={min_agreement}. {remedy}".strip()
        )
