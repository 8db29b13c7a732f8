"""The page to try models on: what it takes, what it answers, and what it gives nobody."""

import asyncio
import contextlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import av
import numpy as np
import pytest

from keras_videorel.cli import run
from keras_videorel.prediction import Predictor
from keras_videorel.serving import labelling, models, server
from tests.prediction.conftest import BLUE, RED, coloured, folder  # noqa: F401
from tests.videos import LOSSLESS, write_audio, write_video

LIMITS = labelling.Limits(seconds=3.0, megabytes=0.2)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A second of red, then a second of blue."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return str(write_video(path, coloured((25, RED), (25, BLUE)), **LOSSLESS))


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory, folder):  # noqa: F811
    """A folder of a good model and one that does not load."""
    path = tmp_path_factory.mktemp("serving") / "saved_models"
    (path / "damaged").mkdir(parents=True)
    (path / "notes").mkdir()
    (path / "colours").symlink_to(folder)
    shutil.copy(os.path.join(folder, "export.json"), path / "damaged")
    (path / "damaged" / "saved_model.pb").write_bytes(b"not a model")
    return str(path)


@pytest.fixture(scope="module")
def bad_videos(tmp_path_factory):
    """Files that are refused, with a word of the reason."""
    path = tmp_path_factory.mktemp("bad")
    (path / "text.mp4").write_text("not a video\n" * 9)
    (path / "empty.mp4").write_bytes(b"")
    noise = np.random.default_rng(0).integers(0, 255, (20, 96, 96, 3), np.uint8)
    long = coloured((4 * 25, RED))
    return {
        str(path / "text.mp4"): "cannot be read as a video",
        str(path / "empty.mp4"): "empty",
        str(write_audio(path / "song.m4a")): "no video stream (only audio)",
        str(write_video(path / "long.mp4", long)): "lasts 4 s; at most 3 s",
        # A bare stream declares no duration: its frames are counted.
        str(write_video(path / "bare.h264", long)): "at most 3 s",
        str(write_video(path / "large.mp4", noise, **LOSSLESS)): "at most 0.2 MB",
    }


# --- Without the page -----------------------------------------------------------------------


def test_models_that_do_not_load_are_set_aside(saved_models, caplog):
    found, broken = models.load_models(saved_models)
    assert list(found) == ["colours"] and broken == ["damaged"]
    assert "damaged cannot be used: " in caplog.text
    with pytest.raises(ValueError, match=r"`models` must be a folder of exported models"):
        models.load_models(os.path.join(saved_models, "notes"))


def test_names_of_folders_need_not_be_text(folder, tmp_path):  # noqa: F811
    names = [b"a\xff", b"a\xfe", b"lr[0.01]", b".tmp-b", "caf\u00e9".encode()]
    for name in names:
        os.symlink(folder, os.path.join(os.fsencode(tmp_path), name))
    found, broken = models.load_models(tmp_path)
    assert set(found) == {"a\ufffd", "a\ufffd 2", "café", "lr[0.01]"} and broken == []


def test_a_folder_that_is_a_model_is_served(folder):  # noqa: F811
    found, broken = models.load_models(folder)
    assert list(found) == [os.path.basename(folder)] and broken == []


def test_bad_videos_are_refused_in_words(bad_videos, clip):
    labelling.check(clip, LIMITS)
    for path, reason in bad_videos.items():
        with pytest.raises(labelling.Refused) as refusal:
            labelling.check(path, LIMITS)
        assert reason in str(refusal.value) and os.path.dirname(path) not in str(refusal.value)


def test_no_more_is_decoded_than_the_limits_allow(tmp_path, monkeypatch):
    path = write_video(tmp_path / "bare.h264", coloured((500, RED)))
    readers, opened = [], labelling.video.iter_frames
    monkeypatch.setattr(
        labelling.video,
        "iter_frames",
        lambda *a, **k: readers.append(opened(*a, **k)) or readers[0],
    )
    with pytest.raises(labelling.Refused):
        labelling.check(str(path), LIMITS)
    assert 3 * 25 < readers[0].frames < 4 * 25 + 1


