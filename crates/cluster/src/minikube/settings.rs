//! A profile's requested state, its actual state, and the differences that minikube cannot change.

use super::profile::{Config, Profile};

/// The requested settings of a profile. `None` means this module's default for a new profile, and no change for an
/// existing one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    pub nodes: Option<u32>,
    /// A number, `max` or `no-limit`, as minikube accepts them; for each node.
    pub cpus: Option<String>,
    /// MiB, or with a unit, as minikube accepts them; for each node.
    pub memory: Option<String>,
    pub driver: Option<String>,
    pub cni: Option<String>,
    pub addons: Vec<String>,
    /// `COMPONENT.KEY=VALUE`
    pub extra_config: Vec<String>,
    /// The stream system needs more.
    pub large: bool,
}

/// This machine's resources, as far as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    pub cores: u32,
    pub memory_mib: Option<u64>,
}

const CPUS: u32 = 4;
const CPUS_LARGE: u32 = 10;
const MEMORY_MIB: u64 = 4096;
const MEMORY_MIB_LARGE: u64 = 8192;
/// Memory left to the machine itself.
const MEMORY_MIB_KEPT: u64 = 1024;
/// minikube's minimum.
const CPUS_MIN: u32 = 2;
const CNI: &str = "calico";
/// The autoscalers get CPU and memory from it.
pub(crate) const ADDON: &str = "metrics-server";
const NODES: u32 = platform::target::NODES;

impl Machine {
    pub fn this() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_mib(&text));
        Self { cores: u32::try_from(cores).unwrap_or(u32::MAX), memory_mib: total }
    }
}

fn total_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
}

impl Settings {
    /// The arguments of `minikube start` that create a profile, and notes for the user.
    pub(crate) fn flags(&self, machine: Machine) -> (Vec<String>, Vec<String>) {
        let mut notes = Vec::new();
        let (cpus, memory) = if self.large { (CPUS_LARGE, MEMORY_MIB_LARGE) } else { (CPUS, MEMORY_MIB) };
        let cpus = self.cpus.clone().unwrap_or_else(|| {
            let has = machine.cores.max(CPUS_MIN);
            if has < cpus {
                notes.push(format!("each node gets {has} CPUs, all that this machine has; it wants {cpus}"));
            }
            cpus.min(has).to_string()
        });
        let memory = self.memory.clone().unwrap_or_else(|| {
            let has = machine.memory_mib.map_or(u64::MAX, |total| total.saturating_sub(MEMORY_MIB_KEPT));
            if has < memory {
                notes.push(format!(
                    "each node gets {has} MiB of memory, all that this machine can spare; it wants {memory}"
                ));
            }
            memory.min(has).to_string()
        });
        let mut flags = vec![
            format!("--nodes={}", self.nodes.unwrap_or(NODES)),
            format!("--cpus={cpus}"),
            format!("--memory={memory}"),
            format!("--cni={}", self.cni.as_deref().unwrap_or(CNI)),
        ];
        flags.extend(self.addons().map(|addon| format!("--addons={addon}")));
        flags.extend(self.driver.iter().map(|driver| format!("--driver={driver}")));
        flags.extend(self.extra_config.iter().map(|option| format!("--extra-config={option}")));
        (flags, notes)
    }

    /// The default addons, and the requested ones.
    pub(crate) fn addons(&self) -> impl Iterator<Item = &str> {
        let more = self.addons.iter().map(String::as_str).filter(|addon| *addon != ADDON);
        std::iter::once(ADDON).chain(more)
    }

    /// Settings of an existing profile that differ from the requested ones and that minikube cannot change.
    pub(crate) fn differences(&self, profile: &Profile) -> Vec<String> {
        let Config { memory, cpus, driver, kubernetes, .. } = profile.config();
        let mut different = Vec::new();
        let mut compare = |what: &str, wanted: Option<&str>, is: String, same: bool| {
            if let Some(wanted) = wanted.filter(|_| !same) {
                different.push(format!("{what} {is}, not {wanted}"));
            }
        };
        let wanted_cpus = self.cpus.as_deref();
        let same = wanted_cpus.and_then(|text| text.parse().ok()).is_none_or(|wanted: u32| wanted == cpus);
        compare("--cpus", wanted_cpus, cpus.to_string(), same);
        let wanted_memory = self.memory.as_deref();
        let same = wanted_memory.and_then(mib).is_none_or(|wanted| wanted == memory);
        compare("--memory", wanted_memory, format!("{memory} MiB"), same);
        let wanted = self.driver.as_deref();
        compare("--driver", wanted, driver.clone(), wanted.is_none_or(|wanted| wanted == driver));
        let (wanted, cni) = (self.cni.as_deref(), &kubernetes.cni);
        let is = if cni.is_empty() { "minikube's choice".to_owned() } else { cni.clone() };
        compare("--cni", wanted, is, wanted.is_none_or(|wanted| wanted == cni));
        let has: Vec<String> =
            kubernetes.extra_options.iter().map(super::profile::ExtraOption::words).collect();
        for option in self.extra_config.iter().filter(|option| !has.contains(option)) {
            let is = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
            compare("--extra-config", Some(option), is, false);
        }
        different
    }

