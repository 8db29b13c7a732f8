"""The command line: `videorel COMMAND --flags`, and `tools/COMMAND.py --flags` in a checkout.

Each command is a module of this package with a docstring (its help text), an absl `FlagValues`
named `FLAGS` and a function `main(arguments)` that gets the words that are not flags. Bad input
is a `ValueError` or an `OSError` anywhere below `main`, a missing extra an `ImportError`; it
becomes one line on stderr and exit status 2, and Ctrl-C becomes exit status 130.
VIDEOREL_TRACEBACK=1 shows where it came from.
"""

import importlib
import os
import sys

from absl import flags

from keras_videorel import quiet

COMMANDS = {
    "render-videos": "render the embedded data set as H.264 videos",
    "make-tfrecords": "turn video files and labels into TFRecord shards",
    "inspect-tfrecords": "show what shards hold, check every record, describe those of others",
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
    module = importlib.import_module("keras_videorel.cli." + command.replace("-", "_"))
    if any(word in ("--help", "-h", "-help", "--helpfull") for word in argv):
        print(module.__doc__.strip(), end="\n\n")
        print(_flag_help(module.FLAGS))
        return 0
    words = [f"videorel {command}", *argv]
    caller, flag_values = sys.argv, module.FLAGS
    own = set(flag_values)
    try:
        sys.argv = words  # where config flags look for `--config.key=value`
        arguments = _parse(module, words)
        if getattr(module, "NEEDS_TENSORFLOW", True):
            quiet.import_tensorflow()
        return module.main(arguments) or 0
    except KeyboardInterrupt:
        return _fail(command, "interrupted", 130)
    except (ValueError, OSError, ImportError, flags.Error) as error:  # an extra that is missing
        if os.environ.get("VIDEOREL_TRACEBACK"):
            raise
        return _fail(command, error, 2)
    finally:
        sys.argv = caller
        for name in set(flag_values) - own:  # keys of a config
            delattr(flag_values, name)
        for name in own:
            flag_values[name].unparse()


def leave(status):
    """End the process with an exit status."""
    if "tensorflow_io" in sys.modules:
        # Its S3 file system aborts when the interpreter tears it down, after all is done.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _parse(module, words):
    try:
        arguments = getattr(module, "parse", module.FLAGS)(words)[1:]
    except flags.IllegalFlagValueError as error:
        # An error of a config file comes wrapped in its traceback; the last line is what it says.
        raise ValueError(str(error).strip().splitlines()[-1]) from error
    except (AttributeError, KeyError, TypeError) as error:
        # What ml_collections and config files raise for keys and values that do not fit.
        raise ValueError(error.args[0] if error.args else error) from error
    if arguments and not getattr(module, "TAKES_WORDS", False):
        raise ValueError(f"expected flags only. Received: {' '.join(arguments)}")
    return arguments


def run_config(flag_values, words):
    """Parse the flags of a command on a trained run: its config's keys are flags too."""
    from ml_collections import config_flags

    from keras_videorel import workdir

    flag_values(words, known_only=True)
    config = workdir.read_config(flag_values.workdir)
    config_flags.DEFINE_config_dict("config", config, flag_values=flag_values, sys_argv=words)
    return flag_values(words)


def main():
    """Entry point of the `videorel` script."""
    if len(sys.argv) < 2 or sys.argv[1] in ("--help", "-h", "help"):
        print(_usage())
        sys.exit(0 if len(sys.argv) > 1 else 2)
    command = sys.argv[1].replace("_", "-")
    if command not in COMMANDS:
        print(f"videorel: error: no command {sys.argv[1]!r}\n\n{_usage()}", file=sys.stderr)
        sys.exit(2)
    leave(run(command, sys.argv[2:]))


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
