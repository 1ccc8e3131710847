"""`python3 -m agent serve|ready|alive`: the controller, or one look at how it goes."""

from __future__ import annotations

import sys

from .health import healthy


def main(argv: list[str]) -> int:
    """Run; the exit code. The kubelet asks often, so what only `serve` needs is imported for it alone."""
    if argv[1:] in (["ready"], ["alive"]):
        return 0 if healthy(argv[1]) else 1
    if argv[1:] != ["serve"]:
        sys.stderr.write("usage: python3 -m agent serve|ready|alive\n")
        return 2
    from .controller import serve

    serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
