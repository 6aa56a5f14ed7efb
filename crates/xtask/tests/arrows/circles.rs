//! No modules of a crate import each other in a circle.
//!
//! A module and its descendants may: they are one thing in several files. So the test compares the children of one
//! module, each with all of its descendants: where a file of `a` imports one of `b`, and another file of `b` one of
//! `a`, neither can be read first. Imports by the crate's root and from it don't count; a name that a module
//! re-exports counts as an import of the module that defines it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result};

use crate::{
    imports::{Import, imports},
    source::{code, sources},
};

const CRATES: [&str; 26] = [
    "benches/src",
    "crates/addons/src",
    "crates/admission/src",
    "crates/api/src",
    "crates/capi/src",
    "crates/catalog/src",
    "crates/controller/src",
    "crates/domain/src",
    "crates/forecast/src",
    "crates/gates/src",
    "crates/instar/src",
    "crates/kubectl-instar/src",
    "crates/planner/src",
    "crates/preflight/src",
    "crates/report/src",
    "crates/serve/src",
    "crates/testkit/src",
    "crates/vsphere/src",
    "crates/watch/src",
    "crates/wiring/src",
    "crates/workload/src",
    "crates/xtask/src",
    "demo/src",
    "e2e/src",
    "fuzz/src",
    "webhooks/src",
];

/// The names of a module and of those that it is in, from the top; empty for the crate itself.
type Module = Vec<String>;

/// How many re-exports in a row are followed, so that the search ends.
const MOST_ALIASES: usize = 16;

#[derive(Default)]
struct Crate {
    modules: BTreeMap<Module, File>,
}

#[derive(Default)]
struct File {
    name: String,
    imports: Vec<Import>,
    /// What the names that it imports stand for.
    names: BTreeMap<String, Vec<String>>,
}

/// An import of one module by another, where neither contains the other.
struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    place: String,
}

impl Crate {
    /// Files by their names below the folder of the sources, with their texts.
    fn of(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut read = Self::default();
        for (name, text) in files {
            let module = name.trim_end_matches(".rs").split('/');
            let module = module
                .filter(|part| !matches!(*part, "lib" | "main" | "mod"))
                .map(str::to_owned);
            let file = read.modules.entry(module.collect()).or_default();
            for import in imports(&code(&text)) {
                if let Some(name) = &import.name {
                    file.names.insert(name.clone(), import.path.clone());
                }
                file.imports.push(import);
            }
            file.name = name;
        }
        read
    }

    /// The module that a path in another ends in; none where it leads out of the crate.
    fn resolve(&self, module: &Module, path: &[String], aliases: usize) -> Option<Module> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Module::new(),
            "self" => module.clone(),
            "super" => module.split_last()?.1.to_vec(),
            name if self.file(module)?.names.contains_key(name) || self.child(module, name).is_some() => {
                rest = path;
                module.clone()
            }
            _ => return None,
        };
        for name in rest {
            if name == "super" {
                at.pop()?;
            } else if let Some(child) = self.child(&at, name) {
                at = child;
            } else if let Some(path) = self.file(&at)?.names.get(name) {
                at = self.resolve(&at, path, aliases.checked_sub(1)?)?;
            } else {
                break;
            }
        }
        Some(at)
    }

    fn file(&self, module: &Module) -> Option<&File> {
        self.modules.get(module)
    }

    fn child(&self, module: &Module, name: &str) -> Option<Module> {
        let mut child = module.clone();
        child.push(name.to_owned());
        self.modules.contains_key(&child).then_some(child)
    }

    /// The imports between the children of each module.
    fn edges(&self) -> BTreeMap<&[String], Vec<Edge<'_>>> {
        let mut edges: BTreeMap<&[String], Vec<Edge<'_>>> = BTreeMap::new();
        for (module, file) in &self.modules {
            for import in &file.imports {
                let Some(target) = self.resolve(module, &import.path, MOST_ALIASES) else {
                    continue;
                };
                let Some((target, _)) = self.modules.get_key_value(&target) else {
                    continue;
                };
                let depth = module.iter().zip(target).take_while(|(a, b)| a == b).count();
                let (Some(from), Some(to)) = (module.get(depth), target.get(depth)) else {
                    continue;
                };
                let path = import.path.join("::");
                edges.entry(&module[..depth]).or_default().push(Edge {
                    from,
                    to,
                    place: format!("{}:{}: {path} of {}", file.name, import.line, target.join("::")),
                });
            }
        }
        edges
    }

    /// A text for each circle: its modules, and the imports that form it.
    fn circles(&self) -> Vec<String> {
        self.edges().into_values().flat_map(|edges| circles(&edges)).collect()
    }
}