def test_an_answer_is_that_of_the_predictor(predictor_of_colours, clip, tmp_path):
    shares = []
    answer = labelling.label(
        predictor_of_colours, clip, str(tmp_path / "labelled.mp4"), top=2,
        report=lambda share, doing: shares.append(share),
    )  # fmt: skip
    whole = predictor_of_colours(clip, 2)
    assert answer.best == list(zip(whole.labels, whole.probabilities, strict=True))
    (window,) = predictor_of_colours.windows(clip)  # shorter than three seconds
    assert answer.seconds == pytest.approx(2.0)
    order = np.argsort(-window.probabilities)
    assert [c.label for c in answer.curves] == [predictor_of_colours.labels[i] for i in order]
    for curve, index in zip(answer.curves, order, strict=True):
        assert curve.seconds == pytest.approx([0.0, 1.0, 2.0])
        assert curve.probabilities == pytest.approx([window.probabilities[index]] * 3)
    with av.open(answer.video) as container:
        assert sum(1 for _ in container.decode(video=0)) == 50
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_large_frames_are_drawn_smaller(predictor_of_colours, tmp_path):
    path = write_video(tmp_path / "large.mp4", coloured((3, RED), size=(960, 1280)))
    answer = labelling.label(predictor_of_colours, str(path), str(tmp_path / "labelled.mp4"))
    with av.open(answer.video) as container:
        assert container.streams.video[0].width == 640


