//! Namespaces of the control plane, what is in them, and accounts that look at them.

use std::{
    env, fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, LazyLock, mpsc},
    thread,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use cluster::{ClusterTarget, Options};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Event as Said, Pod, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use parking_lot::Mutex;
use platform::{Event, EventKind, Target as _, target::EventsFrom};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    cut::Cut,
    metrics::{self, Certificate},
    reading,
};

/// For everything on a busy machine. After an API server was killed, the controller finds the metrics API again only when
/// it renews its discovery, every 30 s, and that may fail more than once.
const PATIENCE: Duration = Duration::from_mins(4);
const PAUSE: Duration = Duration::from_millis(50);

/// The testbed's control plane, by its administrator.
pub(crate) struct Admin {
    runtime: Runtime,
    client: Client,
    kubeconfig: PathBuf,
    server: String,
    authority: String,
}

/// One for all tests: there is one server of metrics.
static ADMIN: LazyLock<Admin> = LazyLock::new(Admin::new);
static LOADS: LazyLock<metrics::Loads> = LazyLock::new(|| metrics::serve(&ADMIN));

fn needed(variable: &str) -> PathBuf {
    let found = env::var_os(variable);
    found
        .unwrap_or_else(|| panic!("{variable} is not set; run this by infrastructure/testbed/test cluster"))
        .into()
}

impl Admin {
    fn new() -> Self {
        let kubeconfig = needed("KUBECONFIG");
        let runtime = Runtime::new().unwrap();
        let read = Kubeconfig::read_from(&kubeconfig).unwrap();
        let cluster = read.clusters[0].cluster.clone().unwrap();
        let mut config =
            runtime.block_on(Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())).unwrap();
        // It is on this machine, whatever the environment says about others.
        config.proxy_url = None;
        let client = runtime.block_on(async { Client::try_from(config) }).unwrap();
        let (server, authority) = (cluster.server.unwrap(), cluster.certificate_authority_data.unwrap());
        Self { runtime, client, kubeconfig, server, authority }
    }

    fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    /// Creates an object of any kind, or what is there already stays.
    fn create(&self, namespace: Option<&str>, object: &Value) {
        let text = |key: &str| object[key].as_str().unwrap().to_owned();
        let (kind, version) = (text("kind"), text("apiVersion"));
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let client = self.client.clone();
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let name = object["metadata"]["name"].as_str().unwrap();
        let patch = Patch::Apply(object);
        let applied = self.wait(async { api.patch(name, &PatchParams::apply("test").force(), &patch).await });
        applied.unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    /// Has the API server fetch custom and external metrics from this port.
    pub(crate) fn register(&self, port: u16) {
        self.create(
            Some("kube-system"),
            &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "test-metrics"},
                "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}}),
        );
        for (group, version) in [("custom.metrics.k8s.io", "v1beta2"), ("external.metrics.k8s.io", "v1beta1")]
        {
            self.create(
                None,
                &json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                    "metadata": {"name": format!("{version}.{group}")},
                    "spec": {"group": group, "version": version, "groupPriorityMinimum": 100,
                        "versionPriority": 200, "insecureSkipTLSVerify": true,
                        "service": {"name": "test-metrics", "namespace": "kube-system", "port": port}}}),
            );
        }
    }

    /// Pods of an application that run.
    pub(crate) fn running(&self, namespace: &str, app: &str) -> Vec<String> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let of_app = ListParams::default().labels(&format!("app={app}"));
        let Ok(pods) = self.wait(async { pods.list(&of_app).await }) else { return Vec::new() };
        let runs =
            |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        pods.items.into_iter().filter(runs).filter_map(|pod| pod.metadata.name).collect()
    }
}

/// Waits until it is so.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = clock::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a cluster")]
fn pause() {
    thread::sleep(PAUSE);
}

/// Kills it without notice; the testbed starts it again.
pub(crate) fn kill_api_server() {
    let file = needed("KUBERNETES_RUN").join("apiserver.pid");
    let pid = fs::read_to_string(file).unwrap();
    let killed = Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap();
    assert!(killed.success());
}

/// A namespace of its own; deleted at the end.
pub(crate) struct Namespace {
    admin: &'static Admin,
    name: String,
    folder: tempfile::TempDir,
}

