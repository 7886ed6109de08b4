"""Lamps: on the Pi's own pins, on the lanes' Pis, and simulated. All behind `drivers.base.SignalHeads`."""
