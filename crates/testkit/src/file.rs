//! The files of cases.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use instar_admission::Rule;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    case::{Case, Written},
    world::{Key, World, directory},
};

/// The cases of one rule.
#[derive(Debug)]
pub struct CaseFile {
    pub rule: Rule,
    pub scenes: Vec<Scene>,
}

/// Cases that find the same objects on the cluster.
#[derive(Debug)]
pub struct Scene {
    /// Which file it is of, and the how many-th there.
    pub name: String,
    /// Why it can't be made on a real cluster, if it can't.
    pub impossible: Option<String>,
    /// What is on the cluster.
    pub world: World,
    /// The cases, in their order: what is refused comes first, so that who has just refused it is
    /// who lets its neighbour pass.
    pub cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    rule: Rule,
    scenes: Vec<WrittenScene>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenScene {
    world: String,
    #[serde(default)]
    given: BTreeMap<Key, Value>,
    #[serde(rename = "not-on-a-real-cluster")]
    impossible: Option<String>,
    cases: Vec<Written>,
}

/// All files, by the order of the rules.
pub fn all() -> Result<Vec<CaseFile>> {
    let mut files = Vec::new();
    let directory = directory();
    for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(read(&path).with_context(|| path.display().to_string())?);
        }
    }
    files.sort_by_key(|file| file.rule);
    Ok(files)
}

fn read(path: &Path) -> Result<CaseFile> {
    let file: WrittenFile = serde_saphyr::from_str(&fs::read_to_string(path)?)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    ensure!(stem == file.rule.id(), "a file is named after its rule, {}", file.rule);
    let worlds = directory().join("worlds");
    let scene = |(place, scene): (usize, WrittenScene)| -> Result<Scene> {
        let world = World::read(&worlds, &scene.world, &scene.given)?;
        let cases = scene.cases.into_iter().map(|case| Case::try_from(case)?.merged(&world));
        let cases: Vec<Case> = cases.collect::<Result<_>>()?;
        // No other webhook is there.
        ensure!(
            scene.impossible.is_some() || cases.iter().all(|case| case.defaulted.is_none()),
            "a scene with defaulted can't be made on a real cluster"
        );
        Ok(Scene {
            name: format!("{stem}-{}", place + 1),
            impossible: scene.impossible,
            world,
            cases,
        })
    };
    Ok(CaseFile {
        rule: file.rule,
        scenes: file.scenes.into_iter().enumerate().map(scene).collect::<Result<_>>()?,
    })
}
