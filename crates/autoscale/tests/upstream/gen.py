#!/usr/bin/env python3
"""Writes cases.json: manifests after public bug reports, and mutations of one that is valid."""
import json

BASE = """apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: store, labels: {app: web}}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 10
"""
METRICS = {
    "pods": "{type: Pods, pods: {metric: {name: conns}, target: {type: AverageValue, averageValue: 5k}}}",
    "resource": "{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}",
    "memory": "{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 100Mi}}}",
    "container": "{type: ContainerResource, containerResource: {name: cpu, container: app, target: {type: Utilization, averageUtilization: 60}}}",
    "object": "{type: Object, object: {describedObject: {apiVersion: networking.k8s.io/v1, kind: Ingress, name: main}, metric: {name: rps}, target: {type: Value, value: 2k}}}",
    "external": "{type: External, external: {metric: {name: s0-rabbitmq, selector: {matchLabels: {a: b}}}, target: {type: AverageValue, averageValue: '100'}}}",
}
BEHAVIOR = """  behavior:
    scaleUp: {stabilizationWindowSeconds: 0, selectPolicy: Max, policies: [{type: Percent, value: 100, periodSeconds: 15}]}
    scaleDown: {stabilizationWindowSeconds: 300, policies: [{type: Pods, value: 1, periodSeconds: 60}]}
"""
cases = []


def add(text, zero=False):
    cases.append({"text": text, "zero": zero})


def metric(text, zero=False, base=BASE):
    add(base + "  metrics:\n  - " + text + "\n", zero)


def change(name, old, new):
    assert old in METRICS[name], (name, old)
    metric(METRICS[name].replace(old, new))


def base(old, new, zero=False):
    assert old in BASE, old
    add(BASE.replace(old, new), zero)


def behavior(old, new):
    assert old in BEHAVIOR, old
    add(BASE + BEHAVIOR.replace(old, new))


add(BASE)
for text in METRICS.values():
    metric(text)
add(BASE + "  metrics: [" + ", ".join(METRICS.values()) + "]\n" + BEHAVIOR)

# Bounds and their spellings.
for old, new in [
    ("maxReplicas: 10", "maxReplicas: 1"), ("maxReplicas: 10", "maxReplicas: 0"), ("maxReplicas: 10", "maxReplicas: -1"),
    ("maxReplicas: 10", "maxReplicas: '10'"), ("maxReplicas: 10", "maxReplicas: 10.0"), ("maxReplicas: 10", "maxReplicas: 10.5"),
    ("maxReplicas: 10", "maxReplicas: 1e1"), ("maxReplicas: 10", "maxReplicas: 010"), ("maxReplicas: 10", "maxReplicas: 0x10"),
    ("maxReplicas: 10", "maxReplicas: 1_0"), ("maxReplicas: 10", "maxReplicas: 2147483648"), ("maxReplicas: 10", "maxReplicas: null"),
    ("maxReplicas: 10", "maxReplicas: 1e999"), ("maxReplicas: 10", "maxReplicas: .inf"), ("maxReplicas: 10", "maxReplicas: .nan"),
    ("maxReplicas: 10", "maxReplicas: yes"), ("maxReplicas: 10", "maxReplicas: [10]"), ("maxReplicas: 10\n", "maxReplicas:\n"),
    ("  maxReplicas: 10\n", ""), ("  minReplicas: 2\n", ""), ("minReplicas: 2", "minReplicas: null"), ("minReplicas: 2", "minReplicas: 0"),
    ("minReplicas: 2", "minReplicas: -1"), ("minReplicas: 2", "minReplicas: 11"), ("minReplicas: 2", "minReplicas: 10"),
    ("minReplicas", "minReplica"), ("maxReplicas", "maxreplicas"), ("maxReplicas: 10", "maxReplicaCount: 10"),
    ("spec:\n", "specs:\n"), ("spec:\n", "extra: 1\nspec:\n"), ("spec:\n", "spec:\n  cooldownPeriod: 300\n"),
    ("spec:\n", "spec:\n  targetCPUUtilizationPercentage: 80\n"),
]:
    base(old, new)
