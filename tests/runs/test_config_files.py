"""Config files with errors, flags of keys, values out of bounds: one line each."""

import hashlib
import json

import pytest

from keras_videorel.runs import config_files, workdir
from keras_videorel.runs.config import _tell_once, base, check_config, config_hash

FILE = """from keras_videorel.runs.config import base

def get_config(argument=None):
    config = base()
    {}
    return config
"""


def load(tmp_path, line, text=FILE):
    path = tmp_path / "mine.py"
    path.write_text(text.format(line))
    return config_files.load(str(path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("config.train.lr = 0.1", r"there is no key lr \(did you mean learning_rate\?\)"),
        ("config.train.update({'lr': 1})", r"there is no key lr \(did you mean learning_rate\?\)"),
        ("config.tran.epochs = 3", r"there is no key tran \(did you mean train\?\)"),
        ("config.epochs = 3", r"there is no key epochs \(did you mean config.train.epochs\?\)"),
        ("config['train.lr'] = 1", r"the key train.lr"),
        ("print(config.train.batchsize)", r"no key batchsize \(did you mean batch_size\?"),
        ("config.train.epochs = 'many'", r"'epochs' .* many .* cannot be casted to .*'int'"),
        ("config.train.epochs = 2.5", r"'epochs' .* 2.5 .* cannot be casted to .*'int'"),
        ("config.data.mirror = 'no'", r"'mirror' .* no .* cannot be casted to .*'bool'"),
        ("config.train = 3", r"'train' .* 3 .* cannot be casted to .*Config'"),
        ("config.train.epochs = = 3", r"invalid syntax: config.train.epochs = = 3"),
        ("x = 1 / 0", r"ZeroDivisionError: division by zero"),
        ("raise SystemExit('no')", r"SystemExit: no"),
        ("import no_such_module", r"ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_an_error_in_a_file_tells_its_line(tmp_path, line, message):
    with pytest.raises(ValueError, match=rf"mine.py, line 5: .*{message}") as error:
        load(tmp_path, line)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_files_that_give_no_config(tmp_path):
    for line in ("return None", "return {'train': 1}"):
        with pytest.raises(ValueError, match=r"mine.py: get_config\(\) must return a config"):
            load(tmp_path, line)
    with pytest.raises(ValueError, match=r"mine.py: a config file must have a function get_config"):
        load(tmp_path, "", "x = 1\n")
    with pytest.raises(ValueError, match=r"no key config.train.foo; the keys of config.train"):
        load(tmp_path, "config.unlock(); config.train.foo = 1")
    with pytest.raises(ValueError, match=r"no key config.train.epoch \(did you mean epochs\?\)"):
        load(tmp_path, "config.train = {'epoch': 1}")
    with pytest.raises(ValueError, match=r"lacks the key train.epochs: begin with base\(\)"):
        load(tmp_path, "config.unlock(); del config.train.epochs")
    with pytest.raises(FileNotFoundError, match=r"\(did you mean mine.py\?\). Received: .*min.py"):
        config_files.load(str(tmp_path / "min.py"))
    load(tmp_path, "")
    with pytest.raises(ValueError, match=r"plain.py: TypeError: get_config\(\) takes 0 positional"):
        (tmp_path / "plain.py").write_text(FILE.replace("argument=None", "").format(""))
        config_files.load(f"{tmp_path}/plain.py:a=1")


@pytest.mark.parametrize(
    ("text", "argument", "message"),
    [
        ("def get_config(x): pass", "", r"TypeError: get_config\(\) missing 1 .* 'x'"),
        ("def get_config(x, y): pass", ":a", r"TypeError: get_config\(\) missing 1 .* 'y'"),
        ("def get_config(*, x): pass", ":a", r"TypeError: get_config\(\) takes 0 positional .*"),
        ("get_config = type", "", r"(.+)"),  # it has no signature
        ("get_config = 3", "", r"a config file must have a function get_config\(\)"),
        ("\0", "", r"source code .* null bytes"),
    ],
)
def test_an_error_without_a_line(tmp_path, text, argument, message):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^{path}: ({message})$") as error:
        config_files.load(f"{path}{argument}")
    assert "None" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("demo.py:modle=c3d", r"demo.py: .*keys model \(did you mean model\?\). .*'modle=c3d'"),
        ("kinetics.py:modality=rgbb", r"`modality` must be one of rgb, flow \(did you mean rgb\?"),
        ("kinetics.py:segments=x", r"kinetics.py: `segments` must be one of 1, 2"),
        ("relational_lstm.py:segments=x", r"relational_lstm.py: `segments` must be of type int"),
        ("relational_lstm.py:segments=0", r"`segments` must be a positive integer. Received: 0"),
        ("demo.py:model=c4d", r"`model` must be one of .*c3d.*Received: 'c4d'"),
    ],
)
def test_a_wrong_argument_of_a_config(root, text, message):
    with pytest.raises(ValueError, match=message):
        config_files.load(str(root / "configs" / text))


def test_keys_as_flags():
    config = base()
    words = [
        "videorel",
        "--config.train.epochs=20",
        "--config.data.path",
        "a b",
        "--noconfig.data.mirror",
    ]
    words += [
        "--config.train.nesterov",
        "--config.data.mean=1,2.5,3",
        "--config.train.decay_epochs=7",
    ]
    words += ["--config.data.crop_scales=(1,)", "word", "--", "--config.seed=1"]
    others, keys = config_files.override(config, words)
    assert others == ["videorel", "word", "--", "--config.seed=1"] and len(keys) == 7
    assert (config.train.epochs, config.data.path, config.data.mirror) == (20, "a b", False)
    assert config.train.nesterov is True and config.data.mean == (1, 2.5, 3)
    assert config.train.decay_epochs == (7,) and config.data.crop_scales == (1,)
    config_files.override(config, ["--config.train.decay_epochs=()"])
    assert config.train.decay_epochs == () and config.seed == 0


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--config.train.lr=0.1", r"no key config.train.lr \(did you mean learning_rate\?\)"),
        ("--config.epochs=3", r"did you mean config.train.epochs\?"),
        ("--config.train.epochs=abc", r"`config.train.epochs` must be an integer. .*'abc'"),
        ("--config.train.epochs=1.5", r"`config.train.epochs` must be an integer. .*'1.5'"),
        ("--config.data.mean=a", r"`config.data.mean` must be values a,b,c. Received: 'a'"),
        ("--config.data.mirror=maybe", r"`config.data.mirror` must be true or false"),
        ("--config.train.epochs", r"needs a value: --config.train.epochs=VALUE"),
        ("--config.train=3", r"config.train` is a group of keys"),
        ("--config.model.widht=3", r"\(did you mean width\?\); the keys of config.model"),
    ],
)
def test_a_wrong_flag(word, message):
    with pytest.raises(ValueError, match=message):
        config_files.override(base(), [word])


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *[("train.learning_rate", text) for text in ("nan", "inf", "-1")],
        *[(f"train.{k}", "0") for k in ("epochs", "batch_size", "accumulation_steps")],
        *[(f"data.{k}", "0") for k in ("frames", "frame_stride", "crop_size", "std")],
        ("data.num_readers", "0"),
        *[(f"eval.{k}", "-2") for k in ("clips", "crops", "batch_size")],
        ("data.crop_scales", "()"),
        ("data.crop_scales", "0,"),
        ("data.crop_scales", "1.5"),
        *[("data.test_scale", text) for text in ("2", "-1", "nan")],
        ("eval.crops", "3"),
        ("data.mean", "1,'a',2"),
        ("data.stream", "both"),
        ("data.shuffle_buffer", "0"),
        ("data.segments", "-1"),
        ("seed", "-1"),
        ("dtype_policy", "float17"),
        ("model.dropout", "2"),
        ("train.momentum", "1"),
        ("train.weight_decay", "-0.1"),
        ("train.ema_momentum", "nan"),
        ("train.gradient_clip_norm", "inf"),
        ("train.decay_factor", "0"),
        ("train.decay_epochs", "1,-2"),
    ],
)
def test_values_out_of_bounds(key, text):
    config = base()
    check_config(config)
    config_files.override(config, [f"--config.{key}={text}"])
    with pytest.raises(ValueError, match=rf"`config.{key}` must .*Received: "):
        check_config(config)


