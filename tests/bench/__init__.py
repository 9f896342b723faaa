"""`make bench`: every figure beside the machine's limit or a peer, measured in the same run."""
