//! Elasticsearch: one node without security.
//!
//! It refuses to run as root. Root starts it in its own user namespace, as the user `nobody` who still owns its files;
//! any other way would need a copy of the installation in a place that every user can read.

use std::{ffi::OsString, fs, io, path::Path, time::Duration};

use super::{Launch, NotServing, Spec};
use crate::http;
use crate::paths::write_private;

/// For other nodes; there are none.
pub(super) const TRANSPORT_PORT: u16 = 9300;
const HEAP: &str = "-Xms384m\n-Xmx384m\n-XX:+UseSerialGC\n-XX:TieredStopAtLevel=1\n";
/// `nobody`, within the namespace.
const NOBODY: &str = "65534";

pub(super) fn prepare(spec: &Spec, folder: &Path) -> io::Result<Launch> {
    let (config, scratch) = (folder.join("config"), folder.join("tmp"));
    for made in [&config, &scratch, &folder.join("data")] {
        fs::create_dir_all(made)?;
    }
    let home = &spec.found.home;
    // Files that it requires in addition to its own settings; jvm.options and the log configuration are ours.
    for name in ["jvm.options.d", "role_mapping.yml", "roles.yml", "users", "users_roles"] {
        let (from, to) = (home.join("config").join(name), config.join(name));
        if from.is_file() {
            fs::copy(from, to)?;
        }
    }
    write_private(&config.join("elasticsearch.yml"), settings(spec, folder))?;
    write_private(&config.join("jvm.options"), HEAP)?;
    write_private(&config.join("log4j2.properties"), LOG)?;

    let java = &spec.found.executable;
    let java_home = java.canonicalize()?.parent().and_then(Path::parent).map(Path::to_owned);
    let option = |name: &str, value: &Path| {
        let mut word = OsString::from(format!("-D{name}="));
        word.push(value);
        word
    };
    let class_path = {
        let mut both = home.join("lib/*").into_os_string();
        both.push(":");
        both.push(home.join("lib/cli-launcher/*"));
        both
    };
    // What bin/elasticsearch runs, without its search for a bundled Java: a launcher that starts the server itself.
    let mut words: Vec<OsString> = vec![java.clone().into_os_string()];
    words.extend(["-Xms4m", "-Xmx64m", "-XX:+UseSerialGC", "-Dcli.name=server"].map(OsString::from));
    words.push(option("cli.script", &home.join("bin/elasticsearch")));
    words.push("-Dcli.libs=lib/tools/server-cli".into());
    words.extend([option("es.path.home", home), option("es.path.conf", &config)]);
    words.extend(["-Des.distribution.type=tar", "-cp"].map(OsString::from));
    words.extend([class_path, "org.elasticsearch.launcher.CliToolLauncher".into()]);
    if rustix::process::geteuid().is_root() {
        let own = ["unshare", "--user", "--map-user", NOBODY, "--map-group", NOBODY, "--"];
        words.splice(0..0, own.map(OsString::from));
    }
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut environment = vec![
        ("HOME".to_owned(), text(&scratch)),
        ("ES_TMPDIR".to_owned(), text(&scratch)),
        ("ES_PATH_CONF".to_owned(), text(&config)),
    ];
    environment.extend(java_home.map(|home| ("ES_JAVA_HOME".to_owned(), text(&home))));
    Ok(Launch {
        program: words.remove(0).into(),
        arguments: words,
        environment,
        directory: Some(home.clone()),
    })
}

fn settings(spec: &Spec, folder: &Path) -> String {
    let (ip, port, folder) = (spec.ip, spec.port, folder.display());
    format!(
        "\
cluster.name: playctl
node.name: playctl
discovery.type: single-node
network.host: {ip}
http.port: {port}
transport.port: {TRANSPORT_PORT}
path.data: {folder}/data
path.logs: {folder}/tmp
xpack.security.enabled: false
node.store.allow_mmap: false
# A disk that is nearly full is the machine's business, not a reason to refuse documents.
cluster.routing.allocation.disk.threshold_enabled: false
"
    )
}

/// Traces as in Kafka's.
const LOG: &str = "\
status = error
appender.stdout.type = Console
appender.stdout.name = stdout
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d{ISO8601} %p %c{1.} %m%n%rEx{4}
rootLogger.level = warn
rootLogger.appenderRef.stdout.ref = stdout
";

pub(super) async fn ask(spec: &Spec) -> Result<(), NotServing> {
    let path = "/_cluster/health";
    let answer = http::get(spec.address(), path, Duration::from_secs(2)).await?;
    if ["\"green\"", "\"yellow\""].iter().any(|color| answer.body.contains(color)) {
        Ok(())
    } else {
        Err(NotServing::Unhealthy { path, answer })
    }
}
