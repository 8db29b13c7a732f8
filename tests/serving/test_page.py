"""The page, asked by programs: what it answers, and what it gives nobody."""

import json
import os
import pathlib
import socket
import stat
import sys
import time

import av
import httpx
import pytest

from keras_videorel.cli import run
from keras_videorel.serving import Limits, labeling, server

pytest.importorskip("gradio", reason="needs the extra [serve]")
LIMITS = Limits(seconds=3.0, megabytes=0.2)


@pytest.fixture(scope="module")
def address(color_model):
    with server.launched({"colors": color_model}, ["damaged"], LIMITS) as address:
        folder = pathlib.Path(os.environ["GRADIO_TEMP_DIR"])
        yield address
    assert not folder.exists()


@pytest.fixture
def uploads(address):
    """The folder of uploads and results."""
    return pathlib.Path(os.environ["GRADIO_TEMP_DIR"])


@pytest.fixture(scope="module")
def client(address, tmp_path_factory):
    import gradio_client

    client = gradio_client.Client(
        address, verbose=False, analytics_enabled=False,
        download_files=str(tmp_path_factory.mktemp("downloads")),
    )  # fmt: skip
    yield client
    client.close()


def ask(client, path, model="colors"):
    import gradio_client

    return client.predict(gradio_client.handle_file(path), model, api_name="/label")


def test_the_page_says_what_predict_says(client, uploads, color_model, clip):
    labels, plot, video = ask(client, clip)
    prediction = color_model(clip)
    assert labels["label"] == prediction.labels[0]
    shares = {c["label"]: c["confidence"] for c in labels["confidences"]}
    expected = dict(zip(prediction.labels, prediction.probabilities, strict=True))
    assert shares == pytest.approx(expected)
    assert [row[0] for row in plot["value"]["data"][:3]] == pytest.approx([0.0, 1.0, 2.0])
    with av.open(video["value"]) as found:
        assert found.streams.video[0].codec_context.name == "h264"
    # Only this user can read what was sent and made.
    assert stat.S_IMODE(uploads.stat().st_mode) == 0o700


def test_bad_videos_get_a_message_on_the_page(client, bad_videos):
    import gradio_client

    for path, reason in bad_videos.items():
        with pytest.raises(gradio_client.exceptions.AppError) as refusal:
            ask(client, path)
        assert reason in str(refusal.value) and "/" not in str(refusal.value)


def test_large_uploads_leave_nothing(address, uploads):
    before = set(uploads.rglob("*"))
    files = {"files": ("large.mp4", bytes(LIMITS.bytes + 1))}
    answer = httpx.post(f"{address}/gradio_api/upload", files=files)
    assert answer.status_code == 413 and "/" not in answer.text
    assert set(uploads.rglob("*")) == before


def test_what_is_no_upload_gives_nothing(address, uploads, client, clip):
    secret = pathlib.Path(clip)  # a good video, but nobody sent it
    sent = set(uploads.rglob("*"))
    for path in (clip, f"{uploads}/../{secret.relative_to(uploads.parent)}", "/etc/passwd"):
        assert error_of(address, as_file(path), "colors") is None
        assert error_of(address, None, as_file(path)) is None
    for path in ("http://127.0.0.1:9/clip.mp4", "https://127.0.0.1:9/clip.mp4"):
        assert "addresses are not taken" in error_of(address, as_file(path), "colors")
        assert "addresses are not taken" in error_of(address, None, as_file(path))
    assert set(uploads.rglob("*")) == sent
    for model in ("../colors", "damaged", "/"):
        with pytest.raises(Exception, match="not in the list"):
            ask(client, clip, model)


def as_file(path):
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def error_of(address, *data):
    """The message for a request that fails; None if it has no text."""
    call = f"{address}/gradio_api/call/label"
    event = httpx.post(call, json={"data": data}).json()["event_id"]
    text = httpx.get(f"{call}/{event}", timeout=30).text
    assert "event: error" in text and "event: complete" not in text
    return (json.loads(text.split("data: ")[1].splitlines()[0]) or {}).get("error")


def test_no_request_skips_the_queue(address, clip):
    for route in ("run", "api"):
        answer = httpx.post(
            f"{address}/gradio_api/{route}/label", json={"data": [as_file(clip), "colors"]}
        )
        assert answer.is_error


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/gradio_api/file=/etc/passwd", 403),
        ("/gradio_api/file=../../../../etc/passwd", 403),
        ("/gradio_api/file={folder}/../../etc/passwd", 403),
        ("/gradio_api/file=setup.cfg", 403),
        ("/gradio_api/file=http://127.0.0.1:9/", 403),
        ("/gradio_api/file=http:/127.0.0.1:9/", 403),
        ("/gradio_api/proxy=http://127.0.0.1:9/", 400),
        ("/static/../../../../../../etc/passwd", 403),
        ("/assets/%2e%2e/%2e%2e/%2e%2e/routes.py", 403),
        ("/monitoring", 403),
        ("/docs", 404),
    ],
)
def test_no_route_leads_to_files_or_other_servers(address, uploads, path, status):
    request = f"GET {path.format(folder=uploads)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(request.encode())  # libraries would resolve the dots
        answer = connection.makefile("rb").read()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()) and b"root:" not in answer


def test_the_page_names_no_folder_of_the_server(address, uploads, root):
    for path in ("/", "/config", "/gradio_api/info"):
        text = httpx.get(address + path, timeout=30).text
        assert not any(str(f) in text for f in (uploads, root, pathlib.Path.home(), sys.prefix))


def test_one_video_at_a_time(client, clip, monkeypatch):
    import gradio_client

    working, seen = [], []

    def label(*_, **__):
        working.append(1)
        time.sleep(0.5)
        seen.append(len(working))
        working.pop()
        raise labeling.Refused("enough")

    monkeypatch.setattr(labeling, "label", label)
    video = gradio_client.handle_file(clip)
    jobs = [client.submit(video, "colors", api_name="/label") for _ in range(3)]
    assert all(job.exception() for job in jobs) and seen == [1] * 3


def test_the_example_is_a_video_that_is_taken(tmp_path):
    from keras_videorel.serving import page

    labeling.check(page._example(str(tmp_path)), Limits())
    with av.open(page._example(str(tmp_path))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 120


def test_the_legend_names_the_classes_in_their_colors():
    from keras_videorel.serving import page

    rows = [[0.0, 0.5, "<b>"], [1.0, 0.5, "<b>"], [0.0, 0.2, "up"], [1.0, 0.2, "up"]]
    plot = {"columns": ["seconds", "probability", "label"], "data": rows}
    assert page._legend(plot) == (
        '<ul><li><i style="background: #e69f00"></i>&lt;b&gt;</li>'
        '<li><i style="background: #56b4e9"></i>up</li></ul>'
    )


def test_a_port_that_is_taken(saved_models, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run("serve", ["--models", saved_models, "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.endswith(f"port {port}: Address already in use\n")


def test_without_gradio_one_line_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert run("serve", []) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "pip install 'gradio>=" in error
