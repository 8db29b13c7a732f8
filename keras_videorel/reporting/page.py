"""Parts of an HTML page that stands alone: no script, no other file, no network.

What is not `Html` already is escaped. Charts are drawn in the page's own colours, which follow the
reader's light or dark theme; what is wider than the screen scrolls in a box of its own.
"""

import base64
import html
import math
import re
from typing import NamedTuple

import numpy as np

STYLE = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --card: #f4f6f8; --line: #d3d9df; --text: #1c2228; --soft: #56616b;
  --one: #0a63b5; --two: #b84a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14181d; --card: #1d2329; --line: #3a434c; --text: #e5e9ed; --soft: #a0abb6;
    --one: #6db3ff; --two: #ff9e5e;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem 1rem 4rem; max-width: 72rem;
  background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  overflow-wrap: anywhere;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0 0.25rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 0.75rem; padding-top: 0.75rem;
     border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 0.5rem; }
p { margin: 0.5rem 0; max-width: 46rem; }
a { color: var(--one); }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin: 0.75rem 0; padding: 0;
         list-style: none; }
.soft, figcaption, caption, small { color: var(--soft); font-size: 0.875rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
         gap: 0.75rem; margin: 1rem 0; }
.tiles div { background: var(--card); border-radius: 8px; padding: 0.75rem 1rem; }
.tiles dt { color: var(--soft); font-size: 0.875rem; }
.tiles dd { margin: 0; }
.tiles dd:nth-of-type(1) { font-size: 1.6rem; font-weight: 600; line-height: 1.3; }
.scroll { overflow: auto; max-width: 100%; margin: 0.75rem 0; }
.scroll.long { max-height: 85vh; border: 1px solid var(--line); border-radius: 8px;
               padding: 0.5rem 0.75rem; }
.scroll:focus-visible { outline: 2px solid var(--one); outline-offset: 2px; }
table { border-collapse: collapse; font-size: 0.9375rem; font-variant-numeric: tabular-nums;
        overflow-wrap: normal; }
caption { text-align: left; padding-bottom: 0.25rem; }
th, td { padding: 0.35rem 1rem 0.35rem 0; text-align: right; vertical-align: top;
         white-space: nowrap; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, .left { text-align: left; }
.left, th:first-child { white-space: normal; overflow-wrap: break-word; }
td.left, th:first-child { min-width: 5rem; }
thead th { color: var(--soft); font-weight: 600; font-size: 0.875rem; }
tbody th { font-weight: 500; }
td small { display: block; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
          gap: 1rem 2rem; }
figure { margin: 0; min-width: 0; }
figure h3 { margin-top: 0; }
svg { display: block; font-family: inherit; }
.charts svg { width: 100%; height: auto; }
svg text { fill: var(--soft); }
.one { fill: none; stroke: var(--one); stroke-width: 2; }
.two { fill: none; stroke: var(--two); stroke-width: 2; stroke-dasharray: 6 3; }
circle.one { fill: var(--one); stroke: none; }
circle.two { fill: var(--two); stroke: none; }
.rule { stroke: var(--line); stroke-width: 1; }
.key { display: flex; flex-wrap: wrap; gap: 0 1.25rem; margin: 0.25rem 0 0; }
.key svg { display: inline-block; vertical-align: middle; margin-right: 0.4rem; width: 28px; }
.heat rect { fill: var(--one); }
.heat .frame { fill: none; stroke: var(--line); }
.heat .over { fill: var(--page); }
.heat .under { fill: var(--text); }
.bars { list-style: none; margin: 0.5rem 0; padding: 0; columns: 22rem; column-gap: 2.5rem; }
.bars li { display: grid; break-inside: avoid; align-items: center; gap: 0 0.6rem;
           grid-template-columns: minmax(0, 10rem) minmax(3rem, 1fr) 6.5rem; font-size: 0.875rem;
           line-height: 1.25; padding: 0.15rem 0; }
.bars.wide { columns: auto; max-width: 60rem; }
.bars.wide li { grid-template-columns: minmax(0, 14rem) minmax(4rem, 1fr) 17rem; }
.bars span:last-child { color: var(--soft); font-variant-numeric: tabular-nums; }
.track { position: relative; height: 0.7rem; background: var(--card); border-radius: 3px;
         box-shadow: inset 0 0 0 1px var(--line); overflow: hidden; }
.track i { position: absolute; top: 0; bottom: 0; background: var(--one); }
.track i.less { background: repeating-linear-gradient(
                  135deg, var(--two) 0 4px, transparent 4px 6px); }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr));
         gap: 1.25rem; list-style: none; margin: 1rem 0; padding: 0; }
