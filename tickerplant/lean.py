"""Keep a library out of a process: an import of it then fails as if it were not installed."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class KeptOut(MetaPathFinder):
    """Refuses to import one library."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse the library, and leave all else to the next finder."""
        del path, target
        if fullname == self._name:
            raise ModuleNotFoundError(f"{fullname} is kept out of this process", name=fullname)
        return None


def keep_out(name: str) -> None:
    """Let later imports of a library fail with ModuleNotFoundError, if it is not imported yet."""
    sys.meta_path.insert(0, KeptOut(name))
