"""Pure code: no I/O and no clock reads. `now` is an argument."""
