"""Shards on this machine: a thread and a decoding process for each core."""

import threading
from collections import deque
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from keras_videorel.data.decoder import Decoder
from keras_videorel.data.shard_writer import write_shard


def run(shards, settings, workers, advance):
    """Write shards.

    The work is done in the decoding processes; the threads only pass their JPEGs on to the files.

    Args:
        shards: List of `shard_writer.Shard`.
        settings: A `shard_writer.Settings`.
        workers: Number of threads and decoding processes.
        advance: Called after each clip, by one thread at a time.

    Raises:
        OSError: If a shard cannot be written; the others in the making are given up.
    """
    pending, decoders, lock, stopped = deque(shards), [], threading.Lock(), threading.Event()

    def one_more():
        with lock:
            advance()

    def work():
        with Decoder(settings.encoding, settings.time_limit) as decoder:
            decoders.append(decoder)
            while not stopped.is_set():
                try:
                    shard = pending.popleft()
                except IndexError:
                    return
                write_shard(shard, settings, decoder, one_more)

    with ThreadPoolExecutor(min(workers, len(shards)), "shards") as pool:
        jobs = [pool.submit(work) for _ in range(min(workers, len(shards)))]
        try:
            done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
        finally:  # an error of one of them, or Ctrl-C
            stopped.set()
            for decoder in decoders:
                decoder.close()
    # An error ends the others, too, which is not what went wrong.
    for job in done:
        job.result()
