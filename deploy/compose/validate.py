"""Checks that everything the compose files refer to exists: files, Containerfile targets, volumes, secrets, services.

Needs PyYAML. `docker compose config` checks the rest.
"""

import pathlib
import re
import sys

import yaml

HERE = pathlib.Path(__file__).parent
# The user creates these before the first start.
OWN = {"./config", "./downloads", "./rpc-token"}


def wrong(what):
    sys.exit(f"validate.py: {what}")


def plain(text):
    """With the defaults of variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(text))


def check_path(where, path):
    if path not in OWN and not (HERE / path).exists():
        wrong(f"{where} refers to {path}, which does not exist")


def check(name):
    compose = yaml.safe_load((HERE / name).read_text())
    targets = set(re.findall(r" AS (\w+)$", (HERE / "../container/Containerfile").read_text(), re.M))
    secrets = compose.get("secrets", {})
    for service, body in compose["services"].items():
        where = f"{name}, {service}"
        if "build" in body:
            build = body["build"]
            check_path(where, build["context"])
            check_path(where, f"{build['context']}/{build['dockerfile']}")
            if build["target"] not in targets:
                wrong(f"{where} builds {build['target']}, which the Containerfile does not have")
            if not body["read_only"] or body["cap_drop"] != ["ALL"]:
                wrong(f"{where} is not hardened")
        for option in body.get("security_opt", []):
            if option.startswith("seccomp:"):
                check_path(where, option.removeprefix("seccomp:"))
        if "build" in body and not any("seccomp:" in option for option in body["security_opt"]):
            wrong(f"{where} cannot use io_uring")
        for volume in body.get("volumes", []):
            source = plain(volume).split(":")[0]
            if source.startswith("."):
                check_path(where, source)
            elif source not in compose["volumes"]:
                wrong(f"{where} mounts {source}, which is not a volume")
        for secret in body.get("secrets", []):
            secret = secret if isinstance(secret, str) else secret["source"]
            if secret not in secrets:
                wrong(f"{where} uses the secret {secret}, which does not exist")
            check_path(where, plain(secrets[secret]["file"]))
        network = body.get("network_mode", "")
        if network.startswith("service:"):
            if network.removeprefix("service:") not in compose["services"]:
                wrong(f"{where} uses the network of a service that does not exist")
            if "ports" in body:
                wrong(f"{where} publishes ports, which only {network} can")
    print(f"{name}: {', '.join(compose['services'])}")


for name in ["compose.yaml", "compose.vpn.yaml"]:
    check(name)
