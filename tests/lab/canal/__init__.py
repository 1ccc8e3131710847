"""What the lab has in the place of Calico: a CNI plugin, its installer, and the start of a policy engine."""
