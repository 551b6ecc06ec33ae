#!/usr/bin/env python3
"""promises.py RELEASE VALUES.json MANIFEST.yaml: does the installation keep the chart's promises? Reads the objects back
from the API server, because its version of them counts."""
import json
import re
import subprocess
import sys

RELEASE, VALUES = sys.argv[1], json.load(open(sys.argv[2], encoding="utf-8"))
MANIFEST = open(sys.argv[3], encoding="utf-8").read().split("\n---\n")
KINDS = "deployments,statefulsets,daemonsets,services,horizontalpodautoscalers,poddisruptionbudgets,networkpolicies,serviceaccounts,pods,ingresses"
# Pods that use the API server.
WITH_TOKEN = {"balancer", "prometheus", "prometheus-adapter"}
broken = []


def check(holds, what):
    if not holds:
        broken.append(what)


def selects(selector, labels):
    return all(labels.get(key) == value for key, value in (selector or {}).items())


def objects():
    out = subprocess.run(["kubectl", "get", KINDS, "-A", "-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "json"], check=True, capture_output=True).stdout
    found = {}
    for item in json.loads(out)["items"]:
        found.setdefault(item["kind"], []).append(item)
    return found


def duration(text):
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    parts = re.findall(r"([0-9.]+)(ms|s|m|h)", text)
    return sum(float(number) * units[unit] for number, unit in parts) if parts else float(text)


def container_keeps_its_word(where, container, is_main):
    where = f"{where}/{container['name']}"
    for bound in ("requests", "limits"):
        for resource in ("cpu", "memory"):
            check(resource in container.get("resources", {}).get(bound, {}), f"{where}: no {bound}.{resource}")
    security = container.get("securityContext", {})
    check(security.get("readOnlyRootFilesystem") is True, f"{where}: its root file system can be written")
    check(security.get("allowPrivilegeEscalation") is False, f"{where}: privileges can be escalated")
    check(not security.get("privileged"), f"{where}: privileged")
    check(security.get("capabilities", {}).get("drop") == ["ALL"], f"{where}: capabilities are not dropped")
    tag = container["image"].rpartition("/")[2].partition(":")[2].partition("@")[0]
    check(re.match(r"v?[0-9]+\.[0-9]+\.[0-9]+", tag), f"{where}: image without an exact tag: {container['image']}")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe") if is_main else ():
        check(probe in container, f"{where}: no {probe}")
    for variable in container.get("env", []):
        check(not re.search("PASSWORD|TOKEN", variable["name"]) or "valueFrom" in variable, f"{where}: {variable['name']} is written out")


def workload_keeps_its_word(kind, item, found):
    name, namespace = item["metadata"]["name"], item["metadata"]["namespace"]
    where, template = f"{kind} {namespace}/{name}", item["spec"]["template"]
    pod, labels = template["spec"], template["metadata"]["labels"]
    is_cadvisor = namespace == VALUES["cadvisor"]["namespace"]
    for container in pod.get("initContainers", []):
        container_keeps_its_word(where, container, False)
    for container in pod["containers"]:
        container_keeps_its_word(where, container, True)
        added = container["securityContext"]["capabilities"].get("add")
        check(is_cadvisor or not added, f"{where}: has capabilities {added}")
        mounts = {mount["name"]: mount for mount in container.get("volumeMounts", [])}
        for volume in pod.get("volumes", []):
            if "hostPath" in volume:
                check(is_cadvisor and mounts[volume["name"]].get("readOnly"), f"{where}: mounts {volume['hostPath']['path']} of the node")
    check(is_cadvisor or pod["securityContext"].get("runAsNonRoot"), f"{where}: may run as root")
    check(pod["securityContext"].get("seccompProfile", {}).get("type") == "RuntimeDefault", f"{where}: no seccomp profile")
    for host in ("hostNetwork", "hostPID", "hostIPC"):
        check(not pod.get(host), f"{where}: {host}")
    account = [one for one in found["ServiceAccount"] if one["metadata"]["name"] == pod.get("serviceAccountName") and one["metadata"]["namespace"] == namespace]
    check(account and account[0].get("automountServiceAccountToken") is False, f"{where}: no account of its own, or one that hands out tokens")
    check(bool(pod.get("automountServiceAccountToken")) == (labels["app.kubernetes.io/name"] in WITH_TOKEN), f"{where}: has a token without need, or lacks one")
    check("terminationGracePeriodSeconds" in pod, f"{where}: no grace period")
    policies = [policy for policy in found.get("NetworkPolicy", []) if policy["metadata"]["namespace"] == namespace and selects(policy["spec"]["podSelector"].get("matchLabels"), labels)]
    check(len(policies) == 2, f"{where}: {len(policies)} network policies select it, expected two: the default and its own")
    check(any(not policy["spec"].get("ingress") and not policy["spec"].get("egress") for policy in policies), f"{where}: nothing is denied by default")
    if kind != "DaemonSet":
        budgets = [budget for budget in found["PodDisruptionBudget"] if budget["metadata"]["namespace"] == namespace and selects(budget["spec"]["selector"]["matchLabels"], labels)]
        check(len(budgets) == 1 and budgets[0]["spec"].get("maxUnavailable") == 1, f"{where}: no budget of one unavailable pod")
    check("traffic" not in item["spec"]["selector"]["matchLabels"], f"{where}: selects by traffic")
    check(not any("version" in key or "chart" in key for key in labels), f"{where}: a new version of the chart alone restarts its pods")


def service_keeps_its_word(name, values, found):
    """Checks one of our own services."""
    deployment = next((one for one in found["Deployment"] if one["metadata"]["name"] == name), None)
    check(deployment, f"{name}: no Deployment")
    if not deployment:
        return
    template, pod = deployment["spec"]["template"], deployment["spec"]["template"]["spec"]
    check(template["metadata"]["labels"].get("traffic") == "active", f"{name}: pods without traffic=active")
    check(pod.get("topologySpreadConstraints"), f"{name}: replicas are not spread")
    env = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
    drain = duration(env.get("SIGTERM_TIMEOUT", env.get("DRAIN_TIMEOUT", "0"))) + (duration(env.get("DRAIN_SPREAD", "10")) + 5 if name in ("tcp", "ws", "stream") else 0)
    check(pod["terminationGracePeriodSeconds"] > drain, f"{name}: grace {pod['terminationGracePeriodSeconds']} s for a drain of {drain} s")
    for key, value in values["env"].items():
        check(env.get(key) == str(value), f"{name}: {key} is {env.get(key)!r}, not {value!r}")
    if name != "logger":
        exposed = {"profiles": "base-service", "directory": "main-service"}.get(name, name)
        service = next((one for one in found["Service"] if one["metadata"]["name"] == exposed), None)
        check(service and service["spec"]["clusterIP"] == "None", f"{name}: no headless Service")
        check(service and service["spec"]["selector"].get("traffic") == "active", f"{name}: its Service does not select by traffic=active")
    if name in ("ws", "stream"):
        # Its sessions are identified by the address that the gateway sees, and Redis' password is never in plain text.
        sources = {variable["name"]: variable.get("valueFrom", {}) for variable in pod["containers"][0]["env"]}
        check(sources.get("HOST_ID", {}).get("fieldRef", {}).get("fieldPath") == "status.podIP", f"{name}: HOST_ID is not the pod's address")
        check(env.get("REDIS_HOST") == f"{RELEASE}-redis" and "secretKeyRef" in sources.get("REDIS_PASSWORD", {}), f"{name}: no Redis with a password from a Secret")
    if name == "profiles":
        check(env.get("CASSANDRA_CONTACT_POINTS") == f"{RELEASE}-cassandra:9042", "profiles: does not know its Cassandra")
    if name == "directory":
        check(env.get("PROFILES_URL") == "http://base-service:8080" and env.get("REDIS_HOST") == f"{RELEASE}-redis", "directory: does not know profiles or Redis")
    if name in ("tcp", "ws", "stream", "balancer"):
        # Orders to shed connections carry a token that both senders and receivers have.
        sources = {variable["name"]: variable.get("valueFrom", {}) for variable in pod["containers"][0]["env"]}
        secret = sources.get("SHED_TOKEN", {}).get("secretKeyRef", {}).get("name")
        check(secret == (f"{RELEASE}-shed-token" if VALUES["balancer"]["enabled"] else None), f"{name}: its token for orders to shed is that of {secret}")
    if name == "tcp" and VALUES["etcd"]["enabled"]:
        members = ",".join(f"http://{RELEASE}-etcd-{number}.{RELEASE}-etcd:2379" for number in range(VALUES["etcd"]["members"]))
        check(env.get("ETCD_ENDPOINTS") == members, f"tcp: its etcd is {env.get('ETCD_ENDPOINTS')}")
    if name == "ws-client":
        check((env.get("WS_SERVER_HOST"), env.get("WS_SERVER_PORT")) == ("envoy-gateway-tcp", "8000"), "ws-client: does not go through the gateway")
    autoscaler_name = {"directory": "main-hpa", "stream": "stream-hpa"}.get(name, name)
    autoscaler = next((one for one in found.get("HorizontalPodAutoscaler", []) if one["metadata"]["name"] == autoscaler_name), None)
    check(bool(autoscaler) == bool(values.get("autoscaling")), f"{name}: {'an' if autoscaler else 'no'} autoscaler")
    if autoscaler:
        for key, value in values["autoscaling"].items():
            contained(f"{name}.autoscaling.{key}", value, autoscaler["spec"].get(key))
        written = [text for text in MANIFEST if re.search(r"^kind: Deployment$", text, re.M) and re.search(rf"^  name: {name}$", text, re.M)]
        check(len(written) == 1 and not re.search(r"^  replicas:", written[0], re.M), f"{name}: the chart sets the replicas although the autoscaler owns them")


def ingresses_keep_their_word(found):
    """Each path of a listener for HTTP leads to a port that its Service has, without the path, by a cookie."""
    wanted = {}
    for listener in VALUES["gateway"]["listeners"] if VALUES["gateway"]["ingress"]["enabled"] else []:
        if listener["protocol"] == "HTTP" and VALUES[listener["service"]]["enabled"]:
            wanted |= {"/": listener["service"]} | {f"{route['path']}(/|$)(.*)": route["service"] for route in listener.get("routes", [])}
    ports = {(one["metadata"]["name"], port["name"]) for one in found["Service"] for port in one["spec"]["ports"]}
    paths, cookies = {}, set()
    for item in found.get("Ingress", []):
        annotations = {key.partition("/")[2]: value for key, value in item["metadata"]["annotations"].items()}
        cookies.add(annotations.get("session-cookie-name"))
        for path in item["spec"]["rules"][0]["http"]["paths"]:
            service = path["backend"]["service"]
            paths[path["path"]] = service["port"]["name"]
            check((service["name"], service["port"]["name"]) in ports, f"Ingress {item['metadata']['name']}: there is no {service}")
            check((annotations.get("rewrite-target") == "/$2") == (path["path"] != "/"), f"Ingress {item['metadata']['name']}: {path['path']} arrives as {annotations.get('rewrite-target')}")
        check(annotations.get("affinity") == "cookie", f"Ingress {item['metadata']['name']} is not sticky")
    check(paths == wanted, f"Ingress: {paths}, not {wanted}")
    check(len(cookies) == len(found.get("Ingress", [])), f"Ingress: services share a cookie: {cookies}")


def contained(where, wanted, found):
    """Checks that the API server has the values; it adds its defaults."""
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            contained(f"{where}.{key}", value, (found or {}).get(key))
    elif isinstance(wanted, list):
        check(isinstance(found, list) and len(found) == len(wanted), f"{where}: {found}, not {wanted}")
        # The API server sorts metrics by type.
        for value in wanted:
            if isinstance(value, dict):
                check(any(holds(value, one) for one in found or []), f"{where}: {value} is missing")
    else:
        check(found == wanted, f"{where}: {found!r}, not {wanted!r}")


def holds(wanted, found):
    before = len(broken)
    contained("", wanted, found)
    same = len(broken) == before
    del broken[before:]
    return same


def permissions(accounts):
    """Checks the permissions of the release's accounts, and that they lack all other dangerous ones."""
    asked = []
    # The balancer may patch pods, but only in its namespace.
    hurtful = [("get", "", "secrets"), ("patch", "", "pods"), ("delete", "coordination.k8s.io", "leases"), ("update", "coordination.k8s.io", "leases"), ("list", "", "secrets"), ("create", "", "pods"), ("create", "", "pods/exec"), ("delete", "", "pods"), ("list", "", "pods"),
        ("patch", "apps", "deployments"), ("patch", "autoscaling", "horizontalpodautoscalers"), ("create", "rbac.authorization.k8s.io", "rolebindings"),
        ("create", "rbac.authorization.k8s.io", "clusterrolebindings"), ("impersonate", "", "users"), ("patch", "", "nodes"), ("list", "", "nodes"), ("create", "", "serviceaccounts/token")]
    for account in accounts:
        user = f"system:serviceaccount:{account['metadata']['namespace']}:{account['metadata']['name']}"
        for namespace in (RELEASE, "monitoring", "kube-system", "default"):
            for verb, group, resource in hurtful:
                resource, _, subresource = resource.partition("/")
                attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": subresource}
                groups = ["system:serviceaccounts", f"system:serviceaccounts:{account['metadata']['namespace']}", "system:authenticated"]
                asked.append({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": user, "groups": groups, "resourceAttributes": attributes}})
    # One request each, but only one process.
    out = subprocess.run(["kubectl", "create", "-f", "-", "-o", "json"], input=json.dumps({"apiVersion": "v1", "kind": "List", "items": asked}), text=True, check=True, capture_output=True).stdout
    decoder, answers, out = json.JSONDecoder(), [], out.strip()
    while out:
        answer, end = decoder.raw_decode(out)
        answers.append(answer)
        out = out[end:].lstrip()
    check(len(answers) == len(asked), f"{len(asked)} questions about permissions, {len(answers)} answers")
    for answer in answers:
        attributes, user = answer["spec"]["resourceAttributes"], answer["spec"]["user"]
        name, where = user.rpartition(":")[2], attributes["namespace"]
        finds_pods = name == f"{RELEASE}-prometheus-adapter" or name == f"{RELEASE}-prometheus" and where == RELEASE
        finds_pods |= name == "balancer" and where == RELEASE
        changes_pods = attributes["verb"] == "patch" and attributes["resource"] == "pods" and name == "balancer" and where == RELEASE
        may = attributes["verb"] == "list" and attributes["resource"] == "pods" and finds_pods or changes_pods
        check(bool(answer["status"].get("allowed")) == may, f"{user} may {'not ' if may else ''}{attributes['verb']} {attributes['resource']} in {where}")


def main():
    found = objects()
    permissions(found["ServiceAccount"])
    for kind in ("Deployment", "StatefulSet", "DaemonSet"):
        for item in found.get(kind, []):
            workload_keeps_its_word(kind, item, found)
    for service in found["Service"]:
        selector, namespace = service["spec"]["selector"], service["metadata"]["namespace"]
        pods = [pod for pod in found["Pod"] if pod["metadata"]["namespace"] == namespace and selects(selector, pod["metadata"]["labels"])]
        name = service["metadata"]["name"]
        check(pods, f"Service {name} selects no pod")
        ports = {port["name"]: port["protocol"] if "protocol" in port else "TCP" for pod in pods for container in pod["spec"]["containers"] for port in container["ports"]}
        for port in service["spec"]["ports"]:
            check(ports.get(port["targetPort"]) == port["protocol"], f"Service {name}: nothing at {port['targetPort']}/{port['protocol']}")
    for name in ("tcp", "udp", "ws", "stream", "ws-client", "balancer", "profiles", "directory", "page", "logger"):
        if VALUES[name]["enabled"]:
            service_keeps_its_word(name, VALUES[name], found)
    gateway = next(one for one in found["Service"] if one["metadata"]["name"] == "envoy-gateway-tcp")
    check(gateway["spec"]["type"] == "LoadBalancer", "envoy-gateway-tcp is not a LoadBalancer")
    listeners = {(one["port"], one["protocol"].replace("HTTP", "TCP")) for one in VALUES["gateway"]["listeners"] if VALUES[one["service"]]["enabled"] and one["service"] != "profiles"}
    check({(port["port"], port["protocol"]) for port in gateway["spec"]["ports"]} == listeners, "envoy-gateway-tcp has other ports than the listeners")
    ingresses_keep_their_word(found)
    for problem in broken:
        print(f"    broken: {problem}", file=sys.stderr)
    sys.exit(bool(broken))


main()
