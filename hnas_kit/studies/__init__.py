"""What notebooks 05 and 06 need beyond the method, and searches without a network."""
