"""Neural architecture search by learning a hierarchical search space, step by step.

Words that have one meaning throughout: a *step* trains one architecture on one mini-batch. A *trial* is one
search from new weights to the final architecture. A *stage* is one notebook's part of a *run*, and a run is
what the notebooks of one profile make together, a folder of ``outputs/``. A *study* compares many searches.
(The stages of a network, in :mod:`hnas_kit.spaces`, are its layers of one resolution.)
"""
