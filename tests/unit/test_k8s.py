"""deploy/k8s without a cluster: it builds, is valid, keeps restricted Pod Security, and agrees with the code."""

import base64
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import kubernetes_validate
import pytest
import yaml
from prometheus_client import REGISTRY

import services.sink.metrics  # noqa: F401 - declares its metrics
import streaming.metrics  # noqa: F401
from market.native.kafka import broker_properties
from marketdata.topics import AGENTS, Topics
from services.aggregator.settings import AggregatorSettings
from services.ingest.settings import IngestSettings
from services.ratio.settings import RatioSettings
from services.sink.settings import SinkSettings
from tests.support.manifests import (
    COMPONENTS,
    K8S,
    OVERLAYS,
    ROOT,
    Object,
    Pod,
    builder,
    component,
    crd_schemas,
    every_build,
    may_talk,
    named,
    of_kind,
    overlay,
    pods,
    selects,
    strict,
    unrestricted,
)

OURS = {"ingest": IngestSettings, "ratio": RatioSettings, "aggregator": AggregatorSettings, "sink": SinkSettings}
VERSIONS = ("1.30", "1.37")
"""The oldest and the newest Kubernetes that the manifests are held against."""
CUSTOM = ("kafka.strimzi.io/", "keda.sh/", "monitoring.coreos.com/", "postgresql.cnpg.io/")
LIBPQ = {"PGSSLMODE", "PGSSLROOTCERT"}


@pytest.fixture(autouse=True)
def _needs_kustomize(request: pytest.FixtureRequest, not_run: Callable[[str], None]) -> None:
    if builder() is None:
        not_run(f"{request.node.nodeid}: neither kubectl nor kustomize is installed")
        pytest.skip("neither kubectl nor kustomize is installed")


@pytest.mark.parametrize("name", [*OVERLAYS, *COMPONENTS])
def test_every_build_is_valid_for_kubernetes(name: str) -> None:
    objects = overlay(name) if name in OVERLAYS else component(name)
    known = {str(one) for one in component("vendor")} if name != "vendor" else set()  # each object once is enough
    for one in objects:
        if not one["apiVersion"].startswith(CUSTOM) and (name in OVERLAYS or str(one) not in known):
            for version in VERSIONS:
                kubernetes_validate.validate(one, version, strict=True)


def test_custom_objects_are_valid_by_their_definitions(
    shared_data: Path | None, not_run: Callable[[str], None]
) -> None:
    custom = [one for _, objects in every_build() for one in objects if one["apiVersion"].startswith(CUSTOM)]
    assert {one["kind"] for one in custom} >= {
        "Kafka",
        "KafkaNodePool",
        "KafkaUser",
        "ScaledObject",
        "ServiceMonitor",
    }
    if shared_data is None or not (shared_data / "crds").is_dir():
        not_run("objects of Strimzi and KEDA against their definitions (SHARED_DATA/crds is not there)")
        return
    schemas = crd_schemas(shared_data / "crds")
    for one in custom:
        if one["apiVersion"].startswith(CUSTOM[:2]):
            jsonschema.Draft202012Validator(schemas[one["apiVersion"], one["kind"]]).validate(one)


