"""Data parallelism over one or several processes and devices.

Each device takes an equal part of a batch, and the gradients are summed. A step thus equals a step
of one device on the whole batch. docs/distributed.md says how to start several processes.
"""

import contextlib
import json
import os
import re

import keras
import tensorflow as tf

# Errors of collective operations if another process cannot be reached.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)


class MultiWorkerStrategy(tf.distribute.MultiWorkerMirroredStrategy):
    """`MultiWorkerMirroredStrategy` that the `fit` of Keras 3.15.1 can use."""

    def reduce(self, reduce_op, value, axis):
        """Reduce each value of a nest; scalars, such as losses, have no axis."""

        def reduced(leaf):
            scalar = self.experimental_local_results(leaf)[0].shape.rank == 0
            return super(MultiWorkerStrategy, self).reduce(
                reduce_op, leaf, axis=None if scalar else axis
            )

        return tf.nest.map_structure(reduced, value)


def synchronize_batch_normalization(model):
    """Let batch normalization use the statistics of the whole batch, as it always does on jax."""
    if keras.backend.backend() == "tensorflow":
        for layer in model._flatten_layers():  # Keras has no public list of nested layers
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True


class Distribution:
    """How a run is spread over processes and devices.

    Attributes:
        workers: Number of processes.
        worker: Index of this process. Only process 0, the chief, writes.
        devices: Number of devices of all processes.
    """

    def __init__(self, strategy=None, devices=1, workers=1, worker=0):
        self._strategy = strategy
        self.devices, self.workers, self.worker = devices, workers, worker

    @property
    def chief(self):
        """Whether this process writes."""
        return self.worker == 0

    def scope(self):
        """The context to build and compile a model in."""
        return self._strategy.scope() if self._strategy else contextlib.nullcontext()

    def readers(self, num_readers, batch_size):
        """`(num_readers, reader_ids)` of this worker, for `pipeline.training_batches`.

        A `num_readers` of 1 becomes the number of workers. `batch_size` counts the clips of all
        devices. A `ValueError` if workers or devices would get unequal parts of a batch.
        """
        num_readers = self.workers if num_readers == 1 else num_readers
        if num_readers % self.workers:
            raise ValueError(
                "`config.data.num_readers` must be a multiple of the number of workers. "
                f"Received: {num_readers} readers, {self.workers} workers"
            )
        if batch_size % self.devices:
            raise ValueError(
                "`config.train.batch_size` must be a multiple of the number of devices. "
                f"Received: a batch of {batch_size}, {self.devices} devices"
            )
        share = num_readers // self.workers
        return num_readers, range(self.worker * share, (self.worker + 1) * share)

    def validated(self, clips):
        """The number of clips to validate on: all, or on jax a multiple of the device count."""
        return clips if self._strategy else clips // self.devices * self.devices

    def feed(self, batches, batch_size):
        """The dataset for `fit` (or None), from this worker's parts of batches of `batch_size`."""
        if self.workers == 1 or batches is None:
            return batches
        if self.devices > self.workers:
            batches = batches.rebatch(batch_size // self.devices)
        return self._strategy.distribute_datasets_from_function(lambda context: batches)

    def check_agreement(self, **numbers):
        """Wait for all workers, and refuse integers that differ between them."""
        if self.workers == 1:
            return
        row = tf.constant([[0, *numbers.values()]], tf.int64)
        _, *found = self._strategy.gather(row, axis=0).numpy().T
        for name, values in zip(numbers, found, strict=True):
            if len(set(values)) > 1:
                raise ValueError(
                    f"all workers must have the same {name}: start them with one command, and a "
                    f"--workdir that all of them share. Received: {name}s {values.tolist()}"
                )


@contextlib.contextmanager
def distributed():
    """The `Distribution` of this process, inside the block.

    On jax it covers all devices. On TensorFlow it covers the GPUs of all workers in TF_CONFIG, or
    else the devices of the `tf.distribute` strategy whose scope this is called in, or else the GPUs
    of this machine. If another worker is lost, the block raises a `ConnectionError`.
    """
    workers, worker = read_tf_config()
    if keras.backend.backend() != "tensorflow":
        if workers > 1:
            raise ValueError(
                "several workers need the tensorflow backend. Received: "
                f"TF_CONFIG of {workers} workers, backend {keras.backend.backend()!r}"
            )
        with _data_parallel() as devices:
            yield Distribution(devices=devices)
    elif workers > 1:
        try:
            strategy = MultiWorkerStrategy()
            yield Distribution(strategy, strategy.num_replicas_in_sync, workers, worker)
        except _LOST as error:
            # Keras adds a traceback around the reason.
            reason = re.search("aborted by: (.*)", error.message)
            raise ConnectionError(
                "another worker was lost, and may have said why; start all of them again, and "
                "training goes on after the last checkpoint "
                f"({reason[1] if reason else error.message})"
            ) from error
    elif tf.distribute.has_strategy():
        strategy = tf.distribute.get_strategy()
        yield Distribution(strategy, strategy.num_replicas_in_sync)
    else:
        gpus = [gpu.name for gpu in tf.config.list_logical_devices("GPU")]
        strategy = tf.distribute.MirroredStrategy(gpus) if len(gpus) > 1 else None
        yield Distribution(strategy, len(gpus) or 1)


@contextlib.contextmanager
def _data_parallel():
    """The number of devices that the jax backend distributes batches over in the block."""
    devices = len(keras.distribution.list_devices()) if keras.backend.backend() == "jax" else 1
    if devices == 1:
        yield 1
        return
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    try:
        yield devices
    finally:
        keras.distribution.set_distribution(before)


def read_tf_config():
    """`(number of workers, index of this worker)` of TF_CONFIG; `(1, 0)` without it."""
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return 1, 0
    try:
        found = json.loads(text)
        cluster, task = found["cluster"], found["task"]
        addresses, index = cluster["worker"], task["index"]
        if set(cluster) != {"worker"} or task["type"] != "worker":
            raise ValueError
        if not isinstance(addresses, list) or not 0 <= index < len(addresses):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            'TF_CONFIG must be {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": '
            f'"worker", "index": N}}}}, N below the number of workers. Received: {text!r}'
        ) from None
    return len(addresses), index
