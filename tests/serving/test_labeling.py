import os

import av
import numpy as np
import pytest

from keras_videorel.data import video
from keras_videorel.serving import Limits, labeling
from tests.prediction.conftest import RED, colored
from tests.videos import write_video

LIMITS = Limits(seconds=3.0)


def test_bad_videos_are_refused_in_words(bad_videos, clip):
    assert labeling.check(clip, LIMITS) == 50
    for path, reason in bad_videos.items():
        with pytest.raises(labeling.Refused) as refusal:
            labeling.check(path, LIMITS)
        assert reason in str(refusal.value) and os.path.dirname(path) not in str(refusal.value)


def test_no_more_is_decoded_than_the_limits_allow(tmp_path, monkeypatch):
    path = write_video(tmp_path / "bare.h264", colored((500, RED)))
    readers, opened = [], labeling.video.iter_frames
    monkeypatch.setattr(
        labeling.video,
        "iter_frames",
        lambda *a, **k: readers.append(opened(*a, **k)) or readers[0],
    )
    with pytest.raises(labeling.Refused):
        labeling.check(str(path), LIMITS)
    assert 3 * 25 < readers[0].frames < 4 * 25 + 1


def test_an_answer_is_that_of_the_predictor(color_model, clip, tmp_path):
    shares = []
    answer = labeling.label(
        color_model, clip, labeling.check(clip, LIMITS), str(tmp_path / "labeled.mp4"), top=2,
        report=lambda share, doing: shares.append(share),
    )  # fmt: skip
    whole = color_model(clip, 2)
    assert answer.best == dict(zip(whole.labels, whole.probabilities, strict=True))
    (window,) = color_model.windows(clip)  # shorter than three seconds
    assert answer.seconds == pytest.approx([0.0, 1.0, 2.0])
    order = np.argsort(-window.probabilities)
    assert list(answer.curves) == [color_model.labels[i] for i in order]
    for curve, index in zip(answer.curves.values(), order, strict=True):
        assert curve == pytest.approx([window.probabilities[index]] * 3)
    with av.open(answer.video) as container:
        assert sum(1 for _ in container.decode(video=0)) == 50
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_a_video_is_decoded_twice(color_model, clip, tmp_path, monkeypatch):
    """Once for the windows, once for the whole video and its frames; `check` counts them."""
    opened, iter_frames = [], video.iter_frames
    monkeypatch.setattr(
        video, "iter_frames", lambda *a, **k: opened.append(a[0]) or iter_frames(*a, **k)
    )
    labeling.label(color_model, clip, 50, str(tmp_path / "labeled.mp4"))
    assert opened == [clip, clip]


def test_large_frames_are_drawn_smaller(color_model, tmp_path):
    path = write_video(tmp_path / "large.mp4", colored((3, RED), size=(960, 1280)))
    answer = labeling.label(color_model, path, 3, str(tmp_path / "labeled.mp4"))
    with av.open(answer.video) as container:
        assert container.streams.video[0].width == 640
