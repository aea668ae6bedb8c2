"""Neural architecture search by learning a hierarchical search space, step by step."""
