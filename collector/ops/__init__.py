"""How the collector itself is doing: health, metrics, logs, and word to systemd."""
