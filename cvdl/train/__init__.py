"""Training that one can stop at any time, and what comes of it: recipes, the loop, runs, and the zoo of weights."""
