"""keras_videorel: Relational LSTM and ARTNet for video action recognition, in Keras 3."""

__version__ = "0.1.0"
