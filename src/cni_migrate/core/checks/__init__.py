"""The checks before a migration. Each module registers its own; `core.preflight` runs them in order."""
