"""What is applied to the cluster, from templates, configuration and facts."""