def test_every_key_is_described():
    lines = config_files.describe(base()).splitlines()
    for line in lines:
        key, _, rest = line.partition(" ")
        if not key.startswith("config.model."):
            assert len(rest.strip().split("  ", 1)) == 2, f"{key} has no meaning"
    (line,) = [line for line in lines if line.startswith("config.train.warmup_epochs ")]
    assert line.split(maxsplit=2)[1:] == ["0", "first epochs, in which the rate rises linearly"]


OLD_FILE = """
from keras_videorel.runs.config import base, parse_argument

def get_config(argument=None):
    config = base()
    config.data.split = parse_argument(argument, fold=(1, 2, 3))["fold"]
    config.data.stacked = False
    config.data.update({"lanes": 2})
    config.eval.averaged = "after"
    return config
"""


def test_older_names_of_keys(tmp_path, capsys):
    _tell_once.cache_clear()
    path = tmp_path / "old.py"
    path.write_text(OLD_FILE)
    config = config_files.load(f"{path}:split=2")
    data = config.data
    assert (data.fold, data.flow_as_channels, data.num_readers) == (2, False, 2)
    assert config.eval.average == "probabilities"
    words = ["--config.data.split=3", "--config.data.stacked", "--config.eval.averaged=before"]
    _, keys = config_files.override(config, words)
    assert keys == ["data.fold", "data.flow_as_channels", "eval.average"]
    assert (data.fold, data.flow_as_channels, config.eval.average) == (3, True, "logits")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 and lines[0].startswith("`split` is now called `fold`")


def test_a_stored_config_with_older_names_of_keys(tmp_path):
    stored = json.loads(base().to_json())
    stored["data"]["split"] = 2 + stored["data"].pop("fold")
    stored["data"]["lanes"] = 3 * stored["data"].pop("num_readers")
    stored["data"]["stacked"] = not stored["data"].pop("flow_as_channels")
    stored["eval"] = {"averaged": "after"}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    config = workdir.read_config(tmp_path)
    expected = base()
    expected.data.update({"fold": 2, "num_readers": 3, "flow_as_channels": False})
    expected.eval.average = "probabilities"
    assert config == expected


def test_config_hash():
    expected = hashlib.sha256(b'{"a": [1, 2], "b": {"c": 0.5}}').hexdigest()
    assert config_hash({"b": {"c": 0.5}, "a": (1, 2)}) == expected
    config = base()
    assert config_hash(config) == config_hash(json.loads(config.to_json()))
    changed = config.copy_and_resolve_references()
    changed.seed = 1
    assert config_hash(changed) != config_hash(config)
