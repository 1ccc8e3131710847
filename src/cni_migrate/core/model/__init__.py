"""What is known and kept: observed objects, the record, effects as data, the state machines, names."""
