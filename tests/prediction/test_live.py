"""Live sources: the newest frames win, sources do not disturb each other, all can be ended.

Cameras are stood in for by objects with the methods of `cv2.VideoCapture`, and by that class on a
file; a real device is not at hand.
"""

import functools
import threading

import cv2
import numpy as np
import pytest

from keras_videorel import ClipSpec
from keras_videorel.data import video
from keras_videorel.prediction import live
from tests.prediction.conftest import BLUE, RED, colored
from tests.videos import LOSSLESS, write_live, write_video


class Capture:
    """A camera that waits for permission; a frame's gray level is its number, modulo 256."""

    def __init__(self, frames, permits):
        self.frames, self.permits = frames, permits
        self.count, self.released = 0, False
        self.waits = threading.Event()

    def read(self):
        if self.count == self.frames:
            self.waits.set()
            return False, None
        if not self.permits.acquire(blocking=False):
            self.waits.set()  # what was allowed has been read
            self.permits.acquire()
        self.count += 1
        return True, np.full((56, 72, 3), self.count % 256, np.uint8)

    def get(self, what):
        return 25.0 if what == cv2.CAP_PROP_FPS else 0.0

    def release(self):
        self.released = True


class Slow:
    """A model of clips of 4 frames; while it works, 10 frames arrive."""

    frame_size, clip = (28, 36), ClipSpec(frames=4)

    def __init__(self, captures=()):
        self.captures, self.seen = captures, []

    def check_window(self, window, hop):
        pass

    def window_frames(self, frame_rate, window):
        return 4

    def default_hop(self, frame_rate, window):
        return 1e-9

    def window(self, times, frames, frame_rate=25.0, attention_maps=True):
        if len(frames) == 1:
            return None  # the first call, on nothing
        assert list(times) == sorted(times) and not attention_maps
        self.seen.append([int(frame[0, 0, 0]) for frame in frames])
        for capture in self.captures:
            if capture.count == capture.frames:
                continue
            capture.waits.clear()
            capture.permits.release(10)
            capture.waits.wait(timeout=10)
        return len(self.seen)


def test_the_newest_frames_win():
    capture = Capture(40, threading.Semaphore(4))
    model, summaries = Slow([capture]), []
    opened = functools.partial(live.CameraReader, capture, (28, 36))
    found = []
    for window in live.watch(model, {"camera": opened}, on_end=summaries.append):
        found.append(window)
        if len(found) == 4:
            capture.permits.release(40)
    # 4 frames, then 10 more in the time of each window; the frames between are gone.
    assert model.seen[:4] == [[1, 2, 3, 4], [11, 12, 13, 14], [21, 22, 23, 24], [31, 32, 33, 34]]
    assert model.seen[-1] == [37, 38, 39, 40] and capture.released
    assert [w.skipped for w in found[:4]] == [0, 6, 6, 6]
    assert [w.window for w in found] == list(range(1, len(found) + 1))
    assert all(w.latency > 0 for w in found)
    (summary,) = summaries
    assert summary.frames == 40 and summary.windows == len(found) and summary.error is None
    assert summary.skipped == sum(w.skipped for w in found) >= 18
    assert "camera: 40 frames" in str(summary) and "latency" in str(summary)


def test_a_source_that_fails_leaves_the_others_alone(predictor, tmp_path):
    path = write_video(tmp_path / "clip.mp4", colored((30, RED), (30, BLUE)), **LOSSLESS)
    size = predictor.frame_size

    def broken():
        raise OSError("unplugged")

    sources = {
        "broken": broken,
        "none": lambda: video.iter_frames(tmp_path / "none.mp4", size),
        "file as a camera": lambda: live.CameraReader(cv2.VideoCapture(str(path)), size),
    }
    summaries = {}
    windows = list(
        live.watch(
            predictor, sources, window=0.4, hop=1e-3,
            on_end=lambda summary: summaries.update({summary.source: summary}),
        )
    )  # fmt: skip
    assert str(summaries["broken"].error) == "unplugged"
    assert "no such file" in str(summaries["none"].error)
    assert summaries["file as a camera"].frames == 60
    assert {w.source for w in windows} == {"file as a camera"}
    assert windows[-1].window.probabilities.argmax() == 2  # the end is blue
    assert windows[-1].window.attention_maps is None


