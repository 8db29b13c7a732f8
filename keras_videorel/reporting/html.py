"""A self-contained HTML page, without scripts, other files or network access.

Text is escaped unless it is `Html`. Content that is wider than the screen scrolls in its own box.
"""

import base64
import html
import importlib.resources
import re
import string


class Html(str):
    """Text that is already HTML."""


def printable(text):
    """Text without characters that cannot be shown, since names of files need not be text."""
    text = str(text).encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def join(content, between=""):
    """Join pieces of `Html` or text to one `Html`."""
    pieces = (x if isinstance(x, Html) else html.escape(printable(x)) for x in content)
    return Html(between.join(pieces))


def element(name, /, *content, **attributes):
    """An element: `element("td", "a < b", class_="left")`.

    In names of attributes, `_` becomes `-`, and a final `_` is dropped. Attributes that are `None`
    are left out.
    """
    words = [name] + [
        f'{key.rstrip("_").replace("_", "-")}="{join([value])}"'
        for key, value in attributes.items()
        if value is not None
    ]
    start = f"<{' '.join(words)}>"
    return Html(start if name == "img" else f"{start}{join(content)}</{name}>")


def document(title, lead, sections):
    """A whole page, from the template `report.html`.

    Args:
        title: The title.
        lead: The line under the title.
        sections: List of `(heading, content)`. Content is a list of `Html` and text.
    """
    links, parts = [], []
    for number, (heading, content) in enumerate(sections, 1):
        name = f"part-{number}"
        links.append(element("li", element("a", heading, href=f"#{name}")))
        parts.append(element("section", element("h2", heading, id=name), *content))
    template = importlib.resources.files(__package__).joinpath("report.html")
    return string.Template(template.read_text(encoding="utf-8")).substitute(
        title=join([title]), lead=join([lead]), links=join(links), sections=join(parts, "\n")
    )


def breakable(name):
    """A name that may break before capitals and after underscores and slashes."""
    return join(re.split(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[_/])", name), Html("<wbr>"))


def box(label, content, long=False):
    """A box in which wide content scrolls, also by keyboard. A long one has a frame."""
    kind = "scroll long" if long else "scroll"
    return element("div", content, class_=kind, role="region", aria_label=label, tabindex="0")


def table(caption, heads, rows, left=(0,), long=False):
    """A table in a box.

    Args:
        caption: The caption.
        heads: Heads of the columns.
        rows: Lists of cells. The first cell is the head of the row.
        left: Indices of the columns that are aligned left.
        long: Whether the table scrolls in its own frame.
    """
    kinds = ["left" if column in left else None for column in range(len(heads))]
    top = [element("th", x, scope="col", class_=k) for x, k in zip(heads, kinds, strict=True)]
    body = [
        element(
            "tr",
            element("th", first, scope="row"),
            *(element("td", x, class_=k) for x, k in zip(cells, kinds[1:], strict=True)),
        )
        for first, *cells in rows
    ]
    content = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *top)),
        element("tbody", join(body, "\n")),
    )
    return box(caption, content, long)


def tiles(entries):
    """Tiles with large numbers, from entries `(name, number, remark)`."""
    groups = [
        [element("dt", name), element("dd", number), element("dd", remark, class_="soft")]
        for name, number, remark in entries
    ]
    return element("dl", *(element("div", *group) for group in groups), class_="tiles")


def details(summary, content):
    """Content that opens with a click."""
    return element("details", element("summary", summary), content)


def image(content, kind, alt, **attributes):
    """A picture inside the page, from the bytes of a `"jpeg"` or `"svg+xml"` file."""
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return element("img", src=source, alt=alt, **attributes)
