"""Label videos with an exported model: files, folders, patterns, cameras, streams.

    videorel predict --model saved_models/artnet VIDEO... --top 5
    videorel predict --model saved_models/artnet --over_time FOLDER 'more/*.avi'
    videorel predict --model saved_models/artnet --overlay labelled.mp4 VIDEO
    videorel predict --model saved_models/artnet --camera 0 rtsp://camera/stream

Prints a block a video, or with --json a JSON object a line. An input that cannot be read is
reported on stderr, the others are labelled, and the exit status is 1.

Cameras and streams are live: a line (or JSON object) for each window of the newest frames, with the
time from the newest frame to the answer, until they end or q or Ctrl-C is pressed.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
import threading

from absl import flags

FLAGS = flags.FlagValues()
flags.DEFINE_string("model", None, "Folder written by export.", flag_values=FLAGS)
flags.DEFINE_enum(
    "precision",
    None,
    ["saved_model", "fp32", "fp16", "dynamic", "int8"],
    "Which file of it: the SavedModel or a LiteRT file; by default the first of these.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("top", 5, "Number of classes to print.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_boolean("json", False, "Print JSON lines.", flag_values=FLAGS)
flags.DEFINE_boolean("over_time", False, "Label windows of each video, too.", flag_values=FLAGS)
flags.DEFINE_float(
    "window", None, "Seconds of a window, for models of segments; 3 by default.", flag_values=FLAGS
)
flags.DEFINE_float(
    "hop",
    None,
    "Seconds from one window to the next; by default half a window, at most 0.5.",
    flag_values=FLAGS,
)
flags.DEFINE_multi_string(
    "camera", [], "Number or device of a camera; may be repeated.", flag_values=FLAGS
)
flags.DEFINE_boolean(
    "live", False, "Play files as they would come from a camera.", flag_values=FLAGS
)
flags.DEFINE_string(
    "overlay", None, "Video to write, with labels; of several inputs a folder.", flag_values=FLAGS
)
flags.DEFINE_string(
    "strip",
    None,
    "Figure to write (.png, .pdf, .svg): frames and labels; of several inputs a folder.",
    flag_values=FLAGS,
)
flags.DEFINE_list(
    "position",
    None,
    "row,column of the feature map whose relations --overlay and --strip show; by default the "
    "one that takes the most from a single place.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "gate", "mean", ["mean", "i", "f", "g", "o"], "Gate of these relations.", flag_values=FLAGS
)
flags.mark_flag_as_required("model", flag_values=FLAGS)

TAKES_WORDS = True


def main(arguments):
    from keras_videorel.data import video
    from keras_videorel.prediction import Predictor

    if not arguments and not FLAGS.camera:
        raise ValueError("name at least one video file: videorel predict --model DIR VIDEO...")
    streams = [word for word in arguments if video.is_stream(word)]
    words = [word for word in arguments if word not in streams]
    if (FLAGS.overlay or FLAGS.strip) and (streams or FLAGS.camera or FLAGS.live):
        raise ValueError("--overlay and --strip are for files, not for live sources")
    predictor = Predictor(FLAGS.model, FLAGS.precision)
    predictor.check_window(FLAGS.window, FLAGS.hop)
    position = _position()
    failures = _Failures()
    paths = _find(words, failures)
    if FLAGS.live:
        streams, paths = paths + streams, []
    every = _outputs(words, paths)
    _check_extensions(every)
    for path, outputs in zip(paths, every, strict=True):
        try:
            _label(predictor, path, outputs, position)
        except (ValueError, OSError) as error:
            failures.report(path, error)
    if streams or FLAGS.camera:
        _watch(predictor, streams, failures)
    return 1 if failures.count else 0


class _Failures:
    """Inputs that gave nothing: reported, counted."""

    def __init__(self):
        self.count = 0

    def report(self, path, error):
        self.count += 1
        message = " ".join(str(error).split())
        if FLAGS.json:
            print(json.dumps({"path": path, "error": message}), flush=True)
        print(f"videorel predict: {message}", file=sys.stderr)


def _position():
    if FLAGS.position is None:
        return None
    try:
        row, column = map(int, FLAGS.position)
    except ValueError:
        raise ValueError(
            f"`position` must be row,column. Received: {','.join(FLAGS.position)}"
        ) from None
    return row, column


def _find(words, failures):
    from keras_videorel.prediction.inputs import find_videos

    paths, left_out = [], []
    for word in words:
        try:
            paths += find_videos(word, left_out)
        except (ValueError, OSError) as error:
            failures.report(word, error)
    if left_out:
        such = f"{left_out[0][0]}: {left_out[0][1]}"
        count = f"{len(left_out)} {'file' if len(left_out) == 1 else 'files'}"
        print(f"videorel predict: {count} left out, such as {such}", file=sys.stderr)
    return paths


def _outputs(words, paths):
    """For each video the files to write: `{"overlay": path, "strip": path}`."""
    wanted = {"overlay": (FLAGS.overlay, ".mp4"), "strip": (FLAGS.strip, ".png")}
    outputs, used = [], set()
    single = len(words) == 1 and paths == words
    for path in paths:
        files = {}
        for kind, (target, extension) in wanted.items():
            if target is None:
                continue
            if single and os.path.splitext(target)[1] and not os.path.isdir(target):
                files[kind] = target
                continue
            stem = os.path.splitext(os.path.basename(path))[0]
            name, number = stem + extension, 1
            while (kind, name) in used:  # of another folder
                number += 1
                name = f"{stem}-{number}{extension}"
            used.add((kind, name))
            files[kind] = os.path.join(target, name)
        outputs.append(files)
    return outputs


def _check_extensions(every):
    """Refuse files that cannot be written, before any video is labelled."""
    for kind, file in (item for outputs in every for item in outputs.items()):
        module = importlib.import_module(f"keras_videorel.prediction.{kind}")
        if not file.lower().endswith(module.EXTENSIONS):
            raise ValueError(
                f"`--{kind}` must be a folder, or end in {', '.join(module.EXTENSIONS)}. "
                f"Received: {file!r}"
            )


def _label(predictor, path, outputs, position):
    prediction = predictor(path, FLAGS.top)
    pairs = list(zip(prediction.labels, prediction.probabilities, strict=True))
    if not FLAGS.json:
        print(f"{path} ({prediction.frames} frames)")
        for label, value in pairs:
            print(f"  {value:7.2%}  {label}", flush=True)
    line = {"path": path, "frames": prediction.frames, "predictions": _listed(pairs)}
    windows = None
    if FLAGS.over_time or "overlay" in outputs:
        relations = "overlay" in outputs
        windows = predictor.windows(path, FLAGS.window, FLAGS.hop, relations)
    if FLAGS.over_time:
        line["windows"] = []
        windows = _reported(windows, predictor, line["windows"])
    if "overlay" in outputs:
        _write_overlay(predictor, path, outputs["overlay"], windows, position, prediction.frames)
    elif windows is not None:
        for _ in windows:
            pass
    if "strip" in outputs:
        from keras_videorel.prediction import strip

        strip.write(
            predictor, path, outputs["strip"], top=FLAGS.top, position=position, gate=FLAGS.gate
        )
    if FLAGS.json:
        print(json.dumps({**line, **outputs}), flush=True)
    else:
        for written in outputs.values():
            print(f"  written: {written}", flush=True)


def _reported(windows, predictor, listed):
    """Windows, printed or listed on their way."""
    for window in windows:
        pairs = predictor.best(window.probabilities, FLAGS.top)
        if FLAGS.json:
            listed.append(_span(window, pairs))
        else:
            print(_window_line(window, pairs), flush=True)
        yield window


def _span(window, pairs):
    times = {"start": round(window.start, 3), "end": round(window.end, 3)}
    return {**times, "predictions": _listed(pairs)}


def _listed(pairs):
    return [{"label": label, "probability": value} for label, value in pairs]


def _window_line(window, pairs):
    shares = "   ".join(f"{value:6.1%} {label}" for label, value in pairs)
    return f"  {window.start:8.2f} - {window.end:8.2f} s  {shares}"


def _write_overlay(predictor, path, output, windows, position, frames):
    from tqdm import tqdm

    from keras_videorel.prediction import overlay

    with tqdm(total=frames, unit="frame", desc=os.path.basename(output), leave=False) as bar:
        overlay.write(
            predictor, path, output, windows=windows, position=position, gate=FLAGS.gate,
            on_frame=lambda _: bar.update(),
        )  # fmt: skip


# --- Live -----------------------------------------------------------------------------------


def _watch(predictor, streams, failures):
    from keras_videorel.data import video
    from keras_videorel.prediction import live

    size = predictor.frame_size

    def opened(word):
        if video.is_stream(word):
            return lambda: video.iter_stream(word, size)
        return lambda: video.iter_frames(word, size)

    sources = {f"camera {name}": _camera(name, size) for name in FLAGS.camera}
    sources |= {word: opened(word) for word in streams}

    def on_end(summary):
        if summary.error is not None:
            failures.report(summary.source, summary.error)
        if summary.frames:
            print(f"videorel predict: {summary}", file=sys.stderr)

    stop = threading.Event()
    with _ends_at_keys(stop):
        for found in live.watch(
            predictor, sources, window=FLAGS.window, hop=FLAGS.hop, stop=stop, on_end=on_end
        ):
            pairs = predictor.best(found.window.probabilities, FLAGS.top)
            if FLAGS.json:
                line = {"source": found.source, **_span(found.window, pairs)}
                line |= {"latency_ms": round(1e3 * found.latency, 1), "skipped": found.skipped}
                print(json.dumps(line), flush=True)
            else:
                name = f"{found.source}  " if len(sources) > 1 else ""
                line = _window_line(found.window, pairs)
                print(f"{name}{line}   [{1e3 * found.latency:.0f} ms]", flush=True)


def _camera(name, size):
    from keras_videorel.prediction import live

    return lambda: live.open_camera(name, size)


@contextlib.contextmanager
def _ends_at_keys(stop):
    """Let Ctrl-C, and q where a terminal listens, set an event; a second Ctrl-C interrupts."""

    def interrupted(*_):
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        with _key_by_key() as read_key:
            if read_key is not None:
                threading.Thread(target=_wait_for_q, args=(read_key, stop), daemon=True).start()
            yield
    finally:
        stop.set()
        signal.signal(signal.SIGINT, before)


def _wait_for_q(read_key, stop):
    while not stop.is_set():
        if read_key() in ("q", "Q"):
            stop.set()


@contextlib.contextmanager
def _key_by_key():
    """A function that gives the next key of the terminal, or "" after a while; None without."""
    try:
        import select
        import termios
        import tty

        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
    except (ImportError, OSError, ValueError, AttributeError, termios.error):
        yield None
        return

    def read_key():
        ready, _, _ = select.select([terminal], [], [], 0.2)
        return os.read(terminal, 1).decode(errors="replace") if ready else ""

    tty.setcbreak(terminal)
    try:
        yield read_key
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
