"""The command line: `videorel COMMAND --flags`, and `tools/COMMAND.py --flags` in a checkout.

Each command is a module of this package. Its docstring is the help text, `FLAGS = Flags()` holds
the flags, and `main(arguments)` gets the words that are not flags. Optional names:

    TAKES_WORDS       True if words that are not flags are expected
    TAKES_CONFIG      True if `FLAGS.config` is a config whose keys are flags
    NEEDS_TENSORFLOW  False if `main` loads TensorFlow by itself or never
    INTERRUPTED       the line printed for Ctrl-C, with exit status 130
    more_help         a function that returns the end of the help text

A `ValueError` or `OSError` (bad input) or an `ImportError` (a missing extra) becomes one line on
stderr and exit status 2. VIDEOREL_TRACEBACK=1 shows the traceback.
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


def _definer(define):
    return lambda self, *args, **options: define(*args, flag_values=self, **options)


class Flags(flags.FlagValues):
    """The flags of a command: `FLAGS.string("output", None, "Folder.")`, with absl's arguments."""

    string = _definer(flags.DEFINE_string)
    strings = _definer(flags.DEFINE_multi_string)  # given any number of times
    list = _definer(flags.DEFINE_list)  # separated by commas
    enum = _definer(flags.DEFINE_enum)
    boolean = _definer(flags.DEFINE_boolean)
    integer = _definer(flags.DEFINE_integer)
    float = _definer(flags.DEFINE_float)


def run(command, argv=None):
    """Run a command, such as `"make-tfrecords"`, and return its exit status.

    `argv` are the words after the command's name. By default they are taken from `sys.argv`.
    """
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", "10")  # in log files, progress every 10 s
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
    own = set(module.FLAGS)
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
        for name in set(module.FLAGS) - own:  # the config of this run
            delattr(module.FLAGS, name)
        module.FLAGS.unparse_flags()


def exit(status):
    """End the process with an exit status."""
    if "tensorflow_io" in sys.modules:
        # Its S3 file system aborts when the interpreter shuts down.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _parse(module, words):
    """Parse the flags of a command and return the words that are not flags."""
    takes_config = getattr(module, "TAKES_CONFIG", False)
    takes_words = getattr(module, "TAKES_WORDS", False)
    end = words.index("--") if "--" in words else len(words)
    words = [*(_present_flag(module.FLAGS, word) for word in words[:end]), *words[end:]]
    try:
        arguments = _parse_config(module.FLAGS, words) if takes_config else module.FLAGS(words)
    except flags.UnrecognizedFlagError as error:
        files = [word for word in words[1:] if word.startswith("-") and os.path.exists(word)]
        if files and takes_words:
            raise ValueError(
                f"a file whose name begins with - is written ./{files[0]}, or after --. "
                f"Received: {files[0]!r}"
            ) from error
        if takes_config and (keys := _keys_like(error)):
            raise ValueError(
                f"there is no flag --{error.flagname} (did you mean {' or '.join(keys)}?)"
            ) from error
        raise
    except flags.IllegalFlagValueError as error:
        if missing := re.findall(r"Flag --(\w+) must have a value other than None", str(error)):
            needed = (f"--{name} is needed: {module.FLAGS[name].help}" for name in missing)
            raise ValueError(" ".join(needed)) from error
        raise
    for name, value in module.FLAGS.flag_values_dict().items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            check_number(f"--{name}", value, min_value=0)
    arguments = arguments[1:]
    if arguments and not takes_words:
        files = [word for word in arguments if word.split(":")[0].endswith(".py")]
        close = f" (did you mean --config {files[0]}?)" if files else ""
        raise ValueError(f"expected flags only{close}. Received: {' '.join(arguments)}")
    return arguments


def _present_flag(flag_values, word):
    """A word of a command line, with an older name of a flag replaced."""
    from keras_videorel.runs.config import present_name

    match = re.fullmatch(r"--?(\w+)(=.*)?", word, re.DOTALL)
    name = match and present_name(flag_values, match[1])[0]
    return word if not match or name == match[1] else f"--{name}{match[2] or ''}"


def _keys_like(error):
    """The flags of config keys that an unknown flag may mean."""
    from keras_videorel.runs.config_files import keys

    known = [f"--config.{key}" for key in keys()]
    exact = [flag for flag in known if flag.endswith(f".{error.flagname}")]
    if exact or "Did you mean" in str(error):  # absl suggests a flag of the command
        return exact
    close = did_you_mean(error.flagname, [flag.split(".")[-1] for flag in known])
    return [flag for flag in known if f"mean {flag.split('.')[-1]}?" in close]


def _named(flag_values, error):
    """The message of an error with the flag that names its file, or the error itself."""
    file = getattr(error, "filename", None)
    if not isinstance(file, str) or not error.strerror:
        return error
    folders = {}
    for name, values in flag_values.flag_values_dict().items():
        for value in values if isinstance(values, list) else [values]:
            folder = os.path.abspath(value) if value and isinstance(value, str) else ""
            if folder and os.path.commonpath([folder, os.path.abspath(file)]) == folder:
                folders[folder] = name
    if not folders:
        return error
    reason = error.strerror
    if isinstance(error, FileExistsError | NotADirectoryError):
        reason = "a folder is expected, and there is a file"
    return f"--{folders[max(folders, key=len)]}: {reason}: {file!r}"


def _parse_config(flag_values, words):
    """Parse the flags of a command and the `--config.KEY` flags of its config.

    The config is read from the file `--config`, or from the run `--workdir` if the command has no
    `--config`. It becomes the flag `config`, and the keys that were set the flag `config_keys`.
    """
    from keras_videorel.runs import config_files, workdir
    from keras_videorel.runs.config import base, check_config

    # `--config.KEY` is not a flag before the config is read.
    own = [word for word in words if not word.startswith(("--config.", "-config."))]
    flag_values(own, known_only=True)
    if "config" not in flag_values:
        config = workdir.read_config(flag_values.workdir)
    else:
        config = config_files.load(flag_values.config) if flag_values.config else base()
    words, keys = config_files.override(config, words)
    words = flag_values(words)
    check_config(config)
    for name, value in (("config", config), ("config_keys", keys)):
        if name not in flag_values:
            flag_values.string(name, None, "")
        flag_values[name].value = value
    return words


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


def table(rows):
    """Rows of text as lines. The first column is aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([f"{first:{widths[0]}}", *map(str.rjust, cells, widths[1:])]).rstrip()
        for first, *cells in rows
    )


def _fail(command, message, status):
    message = " ".join(str(message).split())
    print(f"videorel {command}: error: {message}", file=sys.stderr)
    return status
