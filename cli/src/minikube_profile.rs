//! The minikube profile of an invocation.

use std::{ops::ControlFlow, path::PathBuf, sync::Arc};

use cluster::minikube::{Minikube, Options, Told};
use platform::TargetError;

use crate::{context::Context, failure::Failure};

/// The profile of this invocation.
pub(crate) fn profile(context: &Context) -> Result<Minikube, Failure> {
    let global = &context.global;
    if global.cluster.context.is_some() {
        let message = "--context needs --target cluster: minikube's context is its profile (--profile)";
        return Err(Failure::usage(message));
    }
    let profile = global.minikube_profile().to_owned();
    let folder = state_folder()?.join(&profile);
    let (interrupt, progress) = (context.interrupt.clone(), Arc::clone(context.printer.progress()));
    let told = move |told: Option<&Told>| {
        if let Some(told) = told {
            progress.show("minikube", &format!("minikube: {}", told.words()));
        }
        if interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let options = Options { program: None, profile, kubeconfig: global.cluster.kubeconfig.clone(), folder };
    Ok(Minikube::new(options, Arc::new(told)).map_err(TargetError::from)?)
}

/// The folder for state that later invocations need, one per profile.
fn state_folder() -> Result<PathBuf, Failure> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::home_dir().map(|home| home.join(".local/state"));
    let root = state.or_else(home).ok_or_else(|| {
        Failure::failed(
            "neither XDG_STATE_HOME nor HOME says where this user's state is kept; set one of them",
        )
    })?;
    Ok(root.join("playctl-minikube"))
}
