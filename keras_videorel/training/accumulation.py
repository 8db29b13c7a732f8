"""Gradient accumulation, for batches that do not fit on a device at once."""

import keras
import tensorflow as tf


class AccumulatingModel(keras.Model):
    """A functional model that computes a training step in `steps` parts and updates once.

    The gradient is the gradient of the whole batch, but batch normalization uses the statistics of
    each part. `gradient_accumulation_steps` of Keras 3.15.1 is not used. It counts each part as a
    step, also for moving averages of weights and for steps that float16 skips, and it fails under
    `tf.distribute.MirroredStrategy`.
    """

    def __init__(self, inputs, outputs, steps, name=None):
        super().__init__(inputs, outputs, name=name)
        self.steps = steps

    def train_step(self, data):
        batch = keras.utils.unpack_x_y_sample_weight(data)[:2]
        parts = [tf.reshape(t, (self.steps, -1, *t.shape[1:])) for t in batch]
        variables = self.trainable_variables
        devices = tf.distribute.get_strategy().num_replicas_in_sync

        def add_part(place, sums, losses):
            x, y = (part[place] for part in parts)
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(x, y, y_pred)  # on a device: its part of the mean
                scaled = self.optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, variables)
            self.compute_metrics(x, y, y_pred)
            sums = [s + g for s, g in zip(sums, gradients, strict=True)]
            return place + 1, sums, losses + tf.cast(loss * devices, tf.float32)

        zeros = [tf.zeros(v.shape, v.dtype) for v in variables]
        _, sums, losses = tf.while_loop(
            lambda place, *_: place < self.steps,
            add_part,
            (0, zeros, 0.0),
            parallel_iterations=1,  # the activations of one part at a time
        )
        # Once a step, as in Keras, so that a resumed epoch adds the losses in the same order.
        self.metrics[0].update_state(losses / self.steps, sample_weight=tf.shape(data[0])[0])
        self.optimizer.apply([s / self.steps for s in sums], variables)
        return self.get_metrics_result()
