"""Takes a user's own weights in: reads them behind walls, converts them, tries them on pictures."""
