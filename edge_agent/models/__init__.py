"""Models that can be pulled by name, where they are kept, and the one that comes with Stopline."""