.clips img { width: 100%; height: auto; border-radius: 6px; display: block;
             background: var(--card); }
.clips p { margin: 0.3rem 0 0; line-height: 1.35; }
pre { background: var(--card); border-radius: 8px; padding: 0.75rem 1rem; margin: 0;
      font-size: 0.8125rem; white-space: pre; }
summary { cursor: pointer; padding: 0.25rem 0; }
@media (max-width: 40rem) {
  .bars.wide li { grid-template-columns: minmax(0, 8rem) minmax(3rem, 1fr); }
  .bars.wide span:last-child { grid-column: 1 / -1; }
}
"""


class Html(str):
    """Text that is HTML already."""


class Bar(NamedTuple):
    """A bar of `bars`.

    Attributes:
        name: What it is of.
        start: Where it starts, a fraction of the track.
        end: Where it ends; one that ends before its start is drawn as a loss.
        text: What stands beside it.
    """

    name: str
    start: float
    end: float
    text: str


def element(name, /, *content, **attributes):
    """An element: `element("td", "a < b", class_="left")`.

    Args:
        name: Its name.
        *content: `Html`, or text, which is escaped.
        **attributes: Escaped too; `_` stands for `-`, one at the end is dropped; those that are
            `None` are left out.

    Returns:
        `Html`.
    """
    words = [name] + [
        f'{key.rstrip("_").replace("_", "-")}="{_escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    ]
    start = f"<{' '.join(words)}>"
    return Html(start if name in ("img", "meta", "link") else f"{start}{join(content)}</{name}>")


def join(content, between=""):
    """`Html` of several pieces of `Html` or text."""
    pieces = (part if isinstance(part, Html) else _escape(part) for part in content)
    return Html(between.join(pieces))


def document(title, lead, sections):
    """A whole page.

    Args:
        title: Its title.
        lead: What stands under it.
        sections: List of `(heading, content)`.

    Returns:
        The page as text.
    """
    links = [
        element("li", element("a", heading, href=f"#part-{number}"))
        for number, (heading, _) in enumerate(sections, 1)
    ]
    parts = [
        element("section", element("h2", heading, id=f"part-{number}"), content)
        for number, (heading, content) in enumerate(sections, 1)
    ]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Html(STYLE)),
    )
    body = element(
        "body",
        element("header", element("h1", title), element("p", lead, class_="soft")),
        element("nav", element("ul", *links), aria_label="Contents"),
        element("main", join(parts, "\n")),
    )
    return "<!DOCTYPE html>\n" + element("html", head, "\n", body, lang="en") + "\n"


def box(label, content, long=False):
    """A box in which wide content scrolls, with the keyboard too; with a frame if it is long."""
    kind = "scroll long" if long else "scroll"
    return element("div", content, class_=kind, role="region", aria_label=label, tabindex="0")


def breakable(name):
    """A name that may break before its capitals and after its underlines and slashes."""
    parts = re.split(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[_/])", name)
    return join(parts, "<wbr>")


def table(caption, heads, rows, left=(0,), long=False):
    """A table in a box.

    Args:
        caption: What it shows.
        heads: Heads of the columns.
        rows: Lists of cells; the first of a row is its head.
        left: Places of the columns that are text, not numbers.
        long: Whether it scrolls in a frame of its own.
    """

    def side(place):
        return "left" if place in left else None

    top = [element("th", head, scope="col", class_=side(place)) for place, head in enumerate(heads)]
    body = [
        element(
            "tr",
            element("th", first, scope="row"),
            *(element("td", cell, class_=side(place)) for place, cell in enumerate(cells, 1)),
        )
        for first, *cells in rows
    ]
    return box(
        caption,
        element(
            "table",
            element("caption", caption),
            element("thead", element("tr", *top)),
            element("tbody", join(body, "\n")),
        ),
        long,
    )


def tiles(entries):
    """Large figures: `(name, figure, remark)` each."""
    return element(
        "dl",
        *(
            element(
                "div",
                element("dt", name),
                element("dd", figure),
                element("dd", remark, class_="soft"),
            )
            for name, figure, remark in entries
        ),
        class_="tiles",
    )


def bars(entries, wide=False):
    """A list of `Bar`, in as many columns as fit; one column if `wide`."""
    return element(
        "ul",
        join(
            [
                element(
                    "li",
                    element("span", breakable(bar.name)),
                    element("span", _bar(bar), class_="track", aria_hidden="true"),
                    element("span", bar.text),
                )
                for bar in entries
            ],
            "\n",
        ),
        class_="bars wide" if wide else "bars",
    )


def _bar(bar):
    left, right = sorted((bar.start, bar.end))
    style = f"left:{100 * left:.1f}%;width:{100 * (right - left):.1f}%"
    return element("i", style=style, class_="less" if bar.end < bar.start else None)


def thumbnail(jpeg, alt):
    """A JPEG picture, from its bytes."""
    data = base64.b64encode(jpeg).decode()
    return element("img", src=f"data:image/jpeg;base64,{data}", alt=alt)


def chart(title, series, form="{:g}", log=False):
    """A figure of lines over the epochs.

    Args:
        title: What it shows.
        series: List of one or two `(name, points)`, the points `(epoch, value)`.
        form: Format of the values.
        log: Whether values are drawn on a logarithmic scale; those of 0 and below are left out.

    Returns:
        `Html`.
    """
    width, height, left, right, top, bottom = 480, 260, 58, 12, 12, 40
    series = [
        (name, [(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not log)])
        for name, points in series
    ]
    points = [point for _, found in series for point in found]
    if not points:
        return Html("")
    epochs, values = zip(*points, strict=True)
    first_epoch, epochs_shown = min(epochs), (max(epochs) - min(epochs)) or 1
    if log:
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        up = [10.0**power for power in range(low, max(high, low + 1) + 1)]
    else:
        up = _ticks(min(values), max(values), 4)

    def x_of(epoch):
        share = (epoch - first_epoch) / epochs_shown
        return round(left + (width - left - right) * share, 1)

    def y_of(value):
        first, last, value = (math.log10(v) if log else v for v in (up[0], up[-1], value))
        return round(
            height - bottom - (height - top - bottom) * (value - first) / (last - first), 1
        )

    drawn = []
    for value in up:
        y = y_of(value)
        drawn += [
            element("line", x1=left, x2=width - right, y1=y, y2=y, class_="rule"),
            element("text", form.format(value), x=left - 6, y=y + 4, text_anchor="end"),
        ]
    step = max(1, math.ceil(_step(epochs_shown / 6)))
    for epoch in range(math.ceil(first_epoch / step) * step, max(epochs) + 1, step):
        drawn.append(
            element(
                "text", f"{epoch:g}", x=x_of(epoch), y=height - bottom + 17, text_anchor="middle"
            )
        )
    drawn.append(
        element("text", "epoch", x=(left + width - right) / 2, y=height - 5, text_anchor="middle")
    )
    for kind, (name, found) in zip(("one", "two"), series, strict=False):
        path = " ".join(f"{x_of(x)},{y_of(y)}" for x, y in found)
        drawn.append(element("polyline", points=path, class_=kind))
        if len(found) <= 100:
            drawn += [
                element(
                    "circle",
                    element("title", f"{name}, epoch {x:g}: {form.format(y)}"),
                    cx=x_of(x), cy=y_of(y), r=2.5, class_=kind,
                )
                for x, y in found
            ]  # fmt: skip
    last = "; ".join(f"{name} ends at {form.format(p[-1][1])}" for name, p in series if p)
    picture = element(
        "svg", *drawn, viewBox=f"0 0 {width} {height}", font_size="13", role="img",
        aria_label=f"{title} over the epochs: {last}",
    )  # fmt: skip
    keys = [
        element(
            "span",
            element(
                "svg", element("line", x1=0, x2=28, y1=5, y2=5, class_=kind),
                viewBox="0 0 28 10", aria_hidden="true",
            ),
            name,
        )
        for kind, (name, _) in zip(("one", "two"), series, strict=False)
    ]  # fmt: skip
    return element(
        "figure",
        element("h3", title),
        picture,
        element("figcaption", *keys, class_="key") if len(series) > 1 else "",
    )


def _ticks(low, high, count):
    """Round numbers from at most `low` to at least `high`, about `count` steps apart."""
    step = _step((high - low) / count or abs(high) / count or 1.0)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [place * step for place in range(first, max(last, first + 1) + 1)]


def _step(least):
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= least * (1 - 1e-9))


def heat_map(counts, labels, label):
    """A confusion matrix in a box: rows are the true classes, columns the predicted ones.

    Args:
        counts: Integers `(classes, classes)`.
        labels: Names of the classes.
        label: What the picture is called where it cannot be seen.

    Returns:
        `Html`; a cell's colour is its share of the row, and pointing at it says what it is.
    """
    classes = len(labels)
    cell, font = (26, 13) if classes <= 30 else (13, 11) if classes <= 120 else (9, 8)
    names = [name if len(name) <= 28 else f"{name[:27]}…" for name in labels]
    margin = round(0.6 * font * max(map(len, names))) + 12
    side = classes * cell
    drawn = []
    for place, name in enumerate(names):
        y = margin + place * cell + cell / 2 + font / 3
        turned = f"translate({y:g},{margin - 6}) rotate(-90)"
        drawn += [
            element("text", name, x=margin - 6, y=f"{y:g}", text_anchor="end"),
            element("text", name, transform=turned),
        ]
    for place in range(0, classes, 10 if classes > 30 else 1):
        at = margin + place * cell
        drawn += [
            element("line", x1=margin, x2=margin + side, y1=at, y2=at, class_="rule"),
            element("line", x1=at, x2=at, y1=margin, y2=margin + side, class_="rule"),
        ]
    totals = counts.sum(axis=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        count, share = counts[row, column], counts[row, column] / totals[row]
        x, y = margin + column * cell, margin + row * cell
        said = f"{labels[row]} → {labels[column]}: {count} of {totals[row]}"
        drawn.append(
            element(
                "rect", element("title", said),
                x=x, y=y, width=cell, height=cell, fill_opacity=f"{0.12 + 0.88 * share:.2f}",
            )
        )  # fmt: skip
        if classes <= 30:
            kind = "over" if share > 0.5 else "under"
            drawn.append(
                element(
                    "text", str(count), x=x + cell / 2, y=y + cell / 2 + 4, text_anchor="middle",
                    font_size="11", pointer_events="none", class_=kind,
                )
            )  # fmt: skip
    drawn.append(element("rect", x=margin, y=margin, width=side, height=side, class_="frame"))
    size = margin + side + 2
    picture = element(
        "svg", *drawn, width=size, height=size, viewBox=f"0 0 {size} {size}", font_size=font,
        class_="heat", role="img", aria_label=label,
    )  # fmt: skip
    return box(label, picture, long=classes > 30)


def _escape(text):
    # Names of files need not be text: what stands for their bytes becomes a replacement mark.
    text = str(text).encode("utf-8", "replace").decode()
    return html.escape("".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text))
