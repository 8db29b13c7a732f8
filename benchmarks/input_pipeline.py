"""Training batches from shards, against decoding the video files for each of them.

    python benchmarks/input_pipeline.py [--videos DIR]

Snippets are 8 frames of 224x224 from all over a video, clips 16 frames in a row of 112x112; both
with random crops, resizing, mirroring and normalization, in batches of 8. The shards hold frames
with a shorter side of 256 for the one and of 128x170 for the other.

The files are decoded as the workers of a PyTorch DataLoader would, a process for each core, with
what is installed of PyAV, OpenCV, decord and torchcodec. To their favour the number of frames is
known, frames are cropped before any resizing, and no batch is handed over between processes.
Decoders and shards take turns. Without videos some are made: like UCF-101's, MPEG-4 of 320x240 with
a key frame in 12, and like Kinetics', H.264 of 340x256 with one in 250.
"""

import collections
import importlib.util
import math
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor

import av
import cv2
import numpy as np
from absl import app, flags
from timing import seconds_in_turns

from keras_videorel.data.manifest import read_manifest, shard_files

flags.DEFINE_string("videos", None, "Folder of videos; by default some are made.")
flags.DEFINE_integer("rounds", 3, "How often each takes its turn.")
flags.DEFINE_integer("jpeg_quality", None, "Of the shards; by default that of make-tfrecords.")
FLAGS = flags.FLAGS

BATCH = 8
SCALES = (1.0, 0.875, 0.75, 0.66)
SETTINGS = {
    "snippets": ({"segments": 8, "frames": 1, "crop_size": 224}, {"frame_size": 256}),
    "clips": ({"segments": 0, "frames": 16, "crop_size": 112}, {"frame_size": (128, 170)}),
}
# Samples of a turn; from shards many, for `tf.data` begins slowly and tunes itself as it runs.
FROM_FILES, FROM_SHARDS = 32, 1536


# --- Decoders of files: the frames of a path at some indices, uint8 RGB ------------------------


def pyav_sequential(path, indices):
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        wanted, frames = set(indices), {}
        for index, frame in enumerate(container.decode(stream)):
            if index in wanted:
                frames[index] = frame.to_ndarray(format="rgb24")
            if index == indices[-1]:
                break
    return [frames[index] for index in indices]


def pyav_seek(path, indices):
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        ticks = 1 / float(stream.average_rate * stream.time_base)
        frames, last = [], None
        for index in indices:
            pts = round(index * ticks) + (stream.start_time or 0)
            if index - 1 != last:
                container.seek(pts, stream=stream)
                decoded = container.decode(stream)
            frame = next(frame for frame in decoded if frame.pts is not None and frame.pts >= pts)
            frames.append(frame.to_ndarray(format="rgb24"))
            last = index
    return frames


def opencv_sequential(path, indices):
    capture, frames, wanted = cv2.VideoCapture(path), [], set(indices)
    for index in range(indices[-1] + 1):
        capture.grab()
        if index in wanted:
            frames.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
    return frames


def opencv_seek(path, indices):
    capture, frames, last = cv2.VideoCapture(path), [], None
    for index in indices:
        if index - 1 != last:
            capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        frames.append(cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB))
        last = index
    return frames


def decord(path, indices):
    import decord

    return decord.VideoReader(path, num_threads=1).get_batch(indices).asnumpy()


def torchcodec(path, indices):
    import torch
    from torchcodec.decoders import VideoDecoder

    torch.set_num_threads(1)
    decoder = VideoDecoder(
        path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="approximate"
    )
    return decoder.get_frames_at(indices).data.numpy()


DECODERS = (pyav_sequential, pyav_seek, opencv_sequential, opencv_seek, decord, torchcodec)


# --- Batches ------------------------------------------------------------------------------------


