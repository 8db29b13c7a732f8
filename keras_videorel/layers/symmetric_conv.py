"""3D convolution whose `padding="same"` is symmetric."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_videorel")
class SymmetricConv3D(keras.layers.Conv3D):
    """`keras.layers.Conv3D` with the paper's geometry: symmetric padding at any stride.

    With `padding="same"` a kernel of size k is padded by `(k - 1) // 2` before and `k // 2`
    after, whatever the stride and the input size. Keras pads by the *remainder* instead, which
    at stride 2 and even sizes puts all of it behind: the kernels then sit half a stride off
    those of the networks that the paper's figures come from. Output sizes are the same,
    `ceil(n / stride)`.

    Takes the arguments of `keras.layers.Conv3D`, channels last.
    """

    def convolution_op(self, inputs, kernel):
        if self.padding != "same" or all(stride == 1 for stride in self.strides):
            return super().convolution_op(inputs, kernel)  # "same" is symmetric at stride 1
        spans = [(k - 1) * d for k, d in zip(self.kernel_size, self.dilation_rate, strict=True)]
        pads = [(span // 2, span - span // 2) for span in spans]
        return ops.conv(
            ops.pad(inputs, [(0, 0), *pads, (0, 0)]),
            kernel,
            strides=self.strides,
            padding="valid",
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
