"""What assets need from outside: one deployment, opened for a run and closed after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from pydantic import PrivateAttr

from pipelines.batch import Observer
from pipelines.deployment import Deployment, open_deployment
from pipelines.settings import read_settings


class Facewarrant(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The deployment that the settings name; an opened one can be handed in instead."""

    _deployment: Deployment | None = PrivateAttr(default=None)
    _observe: Observer = PrivateAttr(default=lambda *_: None)

    @classmethod
    def over(cls, deployment: Deployment, observe: Observer) -> Facewarrant:
        """Return the resource over an open deployment, told of every step."""
        resource = cls()
        resource._deployment = deployment
        resource._observe = observe
        return resource

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Facewarrant]:
        """Open the deployment for one run unless it was handed in open."""
        if self._deployment is not None:
            yield self
            return
        with open_deployment(read_settings()) as deployment:
            yield Facewarrant.over(deployment, self._observe)

    @property
    def deployment(self) -> Deployment:
        """The open deployment."""
        if self._deployment is None:
            raise dg.DagsterInvariantViolationError("the deployment is opened by a run")
        return self._deployment

    @property
    def observe(self) -> Observer:
        """Who is told of every step."""
        return self._observe

    @property
    def inbox(self) -> Path:
        """The folder in which every batch is a folder of job files."""
        return self.deployment.settings.home / "inbox"
