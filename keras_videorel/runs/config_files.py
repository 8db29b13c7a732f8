"""Load config files, set keys by `--config.KEY=VALUE`, and list keys."""

import ast
import contextlib
import inspect
import os
import re
import traceback
import types

from ml_collections import ConfigDict

from keras_videorel.checks import did_you_mean
from keras_videorel.runs.config import ArgumentError, base, present_name

_FLAG = re.compile(r"--?(no)?config\.([^=]+)(?:=(.*))?", re.DOTALL)


def load(text):
    """The config of a file.

    Args:
        text: `FILE.py` or `FILE.py:ARGUMENT`. The file's `get_config` gets the argument.

    Returns:
        A locked `ConfigDict`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file has an error. The message names the file and the line.
    """
    path, colon, argument = os.fspath(text).partition(":")
    if not os.path.isfile(path):
        folder, name = os.path.split(path)
        names = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
        close = did_you_mean(name, [name for name in names if name.endswith(".py")])
        raise FileNotFoundError(f"`config` must name a config file{close}. Received: {path!r}")
    module = types.ModuleType("config_file")
    module.__file__ = path
    try:
        with open(path, "rb") as file:
            exec(compile(file.read(), path, "exec"), vars(module))
        if not callable(get_config := getattr(module, "get_config", None)):
            raise ArgumentError("a config file must have a function get_config()")
        config = get_config(*[argument] if colon else [])
        if not isinstance(config, ConfigDict):
            raise ArgumentError(
                "get_config() must return a config (is `return config` missing?). "
                f"Received: {config!r}"
            )
        _check_keys(config)
    except SyntaxError as error:
        where = path if error.lineno is None else f"{error.filename}, line {error.lineno}"
        line = f": {error.text.strip()}" if error.text else ""
        raise ValueError(f"{where}: {error.msg}{line}") from error
    except ArgumentError as error:
        raise ValueError(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:
        frames = list(traceback.walk_tb(error.__traceback__))
        lines = [line for frame, line in frames if frame.f_code.co_filename == path]
        if not lines and isinstance(error, OSError):  # the file itself cannot be read
            raise
        where = f"{path}, line {lines[-1]}" if lines else path
        raise ValueError(f"{where}: {_reason(error)}") from error
    return config.lock()


def _reason(error):
    """The message of an error in a config file, without what `ConfigDict` appends."""
    while error.args and isinstance(error.args[0], Exception):  # ConfigDict wraps its errors
        error = error.args[0]
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    text = " ".join(re.split(r"\. Other fields present|\nDid you mean", text)[0].split())
    if missing := re.match(r"(?:Key )?[\"'](\w+)[\"']", text):
        return f"there is no key {missing[1]}{_close(missing[1], base(), base())}"
    return text if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {text}"


def override(config, words):
    """Set keys of a config by words like `--config.train.epochs=20`.

    Returns:
        `(others, keys)`: the words that are not such flags, and the keys that were set.

    Raises:
        ValueError: If a key does not exist, or a value is not of the key's type.
    """
    others, keys = [], []
    words = iter(words)
    for word in words:
        match = _FLAG.fullmatch(word)
        if word == "--":
            return [*others, word, *words], keys
        if not match:
            others.append(word)
            continue
        negated, key, text = match.groups()
        group, name = _find(config, key)
        if isinstance(group[name], bool) and text is None:
            value = not negated
        else:
            text = next(words, None) if text is None else text
            if text is None or negated:
                raise ValueError(f"`config.{key}` needs a value: --config.{key}=VALUE")
            _, text = present_name(group, key.split(".")[-1], text)
            value = _parsed(key, group[name], text)
        group[name] = value
        keys.append(".".join([*key.split(".")[:-1], name]))
    return others, keys


def describe(config):
    """All keys of a config as lines: name, value, meaning."""
    meanings = _meanings()
    rows = [(f"config.{key}", repr(value), meanings.get(key, "")) for key, value in _items(config)]
    names, values, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    values = min(values, 30)
    return "\n".join(
        f"{name:<{names}}  {value:<{values}}  {meaning}".rstrip() for name, value, meaning in rows
    )


def keys():
    """The keys of the base config except those of its model."""
    return [key for key, _ in _items(base()) if not key.startswith("model.")]


def _meanings():
    """A dict from keys to the comments beside them in the source of `base`."""
    found, groups = {}, []
    for line in inspect.getsource(base).splitlines():
        if match := re.match(r'\s+"(\w+)": (\{$)?(?:.*?  # (.*))?', line):
            key, opens, meaning = match.groups()
            if opens:
                groups.append(key)
            elif meaning:
                found[".".join([*groups, key])] = meaning
        elif line.strip() == "}," and groups:
            groups.pop()
    return found


def _items(config, prefix=""):
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _items(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _find(config, key):
    """`(group, name)` of a dotted key."""
    *groups, name = key.split(".")
    node, done = config, []
    for part in groups:
        if part not in node or not isinstance(node[part], ConfigDict):
            raise ValueError(_no_key(config, key, node, done))
        node, done = node[part], [*done, part]
    name, _ = present_name(node, name)
    if name not in node:
        raise ValueError(_no_key(config, key, node, done))
    if isinstance(node[name], ConfigDict):
        raise ValueError(
            f"`config.{key}` is a group of keys: set one of "
            f"{', '.join(f'config.{key}.{inner}' for inner in node[name])}"
        )
    return node, name


def _no_key(config, key, node, groups):
    """The error message for an unknown key."""
    where = ".".join(["config", *groups])
    close = _close(key.split(".")[-1], config, node)
    return f"there is no key config.{key}{close}; the keys of {where}: {', '.join(node)}"


def _close(name, config, node=()):
    """A suggestion for an unknown name."""
    known = {key.split(".")[-1]: key for key, _ in _items(config)}
    if name in known:
        return f" (did you mean config.{known[name]}?)"
    return did_you_mean(name, node) or did_you_mean(name, known)


def _check_keys(config):
    """Refuse unknown and missing keys, which a file can make by `config.unlock()`."""
    known = base(model=config.get("model"))
    for key, _ in _items(config):
        if not key.startswith("model."):
            _find(known, key)
    for key, _ in _items(known):
        try:
            _find(config, key)
        except ValueError:
            raise ValueError(f"the config lacks the key {key}: begin with base()") from None


_TYPES = {int: "an integer", float: "a number", bool: "true or false", tuple: "values a,b,c"}


def _parsed(key, old, text):
    """Convert a text to the type of the old value."""
    try:
        if isinstance(old, bool):
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if isinstance(old, int | float):
            return type(old)(text)
        if isinstance(old, tuple):
            words = text.strip().strip("()").rstrip(",")
            if old and isinstance(old[0], str):
                return tuple(word.strip(" '\"") for word in words.split(","))
            return ast.literal_eval(f"({words},)") if words else ()
        if old is None:
            with contextlib.suppress(ValueError, SyntaxError):
                return ast.literal_eval(text)
    except (ValueError, KeyError, SyntaxError):
        raise ValueError(
            f"`config.{key}` must be {_TYPES[type(old)]}. Received: {text!r}"
        ) from None
    return text
