//! Invalid values, and unusual valid ones, in the form of `--set`. The types, the schema and Helm are tested with the
//! same ones.

/// Each with the table or key that is wrong.
pub(crate) const MISTAKES: &[(&[&str], &str)] = &[
    (&["tcp.port=70000"], "tcp.port"),
    (&["tcp.port=0"], "tcp.port"),
    (&["tcp.port=null"], "tcp"),
    (&["tcp.port=4e1x"], "tcp.port"),
    (&["tcp.enabled=maybe"], "tcp.enabled"),
    (&["tcp.replcas=3"], "tcp"),
    (&["tcp.autoscaling=null,tcp.replicas=251"], "tcp.replicas"),
    (&["tcp.autoscaling=null,tcp.replicas=1.5"], "tcp.replicas"),
    (&["tcp=false"], "tcp"),
    (&["tcp=null"], ""),
    (&["redis=null"], ""),
    (&["redis.image=null"], "redis"),
    (&["scheduling=null"], ""),
    (&["scheduling.priorityClassName=High"], "scheduling.priorityClassName"),
    (&["labels.two words=a"], "labels"),
    (&["labels.team[0]=a"], "labels.team"),
    (&["tcp.env.2FAST=1"], "tcp.env"),
    (&["tcp.env.DIALECT[0]=a"], "tcp.env.DIALECT"),
    (&["tcp.env=many"], "tcp.env"),
    (&["tcp.resources.requests.cpu=lots"], "tcp.resources.requests.cpu"),
    (&["tcp.resources.requests.cpu=-1"], "tcp.resources.requests.cpu"),
    (&["tcp.resources.requests.gpu=1"], "tcp.resources.requests"),
    (&["tcp.probes.readiness.path=readyz"], "tcp.probes.readiness.path"),
    (&["tcp.probes.readiness.periodSeconds=0"], "tcp.probes.readiness.periodSeconds"),
    (&["tcp.probes.liveness.failureTreshold=3"], "tcp.probes.liveness"),
    (&["tcp.terminationGracePeriodSeconds=3601"], "tcp.terminationGracePeriodSeconds"),
    (&["tcp.autoscaling.maxReplicas=0"], "tcp.autoscaling.maxReplicas"),
    (&["tcp.autoscaling.maxReplicas=251"], "tcp.autoscaling.maxReplicas"),
    (&["tcp.autoscaling.maxReplicas=null"], "tcp.autoscaling"),
    (&["tcp.autoscaling.minReplicas=0"], "tcp.autoscaling.minReplicas"),
    (&["tcp.autoscaling.maxReplica=3"], "tcp.autoscaling"),
    (
        &["tcp.autoscaling.behavior.scaleUp.selectPolicy=Most"],
        "tcp.autoscaling.behavior.scaleUp.selectPolicy",
    ),
    (&["logger.port=1"], "logger"),
    (&["gateway.kind=nginx"], "gateway.kind"),
    (&["gateway.kind=null"], "gateway"),
    (&["gateway.policy=best"], "gateway.policy"),
    (&["gateway.maxConnections=0"], "gateway.maxConnections"),
    (&["gateway.maxConnections=1.5"], "gateway.maxConnections"),
    (&["gateway.health.fall=0"], "gateway.health.fall"),
    (&["gateway.health.interval=0s"], "gateway.health.interval"),
    (&["gateway.stallTimeout=never"], "gateway.stallTimeout"),
    (&["gateway.idleTimeout=60"], "gateway.idleTimeout"),
    (&["gateway.connectTimeout=1s1m"], "gateway.connectTimeout"),
    (&["gateway.connectTimeout=721h"], "gateway.connectTimeout"),
    (&["gateway.listeners[0]=tcp"], "gateway.listeners.0"),
    (&["gateway.listeners=none"], "gateway.listeners"),
    (&["gateway.listeners[0].name=a,gateway.listeners[0].port=1"], "gateway.listeners.0"),
    (&[LISTENER, "gateway.listeners[0].service=tpc"], "gateway.listeners.0.service"),
    (&[LISTENER, "gateway.listeners[0].service=udp"], "gateway.listeners.0.protocol"),
    (&[LISTENER, "gateway.listeners[0].protocol=tcp"], "gateway.listeners.0.protocol"),
    (&[LISTENER, "gateway.listeners[0].stickyCookie=route"], "gateway.listeners.0.stickyCookie"),
    (&[LISTENER, ROUTE], "gateway.listeners.0.routes"),
    (&[HTTP, "gateway.listeners[0].service=udp"], "gateway.listeners.0.protocol"),
    (&[HTTP, "gateway.listeners[0].routes[0].path=/a"], "gateway.listeners.0.routes.0"),
    (
        &[HTTP, "gateway.listeners[0].routes[0].path=/,gateway.listeners[0].routes[0].service=tcp"],
        "gateway.listeners.0.routes.0.path",
    ),
    (
        &[HTTP, "gateway.listeners[0].routes[0].path=/main/,gateway.listeners[0].routes[0].service=tcp"],
        "gateway.listeners.0.routes.0.path",
    ),
    (
        &[HTTP, "gateway.listeners[0].routes[0].path=/a.b,gateway.listeners[0].routes[0].service=tcp"],
        "gateway.listeners.0.routes.0.path",
    ),
    (
        &[HTTP, "gateway.listeners[0].routes[0].path=/a,gateway.listeners[0].routes[0].service=udp"],
        "gateway.listeners.0.routes.0.service",
    ),
    (
        &[
            HTTP,
            "gateway.listeners[0].routes[0].path=/a,gateway.listeners[0].routes[0].service=tcp,gateway.listeners[0].routes[0].prefix=/b",
        ],
        "gateway.listeners.0.routes.0",
    ),
    (&[HTTP, "gateway.listeners[0].stickyCookie=a b"], "gateway.listeners.0.stickyCookie"),
    (&[LISTENER, "gateway.listeners[0].healh.fall=1"], "gateway.listeners.0"),
    (&[LISTENER, "gateway.listeners[0].health.fall=0"], "gateway.listeners.0.health.fall"),
    (&["kafka.broadcastTopic=a b"], "kafka.broadcastTopic"),
    (&["kafka.broker=x:9092"], "kafka"),
    (&["kafka.heap=lots"], "kafka.heap"),
    (&["kafka.image=apache/kafka"], "kafka.image"),
    (&["kafka.sasl.user="], "kafka.sasl.user"),
    (&["kafka.storage.size=big"], "kafka.storage.size"),
    (&["gateway.tunnelTimeout=1"], "gateway.tunnelTimeout"),
    (&["redis.address=there"], "redis.address"),
    (&["redis.password=x"], "redis"),
    (&["etcd.endpoints=e:2379"], "etcd.endpoints"),
    (&["etcd.endpoints=https://e:2379"], "etcd.endpoints"),
    (&["cassandra.contactPoints=there"], "cassandra.contactPoints"),
    (&["cassandra.contactPoints=user@there:9042"], "cassandra.contactPoints"),
    (&["cassandra.replicas=0"], "cassandra.replicas"),
    (&["cassandra.password=x"], "cassandra"),
    (&["etcd.member=5"], "etcd"),
    (&["etcd.members=2"], "etcd.members"),
    (&["etcd.storage.size="], "etcd.storage.size"),
    (&["balancer.existingSecret=A B"], "balancer.existingSecret"),
    (&["ws.existingSecret=mine"], "ws"),
    (&["ws-client.replicas=-1"], "ws-client.replicas"),
    (&["balancer.replicas=-1"], "balancer.replicas"),
    (&["profiles.replicas=-1"], "profiles.replicas"),
    (&["page.replicas=-1"], "page.replicas"),
    (&["memcached.port=x"], "memcached.port"),
    (&["memcached.replicas=0"], "memcached.replicas"),
    (&["elasticsearch.url=localhost:9200"], "elasticsearch.url"),
    (&["elasticsearch.existingSecret=No Secret"], "elasticsearch.existingSecret"),
    (&["elasticsearch.kibana.enabled=1"], "elasticsearch.kibana.enabled"),
    (&["prometheus.operator=true"], "prometheus.url"),
    (&["prometheus.retention=long"], "prometheus.retention"),
    (&["prometheus.operatorLabels.release[0]=1"], "prometheus.operatorLabels.release"),
    (&["metrics.source=graphite"], "metrics.source"),
    (&["metrics.source=prometheus"], "prometheus.enabled"),
    (&["metrics.window=1"], "metrics.window"),
    (&["metrics=fast"], "metrics"),
    (&["image.pullPolicy=Sometimes"], "image.pullPolicy"),
    (&["image.tag=a b"], "image.tag"),
    (&["imagePullSecrets[0]=No Secret"], "imagePullSecrets.0"),
    (&["secrets.generate=perhaps"], "secrets.generate"),
    (&["monitoring.namespace=Monitoring"], "monitoring.namespace"),
    (&["networkPolicy.enable=true"], "networkPolicy"),
    (&["scheduling.tolerations[0].effect=NoWay"], "scheduling.tolerations.0.effect"),
    (&["cadvisor.image=cadvisor:"], "cadvisor.image"),
    (&["envoy.serviceType=Balancer"], "envoy.serviceType"),
    (&["envoy.externalIPs[0]=everywhere"], "envoy.externalIPs.0"),
    (&["frobnicate=1"], ""),
];

