//! The crates are in order, and so are the modules of each; the pure crates are pure.

mod circles;
mod imports;
mod source;

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Result, ensure};
use cargo_metadata::{DependencyKind, MetadataCommand};

use self::source::{code, sources};

/// From the bottom up: a crate depends on earlier ones only.
const ORDER: [&str; 26] = [
    "instar-domain",
    "instar-api",
    "instar-capi",
    "instar-catalog",
    "instar-wiring",
    "instar-gates",
    "instar-planner",
    "instar-addons",
    "instar-preflight",
    "instar-admission",
    "instar-forecast",
    "instar-report",
    "instar-serve",
    "instar-watch",
    "instar-workload",
    "instar-vsphere",
    "instar-webhooks",
    "instar-testkit",
    "instar-controller",
    "instar",
    "kubectl-instar",
    "instar-fuzz",
    "xtask",
    "instar-e2e",
    "instar-benches",
    "instar-demo",
];

/// The first twelve: values and functions of values.
const PURE: [(&str, &str); 12] = [
    ("instar-domain", "crates/domain"),
    ("instar-api", "crates/api"),
    ("instar-capi", "crates/capi"),
    ("instar-catalog", "crates/catalog"),
    ("instar-wiring", "crates/wiring"),
    ("instar-gates", "crates/gates"),
    ("instar-planner", "crates/planner"),
    ("instar-addons", "crates/addons"),
    ("instar-preflight", "crates/preflight"),
    ("instar-admission", "crates/admission"),
    ("instar-forecast", "crates/forecast"),
    ("instar-report", "crates/report"),
];

/// What no pure crate may reach, however far away.
const IMPURE: [&str; 6] = ["tokio", "kube-client", "hyper", "axum", "rand", "reqwest"];

/// What no pure crate's sources may name: clocks, the environment, files, the network, waiting.
const WORDS: [&str; 12] = [
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "async fn",
    "async move",
    ".await",
];

#[test]
fn arrows_run_only_down() {
    let metadata = MetadataCommand::new()
        .manifest_path(xtask::root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--frozen".to_owned()])
        .exec()
        .unwrap();
    let place = |name: &str| ORDER.iter().position(|other| *other == name);
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some(own) = place(&package.name) else {
            wrong.push(format!("{} has no place in the order of this test", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let counts = dependency.kind != DependencyKind::Development && dependency.path.is_some();
            if counts && place(&dependency.name).is_none_or(|other| other >= own) {
                wrong.push(format!("{} depends on {}", package.name, dependency.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        metadata.packages.len(),
        ORDER.len(),
        "the order names a crate that isn't there"
    );
}

#[test]
fn pure_crates_reach_no_io() {
    let mut wrong = Vec::new();
    for (package, _) in PURE {
        let reached = reached_by(package).unwrap();
        assert!(reached.contains(package), "{package}: cargo tree lists nothing");
        for impure in IMPURE.iter().filter(|impure| reached.contains(**impure)) {
            wrong.push(format!(
                "{package} reaches {impure}: cargo tree -p {package} -e normal -i {impure}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every package in the normal dependency graph, with the features that the crate alone turns on.
fn reached_by(package: &str) -> Result<BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .current_dir(xtask::root())
        .args(["tree", "--frozen", "-p", package, "-e", "normal", "--prefix", "none"])
        .output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo tree -p {package}: {complaint}");
    let lines = String::from_utf8(output.stdout)?;
    let names = lines.lines().filter_map(|line| line.split(' ').next());
    Ok(names.map(str::to_owned).collect())
}

#[test]
fn pure_sources_name_no_clock_and_no_io() {
    let mut wrong = Vec::new();
    for (_, dir) in PURE {
        let files = sources(&xtask::root().join(dir).join("src")).unwrap();
        assert!(!files.is_empty(), "{dir} has no sources");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for word in impure_words(&text) {
                wrong.push(format!("{}: {word}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn impure_words(text: &str) -> Vec<&'static str> {
    let code = code(text);
    let imports = grouped_imports(&code);
    WORDS
        .into_iter()
        .filter(|word| code.contains(word) || imports.iter().any(|import| import == word))
        .collect()
}

/// `std::fs` for `use std::{collections::BTreeMap, fs};`.
fn grouped_imports(code: &str) -> Vec<String> {
    let mut imports = Vec::new();
    for group in code.split("std::{").skip(1) {
        let (mut depth, mut import) = (0, String::new());
        for character in group.chars().filter(|character| !character.is_whitespace()) {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => imports.push(std::mem::take(&mut import)),
                _ if depth == 0 => import.push(character),
                _ => {}
            }
        }
        imports.push(import);
    }
    let module = |import: &String| format!("std::{}", import.split("::").next().unwrap_or_default());
    imports.iter().map(module).collect()
}

#[test]
fn the_search_sees_code_and_not_tests() {
    let found = |text: &str| impure_words(text);
    assert_eq!(found("use std::time::SystemTime;\n"), ["SystemTime"]);
    assert_eq!(
        found("use std::{\n    collections::{BTreeMap, btree_map},\n    fs,\n};\n"),
        ["std::fs"]
    );
    assert_eq!(found("use std::{env::var, path::Path};\n"), ["std::env"]);
    assert_eq!(found("pub async fn a() {}\n"), ["async fn"]);
    assert_eq!(found("let now = jiff::Timestamp::now();\n"), ["Timestamp::now"]);
    assert_eq!(found("/// Not SystemTime.\nfn a() {}\n"), Vec::<&str>::new());
    assert_eq!(
        found("#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n"),
        Vec::<&str>::new()
    );
    assert_eq!(
        found("#[cfg(test)]\nmod tests;\nuse std::fs;\n"),
        ["std::fs"],
        "what follows the line counts"
    );
    assert_eq!(
        found("#[cfg(test)]\nmod tests {\n    fn a() {}\n}\nuse std::net;\n"),
        ["std::net"]
    );
}
