"""What counts and lights add up to: days, peaks, lanes, cycles, waits, orders by hand, and how the devices are."""
