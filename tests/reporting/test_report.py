"""The page of a run: read back as a browser would, and looked at in one where there is one."""

import base64
import csv
import html
import html.parser
import json
import pathlib
import platform
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest

from keras_videorel.evaluation import metrics, significance
from keras_videorel.reporting import report
from tests.evaluation.test_fusion import make, random_pair
from tests.videos import moving_square, write_video

LOG = {
    "learning_rate": [(1, 0.1), (2, 0.1), (3, 0.01), (4, 0.01)],
    "loss": [(1, 4.5), (2, 3.5), (3, 2.5), (4, 2.2)],
    "top1": [(1, 0.1), (2, 0.2), (3, 0.4)],
    "val_loss": [(1, 5.25), (2, 4.25), (3, 3.75)],
    "val_top1": [(1, 0.125), (2, 0.25), (3, 0.375)],
}
VOID = {"meta", "link", "img", "br", "wbr"}


class Page(html.parser.HTMLParser):
    """What a page holds; elements that do not nest are an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), list(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    def find(self, tag):
        return [attributes for name, attributes, _ in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def charts_of(page):
    """Alternative texts and SVG files of the charts of a page."""
    found = [image for image in page.find("img") if image.get("class") == "chart"]
    prefix = "data:image/svg+xml;base64,"
    files = [base64.b64decode(image["src"].removeprefix(prefix)).decode() for image in found]
    return [(image["alt"], file) for image, file in zip(found, files, strict=True)]


def jpeg(path):
    return None if path == "1.avi" else report.strip(np.full((2, 30, 40, 3), 200, np.uint8), 24)


@pytest.fixture(scope="module")
def models():
    ours, theirs = random_pair(0, videos=80)
    classes = ["<script>alert('1')</script>", "a & b", "$x$ $", *ours.classes[3:]]
    ours = ours._replace(
        classes=classes,
        config_hash="0123456789abcdef" * 4,
        settings={"clips": 25, "crops": 10, "split": "test", "stream": "rgb"},
    )
    return ours, theirs._replace(classes=classes)


@pytest.fixture(scope="module")
def folder(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    ours, theirs = models
    path = report.write_report(
        str(folder / "out"),
        "ARTNet <s> & friends",
        [ours],
        baseline=("TSN", [theirs], significance.compare([ours], [theirs])),
        published=[("Two-branch", 0.5, 0.944), ("Local", None, 0.94)],
        log=LOG,
        thumbnail=jpeg,
        config={"seed": 0, "model": {"name": "</pre><b>"}},
        training_clips={name: 10 * i for i, name in enumerate(ours.classes)},
    )
    assert path == str(folder / "out" / "report.html")
    return folder / "out"


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_the_page_stands_alone(page, folder):
    for _, attributes, _ in page.elements:
        for name in ("src", "href", "srcset", "xlink:href", "action", "data"):
            assert re.match(r"data:|#", attributes.get(name) or "#"), attributes
        assert not any(name.startswith("on") for name in attributes)
    assert not page.find("script") and not page.find("iframe")
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "http" not in text and "url(" not in text and "@import" not in text
    assert sorted(p.name for p in folder.iterdir()) == [
        "classes.png", "clips.csv", "confusion.png", "curves.png", "gains.png", "report.html",
    ]  # fmt: skip
    for picture in folder.glob("*.png"):
        assert cv2.imread(str(picture)) is not None


def test_the_page_can_be_read_without_eyes(page):
    assert page.find("html") == [{"lang": "en"}]
    assert len(page.find("h1")) == 1
    assert next(path for tag, _, path in page.elements if tag == "title") == ["html", "head"]
    names = {attributes["id"] for attributes in page.find("h2")}
    assert {attributes["href"][1:] for attributes in page.find("a")} == names
    assert all(image["alt"] for image in page.find("img"))
    assert len(charts_of(page)) == 5  # gains, losses, curves, classes, confusions
    for box in page.find("div"):
        if "scroll" in box.get("class", ""):
            assert box["tabindex"] == "0" and box["aria-label"]
    assert all(head["scope"] in ("col", "row") for head in page.find("th"))
    assert any(tag["name"] == "viewport" for tag in page.find("meta") if "name" in tag)


def test_names_are_escaped(page):
    assert "ARTNet <s> & friends" in page.text
    assert "</pre><b>" in page.text and "alert('1')" in page.text
    assert not page.find("s") and not page.find("b")


def test_the_figures_are_the_metrics(page, models):
    ours, theirs = models
    result = significance.measure("ours", [ours])
    for key in significance.METRICS:
        assert f"{result.mean[key]:.2%}" in page.text
        low, high = result.intervals[key]
        assert f"{100 * low:.2f} to {100 * high:.2f}" in page.text
    found = significance.compare([ours], [theirs])
    assert f"alone: {found.gained} videos; with TSN alone: {found.lost}." in page.text
    assert f"p = {found.exact:.3g} (exact), {found.mid_p:.3g} (mid-p)" in page.text
    assert f"{100 * found.differences['top1']:+.2f}" in page.text
    assert "Two-branch 50.00% 94.40% -44.40" in page.text and "Local - 94.00% -" in page.text
    assert "80 videos of 7 classes" in page.text
    assert "0123456789ab 25 10 test rgb" in page.text and platform.python_version() in page.text


def test_classes_and_confusions(page, models):
    ours, theirs = models
    shares = metrics.class_accuracy(ours.logits, ours.labels)
    videos = np.bincount(ours.labels, minlength=7)
    bars = charts_of(page)[-2][1]
    places = [
        (re.search(rf">{name}</text>", bars).start(), share)
        for name, share in zip(ours.classes, shares, strict=True)
        if "class" in name
    ]
    assert [share for _, share in sorted(places)] == sorted(share for _, share in places)
    counts = metrics.confusion_matrix(ours.logits, ours.labels)
    alt, _ = charts_of(page)[-1]
    assert alt == f"Confusion matrix of 7 classes: {counts.trace()} of 80 videos on the diagonal"
    for true, taken in zip(*np.nonzero(counts[3:, 3:]), strict=True):
        names = f"{ours.classes[true + 3]} {ours.classes[taken + 3]}"
        said = f"{names} {counts[true + 3, taken + 3]} of {videos[true + 3]}"
        assert (said in page.text) == (true != taken)
    before = metrics.class_accuracy(theirs.logits, theirs.labels)
    best = max(range(3, 7), key=lambda i: shares[i] - before[i])
    assert (
        f"{ours.classes[best]} {100 * before[best]:.1f}% {100 * shares[best]:.1f}% "
        f"{100 * (shares[best] - before[best]):+.2f} {videos[best]}" in page.text
    )


def test_the_table_of_classes(page, models):
    ours, _ = models
    found = metrics.precision_recall_f1(ours.logits, ours.labels)
    videos = np.bincount(ours.labels, minlength=7)
    for i in range(3, 7):
        shares = " ".join(f"{values[i]:.2%}" for values in found)
        assert f"{ours.classes[i]} {10 * i} {videos[i]} {shares}" in page.text
    means = " ".join(f"{values.mean():.2%}" for values in found)
    assert f"mean {means}" in page.text


def test_chance_and_the_most_frequent_class(page, models):
    ours, _ = models
    assert "chance 14.29%" in page.text and "chance 71.43%" in page.text
    most = np.bincount(ours.labels).max() / 80
    assert f"the most frequent class is right for {most:.2%} of" in page.text


def test_all_clips(page, models, folder):
    ours, _ = models
    losses = metrics.losses(ours.logits, ours.labels)
    with open(folder / "clips.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["clip"] for row in rows] == [ours.paths[i] for i in np.argsort(-losses)]
    for row in rows:
        place = ours.paths.index(row["clip"])
        assert row["true class"] == ours.classes[ours.labels[place]]
        assert row["taken for"] == ours.classes[ours.logits[place].argmax()]
        assert float(row["loss"]) == pytest.approx(losses[place], rel=1e-5)
        assert float(row["of the true class"]) == pytest.approx(np.exp(-losses[place]), rel=1e-5)
    for row in rows:
        if "class" in row["true class"] and "class" in row["taken for"]:
            words = f"{row['clip']} {row['true class']} {row['taken for']}"
            assert f"{words} {float(row['probability']):.2%}" in page.text


def test_a_long_table_of_clips_is_cut_off_on_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "_ROWS", 2)
    scores = make(np.eye(3), classes=["a", "b", "c"])
    page = Page(
        pathlib.Path(report.write_report(str(tmp_path), "Long", [scores])).read_text("utf-8")
    )
    assert "The first 2 of 3, the highest loss first" in page.text
    assert (tmp_path / "clips.csv").read_text("utf-8").count("\n") == 4
    assert "Top-5" not in page.text and "Average" not in page.text


def test_names_that_are_not_text(tmp_path):
    odd = b"a\xff.avi".decode("utf-8", "surrogateescape")
    scores = make(np.eye(2), classes=["a", odd])._replace(paths=[odd, "b.avi"])
    theirs = scores._replace(logits=scores.logits[::-1])
    path = report.write_report(
        str(tmp_path / odd),
        odd,
        [scores],
        baseline=(odd, [theirs], significance.compare([scores], [theirs])),
        config={"path": odd},
    )
    assert "a?.avi" in Page(pathlib.Path(path).read_text("utf-8")).text
    assert b"a\xff.avi,a,a," in (tmp_path / odd / "clips.csv").read_bytes()


def test_hardest_clips(page, models):
    ours, _ = models
    losses = metrics.losses(ours.logits, ours.labels)
    order = np.argsort(-losses)[: report.HARDEST]
    assert f"loss {losses[order[0]]:.2f}" in page.text
    expected = [f"Frames of {ours.paths[row]}" for row in order if ours.paths[row] != "1.avi"]
    pictures = [image for image in page.find("img") if "class" not in image]
    assert [image["alt"] for image in pictures] == expected
    for image in pictures:
        content = base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,"))
        assert cv2.imdecode(np.frombuffer(content, np.uint8), 1).shape == (24, 64, 3)


def test_curves(page):
    alt, chart = charts_of(page)[2]
    assert "loss (cross entropy + L2), training, ends at 2.2; " in alt
    assert "top-1 accuracy (%), test, one view, ends at 37.5" in alt
    assert all(title in chart for title in ("top-1 accuracy (%)", "learning rate", "training"))
    assert "epoch learning_rate loss top1 val_loss val_top1" in page.text
    assert "3 0.01 2.5 0.4 3.75 0.375 4 0.01 2.2" in page.text


def test_splits_and_other_models(tmp_path):
    splits = [
        s._replace(paths=[f"{i}/{path}" for path in s.paths])
        for i, s in enumerate(random_pair(seed)[0] for seed in range(3))
    ]
    results = [significance.measure(name, splits, 100) for name in ("fused", "rgb")]
    path = report.write_report(str(tmp_path), "Three", splits, results=results)
    page = Page(pathlib.Path(path).read_text(encoding="utf-8"))
    assert "180 videos of 7 classes in 3 folds: results are their means" in page.text
    for number, found in enumerate(results[0].splits, 1):
        assert f"fold {number} {found['top1']:.2%} {found['top5']:.2%}" in page.text
    assert "rgb" in page.text and len(page.find("img")) == len(charts_of(page)) == 2
    assert not (tmp_path / "curves.png").exists() and not (tmp_path / "gains.png").exists()


def test_one_video_and_classes_without_any(tmp_path):
    scores = make(np.eye(121)[:1], classes=[f"a class with a name {i}" for i in range(121)])
    path = report.write_report(str(tmp_path), "One", [scores])
    page = Page(pathlib.Path(path).read_text(encoding="utf-8"))
    assert "120 of 121 classes have no video here" in page.text and "100.00%" in page.text
    assert "Most frequent confusions" not in page.text and "numpy" in page.text


def test_thumbnails_of_videos(tmp_path):
    write_video(tmp_path / "a.mp4", moving_square(9))
    (tmp_path / "b.mp4").write_bytes(b"no video")
    draw = report.video_thumbnails(str(tmp_path), height=24)
    picture = cv2.imdecode(np.frombuffer(draw("a.mp4"), np.uint8), 1)
    assert picture.shape == (24, 96, 3)
    thirds = [picture[:, 32 * i : 32 * (i + 1)].astype(int) for i in range(3)]
    assert np.abs(thirds[0] - thirds[2]).max() > 50, "the square has moved"
    assert draw("b.mp4") is None and draw("c.mp4") is None


BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
MEASURE = """
<script>
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, root = page.documentElement;
    const wide = [...page.querySelectorAll("body *")].filter(
      e => !e.closest(".scroll") && e.getBoundingClientRect().right > root.clientWidth + 1);
    const style = frame.contentWindow.getComputedStyle(page.body);
    return {
      width: root.scrollWidth, wide: wide.map(e => e.outerHTML.slice(0, 80)),
      height: root.scrollHeight, ground: style.backgroundColor, text: style.color,
      images: [...page.images].filter(i => i.naturalWidth > 0).length,
    };
  });
  document.body.textContent = "FOUND" + JSON.stringify(found) + "END";
});
</script>
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to look at pages with")
@pytest.mark.parametrize(("scheme", "ground"), [(1, "rgb(255, 255, 255)"), (0, "rgb(20, 24, 29)")])
def test_in_a_browser(folder, page, tmp_path, scheme, ground):
    """No sideways scrolling at desktop and phone width; colors follow the reader's theme."""
    content = html.escape((folder / "report.html").read_text(encoding="utf-8"))
    frames = [
        f'<iframe style="width:{width}px;height:800px;border:0" srcdoc="{content}"></iframe>'
        for width in (1280, 390)
    ]
    (tmp_path / "outer.html").write_text(
        f'<meta charset="utf-8"><body>{"".join(frames)}{MEASURE}', encoding="utf-8"
    )
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
        f"--blink-settings=preferredColorScheme={scheme}", f"file://{tmp_path / 'outer.html'}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"{BROWSER} does not run here: {done.stderr[-200:]}")
    found = json.loads(html.unescape(re.search("FOUND(.*)END", done.stdout).group(1)))
    for measured, width in zip(found, (1280, 390), strict=True):
        assert measured["width"] == width and measured["wide"] == []
        assert measured["ground"] == ground and measured["text"] != ground
        assert measured["images"] == len(page.find("img")) > 10
    assert found[1]["height"] > found[0]["height"] > 1000
