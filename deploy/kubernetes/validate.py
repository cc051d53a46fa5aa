"""Builds the manifests with kustomize and checks them against the schemas of Kubernetes and against each other.

Needs kubectl and `pip install kubernetes-validate`. `--write` writes monitoring/rules.yaml from deploy/prometheus/rules.
"""

import pathlib
import subprocess
import sys

import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).parent
RULES = HERE / "monitoring/rules.yaml"
# Kinds of the Prometheus operator.
OTHERS = {"PodMonitor", "PrometheusRule"}
VERSION = "1.31"


def wrong(what):
    sys.exit(f"validate.py: {what}")


def built(folder):
    made = subprocess.run(["kubectl", "kustomize", HERE / folder], check=True, stdout=subprocess.PIPE)
    return [document for document in yaml.safe_load_all(made.stdout) if document]


def rules():
    groups = []
    for name in ["recording.yml", "alerts.yml"]:
        groups += yaml.safe_load((HERE.parent / "prometheus/rules" / name).read_text())["groups"]
    return groups


def pods(documents):
    """Name, labels and specification of every pod."""
    for document in documents:
        template = document.get("spec", {}).get("template")
        if template and "spec" in template:
            yield document["metadata"]["name"], template["metadata"]["labels"], template["spec"]


def ports(specification):
    return {port["name"] for container in specification["containers"] for port in container.get("ports", [])}


def check_pods(documents, profiles, configured):
    for name, _, specification in pods(documents):
        containers = specification["containers"] + specification.get("initContainers", [])
        volumes = {volume["name"] for volume in specification.get("volumes", [])} | {"data"}
        profile = specification["securityContext"]["seccompProfile"]
        if profile["type"] == "Localhost" and profile["localhostProfile"] not in profiles:
            wrong(f"{name} wants the profile {profile['localhostProfile']}, which no DaemonSet installs")
        if specification.get("automountServiceAccountToken", True):
            wrong(f"{name} gets a token for the cluster's API")
        for container in containers:
            security = container["securityContext"]
            hardened = (
                security["readOnlyRootFilesystem"]
                and not security["allowPrivilegeEscalation"]
                and security["capabilities"]["drop"] == ["ALL"]
            )
            if not hardened:
                wrong(f"{name}: {container['name']} is not hardened")
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    wrong(f"{name} mounts {mount['name']}, which it does not have")
            for kind in ["startupProbe", "livenessProbe", "readinessProbe"]:
                if kind in container and container[kind]["httpGet"]["port"] not in ports(specification):
                    wrong(f"{name}: {kind} uses a port that does not exist")
        for volume in specification.get("volumes", []):
            source = volume.get("configMap", {}).get("name", "")
            if source.startswith("ringseed-seccomp") and source not in configured:
                wrong(f"{name} has the configuration {source}, which does not exist")


def check_services(documents):
    for document in documents:
        selector = document.get("spec", {}).get("selector", {})
        if document["kind"] == "PodMonitor":
            selector = selector["matchLabels"]
            named = [endpoint["port"] for endpoint in document["spec"]["podMetricsEndpoints"]]
        elif document["kind"] == "Service":
            named = [port["targetPort"] for port in document["spec"]["ports"]]
        else:
            continue
        name = document["metadata"]["name"]
        of_one = selector.get("statefulset.kubernetes.io/pod-name")
        if of_one:
            owner, ordinal = of_one.rsplit("-", 1)
            sets = [other for other in documents if other["kind"] == "StatefulSet" and other["metadata"]["name"] == owner]
            if not sets or int(ordinal) >= sets[0]["spec"]["replicas"]:
                wrong(f"{name} is for {of_one}, which does not exist")
            (port,) = document["spec"]["ports"]
            if len({port["port"], port["targetPort"], port["nodePort"], 30881 + int(ordinal)}) != 1:
                wrong(f"{name}: its port is not the port of {of_one}")
            continue
        matching = [pod for pod in pods(documents) if selector.items() <= pod[1].items()]
        if not matching:
            wrong(f"{name} selects no pod")
        for port in named:
            if port not in ports(matching[0][2]):
                wrong(f"{name} names the port {port}, which {matching[0][0]} does not have")


def main():
    head = "# The rules of deploy/prometheus/rules in the operator's format; written by validate.py --write.\n"
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "ringseed"},
        "spec": {"groups": rules()},
    }
    text = head + yaml.safe_dump(rule, sort_keys=False, width=120, allow_unicode=True)
    if "--write" in sys.argv:
        RULES.write_text(text)
    if RULES.read_text() != text:
        wrong(f"{RULES} differs from deploy/prometheus/rules: run validate.py --write")

    documents = []
    for folder in ["base", "monitoring", "loadtest"]:
        made = built(folder)
        for document in made:
            if document["kind"] not in OTHERS:
                kubernetes_validate.validate(document, VERSION, strict=True)
            if document["kind"] != "Namespace" and document["metadata"]["namespace"] != "ringseed":
                wrong(f"{document['metadata']['name']} is in another namespace")
        print(f"{folder}: {', '.join(document['kind'] for document in made)}")
        documents += made

    configured = {document["metadata"]["name"] for document in documents if document["kind"] == "ConfigMap"}
    installed = set()
    for _, _, specification in pods(documents):
        for container in specification.get("initContainers", []):
            installed.add(container["command"][-1].removeprefix("/seccomp/"))
    check_pods(documents, installed, configured)
    check_services(documents)


if __name__ == "__main__":
    main()
