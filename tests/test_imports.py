"""The import direction of the house: what may import what."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "keras_videorel"
# A module may import those of its own layer and of the layers named beside it.
ALLOWED = {
    "ops": {"ops", "checks"},
    "layers": {"layers", "ops", "checks"},
    "models": {"layers", "models", "checks"},
    "checks": {"checks"},
    "extras": {"extras"},
    "tensorflow_import": {"tensorflow_import"},
    "files": {"files", "tensorflow_import", "extras"},
    "lazy": {"lazy"},
    "text": {"text"},
    "clip_spec": {"clip_spec", "checks"},
    "caffe": {"caffe", "models", "layers", "checks"},
    "data": {
        "data", "checks", "clip_spec", "extras", "files", "lazy", "tensorflow_import"
    },
    "training": {"training", "evaluation"},
    "evaluation": {"evaluation", "data", "clip_spec", "checks", "files", "lazy"},
    "reporting": {"reporting", "evaluation", "data", "files", "text"},
    "export": {"export", "layers", "data", "clip_spec", "extras", "files", "checks"},
    "prediction": {
        "prediction", "data", "clip_spec", "checks", "extras", "files", "text"
    },
    "serving": {"serving", "prediction", "data", "extras"},
    "runs": {
        "runs", "reporting", "export", "evaluation", "training", "models", "caffe", "data",
        "clip_spec", "checks", "files", "lazy"
    },
    "cli": None,  # everything but other commands
    "config": {"runs"},
    "__main__": {"cli"},
    "__init__": {"lazy", "registration"},
    "registration": {"registration"},
}  # fmt: skip
KERAS_ONLY = ("ops", "layers", "models")


def layer_of(module):
    return module.split(".")[1] if "." in module else module


def imports(path):
    """Modules of the project and top-level packages that a file imports."""
    ours, others = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "keras_videorel":
                names = [f"keras_videorel.{alias.name}" for alias in node.names]
            else:
                names = [node.module]
        for name in names:
            if name in ("keras_videorel", "keras_videorel.__version__"):
                continue
            if name.split(".")[0] == "keras_videorel":
                ours.add(layer_of(name))
            else:
                others.add(name.split(".")[0])
    return ours, others


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_direction(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    layer = parts[0]
    assert layer in ALLOWED, f"{path} belongs to no layer: add it to ALLOWED"
    ours, others = imports(path)
    if ALLOWED[layer] is not None:
        assert ours <= ALLOWED[layer], f"{path} imports {ours - ALLOWED[layer]}"
    if layer in KERAS_ONLY:
        allowed = {"keras", "numpy", *sys.stdlib_module_names}
        assert others <= allowed, f"{path} imports {others - allowed}"
    assert "tools" not in others and "configs" not in others and "tests" not in others


@pytest.mark.parametrize("folder", ["configs", "tools"])
def test_scripts(folder):
    for path in (PACKAGE.parent / folder).glob("*.py"):
        ours, _ = imports(path)
        assert ours <= ({"runs"} if folder == "configs" else {"cli", "data", "evaluation"}), path


def test_the_package_loads_no_framework():
    code = (
        "import sys, keras_videorel, keras_videorel.data.rendering, keras_videorel.cli\n"
        "import keras_videorel.runs.config\n"
        "assert not {'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A file with layers and a model of the package, and one output for ones."""
    import keras
    import numpy as np

    from keras_videorel.layers import SMART, RelationalLSTM
    from keras_videorel.models.checkpointed_model import CheckpointedModel

    inputs = keras.Input((3, 4, 4, 2))
    part = CheckpointedModel(inputs, SMART(2)(inputs))
    model = keras.Model(inputs, RelationalLSTM(2)(part(inputs)))
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return path, float(keras.ops.sum(model(np.ones((1, 3, 4, 4, 2)))))


@pytest.mark.parametrize(
    "imports",
    [
        "import keras, keras_videorel",
        "import keras_videorel\nimport keras",
        "import importlib.util, keras_videorel\nimportlib.util.find_spec('keras')\nimport keras",
        "import keras_videorel.layers\nimport keras",
    ],
    ids=["after", "before", "looked_for", "by_a_part"],
)
def test_keras_loads_the_layers_of_the_package(imports, saved):
    """Whichever is imported first."""
    path, expected = saved
    code = (
        f"{imports}\n"
        "import numpy as np\n"
        f"model = keras.saving.load_model({str(path)!r}, safe_mode=True)\n"
        "print(float(keras.ops.sum(model(np.ones((1, 3, 4, 4, 2))))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(done.stdout.split()[-1]) == pytest.approx(expected, rel=1e-5)


def test_parts_load_when_they_are_used():
    code = (
        "import sys, keras_videorel as kv\n"
        "assert 'layers' in dir(kv) and kv.__version__\n"
        "assert not {'keras_videorel.layers', 'keras_videorel.data'} & set(sys.modules)\n"
        "kv.layers.SMART, kv.models.ARTNetResNet18, kv.ops.nonlocal_operation\n"
        "kv.ClipSpec, kv.Predictor, kv.data.train_dataset, kv.evaluation.evaluate_videos\n"
        "kv.data.sampling, kv.evaluation.__doc__, kv.export.export_model\n"
        "try: kv.lairs\n"
        "except AttributeError as error: assert 'lairs' in str(error)\n"
        "else: raise AssertionError"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
