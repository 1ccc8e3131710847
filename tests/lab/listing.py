"""Lists pods again and again: over one connection, as a kubectl that is started twice a second costs more than what it sees."""

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.lab.settings import Lab

TIMEOUT = 10.0
"""Seconds for an answer."""


class Listing:
    """The pods of a namespace, asked for by one thread at a time as the administrator."""

    def __init__(self, lab: Lab, namespace: str, selector: str = "") -> None:
        server = urlsplit(json.loads(lab.admin.read_text())["clusters"][0]["cluster"]["server"])
        trust = ssl.create_default_context(cafile=str(lab.pki / "ca.crt"))
        trust.load_cert_chain(lab.pki / "admin.crt", lab.pki / "admin.key")
        self._connection = http.client.HTTPSConnection(server.netloc, timeout=TIMEOUT, context=trust)
        # From the cache, as informers ask: the lab has one API server, whose cache is some milliseconds behind.
        query = urlencode({"labelSelector": selector, "resourceVersion": "0"})
        self._path = f"/api/v1/namespaces/{namespace}/pods?{query}"

    def close(self) -> None:
        """Ask no more."""
        self._connection.close()

    def pods(self) -> list[dict[str, Any]] | None:
        """All of them as the API has them; None when the API server did not answer."""
        try:
            self._connection.request("GET", self._path)
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next request opens it anew
            return None
        if answer.status != http.client.OK:
            return None
        items: list[dict[str, Any]] = json.loads(body)["items"]
        return items
