"""Parts of pages: what is escaped, where lines and cells lie, and whether colours can be told."""

import re

import numpy as np
import pytest

from keras_videorel.reporting import page


def test_text_is_escaped_and_html_is_not():
    bold = page.element("b", "x < y & 'z'")
    assert bold == "<b>x &lt; y &amp; &#x27;z&#x27;</b>"
    assert page.element("td", bold, "<i>", class_="left", aria_label='"') == (
        '<td class="left" aria-label="&quot;"><b>x &lt; y &amp; &#x27;z&#x27;</b>&lt;i&gt;</td>'
    )
    assert page.element("img", src="a", alt=None) == '<img src="a">'
    assert page.element("p", "a\udcff\x00b") == "<p>a?\ufffdb</p>"
    assert page.breakable("PlayingTheDaf_a/b<") == ("Playing<wbr>The<wbr>Daf_<wbr>a/<wbr>b&lt;")


def test_bars_start_and_end_where_they_say():
    markup = page.bars([page.Bar("up", 0.25, 0.75, "+50"), page.Bar("down", 0.5, 0.2, "-30")])
    assert '<i style="left:25.0%;width:50.0%"></i>' in markup
    assert '<i style="left:20.0%;width:30.0%" class="less"></i>' in markup


def points_of(markup):
    return [
        [tuple(map(float, point.split(","))) for point in points.split()]
        for points in re.findall(r'<polyline points="([^"]*)"', markup)
    ]


def test_lines_are_drawn_to_scale():
    series = [("training", [(1, 4.0), (2, 2.0), (3, 0.0)]), ("test", [(1, 1.0), (3, np.nan)])]
    markup = page.chart("Loss", series)
    first, second = points_of(markup)
    (x1, top), (x2, middle), (x3, bottom) = first
    assert x2 - x1 == x3 - x2 > 0 and middle - top == bottom - middle > 0
    assert second == [(x1, pytest.approx(middle + (bottom - middle) / 2))]
    assert "training ends at 0; test ends at 1" in markup
    assert markup.count("<circle") == 4
    assert page.chart("Loss", [("training", [(1, np.nan)])]) == ""


def test_logarithmic_lines():
    markup = page.chart("Rate", [("rate", [(1, 0.1), (2, 0.01), (3, 0.001), (4, 0.0)])], log=True)
    ((_, a), (_, b), (_, c)) = points_of(markup)[0]
    assert b - a == pytest.approx(c - b) and b > a


@pytest.mark.parametrize("values", [[0.0], [1e-9], [5.0, 5.0], [-3, 4], [0, 1e6], [1e-5, 2e-5]])
@pytest.mark.parametrize("epochs", [1, 2, 3, 100])
def test_lines_stay_inside(values, epochs):
    for first in (1, 17):
        points = list(zip(range(first, first + epochs), np.resize(values, epochs), strict=True))
        for x, y in points_of(page.chart("any", [("a", points)]))[0]:
            assert 0 <= x <= 480 and 0 <= y <= 260


def test_heat_map_cells():
    counts = np.array([[3, 1, 0], [0, 0, 0], [0, 2, 2]])
    markup = page.heat_map(counts, ["a", "<b>", "c"], "matrix")
    said = re.findall(r"<rect[^>]*fill-opacity=\"([\d.]+)\"[^>]*><title>([^<]*)</title>", markup)
    assert said == [
        ("0.78", "a → a: 3 of 4"),
        ("0.34", "a → &lt;b&gt;: 1 of 4"),
        ("0.56", "c → &lt;b&gt;: 2 of 4"),
        ("0.56", "c → c: 2 of 4"),
    ]
    assert 'role="img" aria-label="matrix"' in markup


def luminance(colour):
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_colours_can_be_told_in_light_and_dark():
    """Contrast of text of at least 4.5, of WCAG 2."""
    light, dark = re.findall(r":root \{(.*?)\}", page.STYLE, re.S)
    for theme in (light, dark):
        colours = dict(re.findall(r"--(\w+): (#\w{6})", theme))
        assert len(colours) == 7
        for ground in ("page", "card"):
            for name in ("text", "soft", "one", "two"):
                bright, dim = sorted(map(luminance, (colours[name], colours[ground])))[::-1]
                assert (bright + 0.05) / (dim + 0.05) >= 4.5, (name, ground, theme)
