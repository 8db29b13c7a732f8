"""What it costs to turn a data set into shards: core hours, bytes and files, from measured rates.

    python benchmarks/conversion_cost.py VIDEO...

The videos stand for those of the data set: frames of 340x256 for Kinetics, 320x240 for UCF-101.
Rates are processor seconds of the decoding process, of one core, and so little disturbed by what
else the machine does. Flow is computed for the first frames only, and its rate is per frame.
"""

import argparse
import resource
import time

import cv2
import numpy as np

from keras_videorel.data import flow, shards, video
from keras_videorel.data.decoder import Decoder, Settings

# Clips (training and validation of Kinetics-400 as in ARTNet's Sec. 4.1; all of UCF-101) and mean
# frames of each: 10 s at 29 frames per second; 7.21 s at 25, Soomro et al. 2012.
DATA_SETS = {"Kinetics-400": (246_535 + 19_907, 290), "UCF-101": (13_320, 180)}
SIZES = {"128x170": (128, 170), "short side 256": 256}
FLOW_FRAMES = 12


def cost_of_frames(paths, size):
    """Processor seconds and bytes a frame."""

    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    with Decoder(Settings(size, shards.JPEG_QUALITY)) as decoder:
        jpegs = [jpeg for path in paths for jpeg in decoder.encode(path).jpegs]
    return (used() - before) / len(jpegs), sum(map(len, jpegs)) / len(jpegs)


def cost_of_flow(paths, size, method):
    """Processor seconds and bytes a field."""
    cv2.setNumThreads(1)
    seconds, lengths = 0.0, []
    for path in paths:
        with video.iter_frames(path, size) as reader:
            frames = [frame for _, (_, frame) in zip(range(FLOW_FRAMES + 1), reader, strict=False)]
        began = time.process_time()
        fields = flow.with_flow(frames, method)
        lengths += [len(flow.encode_jpeg(levels, shards.JPEG_QUALITY)) for _, levels in fields][1:]
        seconds += time.process_time() - began
    return seconds / len(lengths), sum(lengths) / len(lengths)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="+")
    paths = parser.parse_args().videos
    rates = {}
    print("| stored | what | core ms a frame | bytes a frame |\n|---|---|---|---|")
    for name, size in SIZES.items():
        for method in ("none", *reversed(flow.METHODS)):
            if method == "none":
                rates[name, method] = seconds, length = cost_of_frames(paths, size)
            else:
                rates[name, method] = seconds, length = cost_of_flow(paths, size, method)
            what = "frames" if method == "none" else f"and flow, {method}"
            print(f"| {name} | {what} | {1000 * seconds:.2f} | {length:.0f} |", flush=True)
    print("\n| data set | clips | stored | flow | core hours | TB | shards |")
    print("|---|---|---|---|---|---|---|")
    for data, (clips, frames) in DATA_SETS.items():
        for name, method in rates:
            used = np.array([rates[name, "none"]] + [rates[name, method]] * (method != "none"))
            seconds, length = used.sum(axis=0) * clips * frames
            print(
                f"| {data} | {clips:,} | {name} | {method} | {seconds / 3600:,.1f} | "
                f"{length / 1e12:.2f} | {-(-clips // shards.CLIPS_PER_SHARD):,} |"
            )


if __name__ == "__main__":
    main()
