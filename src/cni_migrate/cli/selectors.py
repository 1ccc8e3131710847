"""Node selectors as they are typed."""

from collections.abc import Callable, Mapping

from cni_migrate import labelselector
from cni_migrate.errors import UsageError


def parse(text: str) -> Callable[[Mapping[str, str]], bool]:
    """The predicate of a selector; all its parts must hold.

    Raises:
        UsageError: the selector cannot be read.
    """
    try:
        return labelselector.parse(text)
    except ValueError as error:
        raise UsageError(f"--selector {text!r}: {error}", next="kubectl get nodes --show-labels") from None