def test_a_camera_gives_upright_rgb_of_the_models_size(tmp_path):
    pixels = colored((3, RED), size=(48, 64))
    pixels[:, :, 32:] = BLUE
    path = write_video(tmp_path / "clip.mkv", pixels, **LOSSLESS)
    reader = live.CameraReader(cv2.VideoCapture(str(path)), (24, 32))
    frames = [frame for _, frame in reader]
    assert len(frames) == 3 and reader.frame_rate == 25 and reader.is_live
    np.testing.assert_allclose(frames[0][5, [3, 28]].astype(int), [RED, BLUE], atol=3)
    reader = live.CameraReader(cv2.VideoCapture(str(path)), 24)
    assert next(reader)[1].shape == (24, 32, 3)
    with pytest.raises(OSError, match=r"camera .*none.mkv cannot be opened"):
        live.open_camera(tmp_path / "none.mkv", 24)


@pytest.mark.parametrize("after", [0, 2])
def test_an_endless_source_can_be_ended(after):
    stop = threading.Event()
    capture = Capture(10**9, threading.Semaphore(10**9))
    opened = functools.partial(live.CameraReader, capture, (28, 36))
    summaries, found = [], []
    if not after:
        stop.set()
    for window in live.watch(Slow(), {"camera": opened}, stop=stop, on_end=summaries.append):
        found.append(window)
        if len(found) == after:
            stop.set()
    assert len(found) == after and summaries[0].error is None
    assert capture.released


def test_recordings_play_at_their_own_pace(predictor, tmp_path, monkeypatch):
    """A file is not read ahead of its time: each frame waits for it."""
    path = write_video(tmp_path / "clip.mp4", colored((12, RED)), **LOSSLESS)
    waits = []

    class Event(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            return self.is_set()

    monkeypatch.setattr(live.clock, "monotonic", lambda: 100.0)  # no time passes
    sources = {"file": lambda: video.iter_frames(path, predictor.frame_size)}
    windows = list(live.watch(predictor, sources, window=0.2, hop=1e-3, stop=Event()))
    np.testing.assert_allclose(waits[:12], np.arange(12) / 25, atol=1e-6)
    assert windows[-1].window.end == pytest.approx(12 / 25)


def test_a_recording_without_a_duration_is_no_stream(tmp_path):
    """What a browser recorded does not say how long it is."""
    path = write_live(tmp_path / "clip.webm", range(0, 400, 40))
    with video.iter_frames(path) as reader:
        assert reader.duration is None and not reader.is_live


def test_streams_lead_to_the_network_only():
    assert video.is_stream("rtsp://camera/1") and video.is_stream("HTTPS://a.b/c.mp4")
    assert not any(map(video.is_stream, ("file:///a.mp4", "a.mp4", "C:\\a.mp4", "gs://b/a.mp4")))
    with pytest.raises(video.VideoError, match=r"http://127.0.0.1:9/a: cannot be opened .*refused"):
        video.iter_stream("http://127.0.0.1:9/a", time_limit=5)


def test_streams_by_http(tmp_path):
    """Frames over HTTP are those of the file; a playlist there opens no file here."""
    import http.server

    path = write_video(tmp_path / "clip.mkv", colored((3, RED), (3, BLUE)), **LOSSLESS)
    write_live(tmp_path / "live.webm", range(0, 400, 40))
    (tmp_path / "list.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{path}\n#EXT-X-ENDLIST\n"
    )
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            frames = [frame for _, frame in video.iter_stream(f"{address}/clip.mkv")]
            assert not video.iter_stream(f"{address}/clip.mkv").is_live
            assert video.iter_stream(f"{address}/live.webm").is_live
            with pytest.raises(video.VideoError):
                list(video.iter_stream(f"{address}/list.m3u8"))
        finally:
            server.shutdown()
    np.testing.assert_array_equal(frames, colored((3, RED), (3, BLUE)))