def test_a_port_that_is_taken(saved_models, capsys):
    pytest.importorskip("gradio", reason="needs the extra [serve]")
    with server.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert run("serve", ["--models", saved_models, "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.endswith(f"port {port}: Address already in use\n")


@pytest.fixture(scope="module")
def predictor_of_colours(folder):  # noqa: F811
    return Predictor(folder)


def test_without_gradio_one_line_names_the_extra(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "gradio" else find(name, *a)
    )
    assert run("serve", []) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "pip install 'gradio>=" in error


# --- The page, asked by programs ------------------------------------------------------------


@contextlib.contextmanager
def served(found, broken=()):
    """The address of a running page, and its temporary folder."""
    with (
        server.listen("127.0.0.1", 0) as listening,
        server.application(found, broken, LIMITS) as app,
    ):
        running = server.make_server(app)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            yield address, pathlib.Path(os.environ["GRADIO_TEMP_DIR"])
        finally:
            running.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def page(predictor_of_colours):
    pytest.importorskip("gradio", reason="needs the extra [serve]")
    with served({"colours": predictor_of_colours}, ["damaged"]) as found:
        yield found
    assert not found[1].exists()


@pytest.fixture(scope="module")
def client(page, tmp_path_factory):
    import gradio_client

    client = gradio_client.Client(
        page[0], verbose=False, analytics_enabled=False,
        download_files=str(tmp_path_factory.mktemp("downloads")),
    )  # fmt: skip
    yield client
    client.close()


def ask(client, path, model="colours"):
    import gradio_client

    return client.predict(gradio_client.handle_file(path), model, api_name="/label")


def test_the_page_says_what_predict_says(page, client, predictor_of_colours, clip):
    labels, plot, video = ask(client, clip)
    prediction = predictor_of_colours(clip)
    assert labels["label"] == prediction.labels[0]
    shares = {c["label"]: c["confidence"] for c in labels["confidences"]}
    expected = dict(zip(prediction.labels, prediction.probabilities, strict=True))
    assert shares == pytest.approx(expected)
    assert [row[0] for row in plot["value"]["data"][:3]] == pytest.approx([0.0, 1.0, 2.0])
    with av.open(video["value"]) as found:
        assert found.streams.video[0].codec_context.name == "h264"
    # What was sent and made is for this user's eyes only.
    assert stat.S_IMODE(page[1].stat().st_mode) == 0o700


def test_bad_videos_get_a_message_on_the_page(client, bad_videos):
    import gradio_client

    for path, reason in bad_videos.items():
        if "large" not in path:  # which the client does not even send
            with pytest.raises(gradio_client.exceptions.AppError) as refusal:
                ask(client, path)
            assert reason in str(refusal.value) and "/" not in str(refusal.value)


def test_large_uploads_leave_nothing(page):
    import httpx

    before = set(page[1].rglob("*"))
    files = {"files": ("large.mp4", bytes(LIMITS.bytes + 1))}
    answer = httpx.post(f"{page[0]}/gradio_api/upload", files=files)
    assert answer.status_code == 413 and "/" not in answer.text
    assert set(page[1].rglob("*")) == before


def test_what_is_no_upload_gives_nothing(page, client, clip):
    address, folder = page  # noqa: F811
    secret = pathlib.Path(clip)  # a good video, but nobody sent it
    sent = set(folder.rglob("*"))
    for path in (clip, f"{folder}/../{secret.relative_to(folder.parent)}", "/etc/passwd"):
        assert error_of(address, as_file(path), "colours") is None
        assert error_of(address, None, as_file(path)) is None
    for path in ("http://127.0.0.1:9/clip.mp4", "https://127.0.0.1:9/clip.mp4"):
        assert "addresses are not taken" in error_of(address, as_file(path), "colours")
        assert "addresses are not taken" in error_of(address, None, as_file(path))
    assert set(folder.rglob("*")) == sent
    for model in ("../colours", "damaged", "/"):
        with pytest.raises(Exception, match=r"no such model|not in the list"):
            ask(client, clip, model)


def as_file(path):
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def error_of(address, *data):
    """The message for a request that fails; None if it has no text."""
    request = urllib.request.Request(
        f"{address}/gradio_api/call/label", json.dumps({"data": data}).encode(),
        {"Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as response:
        event = json.load(response)["event_id"]
    with urllib.request.urlopen(f"{request.full_url}/{event}", timeout=30) as response:
        text = response.read().decode()
    assert "event: error" in text and "event: complete" not in text
    return (json.loads(text.split("data: ")[1].splitlines()[0]) or {}).get("error")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/gradio_api/file=/etc/passwd", 403),
        ("/gradio_api/file=../../../../etc/passwd", 403),
        ("/gradio_api/file={folder}/../../etc/passwd", 403),
        ("/gradio_api/file=setup.cfg", 403),
        ("/gradio_api/file=http://127.0.0.1:9/", 404),
        ("/gradio_api/file=http:/127.0.0.1:9/", 404),
        ("/gradio_api/proxy=http://127.0.0.1:9/", 404),
        ("/static/../../../../../../etc/passwd", 403),
        ("/assets/%2e%2e/%2e%2e/%2e%2e/routes.py", 403),
        ("/monitoring", 404),
        ("/docs", 404),
    ],
)
def test_no_route_leads_to_files_or_other_servers(page, path, status):
    address, folder = page  # noqa: F811
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(address + path.format(folder=folder), timeout=30)
    assert refusal.value.code == status
    assert b"root:" not in refusal.value.read()


def test_the_page_names_no_folder_of_the_server(page, root):
    for path in ("/", "/config", "/gradio_api/info"):
        with urllib.request.urlopen(page[0] + path, timeout=30) as response:
            text = response.read().decode()
            assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        assert not any(str(f) in text for f in (page[1], root, pathlib.Path.home(), sys.prefix))


def test_classes_and_example(predictor_of_colours, tmp_path):
    pytest.importorskip("gradio", reason="needs the extra [serve]")
    from keras_videorel.serving import page

    predictor = predictor_of_colours
    desk = page._Desk({"colours": predictor}, LIMITS, str(tmp_path))
    assert desk.classes("colours") == f"<p>{', '.join(predictor.labels)}</p>"
    assert desk.classes("none") == "<p></p>"
    labelling.check(desk.example(), labelling.Limits())
    with av.open(desk.example()) as container:
        assert sum(1 for _ in container.decode(video=0)) == 120


def test_the_legend_names_the_classes_in_their_colors():
    pytest.importorskip("gradio", reason="needs the extra [serve]")
    from keras_videorel.serving import page

    rows = [[0.0, 0.5, "<b>"], [1.0, 0.5, "<b>"], [0.0, 0.2, "up"], [1.0, 0.2, "up"]]
    plot = {"columns": ["seconds", "probability", "label"], "data": rows}
    assert page._legend(plot) == (
        '<ul><li><i style="background: #e69f00"></i>&lt;b&gt;</li>'
        '<li><i style="background: #56b4e9"></i>up</li></ul>'
    )


def test_one_request_at_a_time_for_each_model(monkeypatch, tmp_path):
    """Two models work side by side; of two requests for one, the second waits."""
    pytest.importorskip("gradio", reason="needs the extra [serve]")
    from keras_videorel.serving import page

    both, at_work, most = threading.Barrier(2, timeout=60), {"a": 0, "b": 0}, []

    def label(model, path, output, **_):
        at_work[model] += 1
        both.wait()  # until the other model is at work, too
        most.append(at_work[model])
        both.wait()
        at_work[model] -= 1
        return labelling.Answer([(model, 1.0)], [], 1.0, output)

    monkeypatch.setattr(labelling, "label", label)
    monkeypatch.setattr(labelling, "check", lambda *_: None)
    desk = page._Desk({"a": "a", "b": "b"}, LIMITS, str(tmp_path))

    async def ask_all():
        await asyncio.gather(*(desk.label("v.mp4", m, lambda *_, **__: None) for m in "aabb"))

    asyncio.run(ask_all())
    assert most == [1] * 4


# --- The page, seen in a browser ------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs the extra [test_serve]")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def command(saved_models, tmp_path_factory):
    """The address of `videorel serve`, which ends without a trace."""
    pytest.importorskip("gradio", reason="needs the extra [serve]")
    folder = tmp_path_factory.mktemp("command")  # noqa: F811
    words = ["serve", "--models", saved_models, "--port", "0", "--max_seconds", "20"]
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_videorel", *words], text=True, stdout=subprocess.PIPE,
        cwd=folder, env={**os.environ, "TMPDIR": str(folder)},
    )  # fmt: skip
    try:
        yield re.search(r"colours: (http://127\.0\.0\.1:\d+)", process.stdout.readline())[1]
        assert list(folder.iterdir())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert not list(folder.iterdir())
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_in_a_browser(browser, command, clip, predictor_of_colours):
    view = browser.new_page(viewport={"width": 390, "height": 844})  # a phone's
    asked, errors = [], []
    view.on("request", lambda request: asked.append(request.url))
    view.on("pageerror", lambda error: errors.append(str(error)))
    view.on("console", lambda line: line.type == "error" and errors.append(line.text))
    view.goto(command)
    view.get_by_text("Not usable, see the server's log: damaged").wait_for(timeout=60_000)
    view.get_by_role("button", name="Label this video").click()
    view.get_by_text("Choose or record a video first.").wait_for(timeout=60_000)
    view.set_input_files("input[type=file]", clip)
    view.locator("#video video").wait_for(timeout=60_000)
    view.get_by_role("button", name="Label this video").click()
    view.locator("#drawn video").wait_for(timeout=60_000)
    assert view.get_by_text("Choose or record a video first.").count() == 0
    view.locator("#legend li").first.wait_for(timeout=60_000)
    assert set(view.locator("#legend li").all_inner_texts()) == set(predictor_of_colours.labels)
    shown = view.locator("[data-testid=label-output-value]").inner_text()
    assert shown == predictor_of_colours(clip, 1).labels[0]
    view.wait_for_function("document.querySelector('#drawn video').videoHeight > 0")
    assert view.evaluate("document.documentElement.scrollWidth") <= 390
    assert all(url.startswith((command, f"blob:{command}", "data:")) for url in asked)
    assert errors == []


@pytest.mark.slow
@pytest.mark.real_clips
def test_a_real_clip_in_a_browser(browser, command, real_clips):
    """Of a kind that browsers do not play."""
    view = browser.new_page()
    view.goto(command)
    clip = sorted((real_clips / "ucf101" / "SoccerJuggling").glob("*.avi"))[0]
    view.set_input_files("input[type=file]", str(clip))
    view.locator("#video button[aria-label=Clear]").first.wait_for(timeout=60_000)
    view.get_by_role("button", name="Label this video").click()
    view.wait_for_function(
        "document.querySelector('#drawn video')?.duration > 7.5", timeout=120_000
    )
