"""The libraries of the extras in `setup.cfg`."""

import importlib

LIBRARIES = {
    "beam": {"apache_beam": "apache-beam>=2.77,<3"},
    "io": {"tensorflow_io": "tensorflow-io==0.37.1", "tensorflow": "tensorflow>=2.17,<2.18"},
    "litert": {"ai_edge_litert": "ai-edge-litert>=2.3,<2.4"},
    "onnx": {
        "tensorflow": "tensorflow>=2.19,<2.22",
        "tf2onnx": "tf2onnx>=1.17,<1.18",
        "onnxruntime": "onnxruntime>=1.20,<2",
    },
    "serve": {"gradio": "gradio>=6.20,<7"},
}


def pip_install(extra):
    """The command that installs the libraries of an extra."""
    return "pip install " + " ".join(f"'{library}'" for library in LIBRARIES[extra].values())


def check_importable(what, extra):
    """Raise an `ImportError` with `pip_install(extra)` if `what` (a plural) lack a library."""
    for module in LIBRARIES[extra]:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ImportError(f"{what} need {pip_install(extra)} ({error})") from None
