"""Config files and `--config.KEY=VALUE`: loading, changing, listing; errors of one line."""

import ast
import inspect
import io
import os
import re
import tokenize
import traceback
import types

from ml_collections import ConfigDict

from keras_videorel.checks import did_you_mean
from keras_videorel.runs.config import ArgumentError, base, present_name

_FLAG = re.compile(r"--?(no)?config\.([^=]+)(?:=(.*))?", re.DOTALL)


def load(text):
    """The config of a file.

    Args:
        text: `FILE.py` or `FILE.py:ARGUMENT`; its function `get_config` gets the argument.

    Returns:
        A locked `ConfigDict`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file has an error: file, line, and what is wrong there.
    """
    path, colon, argument = os.fspath(text).partition(":")
    if not os.path.isfile(path):
        folder = os.path.dirname(path)
        names = (
            [n for n in os.listdir(folder or ".") if n.endswith(".py")]
            if (os.path.isdir(folder or "."))
            else []
        )
        close = did_you_mean(os.path.basename(path), names)
        raise FileNotFoundError(f"`config` must name a config file{close}. Received: {path!r}")
    module = types.ModuleType("config_file")
    module.__file__ = path
    try:
        with open(path, "rb") as file:
            exec(compile(file.read(), path, "exec"), vars(module))
        get_config = getattr(module, "get_config", None)
        if not callable(get_config):
            raise ArgumentError("a config file must have a function get_config()")
        arguments = [argument] if colon else []
        _check_arguments(path, get_config, arguments)
        config = get_config(*arguments)
    except SyntaxError as error:
        where = error.filename or path
        where += "" if error.lineno is None else f", line {error.lineno}"
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
        raise ValueError(f"{where}: {_reason(error, [frame for frame, _ in frames])}") from error
    if not isinstance(config, ConfigDict):
        raise ValueError(
            f"{path}: get_config() must return a config (is `return config` missing?). "
            f"Received: {config!r}"
        )
    try:
        _check_keys(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return config.lock()


def _check_arguments(path, get_config, arguments):
    """Refuse a `get_config` that cannot be called with the text after the colon, or without."""
    signature = inspect.signature(get_config)

    def takes(arguments):
        try:
            return bool(signature.bind(*arguments))
        except TypeError:
            return False

    if takes(arguments):
        return
    if arguments and takes([]):
        raise ArgumentError(f"get_config() takes no argument. Received: {arguments[0]!r}")
    if not arguments and takes(["ARGUMENT"]):
        raise ArgumentError(f"get_config() needs an argument: {path}:ARGUMENT")
    raise ArgumentError(
        f"get_config() must take one argument or none. Received: get_config{signature}"
    )


def override(config, words):
    """Set the keys of a config that words like `--config.train.epochs=20` name.

    Args:
        config: The config, which is changed.
        words: Words of a command line.

    Returns:
        `(others, keys)`: the words that are not such flags, and the keys that were set.

    Raises:
        ValueError: If there is no such key, or the value does not fit.
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
    """The keys of the base config but for those of its model."""
    return [key for key, _ in _items(base()) if not key.startswith("model.")]


def _meanings():
    """The comments in the source of `base`, by the keys in their lines."""
    found, groups = {}, []
    key = None
    tokens = list(tokenize.generate_tokens(io.StringIO(inspect.getsource(base)).readline))
    for place, token in enumerate(tokens):
        following = tokens[min(place + 1, len(tokens) - 1)].string
        if token.type == tokenize.STRING and following == ":":
            key = ast.literal_eval(token.string)
            if tokens[place + 2].string == "{":
                groups.append(key)
        elif token.string == "}" and groups:
            groups.pop()
        elif token.type == tokenize.COMMENT and key is not None:
            found[".".join([*groups, key])] = token.string.lstrip("# ")
    return found


def _items(config, prefix=""):
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _items(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _find(config, key):
    """The group of a dotted key, and its name there."""
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
    """The line that tells that a group lacks a key, and what it has."""
    name = key.split(".")[-1]
    known = [k for k, _ in _items(config)]
    elsewhere = [k for k in known if k.split(".")[-1] == name]
    close = did_you_mean(name, node)
    if elsewhere:
        close = f" (did you mean config.{elsewhere[0]}?)"
    elif not close:
        leaf = did_you_mean(name, [k.split(".")[-1] for k in known])
        close = leaf and next(
            f" (did you mean config.{k}?)" for k in known if f"mean {k.split('.')[-1]}?" in leaf
        )
    where = ".".join(["config", *groups])
    return f"there is no key config.{key}{close}; the keys of {where}: {', '.join(node)}"


def _check_keys(config):
    """Refuse keys that `base` lacks, and the lack of others: a config that was unlocked."""
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
    """The value that a text stands for, of the type of the one before."""
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
            return _literal(text)
    except (ValueError, KeyError, SyntaxError):
        raise ValueError(
            f"`config.{key}` must be {_TYPES[type(old)]}. Received: {text!r}"
        ) from None
    return text


def _literal(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _reason(error, frames):
    """What is wrong, for an error in a config file: of `ConfigDict` without its whole content."""
    for frame in reversed(frames):
        node = frame.f_locals.get("self")
        key = frame.f_locals.get("key", frame.f_locals.get("attribute"))
        if isinstance(node, ConfigDict) and isinstance(key, str):
            break
    else:
        text = " ".join(str(error).split())
        return (
            text if isinstance(error, ValueError | OSError) else (f"{type(error).__name__}: {text}")
        )
    roots = [v for f in frames for v in f.f_locals.values() if isinstance(v, ConfigDict)]
    for root in roots:
        if groups := _groups_to(root, node):
            break
    else:
        root, groups = node, []
    full = ".".join([*groups, key])
    if key not in node:
        return _no_key(root, full, node, groups)
    kind = _TYPES.get(type(node[key]), f"of type {type(node[key]).__name__}")
    if isinstance(node[key], ConfigDict):
        kind = f"a group with the keys {', '.join(node[key])}"
    return f"`config.{full}` must be {kind}. Received: {frame.f_locals.get('value')!r}"


def _groups_to(root, node):
    """Names of the groups from a config to one inside of it, or nothing."""
    for name, value in root.items():
        if value is node:
            return [name]
        if isinstance(value, ConfigDict) and (inner := _groups_to(value, node)):
            return [name, *inner]
    return []
