"""Charts: what matplotlib is given to draw, and that the files say it."""

import xml.etree.ElementTree

import matplotlib.image
import numpy as np
import pytest

from keras_videorel.reporting import charts


def texts(figure):
    """The texts of a figure as SVG, which has to be well-formed XML."""
    root = xml.etree.ElementTree.fromstring(charts.svg(figure))
    return [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]


def check_names_inside(figure, *axes):
    """The names of classes, which are the labels of these axes, lie inside the figure."""
    figure.draw_without_rendering()
    for label in (label for axis in axes for label in axis.get_ticklabels()):
        box = label.get_window_extent()
        assert min(box.x0, box.y0) > -1, label
        assert box.x1 < figure.bbox.x1 + 1 and box.y1 < figure.bbox.y1 + 1, label


def test_curves():
    columns = {
        "loss": [(1, 400.0), (2, np.nan), (3, 4.0)],
        "val_loss": [(3, 5.0)],
        "top1": [(1, 0.25), (2, 0.5), (3, np.inf)],
        "learning_rate": [(1, 0.1), (2, 0.0), (3, 0.001)],
    }
    loss, top1, rate = charts.curves(columns).axes
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), [[1, 400], [2, np.nan], [3, 4]])
    np.testing.assert_array_equal(top1.lines[0].get_ydata(), [25, 50, np.nan])
    assert loss.get_yscale() == rate.get_yscale() == "log" and top1.get_yscale() == "linear"
    assert [t.get_text() for t in loss.get_legend().texts] == ["training", "test, one view"]
    written = texts(charts.curves(columns))
    assert "0.1" in written and "100" in written and not any("mathdefault" in t for t in written)
    assert "loss (cross entropy + L2)" in texts(charts.curves({}))


@pytest.mark.parametrize("classes", [1, 7, 101])
def test_confusion(classes):
    counts = np.eye(classes, dtype=int)
    counts[0, -1] += 3
    counts[-1] = 0
    names = [f"a class with quite a long name, {i}" for i in range(classes)]
    figure = charts.confusion(counts, names)
    percent = figure.axes[0].images[0].get_array()
    assert percent.shape == counts.shape and percent[-1].sum() == 0
    assert percent[0].sum() == (100 if classes > 1 else 0)
    check_names_inside(figure, figure.axes[0].xaxis, figure.axes[0].yaxis)
    assert (figure.get_size_inches() * 120 < 5200).all()
    assert ("3" in [t.get_text() for t in figure.axes[0].texts]) == (classes == 7)


@pytest.mark.parametrize("classes", [1, 7, 600])
def test_class_accuracy(classes):
    shares = np.linspace(0, 1, classes)
    names = [f"class {i}" for i in range(classes - 1)] + ["x" * 80]
    figure = charts.class_accuracy(names, shares)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(list(100 * shares))
    check_names_inside(figure, axes.yaxis)
    pair = charts.class_accuracy(names, shares, shares[::-1], names=("$a$", "b"))
    assert [t.get_text() for t in pair.legends[0].texts] == ["$a$", "b"]
    assert len(pair.axes[0].patches) == 2 * classes


def test_names_are_text(tmp_path):
    odd = ["<b> & 'c'", "$x$ $", "a\udcff\x00b", "прыжок"]
    figure = charts.class_accuracy(odd, np.ones(4))
    assert {"<b> & 'c'", "$x$ $", "a?\ufffdb", "прыжок"} <= set(texts(figure))
    assert charts.svg(charts.class_accuracy(odd, np.ones(4))) == charts.svg(
        charts.class_accuracy(odd, np.ones(4))
    )
    charts.save(figure, tmp_path / "new" / "chart.png")
    assert matplotlib.image.imread(tmp_path / "new" / "chart.png").shape[1] == 840
