//! Helm and the types accept and refuse the same values. Needs `helm` on PATH: the testbed's `kubernetes` has it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "values/mistakes.rs"]
mod mistakes;

use std::{fs, path::Path, process::Command};

use platform::values;

use mistakes::{BETWEEN, MISTAKES, RIGHT, SEVERAL};

/// The chart with only its schema and its rules: its other templates have their own rules.
fn bare_chart() -> tempfile::TempDir {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../helm-chart");
    let bare = tempfile::tempdir().unwrap();
    fs::create_dir(bare.path().join("templates")).unwrap();
    fs::write(bare.path().join("Chart.yaml"), "{apiVersion: v2, name: playground, version: 0.1.0}").unwrap();
    fs::write(bare.path().join("values.schema.json"), values::schema().to_string()).unwrap();
    for file in ["values.yaml", "templates/rules.yaml"] {
        fs::copy(chart.join(file), bare.path().join(file)).unwrap();
    }
    // The rules need it to know which service is balanced.
    let balancer = "charts/balancer/templates/_balancer.tpl";
    fs::copy(chart.join(balancer), bare.path().join("templates/_balancer.tpl")).unwrap();
    bare
}

#[test]
fn helm_refuses_the_same_mistakes() {
    let bare = bare_chart();
    let render = |set: &[&str]| {
        let mut command = Command::new("helm");
        command.args(["template", "release"]).arg(bare.path());
        let output =
            command.args(set.iter().flat_map(|text| ["--set", text])).output().expect("helm is on PATH");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (set, at) in MISTAKES {
        let (accepted, said) = render(set);
        let pointer = format!("'/{}'", at.replace('.', "/"));
        // Helm's validator reports no location for a wrong name in a table.
        let is_named = said.contains(&pointer) || said.contains("invalid propertyName") || at.is_empty();
        assert!(
            !accepted && said.contains("values don't meet the specifications") && is_named,
            "{set:?}: {said}"
        );
    }
    for (set, all) in SEVERAL {
        let (accepted, said) = render(set);
        let is_told = |at: &&str| said.contains(&format!("'/{}'", at.replace('.', "/")));
        assert!(!accepted && all.iter().all(is_told), "{set:?}: {said}");
    }
    for (set, message) in BETWEEN {
        let (accepted, said) = render(set);
        assert!(!accepted && said.contains(message), "{set:?}: {said}");
    }
    for set in RIGHT {
        let (accepted, said) = render(set);
        assert!(accepted, "{set:?}: {said}");
    }
}
