//! The settings, their variables and their defaults.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use balance::{ExcessRules, Rules};
use service::settings::common::{ADMIN_HOST, ADMIN_PORT, HOST, POD_NAME};
use service::settings::{Env, Host, Invalid, Reader, Setting, Variable};
use service::{kafka, logs, redis, shed};

const PORT: Variable = Variable::new("PORT", "8488", "TCP port of the service; 0 is any free one.");
const POLICY: Variable = Variable::new(
    "POLICY",
    "auto",
    "`utilization` sets the number of replicas, `excess` only rebalances; `auto` is `excess` beside an autoscaler \
     and `utilization` without one.",
);
const KUBERNETES_APP_LABEL: Variable = Variable::new(
    "KUBERNETES_APP_LABEL",
    "ws",
    "The service to balance: its name on the platform, the Deployment's name in a cluster.",
);
const ENVIRONMENT_TYPE: Variable = Variable::new(
    "ENVIRONMENT_TYPE",
    "k8s",
    "`k8s`, or `container_runtime`, where no replicas can be added: the balancer then only says what it would do.",
);
const PLAYCTL_PLATFORM: Variable = Variable::optional(
    "PLAYCTL_PLATFORM",
    "The local platform to act on. If not set, the balancer acts on the cluster that it runs in, and outside a cluster only \
     says what it would do.",
);
const BALANCER_KUBECONFIG: Variable = Variable::optional(
    "BALANCER_KUBECONFIG",
    "A kubeconfig file, to act from outside the cluster on the namespace of its current context.",
);
const BALANCER_LEASE: Variable = Variable::optional(
    "BALANCER_LEASE",
    "In a cluster: the Lease that elects the acting balancer; if not set, `balancer-SERVICE`.",
);
const CONNECTIONS_METRIC: Variable = Variable::optional(
    "CONNECTIONS_METRIC",
    "In a cluster: the gauge of connections at `/metrics` of the replicas' port `admin`; if not set, `tcp_connections` \
     for `tcp`, `ws_sessions` for `ws`.",
);
const SHED_TOKEN: Variable =
    Variable::optional("SHED_TOKEN", "In a cluster: the replicas' own SHED_TOKEN, sent with orders to shed.");
const SESSIONS_FROM: Variable = Variable::new(
    "SESSIONS_FROM",
    "auto",
    "`redis`: sessions listed in Redis; `connections`: established connections, as the platform counts them; \
     `auto` is `redis` for `ws` and `stream`, `connections` for others.",
);
const CONNECTION_LIMIT_PER_HOST: Variable = Variable::new(
    "CONNECTION_LIMIT_PER_HOST",
    "10",
    "Sessions that a server is meant for (`utilization`); determines the number of servers.",
);
const MAX_UTILIZATION_PERCENT: Variable =
    Variable::new("MAX_UTILIZATION_PERCENT", "70", "Maximum utilization of the servers (`utilization`).");
const MIN_UTILIZATION_PERCENT: Variable = Variable::new(
    "MIN_UTILIZATION_PERCENT",
    "40",
    "Below this utilization, a server takes no new sessions and is removed when it is empty (`utilization`).",
);
const OVERUTILIZED_TOLERANCE_PERCENT: Variable = Variable::new(
    "OVERUTILIZED_TOLERANCE_PERCENT",
    "10",
    "How far all servers together may exceed the maximum, and a single one the average.",
);
const UNDERUTILIZED_TOLERANCE_PERCENT: Variable =
    Variable::new("UNDERUTILIZED_TOLERANCE_PERCENT", "10", "Read for compatibility; no rule uses it.");
const WS_SESSION_MAX_SESSIONS: Variable = Variable::new(
    "WS_SESSION_MAX_SESSIONS",
    "10",
    "Capacity of a server of WebSocket sessions (`utilization`).",
);
const SSE_SESSION_MAX_SESSIONS: Variable =
    Variable::new("SSE_SESSION_MAX_SESSIONS", "10", "Capacity of a server of SSE sessions (`utilization`).");
const REPLICAS_MAX: Variable =
    Variable::new("REPLICAS_MAX", "10", "Never more replicas than this (`utilization`).");
const UTILIZATION_INTERVAL: Variable = Variable::new(
    "UTILIZATION_INTERVAL",
    "10",
    "How often to decide the number of servers (`utilization`), or to check the balance (`excess`). Seconds, at least \
     100ms.",
);
const BALANCE_INTERVAL: Variable = Variable::new(
    "BALANCE_INTERVAL",
    "60",
    "How often overfull servers shed (`utilization`), or the minimum time between rebalancings (`excess`). Seconds, at \
     least 100ms.",
);
const CAPACITY: Variable =
    Variable::new("CAPACITY", "0", "Connections that a server can take (`excess`); 0 is any number.");
