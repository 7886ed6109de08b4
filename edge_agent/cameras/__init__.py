"""Cameras, each in a process of its own, and those who keep the processes alive."""
