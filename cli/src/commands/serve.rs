//! `playctl serve SERVICE`

mod balanced;

use clap::{Arg, ArgMatches, Command, FromArgMatches, Subcommand};
use platform::{ServiceKind, exit};
use service::listen::Refused;
use service::settings::{Env, Variable, table};
use service::{Shutdown, logs};

use crate::failure::{Failure, Outcome};

/// Run one service from its environment
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl serve tcp           port 40000, all interfaces, no backends
  playctl serve tcp --help    its environment variables
  PORT=5151 DIALECT=socketz playctl serve tcp
  KAFKA_BROKERS=127.0.0.1:9092 MEMCACHED_SERVICE=127.0.0.1 \\
    playctl serve tcp -H 127.0.0.1
  MEMCACHED_SERVICE=127.0.0.1 playctl serve udp -p 50000    with tcp's tokens
  ENDPOINTS_FILE=endpoints.json playctl serve gateway
  KAFKA_BROKERS=127.0.0.1:9092 \\
    ELASTICSEARCH_ENDPOINT=http://127.0.0.1:9200 playctl serve logger

If a backend is not configured or unreachable, only the commands that need it fail.")]
pub(crate) struct Args {
    #[command(subcommand)]
    request: Request,
}

/// A program that can be served.
struct Program {
    name: &'static str,
    about: &'static str,
    variables: &'static [&'static Variable],
    /// Command lines to copy.
    examples: &'static str,
    /// Whether HOST and PORT have flags of their own.
    listens: bool,
    run: fn(&Env) -> Outcome,
}

const GATEWAY: Program = Program {
    name: "gateway",
    about: "The gateway",
    variables: &gateway::settings::variables::ALL,
    examples: "  ENDPOINTS_FILE=endpoints.json playctl serve gateway",
    listens: true,
    run: |env| {
        let settings = gateway::Settings::from_env(env).map_err(Failure::usage)?;
        ended(gateway::run(settings, shutdown()?))
    },
};

/// The program of a service that platforms run.
fn program(kind: ServiceKind) -> Program {
    let (about, variables, run): (_, _, fn(&Env) -> Outcome) = match kind {
        ServiceKind::Tcp => ("Text commands over TCP", tcp::Settings::VARIABLES, |env| {
            let settings = tcp::Settings::from_env(env).map_err(Failure::usage)?;
            ended(tcp::run(settings, shutdown()?))
        }),
        ServiceKind::Udp => ("The same commands over UDP", udp::Settings::VARIABLES, |env| {
            let settings = udp::Settings::from_env(env).map_err(Failure::usage)?;
            ended(udp::run(settings, shutdown()?))
        }),
        ServiceKind::Logger => {
            ("Ships logs from Kafka to Elasticsearch", logger::Settings::VARIABLES, |env| {
                let settings = logger::Settings::from_env(env).map_err(Failure::usage)?;
                ended(logger::run(settings, shutdown()?))
            })
        }
        ServiceKind::Ws => ("WebSocket sessions", ws::Settings::VARIABLES, |env| {
            let settings = ws::Settings::from_env(env).map_err(Failure::usage)?;
            ended(ws::run(settings, shutdown()?))
        }),
        ServiceKind::WsClient => {
            ("Simulated users that connect to ws on request", ws_client::Settings::VARIABLES, |env| {
                let settings = ws_client::Settings::from_env(env).map_err(Failure::usage)?;
                ended(ws_client::run(settings, shutdown()?))
            })
        }
        ServiceKind::Balancer => {
            ("Moves sessions between the replicas of a service", balancer::Settings::VARIABLES, |env| {
                let settings = balancer::Settings::from_env(env).map_err(Failure::usage)?;
                let platform = balanced::platform(&settings)?;
                ended(balancer::run(settings, platform, shutdown()?))
            })
        }
        ServiceKind::Stream => {
            ("Server-sent events for a user and a profile", stream::Settings::VARIABLES, |env| {
                let settings = stream::Settings::from_env(env).map_err(Failure::usage)?;
                ended(stream::run(settings, shutdown()?))
            })
        }
        ServiceKind::Profiles => {
            ("Users and profiles, in Cassandra or in memory", profiles::Settings::VARIABLES, |env| {
                let settings = profiles::Settings::from_env(env).map_err(Failure::usage)?;
                ended(profiles::run(settings, shutdown()?))
            })
        }
        ServiceKind::Directory => ("Shows which profiles are open", directory::Settings::VARIABLES, |env| {
            let settings = directory::Settings::from_env(env).map_err(Failure::usage)?;
            ended(directory::run(settings, shutdown()?))
        }),
        ServiceKind::Page => ("The page of servers and their users", page::Settings::VARIABLES, |env| {
            let settings = page::Settings::from_env(env).map_err(Failure::usage)?;
            ended(page::run(settings, shutdown()?))
        }),
    };
    Program {
        name: kind.name(),
        about,
        variables,
        examples: examples(kind),
        listens: kind.row().has_clients,
        run,
    }
}

