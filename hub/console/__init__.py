"""Where a person looks, decides and is held to it: the operator's web console."""
