"""A simulated Kubernetes cluster: an API server and a world of nodes, for tests, demos and rehearsals.

It imports nothing of the program under test, so that both sides cannot share one mistake.
"""
