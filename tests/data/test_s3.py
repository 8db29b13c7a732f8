"""Shards on S3, of a server on this machine: `make test-io`, in an environment of its own."""

import importlib.util
import os
import socket
import subprocess
import sys
import time

import pytest

from keras_videorel.data import shards
from tests.videos import moving_square, write_video

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("tensorflow_io", "moto", "boto3"))),
    reason="needs the extra [io], moto[server] and boto3: make test-io",
)
# In processes of their own: the plug-in aborts when its process ends.
READ = """
import hashlib, os, sys
from keras_videorel import ClipSpec
from keras_videorel.data import pipeline
info = read_manifest(sys.argv[1])
clips, labels = next(iter(pipeline.training_batches(info, ClipSpec(crop_size=56), 2, seed=3)))
print(hashlib.sha256(clips.numpy().tobytes()).hexdigest(), labels.numpy(), flush=True)
os._exit(0)
"""


@pytest.fixture
def server(tmp_path):
    """Environment of processes that reach the server, and its client."""
    import boto3

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    words = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with open(tmp_path / "server.log", "w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    keys = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    environment = {**os.environ, **keys, "S3_ENDPOINT": url, "AWS_REGION": "us-east-1"}
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
    )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        client.create_bucket(Bucket="bucket")
        yield environment, client
    finally:
        process.kill()
        process.wait()


def _run(environment, *words):
    done = subprocess.run(
        [sys.executable, *map(str, words)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_videos_from_s3_become_shards_on_s3_that_are_read(server, tmp_path, root):
    environment, client = server
    environment = {**environment, "PYTHONPATH": str(root)}
    videos = tmp_path / "videos"
    for index in range(4):
        name = f"{('train', 'test')[index // 2]}/{'ab'[index % 2]}/{index}.mp4"
        path = write_video(videos / name, moving_square(20, 64, 64))
        client.upload_file(str(path), "bucket", f"raw/{name}")
    remote, local = "s3://bucket/shards", tmp_path / "shards"
    command = ["-m", "keras_videorel", "make-tfrecords", "--dataset=folder"]
    command += ["--videos=s3://bucket/raw", f"--output={remote}", "--resize=64x64"]
    command += ["--shards=1", "--workers=2"]
    assert "train: 2 clips, 40 frames" in _run(environment, *command)
    assert "complete already" in _run(environment, *command)

    shards.convert_folder(videos, local, (64, 64), num_shards=1)
    listed = client.list_objects_v2(Bucket="bucket", Prefix="shards/")["Contents"]
    assert sorted(entry["Key"] for entry in listed) == sorted(
        f"shards/{path.name}" for path in local.iterdir()
    )
    for path in local.glob("*.tfrecord"):
        body = client.get_object(Bucket="bucket", Key=f"shards/{path.name}")["Body"]
        assert body.read() == path.read_bytes()
    assert _run(environment, "-c", READ, remote) == _run(environment, "-c", READ, local)
