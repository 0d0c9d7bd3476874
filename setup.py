"""Packages of the wheel.  Everything else about it is in pyproject.toml."""

from setuptools import find_packages, setup

# A clone keeps weights and pictures in data/; in an installation they lie inside the package.
FOLDERS = "chairs", "digits", "hands", "photos", "text", "weights"
setup(
    packages=[*find_packages(include=["cvdl*"], exclude=["cvdl.course.grading.attacks"]), "cvdl.shipped"],
    package_dir={"cvdl.shipped": "data"},
    package_data={
        "cvdl": ["py.typed"],
        "cvdl.course.grading": ["templates/*"],
        "cvdl.shipped": ["README.md", "LICENSES/*", *(f"{n}/*" for n in FOLDERS), "runs/*/*"],
    },
)
