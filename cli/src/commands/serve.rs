//! `playctl serve SERVICE`

use clap::Subcommand;
use platform::exit;
use service::{Shutdown, settings::Env};

use super::{Failure, Outcome};

/// Run one service from its environment
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl serve tcp                                        port 40000, all interfaces, no backends
  PORT=5151 DIALECT=socketz playctl serve tcp
  KAFKA_BROKERS=127.0.0.1:9092 MEMCACHED_SERVICE=127.0.0.1 MEMCACHED_PORT=11211 playctl serve tcp -H 127.0.0.1
  MEMCACHED_SERVICE=127.0.0.1 playctl serve udp -p 50000   tokens are issued by tcp
  ENDPOINTS_FILE=endpoints.json playctl serve gateway
  KAFKA_BROKERS=127.0.0.1:9092 ELASTICSEARCH_ENDPOINT=http://127.0.0.1:9200 playctl serve logger

A backend that is not configured or not reachable degrades the commands that need it and nothing else.")]
pub(crate) struct Args {
    #[command(subcommand)]
    service: Service,
}

#[derive(Debug, Subcommand)]
enum Service {
    /// Text commands over TCP
    Tcp(Listen),
    /// The same words over UDP
    Udp(Listen),
    /// The L4 gateway
    Gateway(Listen),
    /// Log lines from Kafka to Elasticsearch
    Logger,
}

#[derive(Debug, Clone, clap::Args)]
struct Listen {
    /// Address to listen on (HOST)
    #[arg(long, short = 'H')]
    host: Option<String>,
    /// Port to listen on (PORT)
    #[arg(long, short = 'p')]
    port: Option<String>,
}

pub(crate) fn run(args: Args) -> Outcome {
    // First of all, before any thread exists: a replica must not outlive its supervisor.
    local::child::bind_to_parent().map_err(Failure::failed)?;
    let env = Env::of_process();
    service::logs::init(&env).map_err(Failure::usage)?;
    match args.service {
        Service::Tcp(listen) => {
            let settings = tcp::Settings::from_env(&listen.over(env)).map_err(Failure::usage)?;
            tcp::run(settings, shutdown()?).map_err(Failure::failed)?;
        }
        Service::Udp(listen) => {
            let settings = udp::Settings::from_env(&listen.over(env)).map_err(Failure::usage)?;
            udp::run(settings, shutdown()?).map_err(Failure::failed)?;
        }
        Service::Gateway(listen) => {
            let settings = gateway::Settings::from_env(&listen.over(env)).map_err(Failure::usage)?;
            gateway::run(settings, shutdown()?).map_err(Failure::failed)?;
        }
        Service::Logger => {
            let settings = logger::Settings::from_env(&env).map_err(Failure::usage)?;
            logger::run(settings, shutdown()?).map_err(Failure::failed)?;
        }
    }
    Ok(exit::DONE)
}

fn shutdown() -> Result<Shutdown, Failure> {
    Shutdown::on_signals().map_err(|error| Failure::failed(format!("could not take signals: {error}")))
}

impl Listen {
    /// The environment with what was typed over it.
    fn over(self, env: Env) -> Env {
        let typed = [("HOST", self.host), ("PORT", self.port)];
        typed.into_iter().fold(env, |env, (name, value)| match value {
            Some(value) => env.with(name, value),
            None => env,
        })
    }
}
