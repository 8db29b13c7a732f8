"""Build the web page and the actions of its buttons."""

import functools
import html
import os
import pathlib
import tempfile

import gradio as gr
import pandas as pd

from keras_videorel.data import rendering
from keras_videorel.serving import labeling

_TOP = 5
_KEEP_SECONDS = 30 * 60  # lifetime of uploads and results
_MAX_WAITING = 20  # requests in the queue
_CAMERA = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}, "audio": False}
_EXAMPLE = ("right", "up")  # consecutive classes of the rendered data set

# System fonts, because Gradio loads its default fonts from another server.
THEME = gr.themes.Soft(
    primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["monospace"]
)
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

_error = functools.partial(gr.Error, print_exception=False)  # shown on the page, not in the log


def build(models, broken, limits, folder):
    """Build the page, a `gradio.Blocks`; see `server.launched`. Uploads go to `folder`."""

    def classes(model):
        return f"<p>{html.escape(', '.join(models[model].labels))}</p>"

    def label(video: str | None, model: str, progress=gr.Progress()):  # noqa: B008
        """Label a video: its best labels, curves over time, and an annotated video."""
        if video is None:
            raise _error("Choose or record a video first.")
        try:
            num_frames = labeling.check(video, limits)
        except labeling.Refused as refusal:
            raise _error(str(refusal)) from None
        name = f"{pathlib.Path(video).stem}-labeled.mp4"
        answer = labeling.label(
            models[model], video, num_frames, os.path.join(tempfile.mkdtemp(dir=folder), name),
            top=_TOP, report=lambda share, doing: progress(share, desc=doing),
        )  # fmt: skip
        plot = gr.LinePlot(
            _table(answer),
            color_map=dict(zip(answer.curves, labeling.COLORS, strict=False)),
            x_lim=[0, answer.seconds[-1]],
            visible=True,
        )
        return answer.best, plot, gr.Video(answer.video, visible=True)

    with gr.Blocks(
        title="videorel", analytics_enabled=False, delete_cache=(60, _KEEP_SECONDS)
    ) as page:
        gr.Markdown("# What happens in this video?")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                video = gr.Video(
                    show_label=False, sources=["upload", "webcam"], elem_id="video",
                    include_audio=True,  # removing audio from uploads needs ffmpeg
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
                    names = gr.HTML(classes(model.value), elem_id="classes")
                gr.Markdown(_notes(limits, broken), elem_id="limits")
            with gr.Column(scale=3, min_width=320):
                labels = gr.Label(label="The whole video", num_top_classes=_TOP)
                # The plot and the annotated video appear with the first answer.
                curves = gr.LinePlot(
                    x="seconds", y="probability", color="label", y_lim=[0, 1],
                    y_title="probability over time", colors_in_legend=[], height=280, visible=False,
                )  # fmt: skip
                legend = gr.HTML(elem_id="legend")  # the plot's legend does not wrap on phones
                drawn = gr.Video(
                    show_label=False, interactive=False, visible=False, buttons=["download"],
                    elem_id="drawn",
                )  # fmt: skip
        # One video at a time, because a model uses all cores.
        button.click(
            label, [video, model], [labels, curves, drawn], api_name="label", concurrency_limit=1
        ).success(_legend, curves, legend, api_visibility="private")
        example.click(lambda: _example(folder), None, video, api_visibility="private")
        model.change(classes, model, names, api_visibility="private")
    # Without `api_open=False`, requests could skip the queue.
    return page.queue(max_size=_MAX_WAITING, api_open=False)


def _notes(limits, broken):
    notes = (
        f"Videos of at most {limits.seconds:g} seconds and {limits.megabytes:g} MB. They go to the "
        f"machine that serves this page, and are deleted there after {_KEEP_SECONDS // 60} minutes."
    )
    if broken:
        names = ", ".join(f"`{name}`" for name in broken)
        notes += f"\n\nNot usable, see the server's log: {names}."
    return notes


def _example(folder):
    """Render a video of about five seconds, of the data set that `make demo` trains on."""
    path = os.path.join(folder, "example.mp4")
    if not os.path.exists(path):
        rendering.write_video(path, _EXAMPLE, seed=1, size=224)
    return path


def _table(answer):
    """Return the curves of an answer as a table for the plot."""
    table = pd.DataFrame(answer.curves, index=pd.Index(answer.seconds, name="seconds"))
    table = table.melt(var_name="label", value_name="probability", ignore_index=False)
    return table.reset_index()


def _legend(plot):
    """Return the legend of a plot as HTML."""
    names = dict.fromkeys(row[plot["columns"].index("label")] for row in plot["data"])
    entries = (
        f'<li><i style="background: {color}"></i>{html.escape(name)}</li>'
        for name, color in zip(names, labeling.COLORS, strict=False)
    )
    return f"<ul>{''.join(entries)}</ul>"
