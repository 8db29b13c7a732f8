"""Broken videos, and what becomes of them.

    python benchmarks/decoding_fuzz.py --videos DIR --files 2000 --seed 0

Takes the videos of a folder, cut to their first frames, in as many containers and codecs as PyAV
can write here, damages them in many ways, and decodes each as `make_tfrecords` does. Prints what
came of them; ends with an error if one of them broke a rule of `check`, or took too long.
"""

import collections
import io
import itertools
import os
import re
import sys
import tempfile
import time

import av
import cv2
import numpy as np
from absl import app, flags
from tqdm import tqdm

from keras_videorel.data import decoder, video

FRAMES = 30  # of each video that is damaged
EXTENSIONS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg")
# Container, encoder, pixel format, options.
KINDS = (
    ("mp4", "libx264", "yuv420p", {"bf": "2", "g": "12"}),
    ("mp4", "mpeg4", "yuv420p", {"g": "12"}),
    ("mp4", "libx265", "yuv420p10le", {"x265-params": "log-level=none"}),
    ("mov", "mjpeg", "yuvj422p", {}),
    ("avi", "mpeg4", "yuv420p", {"bf": "2", "g": "12"}),
    ("avi", "mjpeg", "yuvj420p", {}),
    ("avi", "msmpeg4v3", "yuv420p", {}),
    ("avi", "huffyuv", "yuv422p", {}),
    ("matroska", "libx264", "yuv444p", {"bf": "2", "g": "12"}),
    ("matroska", "ffv1", "yuv420p", {}),
    ("webm", "libvpx", "yuv420p", {"deadline": "realtime", "cpu-used": "8"}),
    ("webm", "libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8"}),
    ("mpeg", "mpeg1video", "yuv420p", {}),
    ("mpeg", "mpeg2video", "yuv420p", {"bf": "2", "flags": "+ilme+ildct"}),
    ("mpegts", "libx264", "yuv420p", {"bf": "2", "g": "12"}),
    ("flv", "flv", "yuv420p", {}),
    ("asf", "wmv2", "yuv420p", {}),
    ("h264", "libx264", "yuv420p", {"bf": "2"}),
)


def encode(frames, container, codec, pix_fmt, options, rate=25):
    """A video file.

    Args:
        frames: uint8 arrays `(height, width, 3)`, RGB, with even sides.
        container: Name of a container format.
        codec: Name of an encoder.
        pix_fmt: Pixel format that it gets.
        options: Options of the encoder.
        rate: Frames per second.

    Returns:
        Its bytes, or None if there is no such encoder here.
    """
    try:
        av.Codec(codec, "w")
    except ValueError:
        return None
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for frame in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode())
    return file.getvalue()


def mutate(data, other, rng):
    """Damage a file in one to three ways.

    Args:
        data: Its bytes.
        other: Bytes of another file, to take pieces of.
        rng: A `numpy.random.Generator`: the only source of chance.

    Returns:
        The damaged bytes.
    """
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        if len(data) > 8:
            data = MUTATIONS[rng.integers(len(MUTATIONS))](data, other, rng)
    return bytes(data)


def _place(data, rng):
    """A place, every other time among the first 4096 bytes, where most of the structure is."""
    return int(rng.integers(min(len(data), 4096) if rng.integers(2) else len(data)))


def _piece(data, rng):
    start = _place(data, rng)
    return slice(start, start + int(2 ** rng.uniform(0, np.log2(len(data)))))


