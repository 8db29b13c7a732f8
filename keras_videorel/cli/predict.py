"""Label videos with an exported model: files, folders, patterns, cameras, streams.

    videorel predict --model saved_models/artnet VIDEO... --top 5
    videorel predict --model saved_models/artnet --over_time FOLDER 'more/*.avi'
    videorel predict --model saved_models/artnet --overlay labeled.mp4 VIDEO
    videorel predict --model saved_models/artnet --camera 0 rtsp://camera/stream

The command prints a block of lines for each video, or with --json a JSON object on one line. An
input that cannot be read is reported on stderr. The others are labeled, and the exit status is 1.

Cameras and streams are live. The command prints a line (or JSON object) for each window of the
newest frames, with the time from the newest frame to the answer. It ends when all of them end, or
when q or Ctrl-C is pressed.
"""

import contextlib
import functools
import importlib
import json
import os
import signal
import sys
import threading

from keras_videorel.cli import Flags

FLAGS = Flags()
FLAGS.string("model", None, "Folder written by export.", required=True)
FLAGS.enum(
    "precision", None, ["saved_model", "fp32", "fp16", "dynamic", "int8"],
    "Which file of it: the SavedModel or a LiteRT file; by default the first of these.",
)  # fmt: skip
FLAGS.integer("top", 5, "Number of classes to print.", lower_bound=1)
FLAGS.boolean("json", False, "Print JSON lines.")
FLAGS.boolean("over_time", False, "Label windows of each video, too.")
FLAGS.float("window", None, "Seconds of a window, for models of segments; 3 by default.")
FLAGS.float(
    "hop", None, "Seconds from one window to the next; by default half a window, at most 0.5."
)
FLAGS.strings("camera", [], "Number or device of a camera; may be repeated.")
FLAGS.boolean("live", False, "Play files as they would come from a camera.")
FLAGS.string("overlay", None, "Video to write, with labels; of several inputs a folder.")
FLAGS.string(
    "strip", None,
    "Figure to write (.png, .pdf, .svg): frames and labels; of several inputs a folder.",
)  # fmt: skip
FLAGS.list(
    "position", None,
    "row,column of the feature map whose attention --overlay and --strip show; by default the "
    "one that takes the most from a single place.",
)  # fmt: skip
FLAGS.enum("gate", "mean", ["mean", "i", "f", "g", "o"], "Gate of these attention maps.")

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
    failures = []
    paths = _find(words, failures)
    if FLAGS.live:
        streams, paths = paths + streams, []
    for path, outputs in zip(paths, _outputs(words, paths), strict=True):
        try:
            _label(predictor, path, outputs, {"position": position, "gate": FLAGS.gate})
        except (ValueError, OSError) as error:
            _report(failures, path, error)
    if streams or FLAGS.camera:
        _watch(predictor, streams, failures)
    return 1 if failures else 0


def _report(failures, path, error):
    """Report an input that could not be labeled."""
    failures.append(path)
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
            _report(failures, word, error)
    if left_out:
        such = f"{left_out[0][0]}: {left_out[0][1]}"
        count = f"{len(left_out)} {'file' if len(left_out) == 1 else 'files'}"
        print(f"videorel predict: {count} left out, such as {such}", file=sys.stderr)
    return paths


def _outputs(words, paths):
    """For each video the files to write, `{"overlay": path, "strip": path}`.

    Names that are not valid are refused here, before any video is labeled.
    """
    stems = []
    for path in paths:
        base = stem = os.path.splitext(os.path.basename(path))[0]
        number = 1
        while stem in stems:  # of another folder
            number += 1
            stem = f"{base}-{number}"
        stems.append(stem)
    outputs = [{} for _ in paths]
    for kind, target in (("overlay", FLAGS.overlay), ("strip", FLAGS.strip)):
        if target is None:
            continue
        extensions = importlib.import_module(f"keras_videorel.prediction.{kind}").EXTENSIONS
        is_file = len(words) == 1 and paths == words and os.path.splitext(target)[1]
        is_file = is_file and not os.path.isdir(target)
        if is_file and not target.lower().endswith(extensions):
            raise ValueError(
                f"`--{kind}` must be a folder, or end in {', '.join(extensions)}. "
                f"Received: {target!r}"
            )
        for stem, files in zip(stems, outputs, strict=True):
            files[kind] = target if is_file else os.path.join(target, stem + extensions[0])
    return outputs


