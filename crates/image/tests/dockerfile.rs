//! The image of the Dockerfile and the image that is made here start the same program in the same way.

use std::collections::BTreeMap;

use image::{ENTRYPOINT, ENVIRONMENT, USER, WORKING_DIRECTORY, labels};

const DOCKERFILE: &str = include_str!("../../../infrastructure/docker/Dockerfile");

/// The instructions of the last stage, each on one line, comments left out.
fn final_stage() -> Vec<(String, String)> {
    let text: Vec<_> = DOCKERFILE.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let text = text.join("\n").replace("\\\n", " ");
    let stage = text.rfind("\nFROM ").expect("a stage");
    text[stage..]
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(name, rest)| (name.to_owned(), rest.trim().to_owned()))
        .collect()
}

fn all(name: &str) -> Vec<String> {
    final_stage().into_iter().filter(|(known, _)| known == name).map(|(_, rest)| rest).collect()
}

fn only(name: &str) -> String {
    let [one] = <[String; 1]>::try_from(all(name)).unwrap_or_else(|found| panic!("one {name}: {found:?}"));
    one
}

/// `A=b C="d e"` as pairs.
fn pairs(mut text: &str) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    while let Some((key, rest)) = text.trim_start().split_once('=') {
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').expect("a closing quote"),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        pairs.insert(key.to_owned(), value.to_owned());
        text = rest;
    }
    pairs
}

#[test]
fn both_images_have_the_same_entry_point_user_environment_and_labels() {
    assert_eq!(only("ENTRYPOINT"), format!("[\"{ENTRYPOINT}\"]"));
    assert!(only("COPY").ends_with(&format!(" {ENTRYPOINT}")), "the program is where the entry point says");
    assert_eq!(only("USER"), USER);
    assert_eq!(only("WORKDIR"), WORKING_DIRECTORY);
    let environment: BTreeMap<_, _> = ENVIRONMENT.iter().flat_map(|variable| pairs(variable)).collect();
    assert_eq!(pairs(&only("ENV")), environment);

    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(only("ARG"), format!("VERSION={version}"), "the version of the workspace");
    let ours: BTreeMap<_, _> =
        labels(version).into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let theirs: BTreeMap<_, _> = pairs(&only("LABEL"))
        .into_iter()
        .map(|(key, value)| (key, value.replace("${VERSION}", version)))
        .collect();
    assert_eq!(theirs, ours);
    for name in ["CMD", "EXPOSE", "VOLUME", "HEALTHCHECK", "STOPSIGNAL", "RUN"] {
        assert!(all(name).is_empty(), "{name} is in the Dockerfile only");
    }
}

#[test]
fn the_dockerfile_compiles_with_the_pinned_toolchain() {
    let pinned = include_str!("../../../rust-toolchain.toml");
    let version =
        pinned.split("channel = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a channel");
    assert!(DOCKERFILE.contains(&format!("\nFROM rust:{version}-slim-bookworm AS build\n")));
    assert!(DOCKERFILE.contains(&format!("RUSTUP_TOOLCHAIN={version} ")));
}

#[test]
fn the_user_is_a_number_and_not_root() {
    // The kubelet refuses `runAsNonRoot` for a user that it knows by name only.
    let ids: Vec<u32> = USER.split(':').map(|id| id.parse().expect("a number")).collect();
    assert!(ids.len() == 2 && ids.iter().all(|id| *id != 0), "{ids:?}");
}
