"""The commands of `stopline-agent`, a module each. A module is imported when its command is called, not before."""
