"""Text on pictures, in any script that an installed font has."""

import functools

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import IdentityTransform

_FONT = "DejaVu Sans"  # comes with matplotlib
_DPI = 72  # a point is a pixel


def fonts(characters):
    """Font families that draw characters, and the set of characters that they can draw."""
    missing, families = set(characters), []
    installed = sorted(font_manager.fontManager.ttflist, key=lambda f: (f.name != _FONT, f.name))
    for font in installed:
        # The last resort has nothing but boxes.
        if font.style != "normal" or font.name in families or "Last Resort" in font.name:
            continue
        if missing:
            drawn = missing & set(map(chr, font_manager.get_font(font.fname).get_charmap()))
            families += [font.name] if drawn else []
            missing -= drawn
    return families or [_FONT], set(characters) - missing


def drawable(text, available):
    """A text whose characters without a font are escaped, such as `\\t` or `\\u1234`."""
    return "".join(c if c in available else c.encode("unicode_escape").decode() for c in text)


def shorten(shown, max_width, renderer):
    """Leave out the middle of a matplotlib `Text` that is wider than `max_width` pixels."""
    text, length = shown.get_text(), len(shown.get_text())
    while (width := shown.get_window_extent(renderer).width) > max_width and length > 1:
        length = min(length - 1, int(length * max_width / width))
        shown.set_text(f"{text[: length // 2]}…{text[len(text) - length // 2 :]}")


@functools.lru_cache(maxsize=512)
def mask(text, size, bold=False, max_width=4096):
    """How much a line of text covers each pixel, uint8, read-only, in a font `size` pixels high."""
    height = round(1.5 * size)
    families, available = fonts(text)
    figure = Figure((max_width / _DPI, height / _DPI), dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    shown = figure.text(
        0, 0.42 * size, drawable(text, available), transform=IdentityTransform(), size=size,
        family=families, weight="bold" if bold else "normal", parse_math=False,
    )  # fmt: skip
    shorten(shown, max_width, canvas.get_renderer())
    width = min(int(np.ceil(shown.get_window_extent(canvas.get_renderer()).x1)) + 1, max_width)
    figure.set_size_inches(max(width, 1) / _DPI, height / _DPI)
    figure.patch.set_alpha(0)
    canvas.draw()
    covered = np.asarray(canvas.buffer_rgba())[..., 3].copy()
    covered.flags.writeable = False
    return covered


def draw(picture, covered, left, top, color):
    """Draw a `mask` into a uint8 RGB picture, in place; what lies outside is cut off."""
    rows = slice(max(top, 0), max(top + covered.shape[0], 0))
    columns = slice(max(left, 0), max(left + covered.shape[1], 0))
    part = picture[rows, columns]
    inside = covered[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]
    weight = inside[..., np.newaxis].astype(np.uint16)
    part[:] = (part * (255 - weight) + np.array(color, np.uint16) * weight + 127) // 255
