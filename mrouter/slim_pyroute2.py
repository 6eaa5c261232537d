"""Make ``import pyroute2.netlink...`` load just that; import this module before it.

pyroute2's front page imports every protocol and front end it has: 13 MB and a quarter of a
second, of which the agent, which needs four message classes, has no use. Here the front page is
put off until somebody asks for one of its names (the lab does), so that both may be had in one
process.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


class _PutOff(ModuleType):
    """A package whose ``__init__`` has not run yet; its submodules can be imported all the same."""

    def __getattr__(self, name: str) -> Any:
        """Find submodule ``name``, or else run the package's ``__init__`` and look again."""
        try:
            return importlib.import_module(f"{self.__name__}.{name}")
        except ModuleNotFoundError:
            if name.startswith("__") or type(self) is ModuleType:
                raise AttributeError(name) from None
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec = self.__spec__
        if spec is None or spec.loader is None:
            raise AttributeError(name)
        spec.loader.exec_module(self)
        return getattr(self, name)


def _put_off(package: str) -> None:
    spec = importlib.util.find_spec(package)
    if package in sys.modules or spec is None or spec.submodule_search_locations is None:
        return
    module = _PutOff(package)
    module.__spec__ = spec
    module.__loader__ = spec.loader
    module.__file__ = spec.origin
    module.__path__ = list(spec.submodule_search_locations)
    module.__package__ = package
    sys.modules[package] = module


_put_off("pyroute2")