fn circles(edges: &[Edge<'_>]) -> Vec<String> {
    let mut left: BTreeSet<&str> = edges.iter().map(|edge| edge.from).collect();
    let mut circles = Vec::new();
    while let Some(module) = left.pop_first() {
        let reached = reached(module, edges);
        let circle: BTreeSet<&str> = std::iter::once(module)
            .chain(left.iter().copied())
            .filter(|other| reached.contains(other) && self::reached(other, edges).contains(module))
            .collect();
        if circle.is_empty() {
            continue;
        }
        left.retain(|other| !circle.contains(other));
        let names: Vec<&str> = circle.iter().copied().collect();
        let between = |edge: &&Edge<'_>| circle.contains(edge.from) && circle.contains(edge.to);
        let places: BTreeSet<String> = edges
            .iter()
            .filter(between)
            .map(|edge| format!("\n    {} -> {}: {}", edge.from, edge.to, edge.place))
            .collect();
        circles.push(format!(
            "{} import each other:{}",
            names.join(", "),
            places.into_iter().collect::<String>()
        ));
    }
    circles
}

/// The modules that one imports, however far away.
fn reached<'a>(module: &str, edges: &[Edge<'a>]) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![module];
    while let Some(module) = next.pop() {
        for edge in edges.iter().filter(|edge| edge.from == module) {
            if reached.insert(edge.to) {
                next.push(edge.to);
            }
        }
    }
    reached
}

fn read(dir: &str) -> Result<Crate> {
    let dir = xtask::root().join(dir);
    let mut files = Vec::new();
    for path in sources(&dir)? {
        let name = path.strip_prefix(&dir)?.display().to_string();
        files.push((name, fs::read_to_string(&path).context(path.display().to_string())?));
    }
    Ok(Crate::of(files))
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let mut wrong = Vec::new();
    for dir in CRATES {
        let read = read(dir).unwrap();
        assert!(!read.modules.is_empty(), "{dir} has no sources");
        wrong.extend(read.circles().into_iter().map(|circle| format!("{dir}: {circle}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn circles_are_found() {
    let found = |files: &[(&str, &str)]| {
        let files = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Crate::of(files).circles()
    };
    assert_eq!(
        found(&[
            ("a.rs", "use crate::b::B;\n"),
            ("b.rs", "fn b() {\n    super::a::a();\n}\n")
        ]),
        ["a, b import each other:\n    a -> b: a.rs:1: crate::b::B of b\n    b -> a: b.rs:2: super::a::a of a"]
    );
    assert_eq!(
        found(&[
            ("lib.rs", "mod a;\nmod b;\npub use self::b::B;\n"),
            ("a.rs", "mod x;\nmod y;\n"),
            ("a/x.rs", "use crate::B;\n"),
            ("a/y.rs", ""),
            ("b.rs", "use crate::c::C;\n"),
            ("c.rs", "use crate::a::y::Y;\n"),
            ("d.rs", "use crate::a::A;\n"),
        ]),
        ["a, b, c import each other:\n    a -> b: a/x.rs:1: crate::B of b\n    \
             b -> c: b.rs:1: crate::c::C of c\n    c -> a: c.rs:1: crate::a::y::Y of a::y"],
        "through a re-export, and through other files of the same module"
    );
    assert_eq!(
        found(&[("a.rs", "use self::x::X;\n"), ("a/x.rs", "use super::A;\n")]),
        Vec::<String>::new(),
        "a module and one in it"
    );
    assert_eq!(
        found(&[
            ("a.rs", "use crate::b::B;\nuse std::fmt;\n"),
            (
                "b.rs",
                "// crate::a\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n"
            ),
        ]),
        Vec::<String>::new(),
        "tests may import what they like"
    );
}
