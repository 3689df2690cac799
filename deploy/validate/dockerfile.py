"""What the Dockerfile puts into each image and starts there."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deploy.validate.build import REPOSITORY

DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"


@dataclass(frozen=True)
class Copy:
    """A COPY from the build context."""

    sources: tuple[str, ...]
    target: str


@dataclass(frozen=True)
class Stage:
    """A build stage; `base` may be another one."""

    base: str
    copies: tuple[Copy, ...]
    entrypoint: tuple[str, ...]


@dataclass(frozen=True)
class Dockerfile:
    """Its stages by name, and the base images that its arguments name."""

    stages: dict[str, Stage]
    bases: dict[str, str]

    @classmethod
    def read(cls, text: str) -> Self:
        """Knows ARG ..._BASE, FROM ... AS, COPY without --from, and ENTRYPOINT; the rest is passed over."""
        stages: dict[str, Stage] = {}
        bases = dict(re.findall(r"^ARG (\w+_BASE)=(\S+)$", text, re.MULTILINE))
        name = ""
        for line in re.sub(r"\\\n", " ", text).splitlines():
            match line.split():
                case ["FROM", base, "AS", name]:
                    stages[name] = Stage(base, (), ())
                case ["COPY", first, *others] if not first.startswith("--from="):
                    *sources, target = (first, *others)
                    copies = (*stages[name].copies, Copy(tuple(sources), target))
                    stages[name] = Stage(stages[name].base, copies, stages[name].entrypoint)
                case ["ENTRYPOINT", *words]:
                    command = tuple(json.loads(" ".join(words)))
                    stages[name] = Stage(stages[name].base, stages[name].copies, command)
        return cls(stages, bases)

    @classmethod
    def load(cls, path: Path = DOCKERFILE) -> Self:
        """The one of this repository."""
        return cls.read(path.read_text(encoding="utf-8"))

    def copies(self, target: str) -> list[Copy]:
        """What ends up in an image, from its first stage on."""
        stage = self.stages.get(target)
        return [] if stage is None else [*self.copies(stage.base), *stage.copies]

    def holds(self, target: str, path: Path) -> bool:
        """Whether a file or folder of the repository is in the image, at the same place."""
        held = [Path(source) for copy in self.copies(target) for source in copy.sources]
        return any(path == source or source in path.parents for source in held)

    def module(self, target: str) -> str | None:
        """The module an image starts; None when it does not start Python with `-m`."""
        stage = self.stages.get(target)
        match stage.entrypoint if stage else ():
            case ("python", "-m", module):
                return module
        return None
