"""The world behind the API: controllers, kubelets, CNIs, agents and faults, against list, watch and writes only."""
