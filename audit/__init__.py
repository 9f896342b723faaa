"""The proof: entries, their chain and tree, signed checkpoints, and the check of all of them.

Everything here is a function of bytes; only `__main__` opens files. What is read and written, and
what each byte means, is in `audit/README.md`.
"""
