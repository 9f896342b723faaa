"""A real Chromium for the console's tests: where it is, or how to get it."""
