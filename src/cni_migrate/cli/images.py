"""`migrate images`: every image that a migration needs."""

from cni_migrate.cli.options import Common, OnStrategy, examples, with_common

EXAMPLES = examples("migrate images --strategy multus")


@with_common
def command(common: Common, strategy: OnStrategy = None) -> None:
    """List every image that a migration needs, for mirrors and air-gapped clusters. Needs no cluster."""
    from cni_migrate.cli.session import configured
    from cni_migrate.cli.ui import output
    from cni_migrate.wiring import manifests_for

    config = configured(common, {"strategy": strategy.value if strategy else None}).config
    made = output.table("FOR", "IMAGE")
    for purpose, image in manifests_for(config, None).images().items():
        if purpose == "host-task" and not config.host_task.image:
            made.add_row(purpose, "Canal's own image, which is on every node already")
        else:
            made.add_row(purpose, image)
    output.show_table(output.out(), made)
