//! The platform of this machine.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use local::LocalTarget;
use platform::Target;

use crate::commands::{Context, Failure};

/// How long a supervisor may stay silent before the wait for it is shown.
const SHOWN_AFTER: Duration = Duration::from_secs(2);

/// While its supervisor does not answer that is shown, and Ctrl-C ends the wait.
pub(super) fn target(context: &Context) -> Result<Arc<dyn Target>, Failure> {
    let (interrupt, progress) = (context.interrupt.clone(), Arc::clone(context.printer.progress()));
    let platform = context.global.platform.clone();
    let on_wait = move |waited: Duration| {
        if interrupt.is_set() {
            return ControlFlow::Break(());
        }
        if waited >= SHOWN_AFTER {
            let detail = format!("the supervisor of {platform} has not answered for {} s", waited.as_secs());
            progress.show("no answer", &detail);
        }
        ControlFlow::Continue(())
    };
    Ok(Arc::new(LocalTarget::new(&context.global.platform)?.on_wait(Arc::new(on_wait))))
}
