"""The controllers of kube-controller-manager and the scheduler, as far as a cluster's user can tell them apart."""