/// Several mistakes at once, each of which is told.
pub(crate) const SEVERAL: &[(&[&str], &[&str])] = &[
    (
        &["tcp.autoscaling.maxReplicas=x,tcp.autoscaling.minReplicas=-1"],
        &["tcp.autoscaling.maxReplicas", "tcp.autoscaling.minReplicas"],
    ),
    (
        &["tcp.autoscaling.maxReplicas=251,tcp.autoscaling.minReplicas=-1"],
        &["tcp.autoscaling.maxReplicas", "tcp.autoscaling.minReplicas"],
    ),
    (
        &["tcp.autoscaling.maxReplicas=x,tcp.autoscaling.minReplicas=y", SCALE_UP, "tcp.port=0"],
        &[
            "tcp.autoscaling.behavior.scaleUp.policies.0.type",
            "tcp.autoscaling.behavior.scaleUp.policies.0.value",
            "tcp.autoscaling.behavior.scaleUp.policies.1",
            "tcp.autoscaling.behavior.scaleUp.selectPolicy",
            "tcp.autoscaling.maxReplicas",
            "tcp.autoscaling.minReplicas",
            "tcp.port",
        ],
    ),
    (&["tcp.autoscaling=x,tcp.replicas=251"], &["tcp.autoscaling", "tcp.replicas"]),
];
const SCALE_UP: &str = "tcp.autoscaling.behavior.scaleUp.selectPolicy=Most,\
                        tcp.autoscaling.behavior.scaleUp.policies[0].type=Some,\
                        tcp.autoscaling.behavior.scaleUp.policies[0].value=x,\
                        tcp.autoscaling.behavior.scaleUp.policies[0].periodSeconds=1,\
                        tcp.autoscaling.behavior.scaleUp.policies[1].value=1";

