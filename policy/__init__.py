"""Judge commands: a strict reader, typed command specifications, and a verdict with its reasons.

Nothing here acts and nothing is looked up: what is known about the host arrives as `Facts`, the
rules arrive as a `Bundle`, and the same text, facts and bundle always give the same verdict.
"""
