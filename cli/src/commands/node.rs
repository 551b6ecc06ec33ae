//! `playctl node add` and `playctl node remove`

use clap::Subcommand;
use platform::{
    exit,
    target::{NodeAdded, NodeRemoved},
};

use crate::{context::Context, failure::Outcome, platform_source};

/// Add a node to a running platform, or take one away
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl node add                          here: one gateway more
  playctl --target minikube node add        one machine more
  playctl --target minikube node remove     the one that was added last
  playctl --target minikube node remove playground-m02

What runs on every node follows onto a new one. A node that goes is drained
first; what is connected through its own gateway is cut off when it goes.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Add(AddArgs),
    Remove(RemoveArgs),
}

/// Add a node, and wait until it takes replicas
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl node add
  playctl --target minikube node add")]
struct AddArgs {}

/// Drain a node and take it away
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl node remove
  playctl --target minikube node remove playground-m02")]
struct RemoveArgs {
    /// Which one; default: the one that came last
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
            context.printer.line(&format!("{name} is there, one of {nodes} nodes{on_it}"));
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
