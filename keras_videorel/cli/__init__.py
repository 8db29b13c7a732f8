"""The command line: `videorel COMMAND --flags`, and `tools/COMMAND.py --flags` in a checkout.

Each command is a module of this package with a docstring (its help text), an absl `FlagValues`
named `FLAGS` and a function `main(arguments)` that gets the words that are not flags. Bad input
is a `ValueError` or an `OSError` anywhere below `main`, a missing extra an `ImportError`; it
becomes one line on stderr and exit status 2. Ctrl-C becomes exit status 130, and the line
`INTERRUPTED` of the module.
VIDEOREL_TRACEBACK=1 shows where it came from.
"""

import importlib
import os
import re
import sys

from absl import flags

from keras_videorel import __version__, tensorflow_import
from keras_videorel.checks import check_number, did_you_mean

COMMANDS = {
    "render-videos": "render the embedded data set as H.264 videos",
    "make-tfrecords": "turn video files and labels into TFRecord shards",
    "inspect-tfrecords": "show what shards hold, check every record, describe those of others",
    "config": "list the keys of a config, their values and what they mean",
    "train": "train a model from a config",
    "evaluate": "evaluate a trained model on the test views",
    "fuse": "fuse files of scores, compare models, write a report",
    "export": "export a trained model: SavedModel, LiteRT, streaming, ONNX",
    "predict": "label video files with an exported model",
    "serve": "serve a page in the browser to try exported models on",
    "convert-caffe": "turn weights of ARTNet's authors, a .caffemodel, into a Keras model",
    "summary": "print parameters and multiply-adds beside the paper's figures",
}


def run(command, argv=None):
    """Run one command and return its exit status; any number of them in one process.

    Args:
        command: Name of the command, for example `"make-tfrecords"`.
        argv: Words after the command's name; those of this process by default.
    """
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", "10")  # progress in log files, now and then
    argv = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # file names and labels that a terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    module = importlib.import_module("keras_videorel.cli." + command.replace("-", "_"))
    before_files = argv[: argv.index("--")] if "--" in argv else argv
    if any(word in ("--help", "-h", "-help", "--helpfull") for word in before_files):
        print(module.__doc__.strip(), end="\n\n")
        print(_flag_help(module.FLAGS))
        if hasattr(module, "more_help"):
            print(f"\n{module.more_help()}")
        return 0
    flag_values = module.FLAGS
    own = set(flag_values)
    try:
        arguments = _parse(module, [f"videorel {command}", *argv])
        if getattr(module, "NEEDS_TENSORFLOW", True):
            tensorflow_import.import_tensorflow()
        return module.main(arguments) or 0
    except KeyboardInterrupt:
        return _fail(command, getattr(module, "INTERRUPTED", "interrupted"), 130)
    except (ValueError, OSError, ImportError, flags.Error) as error:  # an extra that is missing
        if os.environ.get("VIDEOREL_TRACEBACK"):
            raise
        return _fail(command, _named(module.FLAGS, error), 2)
    finally:
        for name in set(flag_values) - own:  # the config of a run
            delattr(flag_values, name)
        for name in own:
            flag_values[name].unparse()


def exit(status):
    """End the process with an exit status."""
    if "tensorflow_io" in sys.modules:
        # Its S3 file system aborts when the interpreter tears it down, after all is done.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _parse(module, words):
    end = words.index("--") if "--" in words else len(words)
    words = [*(_present_flag(module.FLAGS, word) for word in words[:end]), *words[end:]]
    try:
        arguments = getattr(module, "parse", module.FLAGS)(words)[1:]
    except flags.UnrecognizedFlagError as error:
        files = [word for word in words[1:] if word.startswith("-") and os.path.exists(word)]
        if files and getattr(module, "TAKES_WORDS", False):
            raise ValueError(
                f"a file whose name begins with - is written ./{files[0]}, or after --. "
                f"Received: {files[0]!r}"
            ) from error
        if hasattr(module, "parse") and (keys := _keys_like(error)):
            raise ValueError(
                f"there is no flag --{error.flagname} (did you mean {' or '.join(keys)}?)"
            ) from error
        raise
    except flags.IllegalFlagValueError as error:
        if missing := re.findall(r"Flag --(\w+) must have a value other than None", str(error)):
            needed = (f"--{name} is needed: {module.FLAGS[name].help}" for name in missing)
            raise ValueError(" ".join(needed)) from error
        raise
    for name in module.FLAGS:
        flag = module.FLAGS[name]
        if isinstance(flag.value, int | float) and not isinstance(flag.value, bool):
            check_number(f"--{name}", flag.value, min_value=0)
    if arguments and not getattr(module, "TAKES_WORDS", False):
        file = "config" in module.FLAGS and config_file_among(arguments)
        close = f" (did you mean --config {file}?)" if file else ""
        raise ValueError(f"expected flags only{close}. Received: {' '.join(arguments)}")
    return arguments


