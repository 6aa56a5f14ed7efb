//! What the pages tell a reader to type: each command is one that exists, and each object one that would be accepted. What a
//! command does is for the journeys to show.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod commands;
mod objects;
mod pages;

use std::{collections::BTreeSet, fs};

use clap::{Parser, error::ErrorKind};
use instar::cli::Cli;
use xtask::{release::Release, root};

use crate::{
    commands::Source,
    objects::Schemas,
    pages::{Page, pages},
};

#[test]
fn each_instar_command_is_one() {
    let mut seen = 0;
    for page in pages() {
        for command in page.commands("instar") {
            // Help and version are errors for clap alone.
            let error = Cli::try_parse_from(&command.words)
                .err()
                .filter(clap::Error::use_stderr);
            let is_short = |error: &clap::Error| {
                command.source == Source::Sentence
                    && matches!(
                        error.kind(),
                        ErrorKind::MissingRequiredArgument | ErrorKind::InvalidValue
                    )
            };
            if let Some(error) = error.filter(|error| !is_short(error)) {
                panic!("{}: {error}", command.place);
            }
            seen += 1;
        }
    }
    assert!(seen > 15, "{seen}");
}

#[test]
fn each_command_of_the_plugin_is_one() {
    let mut seen = 0;
    for page in pages() {
        for command in page.commands("kubectl") {
            let Some(("instar", arguments)) = command.words.get(1).map(|word| (word.as_str(), &command.words[2..]))
            else {
                continue;
            };
            let words = ["kubectl instar"]
                .into_iter()
                .chain(arguments.iter().map(String::as_str));
            let error = kubectl_instar::cli::command().try_get_matches_from(words).err();
            let error = error.filter(clap::Error::use_stderr);
            let is_short = |error: &clap::Error| {
                command.source == Source::Sentence
                    && matches!(
                        error.kind(),
                        ErrorKind::MissingRequiredArgument
                            | ErrorKind::InvalidValue
                            | ErrorKind::ValueValidation
                            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                    )
            };
            if let Some(error) = error.filter(|error| !is_short(error)) {
                panic!("{}: {error}", command.place);
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn each_file_that_is_applied_is_there() {
    let release = Release {
        version: env!("CARGO_PKG_VERSION").parse().unwrap(),
        image: "registry.example.org/instar".to_owned(),
        provider: "instar".to_owned(),
        program: b"a program".to_vec(),
        plugin: b"a plugin".to_vec(),
        url: "https://releases.example.org/instar".to_owned(),
        epoch: 0,
    };
    let shipped: BTreeSet<String> = release
        .files()
        .unwrap()
        .into_keys()
        .map(|path| format!("out/{path}"))
        .collect();
    let mut seen = 0;
    for page in pages() {
        for command in page.commands("kubectl") {
            for path in command.applied() {
                let path = path.trim_end_matches("/NAME");
                let is_there = path == "-"
                    || shipped.contains(path)
                    || page.shows_file(path)
                    || (path != "." && root().join(path).exists());
                assert!(
                    is_there,
                    "{}: {path} is in no folder, no release and not on the page",
                    command.place
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 5, "{seen}");
}

#[test]
fn each_target_of_make_is_in_the_makefile() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.strip_prefix(".PHONY: "))
        .flat_map(str::split_whitespace)
        .collect();
    let mut seen = 0;
    for page in pages() {
        for command in page.commands("make") {
            let named = command.words[1..]
                .iter()
                .filter(|word| !word.contains('=') && !word.starts_with('-'));
            for target in named {
                assert!(
                    targets.contains(target.as_str()),
                    "{}: no target {target}",
                    command.place
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn each_patch_is_one_that_its_kind_has() {
    let schemas = Schemas::new();
    let (mut seen, mut ours) = (0, 0);
    for page in pages() {
        for command in page.commands("kubectl") {
            for patch in command.patches() {
                let patch: serde_json::Value =
                    serde_json::from_str(patch).unwrap_or_else(|error| panic!("{}: {error}: {patch}", command.place));
                seen += 1;
                if let Some(unknown) = command.words.get(2).and_then(|kind| schemas.unknown_of(kind, &patch)) {
                    assert_eq!(unknown, [] as [String; 0], "{}", command.place);
                    ours += 1;
                }
            }
        }
    }
    assert!(seen > 12 && ours > 8, "{seen}, {ours}");
}

#[test]
fn each_object_of_ours_is_read_as_it_is_written() {
    let schemas = Schemas::new();
    let mut ours = 0;
    for page in pages() {
        for (place, text) in page.yaml() {
            // What is left out of a list is beside the point there.
            let text = text.replace("[...]", "[]");
            let documents: Vec<serde_json::Value> =
                serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{place}: {error}"));
            for object in documents {
                if let Some(wrong) = schemas.wrong_with(&object) {
                    assert_eq!(wrong, [] as [String; 0], "{place}");
                    ours += 1;
                }
            }
        }
    }
    assert!(ours > 15, "{ours}");
}

#[test]
fn the_pages_are_read() {
    let pages: Vec<Page> = pages();
    assert!(pages.len() > 20, "{}", pages.len());
}
