//! `profiles` without a database has one replica.

use crate::bench::Bench;

const PROFILES: &str = "profiles.enabled=true,tcp.enabled=false";
const REFUSED: &str = "more than one replica of profiles is not possible here: the data are in memory, so each would \
                       have its own; expected 1, got 2";

#[test]
fn a_second_replica_is_refused_from_every_source() {
    for two in ["profiles.replicas=2", "profiles.replicas=null,profiles.autoscaling.maxReplicas=2"] {
        assert_eq!(Bench::new().apply(&[PROFILES, two], 1), Err(REFUSED.to_owned()), "{two}");
    }
    let mut bench = Bench::up(&[PROFILES]);
    assert!(bench.service("profiles").remark.is_some_and(|remark| remark.contains("lost when it ends")));
    assert_eq!(bench.scale("profiles", 2).map(drop), Err(REFUSED.to_owned()));
    assert_eq!(bench.apply(&[PROFILES, "profiles.replicas=2"], 1), Err(REFUSED.to_owned()));
    assert!(bench.scale("profiles", 0).is_ok() && bench.scale("profiles", 1).is_ok());
    assert_eq!(bench.names("profiles").len(), 1);
}

#[test]
fn a_database_allows_several_replicas_and_only_one_stays_without_it() {
    let database = "profiles.env.CASSANDRA_CONTACT_POINTS=c";
    let mut bench = Bench::up(&[PROFILES, database, "profiles.replicas=2"]);
    assert_eq!(bench.service("profiles").remark, None);
    assert!(bench.scale("profiles", 3).is_ok());
    // The values did not change their number, so three would stay.
    assert!(bench.apply(&[PROFILES, "profiles.replicas=2"], 1).is_err());
    assert!(bench.apply(&[PROFILES, "profiles.replicas=1"], 1).is_ok());
    assert_eq!(bench.service("profiles").desired, 1);
}
