"""Changing what is in force at a site: drafted, signed by several people, published."""
