//! Replaces `here` in a build without the feature `engine`.

use scenario::Scenario;

use crate::{crew::Place, error::LoadError, run::Options};

pub(crate) fn prepare(_: &Scenario, _: &Options, _workers: u32) -> Result<Box<dyn Place>, LoadError> {
    Err(LoadError::NotHere)
}

#[cfg(test)]
mod tests {
    use crate::{Control, LoadError, Options, run};

    use super::*;

    #[test]
    fn a_load_from_this_machine_is_refused_before_it_begins() {
        let options = Options { targets: vec!["127.0.0.1:1".parse().unwrap()], ..Options::default() };
        let mut events = Vec::new();
        let refused = run(&Scenario::default(), &options, &Control::new(), &mut |event| events.push(event));
        assert!(matches!(refused, Err(LoadError::NotHere)), "{refused:?}");
        assert_eq!(events, []);
    }
}
