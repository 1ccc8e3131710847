"""Whether a cluster is fit for a migration: pure checks over gathered facts."""
