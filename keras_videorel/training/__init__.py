"""Optimizers, learning rates, gradient accumulation, callbacks and data parallelism."""
