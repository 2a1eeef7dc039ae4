"""The manifests of deploy/k8s as kustomize builds them, and what can be asked of them without a cluster."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
Object = dict[str, Any]
BUILDERS = (["kubectl", "kustomize"], ["kustomize", "build"])


def builder() -> list[str] | None:
    """The command that builds a folder, None where neither kubectl nor kustomize is installed."""
    return next((command for command in BUILDERS if shutil.which(command[0])), None)


def build(folder: Path) -> list[Object]:
    """The objects of a folder with a kustomization.yaml."""
    command = builder()
    assert command is not None, "neither kubectl nor kustomize is installed"
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{folder}: {done.stderr}"
    assert "deprecated" not in done.stderr, f"{folder}: {done.stderr}"
    return list(yaml.load_all(done.stdout, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


@functools.cache
def overlay(name: str) -> list[Object]:
    """An overlay's objects."""
    return build(K8S / "overlays" / name)


@functools.cache
def component(name: str) -> list[Object]:
    """The base with one component alone."""
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:  # kustomize knows relative paths only
        here = os.path.relpath(K8S, folder)
        text = f"resources: [{here}/base]\ncomponents: [{here}/components/{name}]\n"
        Path(folder, "kustomization.yaml").write_text(text)
        return build(Path(folder))


def every_build() -> list[tuple[str, list[Object]]]:
    """(name, objects) of each overlay and of each component over the base."""
    return [(name, overlay(name)) for name in OVERLAYS] + [(name, component(name)) for name in COMPONENTS]


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """Those of these kinds."""
    return [one for one in objects if one["kind"] in kinds]


def named(objects: list[Object], kind: str, name: str) -> Object:
    """The one of that kind whose name is ``name``, or begins so and goes on with a hash."""
    found = [
        o
        for o in of_kind(objects, kind)
        if o["metadata"]["name"].split("-")[: name.count("-") + 1] == name.split("-")
    ]
    assert len(found) == 1, (kind, name, [o["metadata"]["name"] for o in found])
    return found[0]


class Pod(NamedTuple):
    """A pod template and what it belongs to."""

    owner: str
    labels: dict[str, str]
    spec: Object

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def pods(objects: list[Object]) -> list[Pod]:
    """Every pod template."""
    found = of_kind(objects, "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")
    templates = [(one["metadata"]["name"], one["spec"]["template"]) for one in found]
    return [Pod(name, template["metadata"]["labels"], template["spec"]) for name, template in templates]


def selects(selector: Object | None, labels: dict[str, str]) -> bool:
    """Whether a label selector (matchLabels only) takes ``labels``."""
    return selector is not None and all(labels.get(k) == v for k, v in selector.get("matchLabels", {}).items())


def may_talk(objects: list[Object], source: str, target: str, port: int) -> bool:
    """Whether the network policies let pod ``source`` reach TCP ``port`` of ``target`` in the same namespace."""
    by_name = {pod.owner: pod.labels for pod in pods(objects)}
    policies = [policy["spec"] for policy in of_kind(objects, "NetworkPolicy")]
    return all(
        _allowed(policies, direction, by_name[own], by_name[other], port)
        for direction, own, other in (("egress", source, target), ("ingress", target, source))
    )


def _allowed(policies: list[Object], direction: str, own: dict[str, str], other: dict[str, str], port: int) -> bool:
    held = [p for p in policies if direction.capitalize() in p["policyTypes"] and selects(p["podSelector"], own)]
    peers = "to" if direction == "egress" else "from"
    rules = [rule for policy in held for rule in policy.get(direction, [])]
    return not held or any(
        (peers not in rule or any(selects(peer.get("podSelector"), other) for peer in rule[peers]))
        and _has_port(rule.get("ports"), port)
        for rule in rules
    )


def _has_port(ports: list[Object] | None, port: int) -> bool:
    return ports is None or any(
        p["protocol"] == "TCP" and p["port"] <= port <= p.get("endPort", p["port"]) for p in ports
    )


def unrestricted(pod: Pod) -> Iterator[str]:
    """What the restricted Pod Security Standard, and this project beyond it, finds wrong with a pod."""
    own = pod.spec.get("securityContext", {})
    if own.get("runAsNonRoot") is not True or not own.get("runAsUser"):
        yield "it may run as root, or its user is not a number"
    if own.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "seccompProfile is not RuntimeDefault"
    if pod.spec.get("automountServiceAccountToken") is not False:
        yield "it is given a token of the API server"
    if pod.spec.get("enableServiceLinks") is not False:
        yield "names of Services come into its environment"
    if any(pod.spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        yield "it sees the host"
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    for volume in pod.spec.get("volumes", []):
        if not set(volume) - {"name"} <= allowed:
            yield f"volume {volume['name']} is of a forbidden type"
    for container in pod.containers:
        for wrong in _unrestricted(container):
            yield f"{container['name']}: {wrong}"


def _unrestricted(container: Object) -> Iterator[str]:
    own = container.get("securityContext", {})
    if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
        yield "it may gain privileges"
    if own.get("capabilities") != {"drop": ["ALL"]}:
        yield "it keeps capabilities"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "its root file system can be written to"
    if own.get("runAsNonRoot") is False or own.get("runAsUser") == 0 or "seccompProfile" in own or "procMount" in own:
        yield "it overrides what the pod says"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "it takes a port of the host"
    resources = container.get("resources", {})
    if {"cpu", "memory"} - set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
        yield "it has no requests or no limit of memory"


def strict(schema: Any) -> Any:
    """A CRD's schema such that what it does not name is refused, and numbers may be strings where it says so."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        key: strict(value)
        for key, value in schema.items()
        if key not in {"format", "description"} or not isinstance(value, str)
    }
    if schema.get("x-kubernetes-int-or-string") is True:
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    whole = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if whole and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def crd_schemas(folder: Path) -> dict[tuple[str, str], Object]:
    """(apiVersion, kind) -> schema of the custom resource definitions in ``folder`` and below."""
    found = {}
    for path in sorted(folder.rglob("*.yaml")):
        if "scaledjobs" in path.name or "kafkaconnect" in path.name or "mirrormaker" in path.name:
            continue  # large, and nothing here is of their kind
        for crd in yaml.load_all(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            spec = crd["spec"]
            for version in spec["versions"]:
                schema = strict(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found
