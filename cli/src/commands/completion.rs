//! `playctl completion SHELL`

use clap_complete::Shell;
use platform::exit;

use crate::failure::{Failure, Outcome};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl completion bash > ~/.local/share/bash-completion/completions/playctl
  playctl completion zsh > \"${fpath[1]}/_playctl\"
  playctl completion fish > ~/.config/fish/completions/playctl.fish")]
pub(crate) struct Args {
    #[arg(value_enum)]
    shell: Shell,
}

/// `command`: the whole command line.
pub(crate) fn run(args: &Args, mut command: clap::Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "playctl", &mut script);
    match std::io::Write::write_all(&mut std::io::stdout().lock(), &script) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("could not write the script: {error}")))
        }
        _ => Ok(exit::DONE),
    }
}
