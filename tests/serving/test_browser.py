"""The page, seen in a browser."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

pytest.importorskip("gradio", reason="needs the extra [serve]")


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
    folder = tmp_path_factory.mktemp("command")
    words = ["serve", "--models", saved_models, "--port", "0", "--max_seconds", "20"]
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_videorel", *words], text=True, stdout=subprocess.PIPE,
        cwd=folder, env={**os.environ, "TMPDIR": str(folder)},
    )  # fmt: skip
    try:
        yield re.search(r"colors: (http://127\.0\.0\.1:\d+)", process.stdout.readline())[1]
        assert list(folder.iterdir())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert not list(folder.iterdir())
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_in_a_browser(browser, command, clip, color_model):
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
    view.locator("#legend li").first.wait_for(timeout=60_000)
    assert set(view.locator("#legend li").all_inner_texts()) == set(color_model.labels)
    shown = view.locator("[data-testid=label-output-value]").inner_text()
    assert shown == color_model(clip, 1).labels[0]
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