def _label(predictor, path, outputs, options):
    """Label a file in two passes: windows, then everything that needs the number of frames."""
    from keras_videorel.data import video

    windows = []

    def noted(found):
        for window in found:
            pairs = predictor.best(window.probabilities, FLAGS.top)
            windows.append((window.start, window.end, pairs))
            yield window

    if outputs:
        from keras_videorel.prediction import maps, overlay, strip

        maps.check_options(predictor, **options)  # before any work
    with contextlib.ExitStack() as stack:
        on_frame = None
        with video.iter_frames(path, predictor.frame_size, threads=0) as reader:
            found = noted(predictor.windows(reader, FLAGS.window, FLAGS.hop, "overlay" in outputs))
            if "overlay" in outputs:
                on_frame = stack.enter_context(
                    overlay.writer(predictor, path, outputs["overlay"], found, **options)
                )
            for _ in found if FLAGS.over_time else iter(reader.skip, None):
                pass  # to the end, without windows if nothing shows them
            num_frames = reader.frames
        if on_frame is not None:
            on_frame = stack.enter_context(_progress(on_frame, num_frames, outputs["overlay"]))
        prediction, sample = predictor.predict(
            path, num_frames, FLAGS.top, with_sample="strip" in outputs, on_frame=on_frame
        )
    if "strip" in outputs:
        strip.draw(predictor, outputs["strip"], prediction, sample, **options)
    pairs = list(zip(prediction.labels, prediction.probabilities, strict=True))
    if FLAGS.json:
        line = {"path": path, "frames": num_frames, "predictions": _listed(pairs)}
        if FLAGS.over_time:
            line["windows"] = [_span(*window) for window in windows]
        print(json.dumps({**line, **outputs}), flush=True)
        return
    lines = [f"{path} ({num_frames} frames)"]
    lines += [f"  {value:7.2%}  {label}" for label, value in pairs]
    lines += [_window_line(*window) for window in windows] if FLAGS.over_time else []
    lines += [f"  written: {file}" for file in outputs.values()]
    print("\n".join(lines), flush=True)


@contextlib.contextmanager
def _progress(add, total, output):
    """`add` of an overlay, with a progress bar."""
    from tqdm import tqdm

    with tqdm(total=total, unit="frame", desc=os.path.basename(output), leave=False) as bar:
        yield lambda *frame: (add(*frame), bar.update())


def _span(start, end, pairs):
    return {"start": round(start, 3), "end": round(end, 3), "predictions": _listed(pairs)}


def _listed(pairs):
    return [{"label": label, "probability": value} for label, value in pairs]


def _window_line(start, end, pairs):
    shares = "   ".join(f"{value:6.1%} {label}" for label, value in pairs)
    return f"  {start:8.2f} - {end:8.2f} s  {shares}"


# --- Live -----------------------------------------------------------------------------------


def _watch(predictor, streams, failures):
    from keras_videorel.data import video
    from keras_videorel.prediction import live

    sources = {f"camera {name}": (live.open_camera, name) for name in FLAGS.camera}
    for word in streams:
        sources[word] = (video.iter_stream if video.is_stream(word) else video.iter_frames, word)
    sources = {
        name: functools.partial(opened, word, predictor.frame_size)
        for name, (opened, word) in sources.items()
    }

    def on_end(summary):
        if summary.error is not None:
            _report(failures, summary.source, summary.error)
        if summary.frames:
            print(f"videorel predict: {summary}", file=sys.stderr)

    stop = threading.Event()
    with _ends_at_keys(stop):
        for found in live.watch(
            predictor, sources, window=FLAGS.window, hop=FLAGS.hop, stop=stop, on_end=on_end
        ):
            pairs = predictor.best(found.window.probabilities, FLAGS.top)
            window = found.window.start, found.window.end, pairs
            if FLAGS.json:
                line = {"source": found.source, **_span(*window)}
                line |= {"latency_ms": round(1e3 * found.latency, 1), "skipped": found.skipped}
                print(json.dumps(line), flush=True)
            else:
                name = f"{found.source}  " if len(sources) > 1 else ""
                line = _window_line(*window)
                print(f"{name}{line}   [{1e3 * found.latency:.0f} ms]", flush=True)


@contextlib.contextmanager
def _ends_at_keys(stop):
    """Let Ctrl-C, or q in a terminal, set an event. A second Ctrl-C interrupts."""

    def interrupted(*_):
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        with _keys(stop):
            yield
    finally:
        stop.set()
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _keys(stop):
    """Let q set the event, if stdin is a terminal."""
    try:
        import select
        import termios
        import tty

        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
    except (ImportError, OSError, ValueError, AttributeError, termios.error):
        yield
        return

    def wait_for_q():
        while not stop.is_set():
            ready, _, _ = select.select([terminal], [], [], 0.2)
            if ready and os.read(terminal, 1) in (b"q", b"Q"):
                stop.set()

    tty.setcbreak(terminal)
    threading.Thread(target=wait_for_q, daemon=True).start()
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