base("minReplicas: 2", "minReplicas: 0", True)
metric(METRICS["external"], True, BASE.replace("minReplicas: 2", "minReplicas: 0"))
metric(METRICS["object"], True, BASE.replace("minReplicas: 2", "minReplicas: 0"))
metric(METRICS["pods"], True, BASE.replace("minReplicas: 2", "minReplicas: 0"))
metric(METRICS["external"], False, BASE.replace("minReplicas: 2", "minReplicas: 0"))

# Metadata.
for new in [
    "{name: web}", "{}", "{name: Web}", "{name: web_1}", "{name: 'a.b'}", "{name: 010}", "{name: on}", "{name: '1'}",
    "{name: web, namespace: A}", "{name: web, namespace: a.b}", "{generateName: web-}", "{name: ''}", "{name: null}",
    "{name: web, labels: {version: 1.0}}", "{name: web, labels: {version: '1.0'}}", "{name: web, labels: {a: b c}}",
    "{name: web, labels: {a/b/c: d}}", "{name: web, labels: {'-a': d}}", "{name: web, annotations: {keep: true}}",
    "{name: web, annotations: {keep: 'true'}}", "{name: web, annotations: {a b: c}}", "{name: web, label: {a: b}}",
    "{name: web, labels: null}", "{name: web, labels: {a: null}}", "{name: web, clusterName: x}", "[name, web]", "web",
    "{name: web, uid: x, resourceVersion: '1', creationTimestamp: 2026-11-21T14:02:50Z, generation: 3}",
    "{name: " + "a" * 253 + "}", "{name: " + "a" * 254 + "}", "{name: web, labels: {a: " + "b" * 64 + "}}",
]:
    base("{name: web, namespace: store, labels: {app: web}}", new)

# The scale target.
for new in [
    "{kind: Deployment, name: web}", "{apiVersion: v1, kind: ReplicationController, name: web}", "{apiVersion: apps/v1, name: web}",
    "{apiVersion: apps/v1, kind: Deployment}", "{apiVersion: a/b/c, kind: Deployment, name: web}",
    "{apiVersion: apps/, kind: Deployment, name: web}", "{apiVersion: /v1, kind: Deployment, name: web}",
    "{apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: web}", "{apiVersion: apps/v1, kind: Deployment, name: a/b}",
    "{apiVersion: apps/v1, kind: Deployment, name: '..'}", "{apiVersion: apps/v1, kind: Deployment, name: 'a%/'}",
    "{apiVersion: apps/v1, kind: Deployment, name: web, namespace: store}", "null", "{}",
]:
    base("{apiVersion: apps/v1, kind: Deployment, name: web}", new)

