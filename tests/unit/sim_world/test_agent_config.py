"""What a simulated agent makes of its configuration, as the real one does."""

import pytest

from cni_migrate.sim.world.ciliumconfig import agent_config


@pytest.mark.parametrize("custom", ["true", "false"])
@pytest.mark.parametrize(
    ("target", "file"), [("/host/etc/cni/net.d/05-cilium.conflist", "05-cilium.conflist"), ("", "")]
)
def test_the_file_is_written_whatever_custom_cni_conf_says(custom: str, target: str, file: str) -> None:
    """That key is the chart's, which leaves the file away; on the lab 1.20.2 wrote it with both keys there."""
    values = {"custom-cni-conf": custom, **({"write-cni-conf-when-ready": target} if target else {})}
    assert agent_config(values).file == file
