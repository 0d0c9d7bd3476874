"""What all tests share."""

# Seconds after which a test gives up on a process or a page. Many times what any of them takes: no test fails because
# a machine is slow or busy. nbval's own limit on a cell is the same.
RUNAWAY = 2000
