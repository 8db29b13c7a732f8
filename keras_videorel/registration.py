"""Register the package's layers with Keras as soon as both are imported, in any order.

`keras.saving.load_model` does not import the modules that a file names. It finds only classes that
are registered.
"""

import importlib
import importlib.abc
import importlib.util
import sys

# Modules that the models import. They import each other, so the models wait for the last one.
_BEFORE_THE_MODELS = ("keras", "keras_videorel.ops", "keras_videorel.layers")


class _Registration(importlib.abc.MetaPathFinder):
    """Registers when other code imports Keras, since importing Keras here would take seconds."""

    def __init__(self):
        self._looking = False
        self._running = 0

    def find_spec(self, fullname, path=None, target=None):
        if fullname not in _BEFORE_THE_MODELS or self._looking:
            return None
        self._looking = True  # so that only the other finders answer
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                self._running += 1
                try:
                    execute(module)
                finally:
                    self._running -= 1
                if not self._running and self in sys.meta_path:
                    sys.meta_path.remove(self)
                    register()

            spec.loader.exec_module = exec_module
        return spec


def register():
    """Register the layers and models of the package."""
    importlib.import_module("keras_videorel.models")  # which imports the layers


def register_with_keras():
    """Register now if Keras is imported, and otherwise when it is."""
    if "keras" in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _Registration())
