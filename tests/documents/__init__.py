"""The settings tables of README.md, made from the settings records themselves."""
