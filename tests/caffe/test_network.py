"""The graph of the authors' Caffe files."""

import pytest

from keras_videorel.caffe import CaffeResNet18
from keras_videorel.layers import SquarePooling

SMALL = {"input_shape": (8, 32, 32, 3), "classes": 5, "width": 4}


def test_graph():
    """Units see the sum normalized and add to the bare sum; shortcuts are 3x3x3 convolutions."""
    model = CaffeResNet18(**SMALL)
    assert model.name == "artnet_resnet18_d_caffe"

    def reads(name):
        parents = model.get_layer(name)._inbound_nodes[0].parent_nodes
        return {parent.operation.name for parent in parents}

    assert reads("res2a") == {"redu2", "redu1"}  # before its normalization
    assert reads("res2b") == {"redu3", "res2a"}
    assert reads("res3a_down") == reads("res3a_1") == {"res2b_relu"}
    assert reads("res3a") == {"redu4", "res3a_down"}
    assert reads("res5b_bn") == {"res5b"} and reads("global_pool") == {"res5b_relu"}
    assert tuple(model.get_layer("res3a_down").kernel.shape) == (3, 3, 3, 4, 8)
    pooling = [layer for layer in model.layers if isinstance(layer, SquarePooling)]
    assert len(pooling) == 7 and all(layer.hidden_limit is None for layer in pooling)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "c2d"}, "`network` must be one of c3d, artnet_s, artnet_d.*c2d"),
        ({"weights": "gone.weights.h5"}, "`weights` must be None or the path.*gone"),
        ({"width": 3}, "`width` must be even"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        CaffeResNet18(**arguments)
