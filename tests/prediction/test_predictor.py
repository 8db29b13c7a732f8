"""Windows over time, LiteRT files beside the SavedModel, and what a user names as videos."""

import math
import shutil
import sys
import weakref

import keras
import numpy as np
import pytest

import keras_videorel
from keras_videorel import export
from keras_videorel.prediction import Predictor, exported
from keras_videorel.prediction.inputs import find_videos
from keras_videorel.prediction.predictor import NewestFrames
from tests.clips import clip_of
from tests.prediction.conftest import BLUE, LABELS, RED, SEGMENTS, attention_maps, colored
from tests.videos import LOSSLESS, write_live, write_video


def probabilities(colors):
    logits = np.mean(colors, axis=0) / 100
    return np.exp(logits) / np.exp(logits).sum()


def test_windows_of_segments(predictor, tmp_path):
    """20 frames each, from the middles of four segments; the last window ends with the video."""
    pixels = colored((23, RED), (24, BLUE))
    path = write_video(tmp_path / "clip.mp4", pixels, **LOSSLESS)
    windows = list(predictor.windows(path, window=0.8, hop=0.4))
    firsts = [0, 10, 20, 27]
    np.testing.assert_allclose([w.start for w in windows], np.array(firsts) / 25, atol=1e-6)
    np.testing.assert_allclose([w.end for w in windows], (np.array(firsts) + 20) / 25, atol=1e-6)
    for first, window in zip(firsts, windows, strict=True):
        seen = [first + 2, first + 7, first + 12, first + 17]
        np.testing.assert_allclose(window.times, np.array(seen) / 25, atol=1e-6)
        np.testing.assert_allclose(window.probabilities, probabilities(pixels[seen, 0, 0]), 1e-5)
        np.testing.assert_array_equal(window.attention_maps, attention_maps())
    assert windows[0].probabilities.argmax() == 0 and windows[-1].probabilities.argmax() == 2
    assert [w.attention_maps for w in predictor.windows(path, attention_maps=False)] == [None]


@pytest.mark.parametrize("frames", [1, 3, 10])
def test_a_video_shorter_than_a_window_is_one(predictor, tmp_path, frames):
    path = write_video(tmp_path / "clip.mp4", colored((frames, RED)), **LOSSLESS)
    (window,) = predictor.windows(path, window=0.8, hop=0.4)
    assert (window.start, window.end) == (0, pytest.approx(frames / 25))
    np.testing.assert_allclose(
        dict(zip(LABELS, window.probabilities, strict=True))["red"],
        dict(predictor.best(probabilities([RED])))["red"],
        rtol=1e-5,
    )


class Endless:
    """A source that counts how many of its frames are alive."""

    frame_rate = 25.0

    def __init__(self, frames):
        self.frames, self.alive, self.most = frames, 0, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        for index in range(self.frames):
            frame = np.full((28, 36, 3), index % 256, np.uint8)
            self.alive += 1
            self.most = max(self.most, self.alive)
            weakref.finalize(frame, self._gone)
            yield index / 25, frame

    def _gone(self):
        self.alive -= 1


def test_memory_does_not_grow_with_the_video(predictor):
    """An hour of 25 frames a second: no more frames are held than a window has."""
    source = Endless(3600 * 25)
    windows = sum(1 for _ in predictor.windows(source, window=2, hop=60))
    assert windows == 61 and 50 <= source.most <= 52


def test_a_whole_video_and_the_sample_in_its_middle(predictor, tmp_path):
    pixels = colored((20, RED), (20, BLUE), size=(56, 72))
    path = write_video(tmp_path / "clip.mp4", pixels, **LOSSLESS)
    shown = []
    prediction, sample = predictor.predict(
        path, 40, with_sample=True, on_frame=lambda *shot: shown.append(shot)
    )
    assert prediction == predictor(path)
    assert sample.frames.shape == (SEGMENTS, 56, 72, 3)
    np.testing.assert_array_equal(sample.frames[:, 0, 0], [RED, RED, BLUE, BLUE])
    np.testing.assert_allclose(sample.times, np.array([5, 15, 25, 35]) / 25, atol=1e-6)
    np.testing.assert_array_equal(sample.attention_maps, attention_maps())
    np.testing.assert_allclose([time for time, _ in shown], np.arange(40) / 25, atol=1e-6)
    assert {reader for _, reader in shown} == {shown[0][1]}  # one pass


def test_several_videos_and_how_they_are_shown(predictor, tmp_path):
    paths = [
        write_video(tmp_path / f"{name}.mp4", colored((9, color)), **LOSSLESS)
        for name, color in (("a", RED), ("b", BLUE))
    ]
    found = predictor(paths, top=2)
    assert found == [predictor(path, top=2) for path in paths]
    share = found[0].probabilities[0]
    assert f"a.mp4', 9 frames: red {share:.1%}, " in repr(found[0])
    assert keras_videorel.Predictor is Predictor


