"""Data parallelism: one process or several, one device or several.

A batch of the run is spread over all devices: each takes an equal part of it, and gradients are
summed, so that the step is that of one device with the whole batch. docs/distributed.md says how to
start it, and what is equal to what.
"""

import contextlib
import json
import os
import re

import keras
import tensorflow as tf

# What collective operations fail with when a process, or the way to it, is gone.
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
        """Reduce each value of a nest, such as a batch; scalars, such as losses, have no axis."""

        def reduced(leaf):
            scalar = self.experimental_local_results(leaf)[0].shape.rank == 0
            return super(MultiWorkerStrategy, self).reduce(
                reduce_op, leaf, axis=None if scalar else axis
            )

        return tf.nest.map_structure(reduced, value)


class SGD(keras.optimizers.SGD):
    """SGD that clips the gradient of the whole batch; Keras 3.15.1's clips that of each device."""

    def _clip_gradients(self, grads):
        replica = tf.distribute.get_replica_context()
        devices = replica.num_replicas_in_sync if replica else 1
        if devices == 1 or not self.global_clipnorm:
            return super()._clip_gradients(grads)
        clipped = super()._clip_gradients(replica.all_reduce("sum", grads))
        return [gradient / devices for gradient in clipped]  # which Keras sums over the devices


def synchronize_batch_normalization(model):
    """Let the batch normalizations of a model take their statistics of the whole batch.

    On the jax backend they always do.
    """
    if keras.backend.backend() == "tensorflow":
        for layer in model._flatten_layers():  # Keras has no public list of those inside layers
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True


class Distribution:
    """How a run is spread over processes and devices.

    Attributes:
        workers: Number of processes.
        worker: Which of them this is; 0 is the chief, the only one that writes.
        devices: Number of devices of all processes together.
    """

    def __init__(self, strategy=None, devices=1, workers=1, worker=0):
        self._strategy = strategy
        self.devices, self.workers, self.worker = devices, workers, worker

    @property
    def chief(self):
        """Whether this process writes."""
        return self.worker == 0

    def scope(self):
        """The context that a model is built and compiled in."""
        return self._strategy.scope() if self._strategy else contextlib.nullcontext()

    def readers(self, num_readers, batch_size):
        """The readers of `pipeline.training_batches`, and those of this worker.

        Args:
            num_readers: The number in the config; 1 becomes the number of workers.
            batch_size: Samples in a batch of all devices together.

        Returns:
            `(num_readers, reader_ids)`.

        Raises:
            ValueError: If workers or devices would get unequal parts.
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
        """How many clips validation takes: all; on the jax backend, whose devices take equal parts
        of each batch, a multiple of their number."""
        return clips if self._strategy else clips // self.devices * self.devices

    def feed(self, batches, batch_size):
        """What `fit` takes: in one process the dataset itself, which it spreads over devices.

        Args:
            batches: A `tf.data.Dataset` of this worker's part of each batch, or None.
            batch_size: Samples in a batch of all devices together.
        """
        if self.workers == 1 or batches is None:
            return batches
        if self.devices > self.workers:
            batches = batches.rebatch(batch_size // self.devices)
        return self._strategy.distribute_datasets_from_function(lambda context: batches)

    def check_agreement(self, **numbers):
        """Wait for all workers, and see that they agree.

        Args:
            **numbers: Integers that must be the same on all workers.

        Raises:
            ValueError: If they are not.
        """
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
def distribution():
    """The `Distribution` of this process, for the length of a run.

    Over the GPUs of all workers that the variable TF_CONFIG lists, or over those of this machine;
    on the jax backend over all of its devices.

    Raises:
        ValueError: If TF_CONFIG is not understood, or the backend cannot have several workers.
        ConnectionError: From the block, if another worker is lost.
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
        return
    if workers == 1:
        gpus = local_gpus()
        several = len(gpus) > 1
        yield Distribution(
            tf.distribute.MirroredStrategy(gpus) if several else None, len(gpus) or 1
        )
        return
    try:
        strategy = MultiWorkerStrategy()
        yield Distribution(strategy, strategy.num_replicas_in_sync, workers, worker)
    except _LOST as error:
        # What Keras adds around it is a traceback.
        reason = re.search("aborted by: (.*)", error.message)
        raise ConnectionError(
            "another worker was lost, and may have said why; start all of them again, and training "
            f"goes on after the last checkpoint ({reason[1] if reason else error.message})"
        ) from error


def local_gpus():
    """Names of the GPUs of this machine."""
    return [gpu.name for gpu in tf.config.list_logical_devices("GPU")]


@contextlib.contextmanager
def _data_parallel():
    """Number of devices that the jax backend spreads batches over."""
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
    """The number of workers in the variable TF_CONFIG, and the index of this one.

    Returns:
        `(workers, worker)`; `(1, 0)` where it is not set.

    Raises:
        ValueError: If it describes anything but workers.
    """
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
