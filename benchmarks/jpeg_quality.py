"""What JPEG costs and spoils: RGB frames and optical flow as shards store them, on real videos.

python benchmarks/jpeg_quality.py VIDEO...
"""

import itertools
import os
import sys
import time

import cv2
import numpy as np
import tensorflow as tf

from keras_videorel.data import flow, video

SIZES = {"128x170": (128, 170), "240x320": (240, 320), "short side 256": 256}
RGB_SIZES = ("128x170", "short side 256")
QUALITIES = (75, 80, 85, 90, 95)
EVERY = 10  # frames from one that is measured to the next
PAIRS = 2  # of neighbours in each video, for the flow: TV-L1 takes seconds
ROUNDS = 5


def row(*cells):
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def header(*cells):
    row(*cells)
    row(*["---"] * len(cells))


def decoding_milliseconds(jpegs):
    """Median over rounds of the mean over JPEGs, one after the other on one thread."""
    taken = []
    for _ in range(1 + ROUNDS):  # the first time is not counted
        start = time.perf_counter()
        for jpeg in jpegs:
            tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE")
        taken.append(time.perf_counter() - start)
    return 1000 * np.median(taken[1:]) / len(jpegs)


def rgb_table(paths, size):
    frames, counts = [], []
    for path in paths:
        every = [frame for _, frame in video.iter_frames(path, SIZES[size])]
        counts.append(len(every))
        frames.append([cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for frame in every[::EVERY]])
    sources = [os.path.getsize(path) for path in paths]
    print(f"\nRGB, {size}, {sum(map(len, frames))} frames of {len(paths)} videos\n")
    header("quality", "bytes/frame", "x source file", "PSNR dB", "SSIM", "decoding ms/frame")
    for quality in QUALITIES:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        jpegs = [[cv2.imencode(".jpg", f, options)[1] for f in clip] for clip in frames]
        means = [np.mean([jpeg.size for jpeg in clip]) for clip in jpegs]
        times = [m * c / s for m, c, s in zip(means, counts, sources, strict=True)]
        pairs = [
            (frame, cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
            for frame, jpeg in zip(itertools.chain(*frames), itertools.chain(*jpegs), strict=True)
        ]
        row(
            quality,
            f"{np.mean(means):.0f}",
            f"{np.mean(times):.1f} ({min(times):.1f} to {max(times):.1f})",
            f"{np.mean([cv2.PSNR(*pair) for pair in pairs]):.1f}",
            f"{np.mean([cv2.quality.QualitySSIM_compute(*p)[0][:3] for p in pairs]):.4f}",
            f"{decoding_milliseconds([jpeg.tobytes() for jpeg in itertools.chain(*jpegs)]):.2f}",
        )


def estimate(paths, size, method):
    """Fields of a few pairs of each video, and seconds per field."""
    fields, seconds = [], 0.0
    for path in paths:
        frames = [flow.gray(frame) for _, frame in video.iter_frames(path, SIZES[size])]
        estimator = flow.estimator(method)
        for k in range(PAIRS):
            place = (2 * k + 1) * (len(frames) - 1) // (2 * PAIRS)
            start = time.perf_counter()
            fields.append(estimator(frames[place], frames[place + 1]))
            seconds += time.perf_counter() - start
    return fields, seconds / len(fields)


def flow_rows(fields, cells):
    """A row of levels alone and of each quality: added error, in pixels, inside the bound."""
    for quality in (None, *QUALITIES):
        sizes, errors = [], []
        for field in fields:
            levels = flow.to_levels(field)
            if quality is not None:
                jpeg = flow.encode_jpeg(levels, quality)
                sizes.append(len(jpeg))
                levels = flow.decode_jpeg(jpeg)
            inside = np.clip(field, -flow.BOUND, flow.BOUND)
            errors.append(np.linalg.norm(flow.from_levels(levels) - inside, axis=-1).ravel())
        error = np.concatenate(errors)
        figures = error.mean(), np.percentile(error, 99), error.max()
        row(
            *cells,
            "8 bits" if quality is None else quality,
            f"{np.mean(sizes):.0f}" if sizes else "",
            *(f"{figure:.3f}" for figure in figures),
        )


def main(paths):
    if not paths:
        sys.exit("name at least one video: python benchmarks/jpeg_quality.py VIDEO...")
    cv2.setNumThreads(1)
    for size in RGB_SIZES:
        rgb_table(paths, size)
    found = {
        (size, method): estimate(paths, size, method) for size in SIZES for method in flow.METHODS
    }
    print(f"\nFlow on one core, {PAIRS} fields of each video\n")
    header("method", "size", "s/field", "mean length px", "beyond 20 px")
    for (size, method), (fields, seconds) in found.items():
        length = np.mean([np.linalg.norm(field, axis=-1).mean() for field in fields])
        beyond = np.mean([(np.abs(field) > flow.BOUND).any(axis=-1).mean() for field in fields])
        row(method, size, f"{seconds:.4f}", f"{length:.2f}", f"{beyond:.2%}")
    print("\nStored flow: endpoint error added to what was estimated, px\n")
    header("method", "size", "quality", "bytes/field", "mean", "99th percentile", "largest")
    for (size, method), (fields, _) in found.items():
        flow_rows(fields, (method, size))


if __name__ == "__main__":
    main(sys.argv[1:])