# Metrics: kubernetes#87797, prometheus-adapter#283 (AverageValue beside value), bitnami/containers#23212
# (targetAverageUtilization), kubernetes#90691 (names of container resources), dapr#7813, keda#5781, keda#5820.
for name, old, new in [
    ("external", "averageValue: '100'", "value: 5"), ("external", "averageValue: '100'", "value: 5, averageValue: 6"),
    ("external", "type: AverageValue", "type: Value"), ("external", "averageValue: '100'", "averageUtilization: 5"),
    ("external", "s0-rabbitmq", "namespace/queue"), ("external", "s0-rabbitmq", "'queue%'"), ("external", "s0-rabbitmq", "''"),
    ("external", "name: s0-rabbitmq, ", ""), ("external", "{matchLabels: {a: b}}", "{matchLabels: {a: 1}}"),
    ("external", "{matchLabels: {a: b}}", "{matchExpressions: [{key: a, operator: In, values: [b]}]}"),
    ("external", "{matchLabels: {a: b}}", "{matchExpressions: [{key: a, operator: in}]}"),
    ("external", "{matchLabels: {a: b}}", "{matchExpressions: [{}]}"), ("external", "{matchLabels: {a: b}}", "{}"),
    ("object", "value: 2k", "averageValue: 2k"), ("object", "type: Value", "type: AverageValue"),
    ("object", "value: 2k", "value: 2k, averageValue: 1"), ("object", "value: 2k", "averageUtilization: 1"),
    ("object", "apiVersion: networking.k8s.io/v1, ", ""), ("object", "networking.k8s.io/v1", "v1"), ("object", "networking.k8s.io/v1", "a/b/c"),
    ("object", "kind: Ingress, ", ""), ("object", "name: main", "name: ns/main"), ("object", "type: Value", "type: Utilization"),
    ("object", "describedObject", "target2"),
    ("pods", "averageValue: 5k", "value: 5k"), ("pods", "type: AverageValue", "type: Value"), ("pods", "type: AverageValue", "type: Average"),
    ("pods", "type: AverageValue, ", ""), ("pods", "averageValue: 5k", "averageValue: 0"), ("pods", "averageValue: 5k", "averageValue: -5"),
    ("pods", "averageValue: 5k", "averageValue: 5K"), ("pods", "averageValue: 5k", "averageValue: 1e3"), ("pods", "averageValue: 5k", "averageValue: '1e3'"),
    ("pods", "averageValue: 5k", "averageValue: 0.1Ki"), ("pods", "averageValue: 5k", "averageValue: 500m"), ("pods", "averageValue: 5k", "averageValue: 010"),
    ("pods", "averageValue: 5k", "averageValue: '010'"), ("pods", "averageValue: 5k", "averageValue: 0x1F"), ("pods", "averageValue: 5k", "averageValue: 1_000"),
    ("pods", "averageValue: 5k", "averageValue: .5"), ("pods", "averageValue: 5k", "averageValue: ' 5k '"), ("pods", "averageValue: 5k", "averageValue: 5 k"),
    ("pods", "averageValue: 5k", "averageValue: ''"), ("pods", "averageValue: 5k", "averageValue: 1n"), ("pods", "averageValue: 5k", "averageValue: 1e-12"),
    ("pods", "averageValue: 5k", "averageValue: yes"), ("pods", "averageValue: 5k", "averageValue: 1.5Gi"), ("pods", "averageValue: 5k", "averageValue: 12.50"),
    ("pods", "averageValue: 5k", "averageValue: NaN"), ("pods", "averageValue: 5k", "averageValue: +5"), ("pods", "averageValue: 5k", "averageValue: null"),
    ("pods", "conns", "a/b"), ("pods", "conns", "kube_deployment:status"), ("pods", "metric: {name: conns}", "metricName: conns"),
    ("pods", "type: Pods", "type: Pod"), ("pods", "type: Pods, ", ""), ("pods", "type: Pods", "type: Object"), ("pods", "type: Pods", "type: pods"),
    ("resource", "averageUtilization: 80", "averageUtilization: 0"), ("resource", "averageUtilization: 80", "averageUtilization: 500"),
    ("resource", "averageUtilization: 80", "averageUtilization: 80%"), ("resource", "averageUtilization: 80", "averageUtilization: 0.8"),
    ("resource", "averageUtilization: 80", "averageUtilization: '80'"), ("resource", "averageUtilization: 80", "averageUtilization: 80, averageValue: 1"),
    ("resource", "averageUtilization: 80", "value: 500m"), ("resource", "type: Utilization", "type: AverageValue"),
    ("resource", "target: {type: Utilization, averageUtilization: 80}", "targetAverageUtilization: 80"),
    ("resource", "target: {type: Utilization, averageUtilization: 80}", ""), ("resource", "name: cpu, ", ""), ("resource", "name: cpu", "name: gpu"),
    ("resource", "name: cpu", "name: nvidia.com/gpu"), ("resource", "name: cpu", "name: CPU"),
    ("container", "container: app, ", ""), ("container", "container: app", "container: App"), ("container", "container: app", "container: a.b"),
    ("container", "name: cpu", "name: gpu"), ("container", "name: cpu", "name: nvidia.com/gpu"), ("container", "name: cpu", "name: kubernetes.io/x"),
    ("container", "name: cpu", "name: requests.x/y"), ("container", "name: cpu", "name: hugepages-2Mi"), ("container", "name: cpu", "name: a/b/c"),
    ("container", "name: cpu", "name: /b"), ("container", "averageUtilization: 60", "averageValue: 100m"), ("container", "type: ContainerResource", "type: Resource"),
    ("container", "container: app", "container: " + "a" * 64),
]:
    change(name, old, new)
metric("{}")
metric("null")
metric("{type: Pods}")
metric("{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 1}}, pods: {metric: {name: a}, target: {type: AverageValue, averageValue: 1}}}")
metric("{resource: {name: cpu, target: {type: Utilization, averageUtilization: 1}}}")
add(BASE + "  metrics: []\n")
add(BASE + "  metrics: null\n")
add(BASE + "  metrics: {}\n")