def _flip_bits(data, other, rng):
    for _ in range(int(2 ** rng.uniform(0, 8))):
        data[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return data


def _overwrite(data, other, rng):
    piece = _piece(data, rng)
    length = len(data[piece])
    data[piece] = (bytes(length), b"\xff" * length, rng.bytes(length))[rng.integers(3)]
    return data


def _truncate(data, other, rng):
    return data[: _place(data, rng)]


def _delete(data, other, rng):
    del data[_piece(data, rng)]
    return data


def _duplicate(data, other, rng):
    piece = _piece(data, rng)
    data[piece.start : piece.start] = data[piece]
    return data


def _swap(data, other, rng):
    a, b, c = sorted(int(place) for place in rng.integers(0, len(data), 3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _number(data, other, rng):
    """Overwrite a number behind or before a four-letter code, such as the size of its box."""
    codes = [match.start() for match in re.finditer(rb"[A-Za-z][A-Za-z0-9 ]{3}", data)]
    place = codes[rng.integers(len(codes))] if codes else _place(data, rng)
    place = max(place + int(rng.choice([-4, 4, 8, 12, 16, 20])), 0)
    value = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, int(rng.integers(1 << 32)))
    value = value[rng.integers(len(value))]
    data[place : place + 4] = value.to_bytes(4, ("big", "little")[rng.integers(2)])
    return data


def _code(data, other, rng):
    """Replace a four-letter code by another of the two files."""
    codes = list(re.finditer(rb"[A-Za-z][A-Za-z0-9 ]{3}", data))
    found = re.findall(rb"[A-Za-z][A-Za-z0-9 ]{3}", data[:4096] + other[:4096])
    if codes:
        place = codes[rng.integers(len(codes))].start()
        data[place : place + 4] = found[rng.integers(len(found))]
    return data


def _join(data, other, rng):
    return data + bytearray(other) if rng.integers(2) else bytearray(other) + data


def _graft(data, other, rng):
    return data[: _place(data, rng)] + other[_place(other, rng) :]


MUTATIONS = (
    *(_flip_bits, _overwrite, _truncate, _delete, _duplicate, _swap),
    *(_number, _number, _code, _join, _graft),
)


def check(clip, settings):
    """Check what holds for each clip, whatever its file went through.

    Raises:
        AssertionError: If it does not.
    """
    frames, times = len(clip.jpegs), np.array(clip.timestamps)
    assert frames == len(times) > 0
    assert np.all(np.isfinite(times)) and np.all(np.diff(times) > 0)
    assert 0 < clip.frame_rate < 1e7 and abs(1e6 * times).max() < 2**62
    assert (clip.flow is None) == (settings.flow == "none")
    for jpegs in (clip.jpegs, clip.flow or clip.jpegs):
        assert len(jpegs) == frames
        for jpeg in jpegs:
            pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert pixels.shape == (clip.height, clip.width, 3)


def _sources(folder):
    paths = sorted(
        os.path.join(root, name)
        for root, _, names in os.walk(folder)
        for name in names
        if name.endswith(EXTENSIONS)
    )
    found = []
    for path in paths:
        with video.iter_frames(path) as reader:
            frames = [frame for _, frame in itertools.islice(reader, FRAMES)]
        frames = [frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2] for frame in frames]
        found += [(kind[0], encode(frames, *kind)) for kind in KINDS]
        if os.path.getsize(path) < 1 << 20:
            with open(path, "rb") as file:
                found.append((path.rsplit(".", 1)[-1], file.read()))
    found = [(name, data) for name, data in found if data is not None]
    if not found:
        raise ValueError(f"`videos` must hold videos. Received: {folder!r}")
    return found


def _memory(process):
    """Largest memory of a process so far in MiB; 0 where the system does not tell."""
    try:
        with open(f"/proc/{process}/status") as file:
            return int(re.search(r"VmHWM:\s*(\d+)", file.read())[1]) / 1024
    except (OSError, TypeError):
        return 0.0


def _kind(reason):
    """A reason without the numbers that differ from file to file."""
    return re.sub(r"\d+", "N", reason)[:70]


def main(_):
    sources = _sources(flags.FLAGS.videos)
    print(f"{len(sources)} videos to damage")
    settings = decoder.Settings((64, 86), 80, flags.FLAGS.flow)
    found, failures = collections.Counter(), []
    longest = memory = 0.0
    with (
        tempfile.TemporaryDirectory() as folder,
        decoder.Decoder(settings, flags.FLAGS.time_limit) as files,
    ):
        for index in tqdm(range(flags.FLAGS.files), disable=not sys.stderr.isatty()):
            rng = np.random.default_rng((flags.FLAGS.seed, index))
            (name, data), (_, other) = (sources[i] for i in rng.integers(len(sources), size=2))
            path = os.path.join(folder, f"{index}.{name}")
            with open(path, "wb") as file:
                file.write(mutate(data, other, rng))
            start = time.perf_counter()
            try:
                clip = files.encode(path)
                check(clip, settings)
                if clip.note is None:
                    found["accepted whole"] += 1
                elif "crashed" in clip.note or "no frame in" in clip.note:
                    found[f"accepted up to there: {_kind(clip.note)}"] += 1
                else:
                    found["accepted with a note"] += 1
            except video.VideoError as error:
                found[f"rejected: {_kind(error.reason)}"] += 1
            except Exception as error:  # that is what is looked for
                failures.append(f"file {index} ({name}): {error!r}")
            seconds = time.perf_counter() - start
            if seconds > flags.FLAGS.file_limit:
                failures.append(f"file {index} ({name}): {seconds:.0f} s")
            longest = max(longest, seconds)
            memory = max(memory, _memory(files.process_id))
            if not failures or not failures[-1].startswith(f"file {index} "):
                os.remove(path)
            elif flags.FLAGS.keep:
                os.replace(path, os.path.join(flags.FLAGS.keep, os.path.basename(path)))
        print("\n| outcome | files |\n|---|---|")
        print(f"| tried | {flags.FLAGS.files} |")
        for outcome, count in sorted(found.items()):
            print(f"| {outcome} | {count} |")
        print(f"| decoding processes that ended over a file | {files.starts - 1} |")
        print(f"| failures | {len(failures)} |")
        print(f"| longest time | {longest:.1f} s |")
        print(f"| largest memory of the process | {memory:.0f} MiB |")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    flags.DEFINE_string("videos", None, "Folder of videos.", required=True)
    flags.DEFINE_integer("files", 2000, "Number of damaged files to try.")
    flags.DEFINE_integer("seed", 0, "Seed of the damage.")
    flags.DEFINE_string("flow", "none", "Optical flow: none, tvl1 or dis.")
    flags.DEFINE_float("time_limit", 10.0, "Seconds that a frame may take.")
    flags.DEFINE_float("file_limit", 60.0, "Seconds that a file may take.")
    flags.DEFINE_string("keep", None, "Folder for the files that failed.")
    app.run(main)
