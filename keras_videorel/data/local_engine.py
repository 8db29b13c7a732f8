"""Shards on this machine: a thread and a decoding process for each core."""

import threading
from collections import deque
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from keras_videorel.data.decoder import Decoder
from keras_videorel.data.shard_writer import write_shard


def run(shards, conversion, num_workers, advance):
    """Write shards of a `Conversion`; `advance` is called after each clip, by a thread at a time.

    The work is done in the decoding processes; the threads only pass their JPEGs on to the files.
    If a shard cannot be written (`OSError`), the others in the making are given up.
    """
    pending, decoders, lock, stopped = deque(shards), [], threading.Lock(), threading.Event()

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
    # An error ends the others, too, which is not what went wrong.
    for job in done:
        job.result()
