"""Tables as plain text: columns as wide as their content and two spaces apart, one row a line, never wrapped."""


def table(rows, right=()):
    """The lines of a table.  rows: equally long, of strings or whatever str() turns into one; right: the columns,
    counted from 0, that are aligned to the right."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = widths_of(rows)
    return [line(row, widths, right) for row in rows]


def widths_of(rows):
    """The width of each column, from rows of strings."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def line(cells, widths, right=()):
    """One line of a table.  A cell that is wider than its column moves the rest to the right."""
    columns = enumerate(zip(cells, widths, strict=True))
    return "  ".join(cell.rjust(n) if i in right else cell.ljust(n) for i, (cell, n) in columns).rstrip()