impl Namespace {
    pub(crate) fn new(purpose: &str) -> Self {
        let admin = &*ADMIN;
        LazyLock::force(&LOADS);
        let name = format!("{purpose}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        admin.create(None, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        Self { admin, name, folder: tempfile::tempdir().unwrap() }
    }

    /// A Deployment, and a Service in front of it; returns when its pods run.
    pub(crate) fn application(&self, name: &str, replicas: i32) {
        self.load(name, 100_000);
        let labels = json!({"app": name});
        let container =
            json!({"name": "app", "image": "somebody/else:1", "ports": [{"containerPort": 7000}]});
        self.admin.create(
            Some(&self.name),
            &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
                "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}}),
        );
        self.admin.create(
            Some(&self.name),
            &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                "spec": {"selector": labels, "ports": [{"port": 7000}]}}),
        );
        self.replicas(name, replicas);
        self.settled(name, replicas);
    }

    /// The same with an admin port and the label by which its Service selects.
    pub(crate) fn application_with(&self, name: &str, replicas: i32, admin: u16) {
        let (labels, own) = (json!({"app": name, "traffic": "active"}), json!({"app": name}));
        let container = json!({"name": "app", "image": "somebody/else:1",
            "ports": [{"containerPort": 7000}, {"name": "admin", "containerPort": admin}]});
        let objects = [
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
                "spec": {"replicas": replicas, "selector": {"matchLabels": own},
                    "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                "spec": {"selector": labels, "ports": [{"port": 7000}]}}),
        ];
        for object in &objects {
            self.admin.create(Some(&self.name), object);
        }
        self.settled(name, replicas);
    }

    /// The pods to which a Service leads new connections.
    pub(crate) fn endpoints(&self, service: &str) -> Vec<String> {
        let slices: Api<EndpointSlice> = Api::namespaced(self.admin.client.clone(), &self.name);
        let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
        let slices = self.admin.wait(async { slices.list(&of_service).await });
        let endpoints = slices.into_iter().flat_map(|slices| slices.items).flat_map(|slice| slice.endpoints);
        let ready = endpoints.filter(|one| one.conditions.as_ref().is_some_and(|is| is.ready == Some(true)));
        ready.filter_map(|one| one.target_ref?.name).collect()
    }

    pub(crate) fn pod_version(&self, pod: &str) -> String {
        self.object("v1", "Pod", pod).unwrap().metadata.resource_version.unwrap()
    }

    /// Says that a pod has this address.
    pub(crate) fn set_ip(&self, pod: &str, ip: &str) {
        let pods: Api<Pod> = Api::namespaced(self.admin.client.clone(), &self.name);
        let patch = Patch::Merge(json!({"status": {"podIP": ip, "podIPs": [{"ip": ip}]}}));
        self.admin.wait(async { pods.patch_status(pod, &PatchParams::default(), &patch).await }).unwrap();
    }

    pub(crate) fn delete(&self, version: &str, kind: &str, name: &str) {
        let api = self.api(version, kind);
        self.admin.wait(async { api.delete(name, &DeleteParams::default()).await }).unwrap();
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A Service in front of an application.
    pub(crate) fn front(&self, app: &str, spec: &Value) {
        let mut spec = spec.clone();
        spec["selector"] = json!({"app": app});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("{app}-front")}, "spec": spec});
        self.admin.create(Some(&self.name), &service);
    }

    /// What a load balancer would say: nothing gives out addresses here.
    pub(crate) fn balancer(&self, app: &str, ips: &[&str]) {
        let services: Api<Service> = Api::namespaced(self.admin.client.clone(), &self.name);
        let ingress: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        let patch = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": ingress}}}));
        let name = format!("{app}-front");
        let params = PatchParams::default();
        self.admin.wait(async { services.patch_status(&name, &params, &patch).await }).unwrap();
    }

    /// Pods with any privilege are refused.
    pub(crate) fn enforce_restricted(&self) {
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": labels}});
        self.admin.create(None, &namespace);
    }

    pub(crate) fn quota(&self, resource: &str, most: &str) {
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"},
            "spec": {"hard": {resource: most}}});
        self.admin.create(Some(&self.name), &quota);
        // Its controller has to have counted first; until then everything is refused for another reason.
        until("the quota to be counted", || {
            self.object("v1", "ResourceQuota", "quota")?.data["status"]["hard"][resource].as_str().map(drop)
        });
    }

    pub(crate) fn has(&self, version: &str, kind: &str, name: &str) -> bool {
        self.object(version, kind, name).is_some()
    }

    pub(crate) fn until_gone(&self, version: &str, kind: &str, name: &str) {
        until(&format!("{kind} {name} to be gone"), || (!self.has(version, kind, name)).then_some(()));
    }

    pub(crate) fn until_no_pods(&self, labels: &str) {
        let pods: Api<Pod> = Api::namespaced(self.admin.client.clone(), &self.name);
        until(&format!("no pod of {labels}"), || {
            let list =
                self.admin.wait(async { pods.list(&ListParams::default().labels(labels)).await }).ok()?;
            list.items.is_empty().then_some(())
        });
    }

    /// An autoscaler by `load`, 100 for each pod.
    pub(crate) fn autoscaler(&self, name: &str, min: i32, max: i32) {
        let metric = json!({"type": "Pods", "pods": {"metric": {"name": "load"},
            "target": {"type": "AverageValue", "averageValue": "100"}}});
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name});
        self.autoscaler_of(name, &target, &json!([metric]), min, max);
    }

    /// An autoscaler of anything, by any metrics; returns when it works.
    pub(crate) fn autoscaler_of(&self, name: &str, target: &Value, metrics: &Value, min: i32, max: i32) {
        let behavior = json!({
            "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 10, "periodSeconds": 3}]},
            "scaleDown": {"stabilizationWindowSeconds": 4, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 3}]},
        });
        self.admin.create(
            Some(&self.name),
            &json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
                "spec": {"scaleTargetRef": target, "minReplicas": min, "maxReplicas": max, "metrics": metrics,
                    "behavior": behavior}}),
        );
        until("the autoscaler to work", || {
            let hpa = self.object("autoscaling/v2", "HorizontalPodAutoscaler", name)?;
            let conditions = hpa.data["status"]["conditions"].as_array()?.clone();
            conditions
                .iter()
                .any(|one| one["type"] == "ScalingActive" && one["status"] == "True")
                .then_some(())
        });
    }

    /// Creates an object in this namespace, or makes it what it should be.
    pub(crate) fn put(&self, object: &Value) {
        self.admin.create(Some(&self.name), object);
    }

    /// The same, if the API server takes it by now.
    pub(crate) fn try_put(&self, object: &Value) -> Option<()> {
        let (kind, version) = (object["kind"].as_str().unwrap(), object["apiVersion"].as_str().unwrap());
        let api = self.api(version, kind);
        let (name, patch) = (object["metadata"]["name"].as_str().unwrap(), Patch::Apply(object));
        let params = PatchParams::apply("test").force();
        self.admin.wait(async { api.patch(name, &params, &patch).await }).ok().map(drop)
    }

    /// Sets the status, as a controller does.
    pub(crate) fn status(&self, version: &str, kind: &str, name: &str, status: &Value) {
        let api = self.api(version, kind);
        let patch = Patch::Merge(json!({"status": status}));
        self.admin.wait(async { api.patch_status(name, &PatchParams::default(), &patch).await }).unwrap();
    }

    fn api(&self, version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.admin.client.clone(), &self.name, &resource)
    }

    /// The same for one that belongs to no namespace.
    pub(crate) fn put_for_all(&self, object: &Value) {
        self.admin.create(None, object);
    }

    /// What each pod of an application has of `load`, in milli-units.
    pub(crate) fn load(&self, app: &str, milli: i64) {
        LOADS.lock().insert((self.name.clone(), app.to_owned()), milli);
    }

    fn object(&self, version: &str, kind: &str, name: &str) -> Option<DynamicObject> {
        let api = self.api(version, kind);
        self.admin.wait(async { api.get(name).await }).ok()
    }

    /// Sets the replicas by hand.
    pub(crate) fn replicas(&self, name: &str, replicas: i32) {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment"));
        let api: Api<DynamicObject> = Api::namespaced_with(self.admin.client.clone(), &self.name, &resource);
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let params = PatchParams { field_manager: Some("kubectl".to_owned()), ..PatchParams::default() };
        self.admin.wait(async { api.patch_scale(name, &params, &patch).await }).unwrap();
    }

    /// Waits until a Deployment has this number of pods, all ready, and no others.
    pub(crate) fn settled(&self, name: &str, replicas: i32) {
        let replicas = i64::from(replicas);
        until(&format!("{replicas} pods of {name}"), || {
            let deployment = self.object("apps/v1", "Deployment", name)?;
            let (spec, status) = (&deployment.data["spec"], &deployment.data["status"]);
            let count = |key: &str| status[key].as_i64().unwrap_or(0);
            let seen = status["observedGeneration"] == json!(deployment.metadata.generation);
            let settled = seen
                && spec["replicas"] == replicas
                && count("replicas") == replicas
                && count("readyReplicas") == replicas;
            (settled && self.pods(name).len() == usize::try_from(replicas).unwrap()).then_some(())
        });
    }

    fn pod_objects(&self, app: &str) -> Vec<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.admin.client.clone(), &self.name);
        let of_app = ListParams::default().labels(&format!("app={app}"));
        self.admin.wait(async { pods.list(&of_app).await }).map(|list| list.items).unwrap_or_default()
    }

    pub(crate) fn pods(&self, app: &str) -> Vec<String> {
        self.pod_objects(app).into_iter().filter_map(|pod| pod.metadata.name).collect()
    }

    pub(crate) fn nodes_of(&self, app: &str) -> Vec<String> {
        self.pod_objects(app).into_iter().filter_map(|pod| pod.spec?.node_name).collect()
    }

    pub(crate) fn node_of(&self, app: &str) -> String {
        self.nodes_of(app).remove(0)
    }

    /// What the controller said of its changes, in order, each as often as it said it.
    pub(crate) fn rescales(&self, hpa: &str) -> Vec<(String, jiff::Timestamp)> {
        let events: Api<Said> = Api::namespaced(self.admin.client.clone(), &self.name);
        let of_hpa =
            ListParams::default().fields(&format!("reason=SuccessfulRescale,involvedObject.name={hpa}"));
        let events = self.admin.wait(async { events.list(&of_hpa).await }).unwrap();
        let said = events.items.into_iter().map(|event| {
            assert_eq!(event.count, Some(1), "this test does not scale to one count twice");
            (event.message.unwrap(), event.last_timestamp.unwrap().0, event.metadata.creation_timestamp)
        });
        let mut said: Vec<_> = said.collect();
        said.sort_by(|one, other| (one.1, &one.2).cmp(&(other.1, &other.2)));
        said.into_iter().map(|(message, at, _)| (message, at)).collect()
    }

    fn options(&self, kubeconfig: &Path) -> Options {
        Options {
            kubeconfig: Some(kubeconfig.to_owned()),
            namespace: Some(self.name.clone()),
            ..Options::default()
        }
    }

    pub(crate) fn options_of_admin(&self) -> Options {
        self.options(&self.admin.kubeconfig)
    }

    /// `data` of an object of the core group.
    pub(crate) fn data(&self, kind: &str, name: &str) -> Value {
        self.object("v1", kind, name).unwrap().data["data"].clone()
    }

    /// Changes an object of the core group, as somebody else.
    pub(crate) fn patch(&self, kind: &str, name: &str, patch: &Value) {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", kind));
        let api: Api<DynamicObject> = Api::namespaced_with(self.admin.client.clone(), &self.name, &resource);
        let params = PatchParams { field_manager: Some("kubectl".to_owned()), ..PatchParams::default() };
        self.admin.wait(async { api.patch(name, &params, &Patch::Merge(patch)).await }).unwrap();
    }

    pub(crate) fn admin(&self) -> ClusterTarget {
        ClusterTarget::connect(&self.options(&self.admin.kubeconfig), None).unwrap()
    }

    /// The administrator, who is asked again and again whether to go on waiting.
    pub(crate) fn admin_until(
        &self,
        on_wait: impl Fn(Duration) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> ClusterTarget {
        ClusterTarget::connect(&self.options(&self.admin.kubeconfig), Some(Arc::new(on_wait))).unwrap()
    }

    /// The administrator, looking at one autoscaler.
    pub(crate) fn alone(&self, hpa: &str) -> ClusterTarget {
        let options = Options { hpa: Some(hpa.to_owned()), ..self.options(&self.admin.kubeconfig) };
        ClusterTarget::connect(&options, None).unwrap()
    }

    /// A service account with these rules in this namespace; `nodes`: it may read nodes, too.
    pub(crate) fn account(&self, account: &str, rules: &Value, nodes: bool) -> ClusterTarget {
        let token = self.token(account, rules, nodes);
        let kubeconfig = self.kubeconfig(account, &self.admin.server, &token);
        ClusterTarget::connect(&self.options(&kubeconfig), None).unwrap()
    }

    /// The same through a proxy, whose certificate is trusted like the API server's.
    pub(crate) fn account_through(
        &self,
        account: &str,
        proxy: &str,
        certificate: Option<&Certificate>,
    ) -> ClusterTarget {
        let token = self.token(account, &reading(), true);
        let file = self.kubeconfig(account, &self.admin.server, &token);
        let mut kubeconfig: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let cluster = &mut kubeconfig["clusters"][0]["cluster"];
        cluster["proxy-url"] = proxy.into();
        if let Some(certificate) = certificate {
            let mut authorities = BASE64_STANDARD.decode(&self.admin.authority).unwrap();
            authorities.extend(certificate.pem.as_bytes());
            cluster["certificate-authority-data"] = BASE64_STANDARD.encode(authorities).into();
        }
        fs::write(&file, kubeconfig.to_string()).unwrap();
        ClusterTarget::connect(&self.options(&file), None).unwrap()
    }

    /// The API server's address.
    pub(crate) fn server(&self) -> &str {
        &self.admin.server
    }

    /// A service account that looks at one autoscaler.
    pub(crate) fn account_for(&self, account: &str, rules: &Value, hpa: &str) -> ClusterTarget {
        let token = self.token(account, rules, true);
        let kubeconfig = self.kubeconfig(account, &self.admin.server, &token);
        let options = Options { hpa: Some(hpa.to_owned()), ..self.options(&kubeconfig) };
        ClusterTarget::connect(&options, None).unwrap()
    }

    /// The same by a way that can be cut.
    pub(crate) fn through_a_cut(&self, account: &str, rules: &Value) -> (ClusterTarget, Cut) {
        let token = self.token(account, rules, true);
        let server = self.admin.server.strip_prefix("https://").unwrap().parse().unwrap();
        let cut = Cut::new(server);
        let kubeconfig = self.kubeconfig(account, &format!("https://{}", cut.address), &token);
        (ClusterTarget::connect(&self.options(&kubeconfig), None).unwrap(), cut)
    }

    fn token(&self, account: &str, rules: &Value, nodes: bool) -> String {
        let (namespace, admin) = (&self.name, self.admin);
        let here = Some(namespace.as_str());
        admin.create(
            here,
            &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}),
        );
        let rbac = "rbac.authorization.k8s.io/v1";
        let subjects = json!([{"kind": "ServiceAccount", "name": account, "namespace": namespace}]);
        let bind = |kind: &str, role: &str, name: &str| {
            json!({"apiVersion": rbac, "kind": kind, "metadata": {"name": name}, "subjects": subjects,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name}})
        };
        admin.create(
            here,
            &json!({"apiVersion": rbac, "kind": "Role", "metadata": {"name": account}, "rules": rules}),
        );
        admin.create(here, &bind("RoleBinding", "Role", account));
        if nodes {
            let name = format!("{namespace}-{account}");
            let rules =
                json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}]);
            admin.create(None, &json!({"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}));
            admin.create(None, &bind("ClusterRoleBinding", "ClusterRole", &name));
        }
        let accounts: Api<ServiceAccount> = Api::namespaced(admin.client.clone(), namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { audiences: Vec::new(), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let token = admin
            .wait(async { accounts.create_token_request(account, &PostParams::default(), &request).await });
        token.unwrap().status.unwrap().token
    }

    fn kubeconfig(&self, account: &str, server: &str, token: &str) -> PathBuf {
        let file = self.folder.path().join(account);
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": account,
            "clusters": [{"name": "testbed", "cluster":
                {"server": server, "certificate-authority-data": self.admin.authority}}],
            "users": [{"name": account, "user": {"token": token}}],
            "contexts": [{"name": account, "context": {"cluster": "testbed", "user": account}}]});
        fs::write(&file, kubeconfig.to_string()).unwrap();
        file
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.admin.client.clone());
        // The whole control plane goes away after the tests.
        let _ = self.admin.wait(async { namespaces.delete(&self.name, &DeleteParams::default()).await });
    }
}

