"""The simulated Kubernetes API server.

From the bottom up: `store` keeps objects and their history, `machinery` applies the API's rules to every read and
write, `app` speaks HTTP (an ASGI callable), `local` is the door for the simulated world, `serving` opens a port.
What is not emulated is answered with 501 and a `Status` that names what is missing; nothing is faked silently.
"""
