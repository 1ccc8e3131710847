"""The knet-stress agent: probes its peers round after round and prints one JSON line for each.

A package of the standard library alone, for Python 3.9 or newer: it runs from a ConfigMap in a stock Python image, one
key per module, as `python3 -m agent serve` or `status` (`__main__`). docs/reference/knet-report.md describes the
report, the probes and the settings.

One thread and one epoll, as an agent may have hundreds of peers and little of a processor: servers are handlers of
sockets, probes are generators that say which socket they wait for and until when (`eventloop`).
"""