const LISTENER: &str = "gateway.listeners[0].name=a,gateway.listeners[0].protocol=TCP,gateway.listeners[0].port=1,\
                        gateway.listeners[0].service=tcp";

const HTTP: &str = "gateway.listeners[0].name=a,gateway.listeners[0].protocol=HTTP,gateway.listeners[0].port=1,\
                    gateway.listeners[0].service=ws";
const ROUTE: &str = "gateway.listeners[0].routes[0].path=/main,gateway.listeners[0].routes[0].service=tcp";

/// Rules between values that a schema cannot express; the chart's templates have them.
pub(crate) const BETWEEN: &[(&[&str], &str)] = &[
    (
        &["tcp.replicas=2"],
        "tcp.replicas: the autoscaler owns the replicas; for a fixed number set tcp.autoscaling=null",
    ),
    (&["tcp.adminPort=40000"], "tcp.adminPort: expected another port than the service's own"),
    (
        &["tcp.autoscaling.minReplicas=6"],
        "tcp.autoscaling.maxReplicas: must be greater than or equal to `minReplicas`",
    ),
    (&["balancer.enabled=true"], "balancer.env.KUBERNETES_APP_LABEL: expected a service that runs"),
    (&["labels.traffic=no"], "labels.traffic: expected a label that the chart does not set itself"),
    (
        &["labels.app\\.kubernetes\\.io/name=mine"],
        "labels.app.kubernetes.io/name: expected a label that the chart does not set itself",
    ),
    (&["metrics.window=5s"], "metrics.window: expected at least the scrape interval"),
    (
        &[HTTP, ROUTE, "gateway.listeners[0].routes[1].path=/main,gateway.listeners[0].routes[1].service=ws"],
        "gateway.listeners[0].routes[1].path: expected a path that no other route has",
    ),
    (
        &[
            LISTENER,
            "gateway.listeners[1].name=b,gateway.listeners[1].protocol=HTTP,gateway.listeners[1].port=1,gateway.listeners[1].service=ws",
        ],
        "gateway.listeners[1].port: expected a TCP port that no other listener has",
    ),
    (
        &[
            LISTENER,
            "gateway.listeners[1].name=b,gateway.listeners[1].protocol=TCP,gateway.listeners[1].port=1,gateway.listeners[1].service=tcp",
        ],
        "gateway.listeners[1].port: expected a TCP port that no other listener has",
    ),
];

