"""From the record and one look at the cluster to what is to be done now."""