def test_the_check_of_custom_objects_refuses_what_is_not_defined() -> None:
    schema = strict(
        {"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}}}
    )
    jsonschema.validate({"spec": {"a": "x"}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"spec": {"b": "x"}}, schema)


def test_every_pod_keeps_restricted_pod_security() -> None:
    wrong = [
        f"{name} {pod.owner}: {text}" for name, o in every_build() for pod in pods(o) for text in unrestricted(pod)
    ]
    assert not wrong
    for name in OVERLAYS:
        labels = named(overlay(name), "Namespace", "market")["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_check_of_pod_security_finds_what_is_wrong() -> None:
    pod = next(pod for pod in pods(overlay("local")) if pod.owner == "ratio")
    container = {**pod.spec["containers"][0], "securityContext": {"privileged": True}}
    bad = Pod("bad", {}, {"containers": [container], "hostNetwork": True, "volumes": [{"name": "x", "hostPath": {}}]})
    assert len(list(unrestricted(bad))) == 9


def test_service_accounts_have_no_token_and_every_pod_has_its_own() -> None:
    for name, objects in every_build():
        accounts = {one["metadata"]["name"]: one for one in of_kind(objects, "ServiceAccount")}
        assert all(one["automountServiceAccountToken"] is False for one in accounts.values())
        assert {pod.spec["serviceAccountName"] for pod in pods(objects)} == set(accounts), name


def test_images_are_pinned_and_those_of_compose() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose" / "compose.yaml").read_text())["services"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    wanted = {compose["kafka"]["image"], compose["database"]["image"], f"market-pipeline:{version}"}
    images = {c["image"] for _, objects in every_build() for pod in pods(objects) for c in pod.containers}
    assert all(re.search(r":v?\d[\w.-]+$", image) for image in images), images
    assert {c["image"] for pod in pods(overlay("local")) for c in pod.containers} == wanted
    assert all(
        c["imagePullPolicy"] == "IfNotPresent" for _, o in every_build() for p in pods(o) for c in p.containers
    )


def test_every_variable_of_ours_is_a_setting() -> None:
    fields = {name.upper() for settings in OURS.values() for name in settings.model_fields}
    feed = set(re.findall(r'envvar="(\w+)"', (ROOT / "feed" / "cli.py").read_text()))
    for name, objects in every_build():
        for config in of_kind(objects, "ConfigMap"):
            if config["metadata"]["name"].startswith(("market-config", "feed-config")):
                known = feed if config["metadata"]["name"].startswith("feed") else fields
                assert set(config["data"]) <= known, (name, set(config["data"]) - known)
        for pod in pods(objects):
            for container in pod.containers:
                if container["image"].startswith("market-pipeline"):
                    variables = {variable["name"] for variable in container.get("env", [])}
                    assert variables <= fields | LIBPQ, (name, pod.owner, variables)


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_settings_are_accepted_by_each_service(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = overlay(name)
    for key, value in named(objects, "ConfigMap", "market-config")["data"].items():
        monkeypatch.setenv(key, value)
    for service, settings in OURS.items():
        for variable in _container(objects, service).get("env", []):
            monkeypatch.setenv(variable["name"], "value of a secret")
        assert settings().metrics_port == 9100


def test_ports_are_the_same_everywhere() -> None:
    image = (ROOT / "Dockerfile").read_text()
    assert "METRICS_PORT=9100" in image
    for name in OVERLAYS:
        objects = overlay(name)
        config = named(objects, "ConfigMap", "market-config")["data"]
        for service in OURS:
            assert {"name": "ops", "containerPort": int(config["METRICS_PORT"])} in _container(objects, service)[
                "ports"
            ]
            assert _ports(objects, service) == {int(config["METRICS_PORT"])}
    local = overlay("local")
    config = named(local, "ConfigMap", "market-config")["data"]
    broker = named(local, "ConfigMap", "kafka-config")["data"]["server.properties"]
    assert f"advertised.listeners=PLAINTEXT://{config['KAFKA_BOOTSTRAP_SERVERS']}\n" in broker
    secret = named(local, "Secret", "market-secrets")["data"]
    addresses = [f"kafka://{config['KAFKA_BOOTSTRAP_SERVERS']}", _plain(secret["POSTGRES_DSN"])]
    addresses += [config["STOCKS_URL"], config["CRYPTO_URL"], config["REST_URL"]]
    for address in map(urlsplit, addresses):
        assert address.port in _ports(local, address.hostname or ""), address


def test_a_service_or_a_budget_selects_one_workload() -> None:
    for name, objects in every_build():
        found = pods(objects)
        selectors = [{"matchLabels": one["spec"]["selector"]} for one in of_kind(objects, "Service")]
        selectors += [
            one["spec"]["selector"] for one in of_kind(objects, "PodDisruptionBudget", "Deployment", "StatefulSet")
        ]
        for selector in selectors:
            assert len([pod for pod in found if selects(selector, pod.labels)]) == 1, (name, selector)
        budgets = {one["metadata"]["name"] for one in of_kind(objects, "PodDisruptionBudget")}
        assert budgets == set(OURS)


ALLOWED = [
    ("ingest", "kafka", 9092), ("ratio", "kafka", 9092), ("aggregator", "kafka", 9092), ("sink", "kafka", 9092),
    ("topics", "kafka", 9092), ("sink", "database", 5432), ("migrate", "database", 5432),
    ("ingest", "feed", 8765), ("ingest", "feed", 8766),
]  # fmt: skip


def test_the_network_lets_through_what_is_needed_and_nothing_else() -> None:
    local = overlay("local")
    ports = {"kafka": (9092, 9093), "database": (5432,), "feed": (8765, 8766), **dict.fromkeys(OURS, (9100,))}
    names = [pod.owner for pod in pods(local)]
    found = [
        (a, b, port) for a in names for b in ports for port in ports[b] if a != b and may_talk(local, a, b, port)
    ]
    assert sorted(found) == sorted(ALLOWED)
    for name in OVERLAYS:
        assert named(overlay(name), "NetworkPolicy", "default-deny")["spec"]["podSelector"] == {}
        assert {"protocol": "UDP", "port": 53} in named(overlay(name), "NetworkPolicy", "dns")["spec"]["egress"][0][
            "ports"
        ]


def test_an_outage_restarts_nothing() -> None:
    for service in OURS:
        container = _container(overlay("production"), service)
        assert (
            container["livenessProbe"]["httpGet"]
            == container["startupProbe"]["httpGet"]
            == {"path": "/live", "port": "ops"}
        )
        assert container["readinessProbe"]["httpGet"] == {"path": "/health", "port": "ops"}


def test_local_needs_nothing_but_a_node() -> None:
    local = overlay("local")
    assert not [one["kind"] for one in local if one["apiVersion"].startswith(CUSTOM)]
    assert not of_kind(local, "PersistentVolumeClaim")
    assert not [one for one in of_kind(local, "StatefulSet") if "volumeClaimTemplates" in one["spec"]]
    copies = {
        one["metadata"]["name"]: one["spec"].get("replicas", 1) for one in local if "template" in one.get("spec", {})
    }
    requests = [
        (c["resources"]["requests"], copies[pod.owner]) for pod in pods(local) for c in pod.spec["containers"]
    ]
    assert sum(int(r["cpu"].removesuffix("m")) * n for r, n in requests) <= 1_000
    assert sum(int(r["memory"].removesuffix("Mi")) * n for r, n in requests) <= 3_072


def test_secrets_have_values_in_local_only() -> None:
    for name, objects in every_build():
        if name not in {"local", "database-single"}:
            assert not of_kind(objects, "Secret"), name
    text = "".join(path.read_text() for path in K8S.rglob("*.yaml"))
    assert not re.search(r"(?i)(password|api_key|dsn): *[\"']?\w", text)


def test_scaling_ends_where_partitions_do_and_asks_for_metrics_that_exist() -> None:
    production = overlay("production")
    partitions = int(named(production, "ConfigMap", "market-config")["data"]["PARTITIONS"])
    scaled = {one["metadata"]["name"]: one["spec"] for one in of_kind(production, "ScaledObject")}
    assert set(scaled) == set(OURS) - {"ingest"}
    for name, spec in scaled.items():
        assert spec["maxReplicaCount"] == partitions
        assert "replicas" not in named(production, "Deployment", name)["spec"]
        query = spec["triggers"][0]["metadata"]["query"]
        metric, stages = re.findall(r"(\w+_seconds)", query)[0], re.findall(r'stage=~?"([\w|]+)"', query)
        assert metric in REGISTRY._names_to_collectors
        assert set("|".join(stages).split("|")) - {""} <= set(AGENTS)
    base = int(named(component("hpa"), "ConfigMap", "market-config")["data"]["PARTITIONS"])
    assert {one["spec"]["maxReplicas"] for one in of_kind(component("hpa"), "HorizontalPodAutoscaler")} == {base}


def test_the_reader_may_read_the_public_topics_and_nothing_else() -> None:
    users = of_kind(component("kafka-strimzi"), "KafkaUser")
    reader = next(one for one in users if one["metadata"]["name"] == "reader")["spec"]["authorization"]["acls"]
    topics = [acl["resource"]["name"] for acl in reader if acl["resource"]["type"] == "topic"]
    assert sorted(topics) == sorted(spec.name for spec in Topics().specs(1) if spec.public)
    assert {tuple(acl["operations"]) for acl in reader} == {("Read", "Describe")}


def test_the_trial_broker_is_set_as_the_native_one() -> None:
    text = named(overlay("local"), "ConfigMap", "kafka-config")["data"]["server.properties"]
    found = dict(line.split("=", 1) for line in text.splitlines())
    native = broker_properties("", "", "127.0.0.1:9093")
    same = set(native) - {
        "listeners",
        "advertised.listeners",
        "broker.session.timeout.ms",
        "broker.heartbeat.interval.ms",
    }
    same -= {"socket.send.buffer.bytes", "socket.receive.buffer.bytes"}
    assert {name: found[name] for name in same} == {name: native[name] for name in same}


def _container(objects: list[Object], owner: str) -> Object:
    (found,) = [pod.spec["containers"][0] for pod in pods(objects) if pod.owner == owner]
    return found


def _ports(objects: list[Object], service: str) -> set[int]:
    (pod,) = [pod for pod in pods(objects) if pod.owner == service]
    open_ports = {p["name"]: p["containerPort"] for c in pod.containers for p in c.get("ports", [])}
    return {
        open_ports[p["targetPort"]]
        for p in named(objects, "Service", service)["spec"]["ports"]
        if p["port"] == open_ports[p["targetPort"]]
    }


def _plain(value: str) -> str:
    return base64.b64decode(value).decode()
