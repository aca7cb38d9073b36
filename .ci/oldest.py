"""Print pip constraints: the oldest version that pyproject.toml allows, of the base and of `cpu`.

python .ci/oldest.py 3.10 < pyproject.toml
"""

from __future__ import annotations

import sys

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXTRAS = ("cpu",)


def main(python: str) -> None:
    """Print a line for each dependency that applies to that Python."""
    project = tomllib.loads(sys.stdin.read())["project"]
    lines = list(project["dependencies"])
    for extra in EXTRAS:
        lines += project["optional-dependencies"][extra]
    for requirement in map(Requirement, lines):
        where = {"python_version": python}
        if requirement.marker is not None and not requirement.marker.evaluate(where):
            continue
        lower = [each.version for each in requirement.specifier if each.operator == ">="]
        if len(lower) != 1:
            raise SystemExit(f"'{requirement}' has no lower bound to test")
        sys.stdout.write(f"{requirement.name}=={lower[0]}\n")


if __name__ == "__main__":
    main(sys.argv[1])
