"""python -m cvdl.course.grading.attacks NAME: run the attacks whose names match this regular expression, those on a class as well."""

import sys

from cvdl.course.grading.attacks.suite import alone, classes_alone

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(bool(alone(sys.argv[1]) + classes_alone(sys.argv[1])))
