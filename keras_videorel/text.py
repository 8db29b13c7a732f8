"""Draw text on images, in any script that an installed font covers."""

import functools

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import IdentityTransform

_FONT = "DejaVu Sans"  # comes with matplotlib
_DPI = 72  # one point is one pixel


def fonts(characters):
    """Return font families for characters, and the set of characters that they cover."""
    missing, families = set(characters), []
    installed = sorted(font_manager.fontManager.ttflist, key=lambda f: (f.name != _FONT, f.name))
    for font in installed:
        # The font "Last Resort" draws every character as a box.
        if font.style != "normal" or font.name in families or "Last Resort" in font.name:
            continue
        if missing:
            drawn = missing & set(map(chr, font_manager.get_font(font.fname).get_charmap()))
            families += [font.name] if drawn else []
            missing -= drawn
    return families or [_FONT], set(characters) - missing


def drawable(text, available):
    """Escape characters that are not in `available`, as `\\t` or `\\u1234`."""
    return "".join(c if c in available else c.encode("unicode_escape").decode() for c in text)


def shorten(shown, max_width, renderer):
    """Cut the middle out of a matplotlib `Text` until it is at most `max_width` pixels wide."""
    text, length = shown.get_text(), len(shown.get_text())
    while (width := shown.get_window_extent(renderer).width) > max_width and length > 1:
        length = min(length - 1, int(length * max_width / width))
        shown.set_text(f"{text[: length // 2]}…{text[len(text) - length // 2 :]}")


@functools.lru_cache(maxsize=512)
def mask(text, size, bold=False, max_width=4096):
    """Return the coverage of each pixel by a line of text, uint8, in a font `size` pixels high."""
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
    """Draw a `mask` on a uint8 RGB image, in place. Parts outside the image are cut off."""
    rows = slice(max(top, 0), max(top + covered.shape[0], 0))
    columns = slice(max(left, 0), max(left + covered.shape[1], 0))
    part = picture[rows, columns]
    inside = covered[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]
    weight = inside[..., np.newaxis].astype(np.uint16)
    part[:] = (part * (255 - weight) + np.array(color, np.uint16) * weight + 127) // 255
