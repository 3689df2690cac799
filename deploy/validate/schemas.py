"""The manifests against the schemas of the oldest and the newest Kubernetes they are meant for."""

from collections.abc import Iterator

import kubernetes_validate

from deploy.validate.manifests import Document, Manifests

OLDEST = "1.30"  # preStop.sleep and matchLabelKeys are on by default
OLDEST_WITH_CLAIMS = "1.34"  # resource.k8s.io/v1
NEWEST = "1.37"
WITHOUT_SCHEMA = ("monitoring.coreos.com/v1",)  # defined by an operator, not by Kubernetes


def check_schemas(manifests: Manifests) -> Iterator[str]:
    """Names documents that Kubernetes would refuse, unknown keys included."""
    uses_claims = any(manifests.of_kind("ResourceClaim"))
    for version in (OLDEST_WITH_CLAIMS if uses_claims else OLDEST, NEWEST):
        for document in manifests.documents:
            if document["apiVersion"] not in WITHOUT_SCHEMA:
                yield from _check(document, version)


def _check(document: Document, version: str) -> Iterator[str]:
    name = f"{document['kind']} {document['metadata']['name']}"
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        yield f"{name}: Kubernetes {version} has no {document['apiVersion']} {document['kind']}"
    except kubernetes_validate.ValidationError as error:
        place = ".".join(map(str, error.path))
        yield f"{name}: {place}: {error.message} (Kubernetes {version})"
