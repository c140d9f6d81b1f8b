"""What assets need from outside: one deployment, opened for a run and closed after it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from pipelines.batch import Observer
from pipelines.deployment import Deployment, open_deployment
from pipelines.settings import read_settings


@dataclass(frozen=True, slots=True)
class Facewarrant:
    """An open deployment, and who is told of every step."""

    deployment: Deployment
    observe: Observer = lambda *_: None

    @property
    def inbox(self) -> Path:
        """The folder in which every batch is a folder of job files."""
        return self.deployment.settings.home / "inbox"


@dg.resource(description="The deployment that the FACEWARRANT_ settings name.")
def facewarrant_resource(_context: dg.InitResourceContext) -> Iterator[Facewarrant]:
    """Open the deployment for one run and close it afterwards."""
    with open_deployment(read_settings()) as deployment:
        yield Facewarrant(deployment)
