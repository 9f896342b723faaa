"""Coverage-guided fuzzing of the gate: `make prove`."""
