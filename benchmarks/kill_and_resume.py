"""Kill make-tfrecords at random moments, start it again, and compare with an undisturbed run.

    python benchmarks/kill_and_resume.py [--points 20] [--seed 0] -- FLAGS OF make-tfrecords

Every other time the whole process group gets the signal; in between the main process alone, whose
decoding processes must then end by themselves. Without flags, videos are rendered.
"""

import argparse
import hashlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

COMMAND = [sys.executable, "-m", "keras_videorel"]
START = 3.0  # seconds at least before a kill: Python and TensorFlow start


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.*")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("flags", nargs="*", help="flags of make-tfrecords, without --output")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        flags = arguments.flags
        if not flags:
            videos = scratch / "videos"
            words = ["render-videos", f"--output={videos}", "--clips_per_class=10"]
            subprocess.run([*COMMAND, *words], check=True, capture_output=True)
            flags = ["--dataset=folder", f"--videos={videos}", "--shards=40"]

        def start(output):
            words = [*COMMAND, "make-tfrecords", *flags, f"--output={output}"]
            quiet = subprocess.DEVNULL
            return subprocess.Popen(words, start_new_session=True, stdout=quiet, stderr=quiet)

        began = time.perf_counter()
        assert start(scratch / "whole").wait() == 0
        seconds = time.perf_counter() - began
        whole = contents(scratch / "whole")
        print(f"undisturbed: {seconds:.1f} s, {len(whole)} files; seed {arguments.seed}\n")
        print("| killed after, s | who | shards there | equal in the end | left behind |")
        print("|---|---|---|---|---|")
        different = 0
        for point in range(arguments.points):
            output = scratch / str(point)
            moment = chance.uniform(min(START, seconds / 2), seconds)
            process = start(output)
            time.sleep(moment)
            alone = point % 2
            (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
            process.wait()
            time.sleep(1)
            try:  # processes of the group that outlived it
                os.killpg(process.pid, 0)
                alive = True
            except ProcessLookupError:
                alive = False
            shards = len(list(output.glob("*.tfrecord")))
            assert start(output).wait() == 0
            equal = contents(output) == whole
            left = sorted(path.name for path in output.iterdir() if path.name not in whole)
            different += not equal or bool(left) or alive
            who = "main process" if alone else "group"
            left = ", ".join(left + ["processes"] * alive) or "nothing"
            print(f"| {moment:.1f} | {who} | {shards} | {equal} | {left} |", flush=True)
        print(f"\n{arguments.points - different} of {arguments.points} as if undisturbed")
        sys.exit(different > 0)


if __name__ == "__main__":
    main()
