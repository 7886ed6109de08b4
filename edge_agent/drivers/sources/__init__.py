"""Frame sources: files, folders, cameras, streams."""
