//! Opening the page.

use std::{
    io::{IsTerminal as _, Write as _},
    path::Path,
    process::{Command, Stdio},
};

/// Opens an address in the browser of this terminal's user, if there is a screen. The address has the token in
/// it, and arguments can be read by everybody on this machine: the browser is given a file that leads there.
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
    // Without such a program the address is there to be copied.
    let _ = Command::new("xdg-open")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
}

/// Readable by this user alone. It stays: nobody says when the browser has read it, and the token dies with its server.
fn made(url: &str) -> Option<std::path::PathBuf> {
    let mut file = tempfile::Builder::new().prefix("playctl-").suffix(".html").tempfile().ok()?;
    file.write_all(local::opener(url).as_bytes()).ok()?;
    file.keep().ok().map(|(_, path)| path)
}
