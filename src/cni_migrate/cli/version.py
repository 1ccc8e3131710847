"""Which version this is."""


def version() -> str:
    """The version of the installed package."""
    from importlib.metadata import version as installed

    return installed("cni-migrate")