class Times:
    """A source of frames at given times, whose level is their number."""

    def __init__(self, times, rate):
        self.times, self.frame_rate = times, rate

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        for index, time in enumerate(self.times):
            yield time, np.full((28, 36, 3), index % 256, np.uint8)


def test_windows_are_by_time(predictor):
    """Where the frame rate halves and frames are missing, windows last as long as before."""
    times = np.concatenate(
        [np.arange(0, 4, 1 / 30), np.arange(4, 8, 1 / 15), np.arange(10, 12, 1 / 30)]
    )
    whole = list(predictor.windows(Times(np.arange(0, 12, 1 / 30), 30.0), window=3, hop=0.5))
    windows = list(predictor.windows(Times(np.round(times + 7, 3), 30.0), window=3, hop=0.5))
    assert len(whole) == 19
    ends = [w.end for w in whole if not 7.9 < w.end < 10]
    np.testing.assert_allclose([w.end for w in windows], ends, atol=0.07)
    assert all(2.9 < w.end - w.start < 3.15 for w in windows)


def test_a_window_after_a_pause(predictor):
    """The last frame before it was shown all the time; no window is longer than the others."""
    times = [*np.arange(100) / 25, *(np.arange(100) / 25 + 600)]
    windows = list(predictor.windows(Times(times, 25.0), window=2, hop=1))
    spans = [(w.start, w.end) for w in windows]
    np.testing.assert_allclose(spans[:4], [(0, 2), (1, 3), (2, 4), (598.04, 600.04)], atol=1e-6)
    assert all(w.end - w.start == pytest.approx(2) for w in windows)
    assert windows[3].times[0] == pytest.approx(598.04)


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_windows_of_a_browser_recording(predictor, tmp_path, codec):
    """As many as of the same film with a constant rate."""
    rng = np.random.default_rng(0)
    times = np.round(np.arange(0, 12_000, 1000 / 30) + rng.uniform(0, 8, 360)).astype(int)
    times = [time for time in times.tolist() if rng.uniform() > 0.05]
    path = write_live(tmp_path / "clip.webm", times, codec)
    windows = list(predictor.windows(path, window=3, hop=0.5))
    assert len(windows) == 19
    starts = [window.start for window in windows]
    np.testing.assert_allclose(starts, np.arange(19) / 2, atol=0.08)


def test_windows_of_a_time_lapse(predictor):
    """A frame each half minute: a window has a frame for each segment."""
    windows = list(predictor.windows(Times(30.0 * np.arange(9), 1 / 30)))
    assert [len(set(w.times)) for w in windows] == [SEGMENTS] * 6
    assert [(w.start, w.end) for w in windows] == [(30 * i, 30 * i + 120) for i in range(6)]


def test_memory_is_bounded_whatever_the_times(predictor):
    """Where all frames come at nearly one time, no window is ever full."""
    held = NewestFrames(predictor, 25.0, 3.0)
    for index in range(5000):
        held.add(1e-6 * index, index)
    assert len(held.columns()[0]) == 1024 and held.columns()[1][-1] == 4999


@pytest.mark.parametrize("top", [0, -1, 1.5, None])
def test_a_number_of_classes_below_one(predictor, top):
    for ask in (predictor, lambda _, top: predictor.best(np.ones(3), top)):
        with pytest.raises(ValueError, match=r"`top` must be an integer of at least 1. Received: "):
            ask("/none.mp4", top)


@pytest.mark.parametrize(
    "option", [{"window": 0}, {"hop": -1.0}, {"hop": math.nan}, {"hop": math.inf}]
)
def test_errors_of_windows(predictor, option):
    (name,) = option
    with pytest.raises(ValueError, match=f"`{name}` must be a finite number above 0. Received"):
        list(predictor.windows("clip.mp4", **option))


# --- LiteRT ---------------------------------------------------------------------------------

# Input shape of a model, segments, stream, size of frames.
SAMPLES = {
    "clips": ((4, 24, 24, 3), 0, "rgb", 30),
    "snippets": ((3, 2, 24, 24, 3), 3, "rgb", (28, 36)),
    "flow clips": ((4, 24, 24, 2), 0, "flow", (28, 36)),
    "flow stacks": ((3, 24, 24, 4), 3, "flow", 30),
}


