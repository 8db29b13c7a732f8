"""The demo, whole, at a tiny size: each command of the main job after the other."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_demo(root, tmp_path):
    out = tmp_path / "demo"
    result = subprocess.run(
        [sys.executable, "tools/demo.py", f"--output={out}", "--clips_per_class=1", "--epochs=1"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for command in (
        "render-videos",
        "make-tfrecords",
        "train",
        "evaluate",
        "fuse",
        "export",
        "predict",
    ):
        assert f"$ videorel {command} " in result.stdout
    summary = result.stdout[result.stdout.rindex("top-1    top-5") :]
    assert "chance" in summary and "5.0%" in summary
    assert f"tools/predict.py --model {out}/saved_models/two_branch VIDEO" in summary
    assert "artnet_s + two_branch" in summary
    for path in (
        "videos/clips.csv",
        "shards/dataset.json",
        "runs/c2d/results.json",
        "runs/two_branch/figures/curves.png",
        "runs/artnet_s/figures/confusion.png",
        "reports/two_branch/report.html",
        "reports/fused/report.html",
        "saved_models/two_branch/saved_model.pb",
        "saved_models/two_branch/model_int8.tflite",
    ):
        assert (out / path).stat().st_size > 0
    info = json.loads((out / "shards" / "dataset.json").read_text())
    assert info["splits"]["train"]["clips"] == 20
    rejected = (out / "shards" / "rejected.csv").read_text().split()
    assert [row.split(",")[0] for row in rejected[1:] if "," in row] == ["clips.csv", "render.json"]