const SHED_RATE: Variable =
    Variable::new("SHED_RATE", "200", "Sessions to move per second, over all servers.");
const ACCEPT_RATE: Variable =
    Variable::new("ACCEPT_RATE", "400", "New connections that a server accepts per second (`excess`).");
const SETTLE: Variable = Variable::new(
    "SETTLE",
    "15",
    "How long to move nothing after a change of the replicas (`excess`); seconds.",
);
const OUTCOME_AFTER: Variable = Variable::new(
    "OUTCOME_AFTER",
    "10",
    "How long after a round of shedding counts are right again, once clients are back and metrics have followed \
     (`excess`); seconds.",
);
const METRIC_WINDOW: Variable = Variable::new(
    "METRIC_WINDOW",
    "60",
    "Window of the autoscaler's metric, during which a moved connection counts twice (`excess`); \
     seconds.",
);

/// How the original found its servers.
const REFUSED: [&Variable; 4] = [
    &Variable::optional("CONSUL_HOST", "Rejected: servers are found through the platform."),
    &Variable::optional("CONSUL_PORT", "Rejected: servers are found through the platform."),
    &Variable::optional("DOCKER_SOCKET_PROXY_HOST", "Rejected: servers are started by the platform."),
    &Variable::optional("DOCKER_SOCKET_PROXY_PORT", "Rejected: servers are started by the platform."),
];

/// The interval of autoscalers' syncs.
const SYNC: Duration = Duration::from_secs(15);
const INTERVAL_LEAST: Duration = Duration::from_millis(100);

/// The rules that decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Excess beside an autoscaler, utilization without one.
    Auto,
    Utilization,
    Excess,
}

impl Setting for Policy {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "utilization" => Ok(Self::Utilization),
            "excess" => Ok(Self::Excess),
            _ => Err("auto, utilization or excess".into()),
        }
    }
}

/// Where the balancer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    K8s,
    /// Docker without an orchestrator.
    ContainerRuntime,
}

impl Setting for Environment {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "k8s" => Ok(Self::K8s),
            "container_runtime" => Ok(Self::ContainerRuntime),
            _ => Err("k8s or container_runtime".into()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionsFrom {
    Auto,
    Redis,
    Connections,
}

impl Setting for SessionsFrom {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "redis" => Ok(Self::Redis),
            "connections" => Ok(Self::Connections),
            _ => Err("auto, redis or connections".into()),
        }
    }
}

/// Settings that matter only in a cluster.
#[derive(Clone)]
pub struct ClusterSettings {
    /// To act from outside the cluster.
    pub kubeconfig: Option<PathBuf>,
    pub lease: String,
    /// The gauge of connections, if these are counted.
    pub gauge: Option<String>,
    pub shed_token: Option<String>,
}

impl fmt::Debug for ClusterSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterSettings").field("lease", &self.lease).finish_non_exhaustive()
    }
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    pub host: Host,
    pub port: u16,
    pub admin_host: Host,
    pub admin_port: u16,
    pub policy: Policy,
    /// The service to balance.
    pub service: String,
    pub environment: Environment,
    /// The local platform to act on.
    pub local_platform: Option<String>,
    pub cluster: ClusterSettings,
    /// Whether servers list their sessions in Redis; otherwise the platform counts connections.
    pub sessions_in_redis: bool,
    pub ws_capacity: u64,
    pub sse_capacity: u64,
    pub rules: Rules,
    pub excess: ExcessRules,
    pub utilization_interval: Duration,
    pub balance_interval: Duration,
    pub pod_name: Option<String>,
    pub redis: redis::Settings,
    /// Kafka; without it logs go to stderr alone.
    pub kafka: Option<kafka::Settings>,
}

