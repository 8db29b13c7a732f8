"""The networks of the two papers, with signatures as in `keras.applications`."""

from keras_videorel.models.relational_lstm_resnet import RelationalLSTMResNet
from keras_videorel.models.snippet_classifier import SnippetClassifier
from keras_videorel.models.temporal_segment_network import TemporalSegmentNetwork
from keras_videorel.models.transfer import initialize_from
from keras_videorel.models.video_resnet import (
    ARTNetResNet18,
    C2DResNet18,
    C3DResNet18,
    C3DResNet34,
    RelationResNet18,
)

__all__ = [
    "ARTNetResNet18",
    "C2DResNet18",
    "C3DResNet18",
    "C3DResNet34",
    "RelationResNet18",
    "RelationalLSTMResNet",
    "SnippetClassifier",
    "TemporalSegmentNetwork",
    "initialize_from",
]
