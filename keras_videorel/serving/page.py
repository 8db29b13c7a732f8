"""The page: what stands on it, and what its button does."""

import asyncio
import html
import logging
import os
import pathlib
import tempfile
import threading

import anyio
import gradio as gr
import pandas as pd

from keras_videorel.data import rendering
from keras_videorel.serving import labelling

_log = logging.getLogger(__name__)

_TOP = 5
_KEPT = 30 * 60  # seconds that uploads and results are kept
_CAMERA = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}, "audio": False}
_MOST_WAITING = 20  # requests for a model
_EXAMPLE = ("right", "up")  # classes of the demo, one after the other

CSS = """
.gradio-container { max-width: 1200px !important; width: 100% !important; margin: auto; }
#video video { max-height: 300px; }
#drawn video { max-height: 520px; }
#limits p { font-size: 0.85rem; opacity: 0.75; }
#classes p, #legend { font-size: 0.85rem; overflow-wrap: anywhere; }
#legend ul { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; list-style: none;
             margin: 0; padding: 0; }
#legend i { display: inline-block; width: 0.7em; height: 0.7em; margin-right: 0.4em; }
"""

# Gradio leaves a message until somebody closes it.
_CLOSE_MESSAGES = "() => document.querySelectorAll('.toast-close').forEach(b => b.click())"


def theme():
    """Fonts that are there: Gradio's own come from elsewhere."""
    return gr.themes.Soft(
        primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["monospace"]
    )


def build(models, broken, limits, folder):
    """The page.

    Args:
        models: Dict from names to `Predictor`s.
        broken: Names of models that cannot be used.
        limits: `labelling.Limits`.
        folder: Where results are written.

    Returns:
        A `gradio.Blocks`, whose function `label` takes a video and the name of a model and gives
        labels, their course, and the annotated video.
    """
    desk = _Desk(models, limits, folder)
    with gr.Blocks(title="videorel", analytics_enabled=False, delete_cache=(60, _KEPT)) as page:
        gr.Markdown("# What happens in this video?")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                video = gr.Video(
                    show_label=False, sources=["upload", "webcam"], elem_id="video",
                    include_audio=True,  # kept in uploads: to take it out needs ffmpeg
                    webcam_options=gr.WebcamOptions(mirror=False, constraints=_CAMERA),
                )  # fmt: skip
                model = gr.Dropdown(
                    [(f"{n} ({len(models[n].labels)} classes)", n) for n in models],
                    value=next(iter(models)),
                    label="Model",
                )
                button = gr.Button("Label this video", variant="primary")
                example = gr.Button("Take an example: a disc and a square that move")
                with gr.Accordion("Classes of this model", open=False):
                    classes = gr.HTML(desk.classes(model.value), elem_id="classes")
                gr.Markdown(_notes(limits, broken), elem_id="limits")
            with gr.Column(scale=3, min_width=320):
                labels = gr.Label(label="The whole video", num_top_classes=_TOP)
                # Both come with an answer.
                course = gr.LinePlot(
                    x="seconds", y="probability", color="label", y_lim=[0, 1],
                    y_title="probability over time", colors_in_legend=[], height=280, visible=False,
                )  # fmt: skip
                legend = gr.HTML(elem_id="legend")  # the plot's own does not wrap on a phone
                drawn = gr.Video(
                    show_label=False, interactive=False, visible=False, buttons=["download"],
                    elem_id="drawn",
                )  # fmt: skip
        for pressed in (button, example):
            pressed.click(None, js=_CLOSE_MESSAGES, api_visibility="private")
        button.click(
            desk.label, [video, model], [labels, course, drawn], api_name="label",
            concurrency_limit=None,  # the desk has a queue for each model
        ).success(_legend, course, legend, api_visibility="private")  # fmt: skip
        example.click(desk.example, None, video, api_visibility="private")
        model.change(desk.classes, model, classes, api_visibility="private")
    _keep_to(folder, page)
    return page


def _notes(limits, broken):
    notes = (
        f"Videos of at most {limits.seconds:g} seconds and {limits.megabytes:g} MB. They go to the "
        f"machine that serves this page, and are deleted there after {_KEPT // 60} minutes."
    )
    if broken:
        names = ", ".join(f"`{name}`" for name in broken)
        notes += f"\n\nNot usable, see the server's log: {names}."
    return notes