def _present_flag(flag_values, word):
    """A word of a command line, with the present name of a flag that has an older one."""
    from keras_videorel.runs.config import present_name

    match = re.fullmatch(r"--?(\w+)(=.*)?", word, re.DOTALL)
    name = match and present_name(flag_values, match[1])[0]
    return word if not match or name == match[1] else f"--{name}{match[2] or ''}"


def _keys_like(error):
    """The flags of keys of a config that an unknown flag may mean: that end in its name."""
    from keras_videorel.runs.config_files import keys

    known = [f"--config.{key}" for key in keys()]
    exact = [flag for flag in known if flag.endswith(f".{error.flagname}")]
    if exact or "Did you mean" in str(error):  # flags of the command come first
        return exact
    close = did_you_mean(error.flagname, [flag.split(".")[-1] for flag in known])
    return [flag for flag in known if f"mean {flag.split('.')[-1]}?" in close]


def config_file_among(words):
    """The first word that looks like a config file, or None."""
    return next((word for word in words if word.split(":")[0].endswith(".py")), None)


def _named(flag_values, error):
    """An error, or its message with the flag that names the file that it is about."""
    file = getattr(error, "filename", None)
    if not isinstance(file, str) or not error.strerror:
        return error
    names = {}
    for name in flag_values:
        values = flag_values[name].value
        for value in values if isinstance(values, list) else [values]:
            if not value or not isinstance(value, str):
                continue
            folder = os.path.abspath(value)
            if os.path.commonpath([folder, os.path.abspath(file)]) == folder:
                names[folder] = name
    if not names:
        return error
    name = names[max(names, key=len)]
    reason = error.strerror
    if isinstance(error, FileExistsError | NotADirectoryError):
        reason = "a folder is expected, and there is a file"
    return f"--{name}: {reason}: {file!r}"


def run_config(flag_values, words):
    """Parse the flags of a command on a trained run: its config's keys are flags too.

    The config becomes the flag `config`, the keys that were set the flag `config_keys`.
    """
    from keras_videorel.runs import config_files, workdir
    from keras_videorel.runs.config import check_config

    flag_values(_without_keys(words), known_only=True)
    config = workdir.read_config(flag_values.workdir)
    words, keys = config_files.override(config, words)
    check_config(config)
    for name, value in (("config", config), ("config_keys", keys)):
        flags.DEFINE_string(name, None, "", flag_values=flag_values)
        flag_values[name].value = value
    return flag_values(words)


def file_config(flag_values, words):
    """Parse the flags of a command that takes a config file as `--config`: its keys are flags too.

    The flag `config` becomes the config; without a file the base one.
    """
    from keras_videorel.runs import config_files
    from keras_videorel.runs.config import base, check_config

    flag_values(_without_keys(words), known_only=True)
    config = base() if flag_values.config is None else config_files.load(flag_values.config)
    words, _ = config_files.override(config, words)
    words = flag_values(words)
    check_config(config)
    flag_values["config"].value = config
    return words


def _without_keys(words):
    """Words without `--config.KEY`, which are no flags before the config is read."""
    return [word for word in words if not word.startswith(("--config.", "-config."))]


def main():
    """Entry point of the `videorel` script."""
    if sys.argv[1:2] in (["--version"], ["version"]):
        print(f"videorel {__version__}")
        sys.exit(0)
    words = sys.argv[1:]
    if words[:1] in (["--help"], ["-h"], ["help"]) and len(words) > 1:  # of a command
        words = [words[1], "--help"]
    if not words or words[0] in ("--help", "-h", "help"):
        print(_usage())
        sys.exit(0 if words else 2)
    command = words[0].replace("_", "-")
    if command not in COMMANDS:
        close = did_you_mean(command.lower(), COMMANDS)
        print(f"videorel: error: no command {words[0]!r}{close}\n\n{_usage()}", file=sys.stderr)
        sys.exit(2)
    exit(run(command, words[1:]))


def _usage():
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return (
        "usage: videorel COMMAND [--flags]\n\n"
        + "\n".join(lines)
        + "\n\n`videorel COMMAND --help` lists the flags of a command."
    )


def _flag_help(flag_values):
    own = [flag_values[name] for name in flag_values if name not in ("flagfile", "undefok")]
    width = max(len(flag.name) for flag in own)
    return "\n".join(
        f"  --{flag.name:<{width}}  {flag.help}"
        + (f" Default: {flag.default_as_str}." if flag.default is not None else "")
        for flag in own
    )


def _fail(command, message, status):
    message = " ".join(str(message).split())
    print(f"videorel {command}: error: {message}", file=sys.stderr)
    return status
