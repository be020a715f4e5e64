"""What is built with mmllava and not part of it."""
