"""The page on which a technician sees the camera's picture and draws lines and zones into it."""
