"""Checks of arguments. Errors are one line: the argument, the expected and the received value."""

import difflib
import math
import numbers
import operator

_BOUNDS = {
    "min_value": ("of at least", operator.ge),
    "above": ("above", operator.gt),
    "below": ("below", operator.lt),
    "max_value": ("at most", operator.le),
}


def check_integer(name, value, min_value=None, max_value=None):
    """`value` as an int, or a `ValueError` if it is not an integer within the bounds."""
    try:
        number = operator.index(None if isinstance(value, bool) else value)
    except TypeError:
        number = None
    return _check(name, value, number, "an integer", min_value=min_value, max_value=max_value)


def check_number(name, value, min_value=None, above=None, below=None, max_value=None):
    """`value`, or a `ValueError` if it is not a finite number within the bounds."""
    right = isinstance(value, numbers.Real) and not isinstance(value, bool)
    number = value if right and math.isfinite(value) else None
    bounds = {"min_value": min_value, "above": above, "below": below, "max_value": max_value}
    return _check(name, value, number, "a finite number", **bounds)


def _check(name, received, number, kind, **bounds):
    bounds = {key: bound for key, bound in bounds.items() if bound is not None}
    if number is None or not all(_BOUNDS[key][1](number, bounds[key]) for key in bounds):
        words = " and ".join(f"{_BOUNDS[key][0]} {bounds[key]}" for key in bounds)
        raise ValueError(f"`{name}` must be {kind} {words}".rstrip() + f". Received: {received!r}")
    return number


def check_numbers(name, values, **bounds):
    """`values`, or a `ValueError` if it is not a sequence of numbers that `check_number` takes."""
    if isinstance(values, str) or not hasattr(values, "__len__") or not len(values):
        raise ValueError(f"`{name}` must be a sequence of numbers. Received: {values!r}")
    for value in values:
        check_number(name, value, **bounds)
    return values


def check_choice(name, value, choices):
    """`value`, or a `ValueError` if it is not one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(str, choices))}. Received: {value!r}"
        )
    return value


def did_you_mean(word, known):
    """`" (did you mean NAME?)"` for the name closest to `word`, or `""`.

    Names are close if their letters are similar, if one is the initials of the other (`lr`,
    `learning_rate`), or if one contains the other.
    """
    word, known = str(word), [str(name) for name in known]
    close = difflib.get_close_matches(word, known, 1, 0.6)
    close += [name for name in known if word == "".join(part[:1] for part in name.split("_"))]
    close += [name for name in known if len(word) > 2 and (word in name or name in word)]
    return f" (did you mean {close[0]}?)" if close else ""
