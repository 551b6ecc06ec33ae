//! What to register: how an application is to be, before anything is looked up.

use std::{path::PathBuf, time::Duration};

/// What to register.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each stands for a flag of its own")]
pub struct Register {
    /// Otherwise the `origin` of the checkout around the current folder.
    pub repo: Option<String>,
    /// Otherwise the checkout's branch or commit, and `HEAD` with another repository.
    pub revision: Option<String>,
    /// A private key for the repository.
    pub ssh_key_file: Option<PathBuf>,
    /// Look at the repository from here.
    pub check: bool,
    /// The tag of the image that is loaded.
    pub image_tag: Option<String>,
    /// Files of `helm-chart/`.
    pub presets: Option<Vec<String>>,
    /// Values of the chart, of the type that they look like.
    pub set: Vec<(String, String)>,
    /// The same, always as text.
    pub set_string: Vec<(String, String)>,
    /// Argo CD syncs by itself; `None`: as it is.
    pub auto_sync: Option<bool>,
    pub prune: Option<bool>,
    pub self_heal: Option<bool>,
    /// Make the Secrets that the chart refers to.
    pub secrets: bool,
    /// Take the release over from Helm.
    pub take_over: bool,
    /// Install Argo CD where it is not, from this file or address.
    pub install: Option<String>,
    /// Wait until Argo CD has made the applications.
    pub wait: bool,
    pub timeout: Duration,
}