    /// Addons that an existing profile lacks.
    pub(crate) fn missing_addons(&self, profile: &Profile) -> Vec<String> {
        let on = profile.config().addons;
        self.addons().filter(|addon| on.get(*addon) != Some(&true)).map(str::to_owned).collect()
    }
}

/// Parses `4096`, `4096mb`, `4g` and the like as minikube does; `None` for `max`, `no-limit` and unknown formats.
fn mib(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let number: u64 = digits.trim().parse().ok()?;
    let unit = text[digits.len()..].trim();
    Some(match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if unit.is_empty() => number,
        "" => number >> 20,
        "k" => number >> 10,
        "m" => number,
        "g" => number << 10,
        "t" => number << 20,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::profile::tests::LIST, *};
    use crate::minikube::profile::Profiles;

    const MACHINE: Machine = Machine { cores: 8, memory_mib: Some(32 << 10) };

    fn profile() -> Profile {
        serde_json::from_str::<Profiles>(LIST).unwrap().valid.remove(0)
    }

    #[test]
    fn a_new_profile_is_as_the_contract_says() {
        let (flags, notes) = Settings::default().flags(MACHINE);
        assert_eq!(
            flags,
            ["--nodes=2", "--cpus=4", "--memory=4096", "--cni=calico", "--addons=metrics-server"]
        );
        assert!(notes.is_empty());
        let (flags, _) = Settings { large: true, ..Settings::default() }.flags(MACHINE);
        assert!(
            flags.contains(&"--memory=8192".to_owned()) && flags.contains(&"--cpus=8".to_owned()),
            "{flags:?}"
        );
    }

    #[test]
    fn all_of_it_are_settings() {
        let settings = Settings {
            nodes: Some(3),
            cpus: Some("max".to_owned()),
            memory: Some("6g".to_owned()),
            driver: Some("podman".to_owned()),
            cni: Some("flannel".to_owned()),
            addons: vec!["metrics-server".to_owned(), "ingress".to_owned()],
            extra_config: vec!["kubelet.v=4".to_owned(), "apiserver.v=2".to_owned()],
            large: true,
        };
        let (flags, notes) = settings.flags(Machine { cores: 1, memory_mib: None });
        assert_eq!(
            flags,
            [
                "--nodes=3",
                "--cpus=max",
                "--memory=6g",
                "--cni=flannel",
                "--addons=metrics-server",
                "--addons=ingress",
                "--driver=podman",
                "--extra-config=kubelet.v=4",
                "--extra-config=apiserver.v=2"
            ]
        );
        assert!(notes.is_empty(), "what was asked for is not corrected: {notes:?}");
    }

    #[test]
    fn a_smaller_machine_takes_what_there_is_and_says_so() {
        let (flags, notes) = Settings::default().flags(Machine { cores: 1, memory_mib: Some(4000) });
        assert!(
            flags.contains(&"--cpus=2".to_owned()) && flags.contains(&"--memory=2976".to_owned()),
            "{flags:?}"
        );
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("2 CPUs") && notes[1].contains("2976 MiB"), "{notes:?}");
        assert_eq!(total_mib("MemTotal:       16384000 kB\nMemFree: 1 kB\n"), Some(16_000));
    }

    #[test]
    fn only_what_was_asked_for_can_differ() {
        assert_eq!(Settings::default().differences(&profile()), Vec::<String>::new());
        let same = Settings {
            cpus: Some("4".to_owned()),
            memory: Some("4g".to_owned()),
            driver: Some("docker".to_owned()),
            cni: Some("calico".to_owned()),
            extra_config: vec!["kubelet.v=4".to_owned()],
            ..Settings::default()
        };
        assert_eq!(same.differences(&profile()), Vec::<String>::new());
        let other = Settings {
            cpus: Some("2".to_owned()),
            memory: Some("2048mb".to_owned()),
            driver: Some("kvm2".to_owned()),
            cni: Some("flannel".to_owned()),
            extra_config: vec!["kubelet.v=5".to_owned()],
            ..Settings::default()
        };
        assert_eq!(
            other.differences(&profile()),
            [
                "--cpus 4, not 2",
                "--memory 4096 MiB, not 2048mb",
                "--driver docker, not kvm2",
                "--cni calico, not flannel",
                "--extra-config kubelet.v=4, not kubelet.v=5"
            ]
        );
    }

    #[test]
    fn memory_is_read_as_minikube_reads_it() {
        for (text, mib) in [
            ("4096", Some(4096)),
            ("4096mb", Some(4096)),
            ("4096m", Some(4096)),
            ("4g", Some(4096)),
            ("4gb", Some(4096)),
            ("4GiB", Some(4096)),
            ("4194304k", Some(4096)),
            ("4294967296b", Some(4096)),
            ("max", None),
            ("no-limit", None),
        ] {
            assert_eq!(super::mib(text), mib, "{text}");
        }
    }
}
