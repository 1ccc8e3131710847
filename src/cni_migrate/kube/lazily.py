"""What libraries import and this program never uses: left until somebody does.

Half of the time that kr8s takes to import goes into WebSockets, JSONPath and X.509, which port-forwards, waits and
`whoami` need; httpx imports its own command line, where that is installed. A look at a cluster has a second and a half.
"""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

UNUSED: Final = ("httpx_ws", "jsonpath", "cryptography.x509")
"""Modules that kr8s imports whole, and touches only in functions that are not called here."""

OPTIONAL: Final = "httpx._main"
"""What httpx does without where its extra `cli` is not installed."""


class _Later(ModuleType):
    """Stands for a module in whoever imports it, and imports it when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system asks for these of every module
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """While it lasts, imports of what is unused cost nothing; whoever touches such a module later, loads it then."""
    later: dict[str, Any] = {name: _Later(name) for name in UNUSED if name not in sys.modules}
    if OPTIONAL not in sys.modules:
        later[OPTIONAL] = None  # makes its import fail (docs.python.org: "The import system", the module cache)
    sys.modules.update(later)
    try:
        yield
    finally:
        for name in later:
            sys.modules.pop(name, None)
