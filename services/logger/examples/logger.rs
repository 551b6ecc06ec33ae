//! The service as a separate process, for tests that kill it. Users start it as `playctl serve logger`.

use service::Shutdown;
use service::settings::Env;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let env = Env::of_process();
    service::logs::init(&env)?;
    let settings = logger::Settings::from_env(&env)?;
    logger::run(settings, Shutdown::on_signals()?)?;
    Ok(())
}
