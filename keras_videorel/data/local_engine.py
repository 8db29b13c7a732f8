"""Shards on this machine: a thread and a decoding process for each core."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from keras_videorel.data.decoder import Decoder
from keras_videorel.data.shard_writer import Conversion, Shard, write_shard


def available_cores() -> int:
    """Number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return (os.cpu_count() or 1) if affinity is None else len(affinity(0))


def run(
    shards: Sequence[Shard], conversion: Conversion, num_workers: int, advance: Callable
) -> None:
    """Write shards; `advance` is called after each clip, by one thread at a time.

    The decoding processes do the work. The threads only write their JPEGs to the files. If a shard
    cannot be written (`OSError`), the unfinished ones are abandoned.
    """
    pending, lock, stopped = deque(shards), threading.Lock(), threading.Event()
    decoders: list[Decoder] = []

    def one_more():
        with lock:
            advance()

    def work():
        with Decoder(conversion.encoding, conversion.time_limit) as decoder:
            decoders.append(decoder)
            while not stopped.is_set():
                try:
                    shard = pending.popleft()
                except IndexError:  # another thread took the last one
                    return
                write_shard(shard, conversion, decoder, one_more)

    num_workers = min(num_workers, len(shards))
    with ThreadPoolExecutor(num_workers, "shards") as pool:
        jobs = [pool.submit(work) for _ in range(num_workers)]
        try:
            done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
        finally:  # an error of one of them, or Ctrl-C
            stopped.set()
            for decoder in decoders:
                decoder.close()
    # `done` holds the first error. Those of the threads that it stopped are of no interest.
    for job in done:
        job.result()
