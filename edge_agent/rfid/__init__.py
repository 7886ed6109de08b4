"""Tag readers in the agent: a process for each, supervised; passages; lanes that a camera watches too, fused."""
