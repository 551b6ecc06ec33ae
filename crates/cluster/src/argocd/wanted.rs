//! The settings of a registration, before anything is looked up.

use std::{path::PathBuf, time::Duration};

/// What to register.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each stands for a flag of its own")]
pub struct Register {
    /// Default: the `origin` of the checkout that contains the current folder.
    pub repo: Option<String>,
    /// Default: the checkout's branch or commit; `HEAD` for another repository.
    pub revision: Option<String>,
    /// A private key for the repository.
    pub ssh_key_file: Option<PathBuf>,
    /// Check the repository from this machine.
    pub check: bool,
    /// The tag of the image to use.
    pub image_tag: Option<String>,
    /// Files of `helm-chart/`.
    pub presets: Option<Vec<String>>,
    /// Values of the chart, with inferred types.
    pub set: Vec<(String, String)>,
    /// The same, always as text.
    pub set_string: Vec<(String, String)>,
    /// Argo CD syncs automatically; `None`: unchanged.
    pub auto_sync: Option<bool>,
    pub prune: Option<bool>,
    pub self_heal: Option<bool>,
    /// Create the Secrets that the chart refers to.
    pub secrets: bool,
    /// Take the release over from Helm.
    pub take_over: bool,
    /// Install Argo CD from this file or address if it is missing.
    pub install: Option<String>,
    /// Wait until Argo CD has created the applications.
    pub wait: bool,
    pub timeout: Duration,
}
