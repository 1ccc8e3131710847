"""How long things take in the world, in seconds. Every value is a mean: the real delay is up to a fifth off."""

from pydantic import BaseModel, ConfigDict, Field


class Timings(BaseModel):
    """Delays of nodes and programs; the defaults are what a small real cluster showed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    pod_start: float = Field(default=1.5, ge=0, description="From the binding of a pod until its containers run.")
    pod_stop: float = Field(
        default=1.0, ge=0, description="Until a pod has ended after SIGTERM; never longer than its grace period."
    )
    pod_stop_fraction: float = Field(
        default=0.0, ge=0, le=1, description="Pods take at least this part of their grace period to end."
    )
    image_pull: float = Field(default=2.0, ge=0, description="Extra delay of the first pod of an image on a node.")
    flannel_start: float = Field(
        default=1.0, ge=0, description="From Canal's CNI file until flanneld has written its subnet."
    )
    cilium_start: float = Field(default=4.0, ge=0, description="From the start of a Cilium agent until it is Ready.")
    multus_start: float = Field(
        default=1.0, ge=0, description="From the start of Multus until it has written its file."
    )
    operator_start: float = Field(
        default=2.0, ge=0, description="From the start of the Cilium operator until it works."
    )
    job: float = Field(default=5.0, ge=0, description="How long a Job's pod and any pod with restartPolicy Never runs.")
    host_task: float = Field(default=0.5, ge=0, description="How long a host task runs.")
    sandbox_retry: float = Field(default=2.0, ge=0, description="From a failed CNI call until the kubelet tries again.")
    crash_backoff: float = Field(default=10.0, ge=0, description="From a crash of a container until its next start.")
    exclusive: float = Field(
        default=0.5, ge=0, description="Until an exclusive Cilium agent notices a foreign CNI file."
    )
    identity_agent: float = Field(
        default=1.0, ge=0, description="From the start of an identity agent until it has looked at its pods."
    )
    identity_look: float = Field(
        default=0.1, ge=0, description="From a change of a pod until its identity agent has taken it in."
    )
    felix_look: float = Field(
        default=13.0, ge=0, description="Until Calico's felix puts its chains above those that Cilium has laid on top."
    )
    boot: float = Field(default=12.0, ge=0, description="From a reboot or power-on until the kubelet reports.")
    node_monitor_grace: float = Field(
        default=40.0, ge=0, description="Without a kubelet for so long, a node's Ready becomes Unknown."
    )
    controller: float = Field(default=0.05, ge=0, description="How long controllers gather changes before they act.")
    create_retry: float = Field(
        default=5.0, gt=0, description="Until a controller tries again to make a pod that the API server has refused."
    )
