"""Attacks on grading, which `cvdl grade --self-test` tries.  Students do not get them."""
