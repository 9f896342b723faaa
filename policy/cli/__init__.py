"""The subcommands of `sentinel-policy`, by who uses them."""
