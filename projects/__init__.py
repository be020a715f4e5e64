"""Projects that are built with mmllava and are not part of it."""