def _keep_to(folder, page):
    """Refuse requests that name files which nobody sent, or addresses, which Gradio would fetch.

    Gradio checks local files itself, but on pages that it launched only, not on mounted ones.
    """
    page.has_launched = True

    def kept(move):
        async def move_within(path):
            if not pathlib.Path(path).resolve().is_relative_to(pathlib.Path(folder).resolve()):
                raise _Message("Upload a file: addresses are not taken.")
            return await move(path)

        return move_within

    for block in page.blocks.values():
        block.async_move_resource_to_block_cache = kept(block.async_move_resource_to_block_cache)


def _table(curves):
    """Courses of classes as a table, for the plot."""
    rows = [
        (float(second), float(probability), curve.label)
        for curve in curves
        for second, probability in zip(curve.seconds, curve.probabilities, strict=True)
    ]
    return pd.DataFrame(rows, columns=["seconds", "probability", "label"])


def _legend(plot):
    """The classes of a plot, each with its color, in as many lines as it takes."""
    names = dict.fromkeys(row[plot["columns"].index("label")] for row in plot["data"])
    return _list(
        f'<i style="background: {colour}"></i>{html.escape(name)}'
        for name, colour in zip(names, labelling.COLOURS, strict=False)
    )


def _list(entries):
    return f"<ul>{''.join(f'<li>{entry}</li>' for entry in entries)}</ul>"


class _Desk:
    """Takes requests, one at a time for each model."""

    def __init__(self, models, limits, folder):
        self._models, self._limits, self._folder = models, limits, folder
        self._turns = {name: asyncio.Lock() for name in models}
        self._waiting = dict.fromkeys(models, 0)
        self._rendering = threading.Lock()

    def classes(self, model):
        """The names of a model's classes, as HTML."""
        names = self._models[model].labels if model in self._models else []
        return f"<p>{html.escape(', '.join(names))}</p>"

    def example(self):
        """A rendered video of about five seconds, of the data set that the demo trains on."""
        path = os.path.join(self._folder, "example.mp4")
        with self._rendering:
            if not os.path.exists(path):
                rendering.write_video(path, _EXAMPLE, seed=1, size=224)
        return path

    async def label(self, video: str | None, model: str, progress=gr.Progress()):  # noqa: B008
        """Label a video: probabilities of its best labels, their course, and an annotated video."""
        if video is None:
            raise _Message("Choose or record a video first.")
        if model not in self._models:
            raise _Message("There is no such model here.")
        if self._waiting[model] >= _MOST_WAITING:
            raise _Message("Too many videos are waiting for this model. Try again in a while.")
        self._waiting[model] += 1
        try:
            if self._waiting[model] > 1:
                progress(0, desc=f"Waiting for {self._waiting[model] - 1} before this one")
            async with self._turns[model]:
                answer = await anyio.to_thread.run_sync(self._answer, video, model, progress)
        finally:
            self._waiting[model] -= 1
        colours = {curve.label: curve.colour for curve in answer.curves}
        plot = gr.LinePlot(
            _table(answer.curves), color_map=colours, x_lim=[0, answer.seconds], visible=True
        )
        return dict(answer.best), plot, gr.Video(answer.video, visible=True)

    def _answer(self, video, model, progress):
        name = os.path.splitext(os.path.basename(video))[0]
        output = os.path.join(tempfile.mkdtemp(dir=self._folder), f"{name}-labelled.mp4")
        try:
            labelling.check(video, self._limits)
            return labelling.label(
                self._models[model], video, output, top=_TOP,
                report=lambda share, doing: progress(share, desc=doing),
            )  # fmt: skip
        except labelling.Refused as refusal:
            raise _Message(str(refusal)) from None
        except Exception:
            _log.exception("a video could not be labelled")
            raise _Message("Something went wrong here; the server's log says what.") from None


class _Message(gr.Error):
    """A message on the page, and none in the log."""

    def __init__(self, message):
        super().__init__(message, duration=None, print_exception=False)
