"""Parts of pages: what is escaped, what the template is, and whether colors can be told apart."""

import importlib.resources
import re

import numpy as np

from keras_videorel.reporting import html


def test_text_is_escaped_and_html_is_not():
    bold = html.element("b", "x < y & 'z'")
    assert bold == "<b>x &lt; y &amp; &#x27;z&#x27;</b>"
    assert html.element("td", bold, "<i>", class_="left", aria_label='"') == (
        '<td class="left" aria-label="&quot;"><b>x &lt; y &amp; &#x27;z&#x27;</b>&lt;i&gt;</td>'
    )
    assert html.element("img", src="a", alt=None) == '<img src="a">'
    assert html.element("p", "a\udcff\x00b") == "<p>a?\ufffdb</p>"
    assert html.breakable("PlayingTheDaf_a/b<") == ("Playing<wbr>The<wbr>Daf_<wbr>a/<wbr>b&lt;")


def template():
    return importlib.resources.files("keras_videorel.reporting").joinpath("report.html").read_text()


def test_the_template_is_filled_and_text_is_not_a_template():
    assert set(re.findall(r"\$(\w+)", template())) == {"title", "lead", "links", "sections"}
    page = html.document("$lead <t>", "$5", [("One & all", [html.element("p", "$title")])])
    assert "<title>$lead &lt;t&gt;</title>" in page and '<p class="soft">$5</p>' in page
    assert '<li><a href="#part-1">One &amp; all</a></li>' in page
    assert '<section><h2 id="part-1">One &amp; all</h2><p>$title</p></section>' in page


def luminance(color):
    channels = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_colors_can_be_told_apart_in_light_and_dark():
    """Contrast of text of at least 4.5, of WCAG 2."""
    light, dark = re.findall(r":root \{(.*?)\}", template(), re.S)
    for theme in (light, dark):
        colors = dict(re.findall(r"--(\w+): (#\w{6})", theme))
        assert len(colors) == 6
        for ground in ("ground", "card"):
            for name in ("text", "soft", "link"):
                bright, dim = sorted(map(luminance, (colors[name], colors[ground])))[::-1]
                assert (bright + 0.05) / (dim + 0.05) >= 4.5, (name, ground, theme)
