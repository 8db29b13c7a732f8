"""The import direction of the house: what may import what."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "keras_videorel"
# A module may import those of its own layer and of the layers named beside it.
ALLOWED = {
    "ops": {"ops"},
    "layers": {"layers", "ops"},
    "models": {"layers", "models"},
    "config": {"config", "checks"},
    "config_files": {"config_files", "config", "checks"},
    "checks": {"checks"},
    "files": {"files", "quiet"},
    "quiet": {"quiet"},
    "caffe": {"caffe", "models", "layers", "checks"},
    "lettering": {"lettering"},
    "data": {"data", "checks", "files", "quiet", "lettering"},
    "figures": {"figures", "files"},
    "metrics": {"metrics"},
    "scores": {"scores", "files"},
    "fusion": {"fusion", "metrics", "scores"},
    "significance": {"significance", "fusion", "metrics", "scores", "checks"},
    "page": {"page"},
    "report": {"report", "page", "figures", "metrics", "significance", "scores", "data", "files"},
    "workdir": {"workdir", "files", "config"},
    "training": {
        "training",
        "distribution",
        "models",
        "data",
        "figures",
        "workdir",
        "files",
        "config",
        "optimization",
        "callbacks",
    },
    "accumulation": {"accumulation"},
    "distribution": {"distribution"},
    "optimization": {"optimization", "accumulation", "distribution", "metrics"},
    "callbacks": {"callbacks", "workdir", "files"},
    "evaluation": {
        "evaluation",
        "training",
        "data",
        "figures",
        "metrics",
        "report",
        "scores",
        "workdir",
        "checks",
        "files",
    },
    "export": {"export", "layers", "data", "files", "checks"},
    "prediction": {"prediction", "data", "checks", "files", "lettering"},
    "serving": {"serving", "prediction", "data"},
    "cli": None,  # everything but other commands
    "__main__": {"cli"},
    "__init__": set(),
}
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
        assert ours <= ({"config"} if folder == "configs" else {"cli", "data", "metrics"}), path


def test_the_package_loads_no_framework():
    code = (
        "import sys, keras_videorel, keras_videorel.data.rendering, keras_videorel.cli\n"
        "assert not {'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