impl Settings {
    /// Every variable the service reads, for documentation and help.
    pub const VARIABLES: &[&Variable] = &[
        &HOST,
        &PORT,
        &ADMIN_HOST,
        &ADMIN_PORT,
        &POLICY,
        &KUBERNETES_APP_LABEL,
        &ENVIRONMENT_TYPE,
        &PLAYCTL_PLATFORM,
        &BALANCER_KUBECONFIG,
        &BALANCER_LEASE,
        &CONNECTIONS_METRIC,
        &SHED_TOKEN,
        &SESSIONS_FROM,
        &CONNECTION_LIMIT_PER_HOST,
        &MAX_UTILIZATION_PERCENT,
        &MIN_UTILIZATION_PERCENT,
        &OVERUTILIZED_TOLERANCE_PERCENT,
        &UNDERUTILIZED_TOLERANCE_PERCENT,
        &WS_SESSION_MAX_SESSIONS,
        &SSE_SESSION_MAX_SESSIONS,
        &REPLICAS_MAX,
        &UTILIZATION_INTERVAL,
        &BALANCE_INTERVAL,
        &CAPACITY,
        &SHED_RATE,
        &ACCEPT_RATE,
        &SETTLE,
        &OUTCOME_AFTER,
        &METRIC_WINDOW,
        &POD_NAME,
        &logs::RUST_LOG,
        &redis::REDIS_HOST,
        &redis::REDIS_PORT,
        &redis::REDIS_PASSWORD,
        &kafka::KAFKA_BROKERS,
        &kafka::KAFKA_LOGGING_TOPIC,
        &kafka::KAFKA_SASL_USER,
        &kafka::KAFKA_SASL_PASSWORD,
        &kafka::KAFKA_MESSAGE_TIMEOUT,
        REFUSED[0],
        REFUSED[1],
        REFUSED[2],
        REFUSED[3],
    ];

    /// Reads the settings.
    ///
    /// # Errors
    /// Every variable with a bad value, and the variables of the original that have no meaning here.
    pub fn from_env(env: &Env) -> Result<Self, Invalid> {
        let mut reader = Reader::of_table(env, Self::VARIABLES);
        for variable in REFUSED {
            if let Some(value) = reader.optional::<String>(variable) {
                let expected = "it not to be set: servers are found and started through the platform, not by Consul \
                                nor Docker's socket; set KUBERNETES_APP_LABEL to the service's name";
                reader.refuse(variable, value, expected);
            }
        }
        let limit = above_zero(&mut reader, &CONNECTION_LIMIT_PER_HOST);
        let max_percent = above_zero(&mut reader, &MAX_UTILIZATION_PERCENT);
        let min_percent = u64::from(reader.get::<u32>(&MIN_UTILIZATION_PERCENT));
        if min_percent >= max_percent {
            let expected = format!("less than MAX_UTILIZATION_PERCENT, {max_percent}");
            reader.refuse(&MIN_UTILIZATION_PERCENT, min_percent.to_string(), expected);
        }
        let tolerance_percent = u64::from(reader.get::<u32>(&OVERUTILIZED_TOLERANCE_PERCENT));
        let _: u32 = reader.get(&UNDERUTILIZED_TOLERANCE_PERCENT);
        let utilization_interval = interval(&mut reader, &UTILIZATION_INTERVAL);
        let balance_interval = interval(&mut reader, &BALANCE_INTERVAL);
        let shed_rate = above_zero(&mut reader, &SHED_RATE);
        let service: String = reader.get(&KUBERNETES_APP_LABEL);
        let sessions_in_redis = match reader.get(&SESSIONS_FROM) {
            SessionsFrom::Auto => matches!(service.as_str(), "ws" | "stream"),
            from => from == SessionsFrom::Redis,
        };
        let replicas_max = above_zero(&mut reader, &REPLICAS_MAX) as u32;
        let rules = Rules { limit, max_percent, min_percent, tolerance_percent, replicas_max, shed_rate };
        let excess = ExcessRules {
            tolerance_percent,
            capacity: Some(u64::from(reader.get::<u32>(&CAPACITY))).filter(|capacity| *capacity > 0),
            shed_rate,
            accept_rate: above_zero(&mut reader, &ACCEPT_RATE),
            round_ms: milliseconds(utilization_interval),
            outcome_ms: milliseconds(reader.duration(&OUTCOME_AFTER)),
            settle_ms: milliseconds(reader.duration(&SETTLE)),
            pause_ms: milliseconds(balance_interval),
            twice_ms: milliseconds(reader.duration(&METRIC_WINDOW).saturating_add(SYNC)),
        };
        let cluster = cluster(&mut reader, &service, sessions_in_redis);
        let settings = Self {
            host: reader.get(&HOST),
            port: reader.get(&PORT),
            admin_host: reader.get(&ADMIN_HOST),
            admin_port: reader.get(&ADMIN_PORT),
            policy: reader.get(&POLICY),
            service,
            environment: reader.get(&ENVIRONMENT_TYPE),
            local_platform: reader.optional(&PLAYCTL_PLATFORM),
            cluster,
            sessions_in_redis,
            ws_capacity: above_zero(&mut reader, &WS_SESSION_MAX_SESSIONS),
            sse_capacity: above_zero(&mut reader, &SSE_SESSION_MAX_SESSIONS),
            rules,
            excess,
            utilization_interval,
            balance_interval,
            pod_name: reader.optional(&POD_NAME),
            redis: redis::Settings::read(&mut reader),
            kafka: kafka::Settings::read_for_logs(&mut reader),
        };
        reader.finish(settings)
    }
}

