"""Networks of the two papers, with the signatures of `keras.applications`."""

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
]
