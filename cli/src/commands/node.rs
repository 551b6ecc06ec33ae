//! `playctl node add` and `playctl node remove`

use clap::Subcommand;
use platform::{
    exit,
    target::{NodeAdded, NodeRemoved},
};

use crate::{context::Context, failure::Outcome, platform_source};

/// Add a node to a running platform, or remove one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl node add                          locally: one more gateway
  playctl --target minikube node add        one more machine
  playctl --target minikube node remove     the one added last
  playctl --target minikube node remove playground-m02

Everything that runs on every node starts on a new one, too. A removed node is
drained first; connections through its own gateway are cut when it goes.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Add(AddArgs),
    Remove(RemoveArgs),
}

/// Add a node and wait until it accepts replicas
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl node add
  playctl --target minikube node add")]
struct AddArgs {}

/// Drain a node and remove it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl node remove
  playctl --target minikube node remove playground-m02")]
struct RemoveArgs {
    /// The node; default: the one added last
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let target = platform_source::target(context)?;
    match &args.command {
        Command::Add(AddArgs {}) => {
            let added = target.add_node()?;
            context.printer.progress().clear();
            let NodeAdded { name, nodes, follows } = &added;
            let on_it =
                if follows.is_empty() { String::new() } else { format!("; on it: {}", follows.join(", ")) };
            context.printer.line(&format!("{name} is added, one of {nodes} nodes{on_it}"));
            context.printer.document(&added);
        }
        Command::Remove(RemoveArgs { name }) => {
            let removed = target.remove_node(name.as_deref())?;
            context.printer.progress().clear();
            let NodeRemoved { name, nodes } = &removed;
            context.printer.line(&format!("{name} is drained and gone; {nodes} left"));
            context.printer.document(&removed);
        }
    }
    Ok(exit::DONE)
}