fn cluster(reader: &mut Reader<'_>, service: &str, sessions_in_redis: bool) -> ClusterSettings {
    let usual = match service {
        "tcp" => Some("tcp_connections"),
        "ws" => Some("ws_sessions"),
        _ => None,
    };
    let gauge = reader.optional(&CONNECTIONS_METRIC).or(usual.map(ToOwned::to_owned));
    let token = reader.optional::<String>(&SHED_TOKEN);
    if let Some(token) = token.as_ref().filter(|token| !shed::is_token(token)) {
        reader.refuse(&SHED_TOKEN, token.clone(), "16 to 256 visible ASCII characters");
    }
    ClusterSettings {
        kubeconfig: reader.optional::<String>(&BALANCER_KUBECONFIG).map(PathBuf::from),
        lease: reader.optional(&BALANCER_LEASE).unwrap_or_else(|| format!("balancer-{service}")),
        gauge: gauge.filter(|_| !sessions_in_redis),
        shed_token: token,
    }
}

fn above_zero(reader: &mut Reader<'_>, variable: &Variable) -> u64 {
    let value: u32 = reader.get(variable);
    if value == 0 {
        reader.refuse(variable, "0", "a whole number above 0");
    }
    u64::from(value.max(1))
}

fn interval(reader: &mut Reader<'_>, variable: &Variable) -> Duration {
    let interval = reader.duration(variable);
    if interval < INTERVAL_LEAST {
        reader.refuse_given(variable, "at least 100ms");
    }
    interval.max(INTERVAL_LEAST)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&'static str, &'static str)]) -> Result<Settings, String> {
        let env: Env = variables.iter().copied().collect();
        Settings::from_env(&env).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_match_the_original() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.port, settings.ws_capacity, settings.sse_capacity), (8488, 10, 10));
        assert_eq!(settings.rules, Rules::default());
        assert_eq!(settings.excess, ExcessRules::default());
        assert_eq!((settings.utilization_interval.as_secs(), settings.balance_interval.as_secs()), (10, 60));
        assert!(settings.sessions_in_redis);
        assert!(!read(&[("KUBERNETES_APP_LABEL", "tcp")]).unwrap().sessions_in_redis);
    }

    #[test]
    fn connections_come_from_the_services_gauge_unless_another_is_set() {
        let gauge = |variables: &[(&'static str, &'static str)]| read(variables).unwrap().cluster.gauge;
        assert_eq!(gauge(&[]), None, "Redis has the sessions of ws");
        assert_eq!(gauge(&[("SESSIONS_FROM", "connections")]).as_deref(), Some("ws_sessions"));
        assert_eq!(gauge(&[("KUBERNETES_APP_LABEL", "tcp")]).as_deref(), Some("tcp_connections"));
        let chat = [("KUBERNETES_APP_LABEL", "chat"), ("CONNECTIONS_METRIC", "users")];
        assert_eq!((gauge(&chat[..1]), gauge(&chat).as_deref()), (None, Some("users")));
        assert_eq!(read(&chat).unwrap().cluster.lease, "balancer-chat");
    }

    #[test]
    fn the_originals_discovery_settings_are_refused_with_the_reason() {
        let text = read(&[("CONSUL_HOST", "consul"), ("DOCKER_SOCKET_PROXY_PORT", "2375")]).unwrap_err();
        for part in ["CONSUL_HOST=\"consul\"", "DOCKER_SOCKET_PROXY_PORT=\"2375\"", "through the platform"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn bad_values_are_named_together() {
        let text = read(&[
            ("POLICY", "best"),
            ("ENVIRONMENT_TYPE", "docker"),
            ("CONNECTION_LIMIT_PER_HOST", "0"),
            ("MIN_UTILIZATION_PERCENT", "70"),
            ("SHED_RATE", "0"),
            ("BALANCE_INTERVAL", "1ms"),
            ("SESSIONS_FROM", "x"),
            ("SHED_TOKEN", "short"),
        ])
        .unwrap_err();
        for part in [
            r#"POLICY="best": expected auto, utilization or excess"#,
            r#"ENVIRONMENT_TYPE="docker": expected k8s or container_runtime"#,
            r#"CONNECTION_LIMIT_PER_HOST="0": expected a whole number above 0"#,
            r#"MIN_UTILIZATION_PERCENT="70": expected less than MAX_UTILIZATION_PERCENT, 70"#,
            "SHED_RATE",
            r#"BALANCE_INTERVAL="1ms": expected at least 100ms"#,
            "SESSIONS_FROM",
            "SHED_TOKEN=(hidden, 5 characters): expected 16",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
