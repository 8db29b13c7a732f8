import pytest

from keras_videorel.data import shards
from tests.videos import moving_square, write_video

pytest.importorskip("apache_beam")
PROCESSES = ("--runner=FnApiRunner", "--direct_num_workers=2")
PROCESSES += ("--direct_running_mode=multi_processing",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for index in range(6):
        label = "ab"[index % 2]
        write_video(root / "train" / label / f"{index}.mp4", moving_square(5 + index))
    (root / "train" / "a" / "broken.mp4").write_text("no video")
    return root


def _write(folder, output, **options):
    options = {"num_shards": 4, "flow": "dis", **options}
    return shards.convert_folder(folder, output, (48, 64), **options).content


def _contents(output):
    return {path.name: path.read_bytes() for path in output.iterdir()}


@pytest.mark.slow
def test_workers_in_processes_write_what_the_local_engine_does(folder, tmp_path):
    local = _write(folder, tmp_path / "local", num_workers=1)
    beam = _write(folder, tmp_path / "beam", engine="beam", beam_options=PROCESSES)
    assert beam == local and local["rejected"] == 1
    assert _contents(tmp_path / "beam") == _contents(tmp_path / "local")


def test_a_failed_pipeline_is_one_line_and_the_next_goes_on(folder, tmp_path, monkeypatch):
    from keras_videorel.data import beam_engine

    write_shard, names = beam_engine.write_shard, []

    def fail(shard, *arguments):
        names.append(shard.name)
        if len(names) == 3:
            raise OSError("no space left on device")
        return write_shard(shard, *arguments)

    options = {"engine": "beam", "beam_options": ["--runner=FnApiRunner"]}
    with monkeypatch.context() as patch:
        patch.setattr(beam_engine, "write_shard", fail)
        with pytest.raises(OSError, match=r"the Beam pipeline failed: .*no space left on device"):
            _write(folder, tmp_path, **options)
    whole = {path.name for path in tmp_path.glob("*.tfrecord")}
    assert whole == set(names[:2]) and not list(tmp_path.rglob("*.tmp"))
    kept = {name: (tmp_path / name).stat().st_mtime_ns for name in whole}
    assert _write(folder, tmp_path, **options)["splits"]["train"]["clips"] == 6
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in whole} == kept


def test_options_that_are_none_of_beams(folder, tmp_path):
    with pytest.raises(ValueError, match=r"options after -- must be Beam's: .*NoSuch"):
        _write(folder, tmp_path, engine="beam", beam_options=["--runner=NoSuch"])