/// With the parts' default addresses, as after `infrastructure/testbed/testbed up redis`.
fn examples(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Tcp => {
            "  playctl serve tcp                  then: nc 127.0.0.1 40000
  PORT=5151 DIALECT=socketz playctl serve tcp
  KAFKA_BROKERS=127.0.0.1:9092 MEMCACHED_SERVICE=127.0.0.1 \\
    playctl serve tcp -H 127.0.0.1"
        }
        ServiceKind::Udp => "  MEMCACHED_SERVICE=127.0.0.1 playctl serve udp -p 50000    with tcp's tokens",
        ServiceKind::Logger => {
            "  KAFKA_BROKERS=127.0.0.1:9092 \\
    ELASTICSEARCH_ENDPOINT=http://127.0.0.1:9200 playctl serve logger"
        }
        ServiceKind::Ws => {
            "  REDIS_HOST=127.0.0.1 playctl serve ws
                   then: playctl load ws://127.0.0.1:8088/api/v1/websocket/user1"
        }
        ServiceKind::WsClient => {
            "  WS_SERVER_HOST=127.0.0.1 WS_SERVER_PORT=8088 playctl serve ws-client
  curl -d '{\"userIds\": [\"user1\"]}' -H 'Content-Type: application/json' \\
    127.0.0.1:8089/route/kickstart/ws/batch/connect"
        }
        ServiceKind::Balancer => "  REDIS_HOST=127.0.0.1 playctl serve balancer",
        ServiceKind::Stream => {
            "  REDIS_HOST=127.0.0.1 PROFILES_URL=http://127.0.0.1:8081 playctl serve stream"
        }
        ServiceKind::Profiles => {
            "  playctl serve profiles             keeps its data in memory
  CASSANDRA_CONTACT_POINTS=127.0.0.1 playctl serve profiles"
        }
        ServiceKind::Directory => "  PROFILES_URL=http://127.0.0.1:8080 playctl serve directory -p 8081",
        ServiceKind::Page => {
            "  playctl serve page                 then open http://127.0.0.1:8489/
  CONNECTION_LIMIT_PER_HOST=30 playctl serve page -H 127.0.0.1 -p 9000
In the page, enter any host that has sessions: a balancer (8488), a
gateway (8000) or a server (8088), with ws-client on 8089 beside it."
        }
    }
}

/// The problem with the name of a variable for a service: the service does not read it. Other programs may, so only a
/// name that is close to one of the service's own is certainly a mistake.
pub(crate) fn misspelt(service: &str, variable: &str) -> Option<String> {
    let program = programs().find(|program| program.name == service)?;
    let known = || program.variables.iter().map(|known| known.name);
    if known().any(|name| name == variable) {
        return None;
    }
    let nearest = yaml::nearest(variable, known())?;
    Some(format!("{service} reads no variable {variable}; did you mean {nearest}?"))
}

fn programs() -> impl Iterator<Item = Program> {
    ServiceKind::ALL.into_iter().map(program).chain([GATEWAY])
}

fn ended<E: std::error::Error + 'static>(result: Result<(), E>) -> Outcome {
    result.map(|()| exit::DONE).map_err(|error| {
        let refused = Refused::within(&error).filter(|refused| refused.is_taken());
        let holder = refused.and_then(|refused| local::holder(refused.protocol, refused.address));
        let holder = holder.map(|holder| format!("; it is taken by {holder}")).unwrap_or_default();
        Failure::failed(format!("{error}{holder}"))
    })
}

fn shutdown() -> Result<Shutdown, Failure> {
    Shutdown::on_signals().map_err(|error| Failure::failed(format!("could not take signals: {error}")))
}