def batches_from_files(decode, videos, settings, seed, count):
    """Make `count` samples, in batches: what a worker of a DataLoader does."""
    cv2.setNumThreads(1)
    segments, frames, size = settings["segments"], settings["frames"], settings["crop_size"]
    rng = np.random.default_rng(seed)
    mean = np.tile(np.float32([123, 117, 104]), size)
    for _ in range(count // BATCH):
        batch = np.empty((BATCH, max(segments, 1) * frames, size, size, 3), np.uint8)
        for sample in batch:
            path, length = videos[rng.integers(len(videos))]
            if segments:
                bounds = np.arange(segments + 1) * length // segments
                indices = rng.integers(bounds[:-1], bounds[1:]).tolist()
            else:
                start = int(rng.integers(length - frames + 1))
                indices = list(range(start, start + frames))
            decoded = decode(path, indices)
            first = int(rng.integers(len(SCALES)))
            second = int(rng.integers(max(first - 1, 0), min(first + 2, len(SCALES))))
            shape = decoded[0].shape[:2]
            height, width = (round(SCALES[i] * min(shape)) for i in (first, second))
            top, left = rng.integers(shape[0] - height + 1), rng.integers(shape[1] - width + 1)
            mirrored = rng.random() < 0.5
            for picture, frame in zip(sample, decoded, strict=True):
                crop = frame[top : top + height, left : left + width]
                picture[...] = cv2.resize(crop, (size, size))
                if mirrored:
                    picture[...] = cv2.flip(picture, 1)
        batch.reshape(-1, 3 * size).astype(np.float32) - mean


def files_step(pool, workers, decode, videos, settings):
    def step():
        share = FROM_FILES // workers // BATCH * BATCH
        jobs = [
            pool.submit(batches_from_files, decode, videos, settings, seed, share)
            for seed in range(workers)
        ]
        for job in jobs:
            job.result()

    return step, FROM_FILES // workers // BATCH * BATCH * workers


def shards_steps(folder, settings):
    """Steps that make batches from shards, and that only read them."""
    import tensorflow as tf

    from keras_videorel import ClipSpec
    from keras_videorel.data import pipeline

    info = read_manifest(folder)
    batches = pipeline.training_batches(
        info, ClipSpec(**settings), BATCH, crop_scales=SCALES, epochs=math.inf
    )
    records = tf.data.TFRecordDataset(shard_files(info, "train"), num_parallel_reads=4)
    lengths = records.map(tf.strings.length).repeat().take(FROM_SHARDS)

    def step():  # from the beginning, so that nothing is made in the turns of others
        for _ in batches.take(FROM_SHARDS // BATCH):
            pass

    def read():
        for _ in lengths:
            pass

    return step, read


# --- Videos -------------------------------------------------------------------------------------


def made_videos(folder):
    """Pink noise under a moving camera, with things that move, at the bit rates of real files."""
    kinds = {
        "mpeg4": ("avi", 240, (240, 320), 12, 560_000),
        "h264": ("mp4", 300, (256, 340), 250, 700_000),
    }
    rng = np.random.default_rng(0)
    for codec, (extension, count, (height, width), keys, rate) in kinds.items():
        for number in range(2):
            path = os.path.join(folder, f"{codec}_{number}.{extension}")
            with av.open(path, "w") as container:
                stream = container.add_stream("libx264" if codec == "h264" else codec, rate=30)
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.bit_rate, stream.gop_size = rate, keys
                for picture in moving_pictures(rng, count, height, width):
                    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())


def moving_pictures(rng, count, height, width):
    background, thing = pink(rng, 2 * height, 2 * width), pink(rng, height, width)
    yy, xx = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    for t in np.linspace(0, 2 * np.pi, count):
        left, top = width * (0.5 + 0.3 * np.sin(t)), height * (0.5 + 0.2 * np.cos(2 * t))
        camera = np.float32([[1, 0.05 * np.sin(3 * t), left], [0, 1 + 0.1 * np.sin(t), top]])
        picture = cv2.warpAffine(
            background, camera, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        inside = (xx - 0.6 * np.sin(2 * t)) ** 2 + (yy - 0.4 * np.cos(3 * t)) ** 2 < 0.1
        picture[inside] = thing[inside]
        noise = rng.integers(-2, 3, (height, width, 1), np.int16)
        yield np.clip(picture + noise, 0, 255).astype(np.uint8)


def pink(rng, height, width):
    """A picture whose spectrum falls with frequency, as that of nature does."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    fall = frequency**1.35  # with which JPEGs are as long as those of real videos
    layers = [
        np.fft.irfft2(np.fft.rfft2(rng.normal(size=(height, width))) / fall, (height, width))
        for _ in range(4)
    ]
    channels = np.stack([layers[0] + 0.2 * own for own in layers[1:]], -1)
    return np.clip(128 + 45 * channels / channels.std(), 0, 255).astype(np.float32)


def by_codec(folder):
    """`(path, frames)` of the videos of a folder, by codec."""
    found = collections.defaultdict(list)
    for parent, _, names in os.walk(folder):
        for path in sorted(os.path.join(parent, name) for name in names):
            try:
                with av.open(path) as container:
                    codec = container.streams.video[0].codec_context.name
                    keys = [frame.key_frame for frame in container.decode(video=0)]
            except (av.error.FFmpegError, IndexError):  # no video, or a broken one
                continue
            if len(keys) >= 16:
                found[codec].append((path, keys))
    return found


# --- The benchmark ------------------------------------------------------------------------------


def main(_):
    from keras_videorel import tensorflow_import

    tensorflow_import.import_tensorflow()
    known = [d for d in DECODERS if d.__name__ not in ("decord", "torchcodec") or installed(d)]
    workers = os.cpu_count()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(workers, context) as pool:
        folder = FLAGS.videos
        if folder is None:
            folder = os.path.join(scratch, "videos")
            os.makedirs(folder)
            made_videos(folder)
        for codec, videos in by_codec(folder).items():
            keys = np.mean([len(keys) / sum(keys) for _, keys in videos])
            frames = np.mean([len(keys) for _, keys in videos])
            print(
                f"\n{codec}: {len(videos)} videos of {frames:.0f} frames, "
                f"a key frame in {keys:.0f}; {workers} cores",
                flush=True,
            )
            videos = [(path, len(keys)) for path, keys in videos]
            for name in SETTINGS:
                compare(name, videos, known, pool, workers, os.path.join(scratch, codec + name))


def installed(decoder):
    name = decoder.__name__
    try:
        found = importlib.util.find_spec(name) is not None
        if found:
            importlib.import_module(f"{name}.decoders" if name == "torchcodec" else name)
    except (ImportError, OSError, RuntimeError) as error:  # it lacks libraries of its own
        print(f"{name} cannot be imported: {str(error).strip().splitlines()[0]}")
        return False
    if not found:
        print(f"{name} is not installed")
    return found


def compare(name, videos, decoders, pool, workers, folder):
    settings, stored = SETTINGS[name]
    records = write_shards(videos, folder, stored)
    steps, samples = {}, {}
    for decode in decoders:
        title = decode.__name__.replace("_", ", ")
        steps[title], samples[title] = files_step(pool, workers, decode, videos, settings)
    steps["shards"], steps["shards, reading alone"] = shards_steps(folder, settings)
    samples["shards"] = samples["shards, reading alone"] = FROM_SHARDS
    seconds = seconds_in_turns(steps, FLAGS.rounds)
    rates = {title: samples[title] / seconds[title] for title in steps}
    best = max(rate for title, rate in rates.items() if not title.startswith("shards"))
    source = np.mean([os.path.getsize(path) for path, _ in videos])
    print(
        f"\n  {name}: {source / 1e6:.2f} MB a video, {records / 1e6:.2f} MB a record "
        f"({records / source:.1f} times)"
    )
    for title, rate in rates.items():
        print(f"    {title:24}{rate:8.1f} a second {rate / best:7.2f}", flush=True)


def write_shards(videos, folder, stored):
    """16 shards of the videos, again and again; the bytes of a record."""
    import tensorflow as tf

    from keras_videorel import files
    from keras_videorel.data import shards, sources

    clips = [sources.Video(os.path.abspath(path), "a", "train") for path, _ in videos]
    quality = FLAGS.jpeg_quality
    options = {**stored, **({} if quality is None else {"jpeg_quality": quality})}
    data = sources.DataSet(clips, ["a"])
    manifest = shards.write_shards(data, folder, num_shards=1, **options).content
    (name,) = (name for name in os.listdir(folder) if name.endswith(".tfrecord"))
    written = os.path.join(folder, name)
    records = list(tf.data.TFRecordDataset(written).as_numpy_iterator())
    os.remove(written)
    names = [os.path.join(folder, f"train-{i:05d}-of-00016.tfrecord") for i in range(16)]
    with tf.io.TFRecordWriter(names[0]) as writer:
        for number in range(32):
            writer.write(records[number % len(records)])
    for name in names[1:]:
        os.link(names[0], name)
    manifest["splits"]["train"]["clips"] = 16 * 32
    files.write_json(os.path.join(folder, "dataset.json"), manifest)
    return np.mean([len(record) for record in records])


if __name__ == "__main__":
    app.run(main)
