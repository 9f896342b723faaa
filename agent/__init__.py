"""The part on every node: detect, capture, transport; and apart from it, the one hand that acts."""