/// The typed arguments.
#[derive(Debug)]
struct Request {
    name: String,
    /// Variables set by flags.
    typed: Vec<(&'static str, String)>,
}

/// Flags, and the variables they set.
const FLAGS: [(&str, char, &str, &str); 2] =
    [("host", 'H', "HOST", "Address to listen on (HOST)"), ("port", 'p', "PORT", "Port to listen on (PORT)")];

impl Subcommand for Request {
    fn augment_subcommands(command: Command) -> Command {
        let subcommand = |Program { name, about, variables, examples, listens, .. }| {
            let flags = FLAGS.iter().filter(|_| listens).map(|(long, short, _, about)| {
                Arg::new(*long).long(*long).short(*short).value_name(long.to_uppercase()).help(*about)
            });
            Command::new(name)
                .about(about)
                .args(flags)
                .after_help(format!("Examples:\n{examples}\n\n{}", table::help(variables)))
        };
        command.subcommand_required(true).arg_required_else_help(true).subcommands(programs().map(subcommand))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        programs().any(|program| program.name == name)
    }
}

impl FromArgMatches for Request {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::new(clap::error::ErrorKind::MissingSubcommand);
        let (name, matches) = matches.subcommand().ok_or_else(missing)?;
        let typed = FLAGS.iter().filter_map(|(long, _, variable, _)| {
            let value = matches.try_get_one::<String>(long).ok().flatten()?;
            Some((*variable, value.clone()))
        });
        Ok(Self { name: name.to_owned(), typed: typed.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

pub(crate) fn run(args: Args) -> Outcome {
    // This comes first, before any thread exists: a replica must not outlive its supervisor.
    local::child::bind_to_parent().map_err(Failure::failed)?;
    let Request { name, typed } = args.request;
    let env = typed.into_iter().fold(Env::of_process(), |env, (variable, value)| env.with(variable, value));
    logs::init(&env).map_err(Failure::usage)?;
    let program = programs().find(|program| program.name == name);
    let program = program.ok_or_else(|| Failure::usage(format!("there is no service {name:?}")))?;
    (program.run)(&env)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// An example sets only variables that its service reads, and its command is valid.
    #[test]
    fn examples_use_existing_variables_and_commands() {
        for Program { name, variables, examples, .. } in programs() {
            let text = examples.replace("\\\n", " ");
            let commands: Vec<&str> = text.lines().filter(|line| line.contains("playctl serve")).collect();
            assert!(!commands.is_empty(), "{name}");
            for line in commands {
                let (set, words) = line.trim().split_once("playctl").unwrap();
                for set in set.split_whitespace() {
                    let (variable, _) = set.split_once('=').unwrap_or((set, ""));
                    assert!(variables.iter().any(|known| known.name == variable), "{name}: {variable}");
                }
                // At least two blanks separate the explanation beside it.
                let words = words.trim().split("  ").next().unwrap().split_whitespace();
                let words: Vec<&str> = std::iter::once("playctl").chain(words).collect();
                let parsed = <crate::args::Cli as clap::Parser>::try_parse_from(&words);
                assert!(parsed.is_ok() && words[2] == name, "{line}: {:?}", parsed.err());
            }
        }
    }

    #[test]
    fn a_variable_that_is_nearly_one_of_a_service_is_named() {
        let told = |service, variable| misspelt(service, variable).unwrap_or_default();
        assert_eq!(told("tcp", "BUF_SIZE"), "tcp reads no variable BUF_SIZE; did you mean BUFF_SIZE?");
        assert_eq!(
            told("balancer", "SHED_RAT"),
            "balancer reads no variable SHED_RAT; did you mean SHED_RATE?"
        );
        assert!(told("gateway", "ACCEPT_RAT").ends_with("did you mean ACCEPT_RATE?"));
        for (service, variable) in [("tcp", "BUFF_SIZE"), ("tcp", "RUST_BACKTRACE"), ("nginx", "PORTS")] {
            assert_eq!(misspelt(service, variable), None, "{service} {variable}");
        }
    }

    /// `PLAYCTL_WRITE_DOCS=1 cargo test -p playctl --bin playctl serve` regenerates the page.
    #[test]
    fn the_page_of_settings_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
        let mut page = String::from(
            "# Settings\n\n\
             Every service is configured through environment variables; `playctl serve SERVICE --help` prints the same tables. An empty \
             variable counts as not set. On a bad value the service exits with 2 and names the \
             variable, the value and what was expected; it reports all bad values at once.\n\n\
             Durations are written as `250ms`, `1.5s`, `1m30s` or `2h`. Where the default is a bare number, a bare \
             number is seconds.\n\n\
             *Generated from the tables that the services read, by \
             `PLAYCTL_WRITE_DOCS=1 cargo test -p playctl --bin playctl serve`.*\n",
        );
        for Program { name, about, variables, listens, .. } in programs() {
            let flags = if listens { " `-H` sets `HOST`, `-p` sets `PORT`." } else { "" };
            write!(page, "\n## {name}\n{about}.{flags}\n\n{}", table::markdown(variables)).unwrap();
        }
        if std::env::var_os("PLAYCTL_WRITE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == page, "docs/settings.md is out of date; regenerate it as its first lines say");
    }
}