def export_both(path, shape, segments, stream, frame_size):
    """A model for which the place of pixels and the order of frames matter, as both files."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
    mean = (127.5, 120.0, 110.0)[: 3 if stream == "rgb" else 2]
    clip = clip_of(model, segments, stream, mean=mean, std=60.0, frame_size=frame_size)
    export.export_saved_model(model, path, clip, LABELS, from_logits=True, clips=3)
    export.export_litert(model, f"{path}/model_fp32.tflite", from_logits=True)
    return path


@pytest.mark.parametrize("key", SAMPLES)
def test_litert_prepares_frames_as_the_saved_model(key, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="LiteRT's interpreter is not installed")
    path = export_both(str(tmp_path / "model"), *SAMPLES[key])
    _, segments, stream, _ = SAMPLES[key]
    ours, theirs = (exported.load(path, precision)[0] for precision in ("fp32", "saved_model"))
    sampled = max(segments, 1) * exported.load(path)[1]["frames"]
    channels = 3 if stream == "rgb" else 2
    for size in ((28, 36), (61, 90)):
        clips = np.random.default_rng(1).integers(0, 256, (2, sampled, *size, channels), np.uint8)
        expected = theirs.score(clips)
        np.testing.assert_allclose(ours.score(clips), expected, atol=1e-4)
        assert np.ptp(expected) > 0.05
    assert ours.labels == theirs.labels == LABELS


def test_the_most_exact_file_that_is_there(folder, tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_litert", reason="LiteRT's interpreter is not installed")
    path = export_both(str(tmp_path / "model"), *SAMPLES["clips"])
    video = write_video(tmp_path / "clip.mp4", colored((9, RED), (9, BLUE), size=(40, 50)))
    shutil.copy(f"{path}/model_fp32.tflite", f"{path}/model_int8.tflite")
    whole = Predictor(path)
    assert whole.precision == "saved_model" and Predictor(path, "int8").precision == "int8"
    (tmp_path / "model" / "saved_model.pb").unlink()
    shutil.rmtree(tmp_path / "model" / "variables")
    alone = Predictor(path)
    assert alone.precision == "fp32" and alone.labels == LABELS and not alone.has_attention_maps
    np.testing.assert_allclose(alone(video).probabilities, whole(video).probabilities, atol=1e-5)
    ours, theirs = (list(p.windows(video)) for p in (alone, whole))
    assert len(ours) == len(theirs) == 8  # clips of 4 frames, 2 apart
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)
    with pytest.raises(FileNotFoundError, match=r"no model_fp16.tflite.*can be fp32, int8"):
        Predictor(path, "fp16")
    with pytest.raises(ValueError, match="`precision` must be one of saved_model, fp32"):
        Predictor(path, "fp8")
    with pytest.raises(ValueError, match=r"`window` is for models of segments.*4 frames"):
        list(alone.windows(video, window=2.0))
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(
        ImportError, match=r"model_fp32.tflite .* need pip install 'ai-edge-litert>="
    ):
        Predictor(path)


def test_folders_that_are_no_models(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no export.json"):
        Predictor(tmp_path)
    shutil.copy(f"{folder}/export.json", tmp_path)
    with pytest.raises(FileNotFoundError, match="neither a SavedModel nor a LiteRT file"):
        Predictor(tmp_path)
    shutil.copy(f"{folder}/labels.txt", tmp_path)
    (tmp_path / "model_fp32.tflite").write_bytes(b"no model")
    manifest, whole = tmp_path / "export.json", (tmp_path / "export.json").read_text()
    for content, message in (
        ("", "is not valid JSON"),
        ("[]", "is damaged: it lacks segments, frames, frame_stride, frame_size, crop_size"),
        (whole.replace('"frame_size"', '"size"'), "is damaged: it lacks frame_size$"),
    ):
        manifest.write_text(content)
        with pytest.raises(ValueError, match=rf"export.json' {message}"):
            Predictor(tmp_path)
    manifest.write_text(whole)
    pytest.importorskip("ai_edge_litert", reason="LiteRT's interpreter is not installed")
    with pytest.raises(ValueError, match=r"model_fp32.tflite' cannot be run by LiteRT"):
        Predictor(tmp_path)


# --- What a user names ----------------------------------------------------------------------


def test_files_folders_and_patterns(tmp_path):
    names = ["b.mp4", "a.AVI", "deep/er/c.mov", "notes.txt", ".hidden.mp4", "odd[1].mp4"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def found(word):
        return [path[len(str(tmp_path)) + 1 :] for path in find_videos(f"{tmp_path}/{word}")]

    assert found("") == ["a.AVI", "b.mp4", "deep/er/c.mov", "odd[1].mp4"]
    assert found("*.mp4") == ["b.mp4", "odd[1].mp4"]
    assert found("**/*.mov") == ["deep/er/c.mov"]
    assert found("odd[1].mp4") == ["odd[1].mp4"]
    assert found("notes.txt") == ["notes.txt"] and found("none.mp4") == ["none.mp4"]
    with pytest.raises(ValueError, match="no file matches"):
        found("*.webm")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: a folder without videos"):
        found("empty")
