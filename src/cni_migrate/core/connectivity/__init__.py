"""When connectivity counts as proven: peers, gates, diagnosis, the matrix."""
