"""Where an operator's own Cilium comes from: files, or a chart that the real `helm` renders."""
