"""Shared by all tests."""

# Seconds after which a test gives up on a process or a page. This is many times longer than any of them takes, so that
# no test fails because a machine is slow or busy. nbval's default time limit for a cell is the same.
RUNAWAY = 2000
