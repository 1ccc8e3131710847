"""What libraries import and nobody here uses is not loaded."""

import subprocess
import sys

HEAVY = ("wsproto", "jsonpath.", "cryptography.x509.", "httpx._main", "click")


def test_kr8s_comes_without_what_is_not_used() -> None:
    """Half of its import: WebSockets, JSONPath, X.509, and httpx's own command line."""
    code = f"import sys, cni_migrate.kube.connect;print(sorted(m for m in sys.modules if m.startswith({HEAVY})))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_whoever_needs_it_has_it() -> None:
    """kr8s's own use of such a module, and anybody else's import, find the real one."""
    code = (
        "import sys, cni_migrate.kube.connect;"
        "api, config = sys.modules['kr8s._api'], sys.modules['kr8s._config'];"
        "assert config.jsonpath.findall('$.a', {'a': 1}) == [1];"
        "import jsonpath, httpx_ws; from cryptography import x509;"
        "assert api.httpx_ws.aconnect_ws is httpx_ws.aconnect_ws;"
        "assert api.x509.OID_COMMON_NAME is x509.OID_COMMON_NAME;"
        "print(jsonpath.__file__ is not None)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "True"
