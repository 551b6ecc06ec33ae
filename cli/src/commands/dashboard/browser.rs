//! Opens the page.

use std::{
    io::{IsTerminal as _, Write as _},
    path::Path,
    process::{Command, Stdio},
};

/// Opens an address in the browser of this terminal's user, if there is a screen. The address contains the token, and
/// everybody on this machine can read arguments, so the browser gets a file that redirects to it.
pub(super) fn open(url: &str, opener: Option<&Path>) {
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if !has_screen || !std::io::stdout().is_terminal() {
        return;
    }
    let file = match opener {
        Some(file) => file.to_owned(),
        None => match made(url) {
            Some(file) => file,
            None => return,
        },
    };
    // Without such a program, the user can copy the address.
    let _ = Command::new("xdg-open")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
}

/// Readable only by this user. It is not removed: it is unknown when the browser has read it, and the token expires with
/// its server.
fn made(url: &str) -> Option<std::path::PathBuf> {
    let mut file = tempfile::Builder::new().prefix("playctl-").suffix(".html").tempfile().ok()?;
    file.write_all(local::opener(url).as_bytes()).ok()?;
    file.keep().ok().map(|(_, path)| path)
}
