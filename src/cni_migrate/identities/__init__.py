"""The identity agents: pods that are still on Canal's network are known to Cilium by them (strategy overlay)."""
