"""What is told of runs: the report of one, two beside each other, one checked, the tables of many."""
