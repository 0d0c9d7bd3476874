"""The networks of notebooks 05–09, one family a file, layer names as in the papers."""
