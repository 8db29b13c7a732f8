"""Metrics on numbers that can be counted by hand."""

import numpy as np
import pytest

from keras_videorel.data.manifest import read_manifest
from keras_videorel.evaluation import metrics
from keras_videorel.evaluation.videos import video_scores
from keras_videorel.runs import evaluate as evaluation


def test_accuracy_by_hand():
    logits = np.array(
        [
            [9, 1, 2, 3, 4, 5, 6],  # class 0: right
            [9, 1, 2, 3, 4, 5, 6],  # class 2: fifth
            [9, 1, 2, 3, 4, 5, 6],  # class 1: last
            [9, 8, 2, 3, 4, 5, 6],  # class 1: second
            [0, 1, 0, 0, 0, 0, 0],  # class 1: right
        ]
    )
    labels = np.array([0, 2, 1, 1, 1])
    found = metrics.accuracy(logits, labels)
    assert found["top1"] == pytest.approx(2 / 5)
    assert found["top5"] == pytest.approx(3 / 5)
    assert found["average"] == pytest.approx(1 / 2)
    assert found["mean_class_accuracy"] == pytest.approx((1 + 0 + 1 / 3) / 3)
    counts = metrics.confusion_matrix(logits, labels)
    assert counts.sum() == 5 and counts[1, 0] == 2 and counts[1, 1] == 1 and counts[2, 0] == 1


def test_equal_scores_are_no_success():
    """A model that says nothing must not count as right in the top 5 of 10 classes."""
    found = metrics.accuracy(np.zeros((10, 10)), np.arange(10))
    assert found["top1"] == pytest.approx(0.1) and found["top5"] == pytest.approx(0.5)


def test_scores_that_are_not_numbers_are_no_success():
    found = metrics.accuracy(np.full((10, 10), np.nan), np.arange(10))
    assert found["top1"] <= 0.1


def test_views_are_averaged_before_the_softmax():
    import keras
    import tensorflow as tf

    clips = keras.Input((2, 1, 1, 3))
    model = keras.Model(clips, keras.layers.Lambda(lambda x: x[:, 0, 0, 0])(clips))
    views = np.zeros((5, 2, 1, 1, 3), "float32")
    views[:, 0, 0, 0] = [[10, 0, 0], [0, 4, 0], [0, 4, 0], [0, 4, 0], [0, 4, 0]]
    # A video of one clip of five views, and one of five clips of a view.
    for clips, grouped in ((1, views[None]), (5, views[:, None])):
        elements = [(clip, np.int64(0), "a.mp4") for clip in grouped]
        data = tf.data.Dataset.from_generator(
            lambda elements=elements: iter(elements),
            output_signature=(
                tf.TensorSpec(grouped.shape[1:], tf.float32),
                tf.TensorSpec((), tf.int64),
                tf.TensorSpec((), tf.string),
            ),
        )
        logits, labels, paths = video_scores(model, data, batch_size=2, clips=clips)
        np.testing.assert_allclose(logits, [[2.0, 3.2, 0.0]], rtol=1e-6)
        assert labels.tolist() == [0] and paths == ["a.mp4"]
        after, _, _ = video_scores(model, data, clips, 2, average="probabilities")
        softmax = keras.Sequential([model, keras.layers.Softmax()])
        of_softmax, _, _ = video_scores(softmax, data, clips, 2, average="probabilities")
        np.testing.assert_allclose(of_softmax, after, rtol=1e-5)
        of_views = np.exp([[10.0, 0, 0]] + [[0.0, 4, 0]] * 4)
        of_views /= of_views.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(np.exp(after), of_views.mean(axis=0)[None], rtol=1e-5)
    with pytest.raises(ValueError, match=r"`average` must be one of logits, probabilities"):
        video_scores(model, data, average="never")


def test_evaluates_groups_of_snippets(tmp_path, monkeypatch):
    """Scores of gray videos, counted by hand from the frames of 2 groups of 4 segments."""
    import keras

    from keras_videorel.runs import workdir
    from keras_videorel.runs.config import base
    from tests.shards import gray_video, write_shards

    lengths, size = (16, 40, 3), (24, 32)
    videos = [(gray_video(n, size, first=10, step=5), i % 2) for i, n in enumerate(lengths)]
    folder = write_shards(tmp_path / "shards", {"test": videos}, ["a", "b"], size)
    config = base()
    config.data.update({"path": str(folder), "segments": 4, "frames": 1, "crop_size": 16})
    config.data.update({"mean": (127.5,) * 3, "std": 127.5})
    config.eval.update({"clips": 2, "crops": 5, "batch_size": 4})  # 10 views: two and a half

    snippets = keras.Input((4, 16, 16, 3))
    x = keras.layers.Lambda(lambda x: keras.ops.mean(x, (2, 3, 4)) ** 2)(snippets)
    model = keras.Model(snippets, keras.layers.Dense(2, use_bias=False)(x))
    run = str(tmp_path / "run")
    workdir.open_run(run, config, read_manifest(str(folder)))
    monkeypatch.setattr(evaluation, "load_model", lambda folder, config: (model, 7))
    results = evaluation.evaluate(config, run, str(tmp_path / "scores.npz"))
    assert results["videos"] == 3 and results["clips"] == 2 and results["epochs"] == 7

    frames = {
        "test/0.mp4": [[1, 5, 9, 13], [3, 7, 11, 15]],
        "test/1.mp4": [[2, 12, 22, 32], [7, 17, 27, 37]],
        "test/2.mp4": [[0, 0, 1, 2], [0, 0, 1, 2]],
    }
    kernel = model.get_weights()[0]
    scores = np.load(tmp_path / "scores.npz")
    for path, logits in zip(scores["paths"], scores["logits"], strict=True):
        levels = (10 + 5 * np.array(frames[path]) - 127.5) / 127.5
        np.testing.assert_allclose(logits, (levels**2 @ kernel).mean(axis=0), atol=0.02)

    # Other shards than those of the run are refused, and cost no result.
    stored = (tmp_path / "run" / "results.json").read_bytes()
    larger = [(gray_video(n, (30, 40), first=10, step=5), 0) for n in lengths]
    for name, clips, labels, frame_size, message in (
        ("larger", larger, ["a", "b"], (30, 40), "resize 30x40 against resize 24x32.*--resize 24x"),
        ("turned", videos, ["b", "a"], size, "class 0 is 'b' against 'a'"),
        ("more", videos, ["a", "b", "c"], size, "3 classes against 2"),
    ):
        config.data.path = str(write_shards(tmp_path / name, {"test": clips}, labels, frame_size))
        with pytest.raises(ValueError, match=message):
            evaluation.evaluate(config, run)
        with pytest.raises(ValueError, match=message):
            workdir.check_shards(run, read_manifest(config.data.path))
    assert (tmp_path / "run" / "results.json").read_bytes() == stored


def test_pair_accuracy_looks_at_two_classes_alone():
    logits = [[1, 0, 9], [0, 1, 9], [3, 2, 0], [0, 5, 1]]
    assert metrics.pair_accuracy(logits, [0, 1, 1, 2], (0, 1)) == 2 / 3
    assert metrics.pair_accuracy(logits, [0, 1, 1, 2], (1, 0)) == 2 / 3
    with pytest.raises(ValueError, match=r"`pair`.*3, 4"):
        metrics.pair_accuracy(logits, [0, 1, 1, 2], (3, 4))