/// Unusual but valid values.
pub(crate) const RIGHT: &[&[&str]] = &[
    &["tcp.autoscaling=null", "tcp.replicas=0"],
    &["tcp.resources.requests.cpu=2", "tcp.resources.limits=null"],
    &["tcp.resources.requests.memory=1e9", "tcp.resources.limits=null"],
    &["tcp.resources=null", "tcp.probes=null", "tcp.env=null"],
    &["tcp.env.BUFF_SIZE=null", "tcp.env.NEW=true", "tcp.podAnnotations.a=1"],
    &["tcp.global.x=2", "global.anything=1", "tags.some=true"],
    &["gateway.stallTimeout=0s", "gateway.idleTimeout=1h30m", "metrics.scrapeInterval=0.5s"],
    &[LISTENER, "gateway.listeners[0].policy=random", "gateway.listeners[0].health.rise=2"],
    &[HTTP, ROUTE, "gateway.listeners[0].stickyCookie="],
    &["kafka.brokers=a:9092", "elasticsearch.url=http://es:9200", "memcached.host=cache"],
    &["metrics.source=prometheus", "prometheus.enabled=true", "prometheus.retention=1d12h"],
    &["prometheus.operator=true", "prometheus.url=http://prometheus:9090"],
    &[
        "image.repository=registry.example.org:5000/team/playctl",
        "image.tag=0.1.0",
        "imagePullSecrets[0]=pull",
    ],
    &["kafka.image=registry.example.org:5000/apache/kafka:4.1.0", "kafka.storage.size=", "kafka.heap=2g"],
    &["balancer.enabled=true,balancer.env.KUBERNETES_APP_LABEL=chat", "etcd.members=5"],
    &["balancer.env=null", "balancer.enabled=true", "ws.enabled=true"],
    &["labels.team=7", "labels.example\\.com/cost=chat", "scheduling.priorityClassName=high"],
    &["scheduling.tolerations[0].key=gpu,scheduling.tolerations[0].operator=Exists"],
    &["envoy.externalIPs[0]=192.168.49.2", "envoy.host=::"],
];
