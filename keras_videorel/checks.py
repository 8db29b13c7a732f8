"""Checks of arguments: one line that names the argument, what was expected, what came."""

import operator


def check_integer(name, value, least=None, most=None):
    """`value` as an int between `least` and `most`.

    Raises:
        ValueError: If it is none.
    """
    message = f"`{name}` must be an integer"
    message += "" if least is None else f" of at least {least}"
    message += "" if most is None else f"{'' if least is None else ' and'} at most {most}"
    try:
        number = operator.index(None if isinstance(value, bool) else value)
    except TypeError:
        raise ValueError(f"{message}. Received: {value!r}") from None
    if (least is not None and number < least) or (most is not None and number > most):
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
