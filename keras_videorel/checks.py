"""Checks of arguments: one line that names the argument, what was expected, what came."""

import difflib
import math
import numbers
import operator


def check_integer(name, value, min_value=None, max_value=None):
    """`value` as an int between `min_value` and `max_value`.

    Raises:
        ValueError: If `value` is not an integer within the bounds.
    """
    message = f"`{name}` must be an integer"
    message += "" if min_value is None else f" of at least {min_value}"
    message += (
        "" if max_value is None else f"{'' if min_value is None else ' and'} at most {max_value}"
    )
    try:
        number = operator.index(None if isinstance(value, bool) else value)
    except TypeError:
        raise ValueError(f"{message}. Received: {value!r}") from None
    if (min_value is not None and number < min_value) or (
        max_value is not None and number > max_value
    ):
        raise ValueError(f"{message}. Received: {value!r}")
    return number


def check_choice(name, value, choices):
    """`value`, which must be one of `choices`.

    Raises:
        ValueError: If it is none of them.
    """
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(str, choices))}. Received: {value!r}"
        )
    return value


def check_number(name, value, min_value=None, above=None, below=None, max_value=None):
    """`value`, which must be a finite number inside of the bounds.

    Raises:
        ValueError: If `value` is not a finite number within the bounds.
    """
    bounds = {
        "of at least": (min_value, operator.ge),
        "above": (above, operator.gt),
        "below": (below, operator.lt),
        "at most": (max_value, operator.le),
    }
    bounds = {word: bound for word, bound in bounds.items() if bound[0] is not None}
    right = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (right and math.isfinite(value)) or not all(
        holds(value, bound) for bound, holds in bounds.values()
    ):
        words = " and ".join(f"{word} {bound}" for word, (bound, _) in bounds.items())
        raise ValueError(
            f"`{name}` must be a finite number{' ' if words else ''}{words}. Received: {value!r}"
        )
    return value


def check_numbers(name, values, **bounds):
    """`values`, which must be a sequence of one number or more, inside of `check_number`'s bounds.

    Raises:
        ValueError: If `values` is not such a sequence.
    """
    if isinstance(values, str) or not hasattr(values, "__len__") or not len(values):
        raise ValueError(f"`{name}` must be a sequence of numbers. Received: {values!r}")
    for value in values:
        check_number(name, value, **bounds)
    return values


def did_you_mean(word, known):
    """`" (did you mean NAME?)"`, or nothing where no name is like `word`.

    Names are alike by their letters, by their initials (`lr`, `learning_rate`), or where one is
    in the other.
    """
    word, known = str(word), [str(name) for name in known]
    close = difflib.get_close_matches(word, known, 1, 0.6)
    close += [name for name in known if word == "".join(part[:1] for part in name.split("_"))]
    close += [name for name in known if len(word) > 2 and (word in name or name in word)]
    return f" (did you mean {close[0]}?)" if close else ""
