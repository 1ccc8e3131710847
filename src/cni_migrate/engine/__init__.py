"""The thin engine: takes the lock, writes the record, performs what was decided, looks again."""
