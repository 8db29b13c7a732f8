import os
import signal
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

from keras_videorel.data import decoder, flow, video
from keras_videorel.data.decoder import Decoder, Settings
from tests.videos import LOSSLESS, moving_square, write_video

PIXELS = moving_square(70, 48, 64)
SETTINGS = Settings((48, 64), 90)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("decoder") / "clip.mp4", PIXELS, **LOSSLESS)


@pytest.fixture(scope="module")
def shared():
    """A decoder that has work behind it; no test may end its process."""
    with Decoder(SETTINGS) as files:
        yield files


def _jpegs(path, size, quality):
    frames = [frame[..., ::-1] for _, frame in video.iter_frames(path, size)]
    return [
        cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        for frame in frames
    ]


def _pixels(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.mark.parametrize(
    ("size", "shape"), [((20, 30), (20, 30)), (24, (24, 32)), (None, (48, 64))]
)
def test_frames_are_those_of_this_process(clip, size, shape):
    with Decoder(Settings(size, 80)) as files:
        encoded = files.encode(clip)
    assert encoded.jpegs == _jpegs(clip, size, 80)
    assert (encoded.height, encoded.width) == shape == _pixels(encoded.jpegs[0]).shape[:2]
    np.testing.assert_allclose(encoded.timestamps, np.arange(70) / 25)
    assert (encoded.flow, encoded.note) == (None, None)
    np.testing.assert_allclose(encoded.frame_rate, 25)


def test_frame_rate_is_that_of_the_timestamps(tmp_path, shared):
    path = write_video(tmp_path / "one.mp4", PIXELS[:1], fps=10)
    assert shared.encode(path).frame_rate == 10  # a single frame tells nothing
    # An AVI whose frames take turns with empty ones, at which the picture stays.
    path = write_video(tmp_path / "clip.avi", PIXELS[:9], fps=10, codec="mpeg4")
    assert shared.encode(path).frame_rate == pytest.approx(10)
    data = path.read_bytes()
    head, *frames = data[: data.rindex(b"idx1")].split(b"00dc")
    path.write_bytes(head + b"00dc\0\0\0\0".join(b"00dc" + frame for frame in frames))
    encoded = shared.encode(path)
    assert (len(encoded.jpegs), encoded.note) == (9, None)
    np.testing.assert_allclose(np.diff(encoded.timestamps), 1 / 5)
    assert encoded.frame_rate == pytest.approx(5)


def test_a_segment(clip, shared):
    whole, counts = shared.encode(clip), []
    encoded = shared.encode(clip, counts.append, start=1.2, end=2)
    assert encoded.jpegs == whole.jpegs[30:50]
    assert encoded.timestamps == whole.timestamps[30:50]
    assert (encoded.frame_rate, encoded.note) == (pytest.approx(25), None)
    assert counts == [16, 20]
    assert shared.encode(clip, start=1.2, end=9).note == "ends at 2.76 s of 9"
    with pytest.raises(video.VideoError, match="no frame from 9 s on; the last one is"):
        shared.encode(clip, start=9, end=12)
    with pytest.raises(ValueError, match="`end` must be after `start`"):
        shared.encode(clip, start=2, end=1)
    with Decoder(SETTINGS._replace(flow="dis")) as files:
        flow = files.encode(clip).flow[30:49]
        assert files.encode(clip, start=1.2, end=2).flow == [*flow, flow[-1]]


def test_the_way_to_a_segment_is_no_standstill(tmp_path, shared, monkeypatch):
    """Frames before it count for the time limit, where all must be decoded."""
    path = write_video(tmp_path / "clip.h264", PIXELS)
    receive, messages, counts = shared._receive, [], []

    def received(time_limit):
        messages.append(receive(time_limit))
        return messages[-1]

    monkeypatch.setattr(shared, "_receive", received)
    assert len(shared.encode(path, counts.append, start=2).jpegs) == 20
    lengths = [len(content[1]) for kind, *content in messages if kind == "frames"]
    assert lengths == [0] * 50 + [16, 4] and counts == [16, 20]


@pytest.mark.parametrize("count", [1, 12])
def test_flow(tmp_path, count):
    path = write_video(tmp_path / "clip.mp4", PIXELS[:count], **LOSSLESS)
    counts = []
    with Decoder(Settings((48, 64), 90, "dis")) as files:
        encoded = files.encode(path, counts.append)
    pairs = list(flow.with_flow([frame for _, frame in video.iter_frames(path, (48, 64))], "dis"))
    assert len(pairs) == len(encoded.jpegs) == len(encoded.timestamps) == count
    assert encoded.flow == [flow.encode_jpeg(levels, 90) for _, levels in pairs]
    assert encoded.jpegs == _jpegs(path, (48, 64), 90)
    assert counts == list(range(1, count + 1))


def test_a_time_limit_of_years(clip):
    with Decoder(SETTINGS, time_limit=1e300) as files:
        assert len(files.encode(clip).jpegs) == 70


def test_one_process_takes_many_files(tmp_path, clip):
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(np.random.default_rng(0).bytes(999))
    with Decoder(SETTINGS) as files:
        assert files.starts == 0 and files.process_id is None
        first = files.encode(clip)
        process = files.process_id
        for path, reason in ((noise, "cannot be opened"), (tmp_path / "none.mp4", "no such file")):
            with pytest.raises(video.VideoError, match=f"{path.name}: {reason}") as caught:
                files.encode(path)
            assert caught.value.path == str(path)
        assert files.encode(str(clip)) == files.encode(os.fsencode(clip)) == first
        assert (files.starts, files.process_id) == (1, process)


def test_many_decoders_at_once(clip, shared):
    expected, found = shared.encode(clip), []

    def work():
        with Decoder(SETTINGS) as files:
            found.append(files.encode(clip))
            found.append(files.encode(clip))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


def test_the_process_loads_no_framework():
    code = (
        "import sys; from keras_videorel.data import decoder\n"
        "decoder._frame_encoder(decoder.Settings((4, 5), 90, 'dis'))\n"
        "print({'tensorflow', 'keras', 'matplotlib', 'absl', 'tqdm'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "set()\n", result


# --- Crashes --------------------------------------------------------------------------------


def _signalled(files, number, times):
    """A function for `on_frame` that sends a signal to the process after its first frames."""
    sent = []

    def send(_):
        if len(sent) < times:
            sent.append(os.kill(files.process_id, number))
            time.sleep(0.2)

    return send


def test_a_crash_costs_what_was_to_come(clip, shared):
    whole = shared.encode(clip)
    # Frames so large that the pipe does not hold them all when the signal comes.
    for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE):
        with Decoder(Settings((480, 640), 100)) as files:
            encoded = files.encode(clip, _signalled(files, number, 2))
            count = len(encoded.jpegs)
            assert 16 <= count < 70 and len(encoded.timestamps) == count
            assert encoded.note == f"the decoder crashed ({number.name}); {count} frames decoded"
            assert encoded.timestamps == whole.timestamps[:count]
            assert files.starts == 2
            assert files.encode(clip).note is None  # the next one is not affected
            assert files.starts == 3


def test_a_crash_that_does_not_come_again_costs_nothing(clip, shared):
    whole = shared.encode(clip)
    for number in (signal.SIGSEGV, signal.SIGKILL):
        with Decoder(SETTINGS) as files:
            assert files.encode(clip, _signalled(files, number, 1)) == whole
            os.kill(files.process_id, number)  # between two files
            time.sleep(0.1)
            assert files.encode(clip) == whole


class _Doomed(Decoder):
    """Its processes get a signal as soon as they run."""

    def __init__(self, number, time_limit=60):
        super().__init__(SETTINGS, time_limit)
        self.number = number

    def _start(self):
        super()._start()
        os.kill(self.process_id, self.number)


def test_a_crash_before_the_first_frame(clip):
    with _Doomed(signal.SIGSEGV) as files:
        with pytest.raises(video.VideoError, match=r"clip.mp4: the decoder crashed \(SIGSEGV\)"):
            files.encode(clip)
        assert files.starts == 2


def test_killed_for_memory(clip):
    with (
        _Doomed(signal.SIGKILL) as files,
        pytest.raises(
            OSError, match=r"clip.mp4: the decoder was killed twice; memory may be short"
        ),
    ):
        files.encode(clip)


def test_a_file_that_takes_for_ever(clip, shared):
    with _Doomed(signal.SIGSTOP, 0.3) as files:
        start = time.monotonic()
        with pytest.raises(video.VideoError, match=r"clip.mp4: no frame in 0.3 s"):
            files.encode(clip)
        assert files.starts == 1 and time.monotonic() - start < 5
    with Decoder(Settings((480, 640), 100), 0.5) as files:
        encoded = files.encode(clip, _signalled(files, signal.SIGSTOP, 1))
        count = len(encoded.jpegs)
        assert 16 <= count < 70
        assert encoded.note == f"no frame in 0.5 s; {count} frames decoded"
        assert encoded.timestamps == shared.encode(clip).timestamps[:count]
        assert files.encode(clip).note is None and files.starts == 2


def test_an_error_of_the_caller(clip, shared):
    def fail(count):
        raise KeyError(count)

    with Decoder(SETTINGS) as files:
        with pytest.raises(KeyError, match="16"):
            files.encode(clip, fail)
        assert files.encode(clip) == shared.encode(clip)


def test_a_process_that_does_not_start(clip, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with Decoder(SETTINGS) as files, pytest.raises(OSError, match="the decoder did not start"):
        files.encode(clip)


# --- Ends -----------------------------------------------------------------------------------


def _gone(process):
    found = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True
    ).stdout
    return not found.strip() or found.startswith("Z")


def _ends(process, seconds=10):
    end = time.monotonic() + seconds
    while not _gone(process):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def slow_clip(tmp_path_factory):
    """A video whose TV-L1 flow takes a minute."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 120, 160, 3)).astype(np.uint8)
    return write_video(tmp_path_factory.mktemp("slow") / "slow.mp4", pixels)


def test_closing(clip):
    with Decoder(SETTINGS) as files:
        files.encode(clip)
        process = files.process_id
    assert _ends(process)
    files.close()
    with pytest.raises(decoder.Closed):
        files.encode(clip)


def test_closing_from_another_thread(slow_clip):
    files = Decoder(Settings(240, 90, "tvl1"))
    closed = []

    def close(_):
        if not closed:
            closed.append(time.monotonic())
            threading.Timer(0.2, files.close).start()

    with pytest.raises(decoder.Closed):
        files.encode(slow_clip, close)
    assert time.monotonic() - closed[0] < 3


@pytest.mark.parametrize("when", ["idle", "busy"])
def test_it_ends_with_its_parent(tmp_path, slow_clip, clip, when):
    # No guard of the main module: the process must not run it again.
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, signal, sys\n"
        "from keras_videorel.data.decoder import Decoder, Settings\n"
        "files = Decoder(Settings(240, 90, sys.argv[2]))\n"
        "def end(_):\n"
        "    print(files.process_id, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.encode(sys.argv[1], end if sys.argv[2] == 'tvl1' else None)\n"
        "end(0)\n"
    )
    arguments = (slow_clip, "tvl1") if when == "busy" else (clip, "none")
    result = subprocess.run(
        [sys.executable, script, *arguments], stdout=subprocess.PIPE, text=True, timeout=60
    )
    assert result.returncode == -signal.SIGKILL
    assert _ends(int(result.stdout))


# --- Limits ---------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/proc/self/limits"), reason="no /proc")
def test_memory_is_limited(clip, shared):
    shared.encode(clip)
    with open(f"/proc/{shared.process_id}/limits") as file:
        limits = {line[:26].strip(): line[26:].split()[0] for line in file}
    assert limits["Max data size"] == str(6 << 30) and limits["Max core file size"] == "0"
    with open(f"/proc/{shared.process_id}/oom_score_adj") as file:
        assert file.read().strip() == "1000"


def test_too_long_for_a_record(clip, monkeypatch):
    monkeypatch.setattr(decoder, "MAX_CLIP_BYTES", 20_000)
    for method in ("none", "dis"):
        frames = decoder._frame_encoder(SETTINGS._replace(flow=method))(video.iter_frames(clip))
        with pytest.raises(video.VideoError, match=r"too long for a record: \d+ frames exceed"):
            list(frames)


def test_frames_that_cannot_be_jpegs(clip):
    with (
        Decoder(Settings((2, 70_000), 90)) as files,
        pytest.raises(video.VideoError, match="frames of 2x70000 cannot be JPEGs"),
    ):
        files.encode(clip)


@pytest.mark.parametrize(
    ("settings", "time_limit", "message"),
    [
        ((0, 90), 60, "`size` must be"),
        ((None, 0), 60, "`jpeg_quality` must be an integer of at least 1 and at most 100"),
        ((None, 90, "farneback"), 60, "`flow` must be one of none, tvl1, dis"),
        ((None, 90), 0, "`time_limit` must be a finite number above 0"),
    ],
)
def test_bad_arguments_are_refused(settings, time_limit, message):
    with pytest.raises(ValueError, match=message):
        Decoder(Settings(*settings), time_limit)


@pytest.mark.real_clips
def test_real_clips(real_clips):
    path = real_clips / "ucf101/SoccerJuggling/v_SoccerJuggling_g23_c01.avi"
    with Decoder(Settings(256, 90)) as files:
        encoded = files.encode(path)
        assert encoded.jpegs == _jpegs(path, 256, 90)
        assert (len(encoded.jpegs), encoded.height, encoded.width) == (240, 256, 341)
        assert "damaged" in files.encode(real_clips / "edge" / "corrupted.mp4").note