/// A target's events, collected by a thread of its own.
pub(crate) struct Watched {
    events: Arc<Mutex<Vec<Event>>>,
}

impl Watched {
    /// Returns when the stream has begun.
    pub(crate) fn new(target: &ClusterTarget) -> Self {
        let stream = target.events(EventsFrom::Now).unwrap();
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let collected = Arc::clone(&events);
        let (began, begins) = mpsc::channel();
        // It ends with the target.
        thread::spawn(move || {
            for event in stream.map_while(Result::ok) {
                collected.lock().push(event);
                let _ = began.send(());
            }
        });
        begins.recv_timeout(PATIENCE).expect("the first event");
        Self { events }
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().clone()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let events = self.events();
        let warnings = events.into_iter().filter_map(|event| match event.kind {
            EventKind::Warning { message } => Some(message),
            _ => None,
        });
        warnings.collect()
    }

    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&[EventKind]) -> bool) {
        let began = clock::now();
        loop {
            let kinds: Vec<EventKind> = self.events().into_iter().map(|event| event.kind).collect();
            if is_so(&kinds) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}; there was: {kinds:#?}");
            pause();
        }
    }

    pub(crate) fn until_warned(&self, words: &str) {
        until(words, || self.warnings().iter().any(|warning| warning.contains(words)).then_some(()));
    }
}
