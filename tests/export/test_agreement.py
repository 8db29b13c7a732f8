"""Agreement of files with their models, with its interval."""

import numpy as np
import pytest

from keras_videorel.export.agreement import check_agreement, compare, interval


@pytest.mark.parametrize(
    ("same", "count", "low", "high"),
    # Of Wilson's score interval: Newcombe 1998, table I (method 3); and the ends.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (29, 29, 0.8830, 1)],
)
def test_interval(same, count, low, high):
    np.testing.assert_allclose(interval(same, count), (low, high), atol=2e-4)


def scores(different, count=33):
    expected = np.tile([1.0, 0.0], (count, 1))
    found = expected.copy()
    found[:different] = [0.25, 0.75]
    return compare(expected, found)


def test_figures():
    figures = scores(3, 30)
    assert figures["samples"] == 30 and figures["agreement"] == 0.9
    assert figures["max_error"] == 0.75 and figures["mean_error"] == pytest.approx(0.075)


def test_a_few_samples_do_not_show_99_percent():
    check_agreement("a.tflite", scores(1), 0.99)  # 32 of 33: 97%
    check_agreement("a.tflite", scores(0), 1.0)
    with pytest.raises(
        ValueError, match=r"a\.tflite agrees .* 0\.697 of 33 samples \(95% int"
    ) as e:
        check_agreement("a.tflite", scores(10), 0.97, "Try another.")
    assert str(e.value).endswith("less than min_agreement=0.97. Try another.")
    check_agreement("a.tflite", scores(20, 1000), 0.97)
    with pytest.raises(ValueError, match=r"0\.950 of 1000"):
        check_agreement("a.tflite", scores(50, 1000), 0.97)