# Behaviour: kubernetes#101371, kubernetes#117984 and others.
for old, new in [
    ("selectPolicy: Max", "selectPolicy: Disabled"), ("selectPolicy: Max", "selectPolicy: disabled"), ("selectPolicy: Max", "selectPolicy: ''"),
    ("selectPolicy: Max", "selectPolicy: null"), ("stabilizationWindowSeconds: 300", "stabilizationWindowSeconds: 3600"),
    ("stabilizationWindowSeconds: 300", "stabilizationWindowSeconds: 3601"), ("stabilizationWindowSeconds: 300", "stabilizationWindowSeconds: -1"),
    ("stabilizationWindowSeconds: 300", "stabilizationWindowSeconds: 5m"), ("stabilizationWindowSeconds: 300, ", ""),
    ("periodSeconds: 60", "periodSeconds: 0"), ("periodSeconds: 60", "periodSeconds: 1800"), ("periodSeconds: 60", "periodSeconds: 1801"),
    ("value: 1,", "value: 0,"), ("value: 1,", "value: -1,"), ("value: 100", "value: 500"), ("value: 100, ", ""), ("type: Pods, ", ""),
    ("type: Pods", "type: Pod"), ("type: Percent", "type: percent"), ("[{type: Pods, value: 1, periodSeconds: 60}]", "[]"),
    ("[{type: Pods, value: 1, periodSeconds: 60}]", "null"), ("[{type: Pods, value: 1, periodSeconds: 60}]", "[{}]"),
    ("[{type: Pods, value: 1, periodSeconds: 60}]", "{type: Pods}"), (", periodSeconds: 60", ""), ("periodSeconds: 60", "period: 60"),
    ("stabilizationWindowSeconds: 300", "tolerance: 0.05"), ("stabilizationWindowSeconds: 300", "tolerance: -1"),
    ("stabilizationWindowSeconds: 300", "tolerance: 5%"), ("stabilizationWindowSeconds: 300", "tolerance: 0"),
    ("    scaleUp:", "    scaleup:"), ("  behavior:", "  behaviour:"),
    ("{stabilizationWindowSeconds: 300, policies: [{type: Pods, value: 1, periodSeconds: 60}]}", "{}"),
    ("{stabilizationWindowSeconds: 300, policies: [{type: Pods, value: 1, periodSeconds: 60}]}", "null"),
    ("{stabilizationWindowSeconds: 300, policies: [{type: Pods, value: 1, periodSeconds: 60}]}", "{selectPolicy: Disabled}"),
]:
    behavior(old, new)
add(BASE + "  behavior: {}\n")
add(BASE + "  behavior: null\n")

# Versions, kinds and the YAML around them.
for old, new in [
    ("autoscaling/v2", "autoscaling/v1"), ("autoscaling/v2", "autoscaling/v2beta1"), ("autoscaling/v2", "autoscaling/v3"),
    ("apiVersion: autoscaling/v2\n", ""),
]:
    base(old, new)
add(BASE.replace("autoscaling/v2", "autoscaling/v1") + "  targetCPUUtilizationPercentage: 60\n")
add(BASE.replace("autoscaling/v2", "autoscaling/v1") + "  targetCPUUtilizationPercentage: 0\n")
add(BASE.replace("autoscaling/v2", "autoscaling/v1") + "  metrics: []\n")
add(BASE.replace("autoscaling/v2", "autoscaling/v1").replace("labels: {app: web}", "annotations: {autoscaling.alpha.kubernetes.io/metrics: '[{\"type\":\"External\",\"external\":{\"metricName\":\"q\",\"targetAverageValue\":\"5\"}}]'}") + "  targetCPUUtilizationPercentage: 60\n")
add(BASE.replace("autoscaling/v2", "autoscaling/v1").replace("labels: {app: web}", "annotations: {autoscaling.alpha.kubernetes.io/metrics: 'no json'}"))
add(BASE.replace("  minReplicas", "\tminReplicas"))
add(BASE + "status: {currentReplicas: 3, desiredReplicas: 3}\n")
json.dump(cases, open("cases.json", "w"), indent=0)
print(len(cases))
