"""Packages whose parts load when they are first used."""

import importlib


def attributes(package, modules, module_of=()):
    """`__getattr__` and `__dir__` of a package.

    Args:
        package: Its `__name__`.
        modules: Names of its modules.
        module_of: Dict from the names of functions and classes to the modules that hold them.
    """
    module_of = dict(module_of)

    def get(name):
        if name in module_of:
            return getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted({*modules, *module_of})
