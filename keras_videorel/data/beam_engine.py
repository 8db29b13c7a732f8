"""Shards on many machines: the same work as an Apache Beam pipeline, for any of its runners."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions

from keras_videorel.data.decoder import Decoder
from keras_videorel.data.shard_writer import Conversion, Shard, write_shard

_POLL_SECONDS = 5.0


def run(
    shards: Sequence[Shard], conversion: Conversion, options: Sequence[str], advance: Callable
) -> None:
    """Write shards; `advance` is called with the number of clips of each shard that is written.

    The workers need this package and the paths of `conversion`: a shared or a remote file system.
    `options` are flags of Beam's pipeline and runner; a `ValueError` if Beam does not know one.
    If the pipeline fails (`OSError`), finished shards stay.
    """
    try:
        # By default workers log hundreds of lines about themselves.
        flags = PipelineOptions(["--default_sdk_harness_log_level=WARNING", *options])
        flags.view_as(SetupOptions).save_main_session = False
        pipeline = beam.Pipeline(options=flags)
    except (SystemExit, ValueError) as error:  # argparse ends the program
        raise ValueError(f"the options after -- must be Beam's: {error}") from None
    (
        pipeline
        | "shards" >> beam.Create(shards)
        | "distribute" >> beam.Reshuffle()
        | "write" >> beam.ParDo(_WriteShard(conversion))
    )
    with _watched(shards, conversion, advance):
        try:
            pipeline.run().wait_until_finish()
        except Exception as error:  # each runner has its own
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise OSError(f"the Beam pipeline failed: {lines[-1] if lines else error!r}") from error


class _WriteShard(beam.DoFn):
    """Writes shards, with a decoding process for each thread of the worker."""

    def __init__(self, conversion):
        self._conversion = conversion
        self._clips = beam.metrics.Metrics.counter("keras_videorel", "clips")
        self._rejected = beam.metrics.Metrics.counter("keras_videorel", "rejected")

    def setup(self):
        self._decoder = Decoder(self._conversion.encoding, self._conversion.time_limit)

    def process(self, shard):
        if shard.name not in self._conversion.written():  # a runner may try twice
            report = write_shard(shard, self._conversion, self._decoder)
            self._clips.inc(sum(report["clips"].values()))
            self._rejected.inc(len(report["rejected"]))
        yield shard.name

    def teardown(self):
        self._decoder.close()


@contextlib.contextmanager
def _watched(shards, conversion, advance):
    """Poll which shards are there: Beam has no progress report that all runners support."""
    missing = {shard.name: len(shard.clips) for shard in shards}
    ended = threading.Event()

    def look():
        for name in conversion.written() & missing.keys():
            advance(missing.pop(name))

    def watch():
        while not ended.wait(_POLL_SECONDS):
            with contextlib.suppress(OSError):
                look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    look()
