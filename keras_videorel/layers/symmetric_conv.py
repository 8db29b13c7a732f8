"""3D convolution with symmetric `padding="same"`."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_videorel")
class SymmetricConv3D(keras.layers.Conv3D):
    """`keras.layers.Conv3D` with symmetric padding at any stride, as in ARTNet.

    With `padding="same"`, a kernel of size k is padded by `(k - 1) // 2` before and `k // 2`
    after, for every stride and input size. The padding of Keras depends on the input size. At
    stride 2 and even sizes, it shifts the kernels by half a stride against the networks of the
    paper. Output sizes are the same, `ceil(n / stride)`.

    On TensorFlow, a strided convolution is computed as a 2D convolution of stacked frames. The
    result is the same. The gradients of strided 3D convolutions in TensorFlow 2.21 are about fifty
    times slower on processors without AVX-512 (`benchmarks/strided_convolution.py`).

    Arguments are the same as for `keras.layers.Conv3D`, but channels are always last, regardless
    of `keras.config.image_data_format()`.

    Raises:
        ValueError: If `data_format` is "channels_first".
    """

    def __init__(
        self,
        filters,
        kernel_size,
        strides=(1, 1, 1),
        padding="valid",
        data_format="channels_last",
        **kwargs,
    ):
        if data_format not in (None, "channels_last"):
            raise ValueError(
                f'`data_format` must be "channels_last". Received: data_format={data_format!r}'
            )
        super().__init__(filters, kernel_size, strides, padding, "channels_last", **kwargs)

    def convolution_op(self, inputs, kernel):
        if all(stride == 1 for stride in self.strides):
            return super().convolution_op(inputs, kernel)  # "same" is symmetric at stride 1
        if self.padding == "same":
            spans = [(k - 1) * d for k, d in zip(self.kernel_size, self.dilation_rate, strict=True)]
            pads = [(span // 2, span - span // 2) for span in spans]
            inputs = ops.pad(inputs, [(0, 0), *pads, (0, 0)])
        if keras.backend.backend() == "tensorflow" and self.groups == 1:
            return self._convolve_stacked_frames(inputs, kernel)
        return ops.conv(
            inputs,
            kernel,
            strides=self.strides,
            padding="valid",
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    def _convolve_stacked_frames(self, inputs, kernel):
        """Compute a "valid" 3D convolution as 2D, with the frames of a kernel as channels."""
        time, height, width, channels, filters = kernel.shape
        step, reach = self.dilation_rate[0], (time - 1) * self.dilation_rate[0]
        x = ops.concatenate(
            [
                inputs[:, i : (i - reach) or None : self.strides[0]]
                for i in range(0, reach + 1, step)
            ],
            axis=-1,
        )
        _, frames, *sizes = ops.shape(x)
        kernel = ops.reshape(
            ops.transpose(kernel, (1, 2, 0, 3, 4)), (height, width, time * channels, filters)
        )
        y = ops.conv(
            ops.reshape(x, (-1, *sizes)),  # (batch * frames, height, width, time * channels)
            kernel,
            strides=self.strides[1:],
            padding="valid",
            dilation_rate=self.dilation_rate[1:],
            data_format=self.data_format,
        )
        return ops.reshape(y, (-1, frames, *ops.shape(y)[1:]))
