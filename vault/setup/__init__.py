"""`sentinel setup vault`: make an existing Vault or OpenBao ready, step by step, twice is safe."""
