//! Any values of a service's variables give settings, or every problem in words.
#![no_main]

use libfuzzer_sys::fuzz_target;
use service::settings::{Env, Invalid, Variable};

/// Reads the settings of one service from values for its variables.
fn read<T>(
    variables: &[&Variable],
    values: &[(u8, String)],
    from_env: impl Fn(&Env) -> Result<T, Invalid>,
) {
    let all = values.iter().map(|(number, value)| {
        (variables[usize::from(*number) % variables.len()].name, value.as_str())
    });
    let env: Env = all.collect();
    if let Err(invalid) = from_env(&env) {
        let text = invalid.to_string();
        assert!(!text.is_empty());
        for rust in ["invalid digit", "ParseIntError", "TryFrom", "struct "] {
            assert!(!text.contains(rust) || values.iter().any(|(_, value)| value.contains(rust)), "{text}");
        }
        let named = |variable: &&Variable| text.contains(variable.name);
        assert!(variables.iter().any(named), "{text}");
    }
}

fuzz_target!(|values: Vec<(u8, String)>| {
    read(tcp::Settings::VARIABLES, &values, tcp::Settings::from_env);
    read(udp::Settings::VARIABLES, &values, udp::Settings::from_env);
    read(logger::Settings::VARIABLES, &values, logger::Settings::from_env);
    read(&gateway::settings::variables::ALL, &values, gateway::Settings::from_env);
});
