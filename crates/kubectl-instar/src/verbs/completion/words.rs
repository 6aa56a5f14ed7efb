//! What may stand where a word is typed, from the command line before it.

use clap::{Arg, Command};

use crate::connection::ConnectionArgs;

/// What may stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// One of these.
    Words(Vec<String>),
    /// The name of a Cluster.
    Clusters,
    /// A version of the catalog, or the name of a row.
    Releases,
    /// The name of a namespace.
    Namespaces,
    /// The name of a context.
    Contexts,
    /// What `explain` knows.
    Explained,
    /// A file or a folder.
    Files,
}

/// That, and the cluster that the command line before it names.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) wanted: Wanted,
    pub(super) connection: ConnectionArgs,
}

/// What may stand behind these words, where `prefix` is what of it is typed already.
pub(super) fn asked(mut command: Command, before: &[String], prefix: &str) -> Asked {
    command.build();
    let mut connection = ConnectionArgs::default();
    let mut present = &command;
    let mut positionals = 0;
    let mut open: Option<&Arg> = None;
    for word in before {
        if let Some(argument) = open.take() {
            take(&mut connection, argument, word);
        } else if let Some(flag) = word.strip_prefix("--") {
            let (name, value) = flag
                .split_once('=')
                .map_or((flag, None), |(name, value)| (name, Some(value)));
            let argument = flags(present).find(|argument| argument.get_long() == Some(name));
            match (argument, value) {
                (Some(argument), Some(value)) => take(&mut connection, argument, value),
                (Some(argument), None) if takes_value(argument) => open = Some(argument),
                (Some(_) | None, _) => {}
            }
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            open = short(&mut connection, present, letters);
        } else if let Some(below) = present.find_subcommand(word).filter(|_| positionals == 0) {
            present = below;
        } else {
            positionals += 1;
        }
    }
    let wanted = open.map_or_else(
        || without_flag(present, positionals, prefix),
        |argument| values_of(present, argument),
    );
    Asked { wanted, connection }
}

/// Flags of one letter each. What stands behind the first that takes a value is its value; where nothing does, the next word
/// is, and the flag is returned.
fn short<'c>(connection: &mut ConnectionArgs, command: &'c Command, letters: &str) -> Option<&'c Arg> {
    let (argument, value) = letters.char_indices().find_map(|(at, letter)| {
        let argument = flags(command)
            .find(|argument| argument.get_short() == Some(letter))
            .filter(|argument| takes_value(argument))?;
        Some((argument, &letters[at + letter.len_utf8()..]))
    })?;
    if value.is_empty() {
        return Some(argument);
    }
    take(connection, argument, value.strip_prefix('=').unwrap_or(value));
    None
}

fn take(connection: &mut ConnectionArgs, argument: &Arg, value: &str) {
    match argument.get_id().as_str() {
        "namespace" => connection.namespace = Some(value.to_owned()),
        "kubeconfig" => connection.kubeconfig = Some(value.into()),
        "context" => connection.context = Some(value.to_owned()),
        _ => {}
    }
}

fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| !argument.is_positional())
}

fn takes_value(argument: &Arg) -> bool {
    argument.get_action().takes_values()
}

fn without_flag(command: &Command, positionals: usize, prefix: &str) -> Wanted {
    if prefix.starts_with('-') {
        let long = flags(command).filter(|argument| !argument.is_hide_set());
        let long = long.filter_map(|argument| argument.get_long());
        return Wanted::Words(long.map(|flag| format!("--{flag}")).collect());
    }
    let below: Vec<String> = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set() && positionals == 0)
        .map(|below| below.get_name().to_owned())
        .collect();
    if !below.is_empty() {
        return Wanted::Words(below);
    }
    let all: Vec<&Arg> = command.get_positionals().collect();
    let repeated = || {
        all.last()
            .filter(|argument| argument.get_num_args().is_some_and(|range| range.max_values() > 1))
    };
    let argument = all.get(positionals).or_else(repeated);
    argument.map_or(Wanted::Words(Vec::new()), |argument| values_of(command, argument))
}

/// By the name that the help gives to a value.
fn values_of(command: &Command, argument: &Arg) -> Wanted {
    let possible = argument.get_possible_values();
    if !possible.is_empty() {
        let names = possible.iter().filter(|value| !value.is_hide_set());
        return Wanted::Words(names.map(|value| value.get_name().to_owned()).collect());
    }
    let name = argument.get_value_names().and_then(<[_]>::first);
    match (
        name.map(clap::builder::Str::as_str).unwrap_or_default(),
        argument.get_id().as_str(),
    ) {
        ("CLUSTER", _) => Wanted::Clusters,
        ("TARGET" | "RELEASE" | "VERSION", _) => Wanted::Releases,
        ("NAMESPACE", _) => Wanted::Namespaces,
        ("FILE" | "DIR", _) => Wanted::Files,
        ("NAME", "context") => Wanted::Contexts,
        ("NAME", _) if command.get_name() == "explain" => Wanted::Explained,
        _ => Wanted::Words(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn at(line: &str) -> Asked {
        let mut words: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
        let prefix = words.pop().unwrap();
        asked(cli::command(), &words, &prefix)
    }

    #[test]
    fn what_may_stand_there_follows_from_the_words_before() {
        for (line, wanted) in [
            ("status ", Wanted::Clusters),
            ("-n fleet upgrade ", Wanted::Clusters),
            ("upgrade my-cluster --to v1", Wanted::Releases),
            ("upgrade my-cluster --dry-run --to ", Wanted::Releases),
            ("status my-cluster ", Wanted::Words(Vec::new())),
            ("status -n ", Wanted::Namespaces),
            ("status -An ", Wanted::Namespaces),
            ("status -ojson ", Wanted::Clusters),
            ("status -nfleet ", Wanted::Clusters),
            ("status -nion ", Wanted::Clusters),
            ("status -Ao=yaml ", Wanted::Clusters),
            ("--context ", Wanted::Contexts),
            ("explain ", Wanted::Explained),
            ("releases lint ", Wanted::Files),
            ("releases lint a.yaml ", Wanted::Files),
            ("releases new v1.36.3 --from ", Wanted::Releases),
            ("wire -f ", Wanted::Files),
        ] {
            assert_eq!(at(line).wanted, wanted, "{line}");
        }
        let words = |line: &str| match at(line).wanted {
            Wanted::Words(words) => words,
            other => panic!("{line}: {other:?}"),
        };
        assert!(words("").contains(&"status".to_owned()));
        assert!(!words("").contains(&"__complete".to_owned()));
        assert!(words("releases l").contains(&"lint".to_owned()));
        assert!(words("status -o ").contains(&"json".to_owned()));
        assert!(words("status --").contains(&"--watch".to_owned()));
        assert!(words("status --").contains(&"--namespace".to_owned()));
        assert_eq!(words("completion "), ["bash", "zsh", "fish"]);
    }

    #[test]
    fn the_cluster_that_is_named_is_asked() {
        let ConnectionArgs {
            namespace,
            kubeconfig,
            context,
        } = at("-n fleet --context=prod status --kubeconfig /tmp/x ").connection;
        assert_eq!(namespace.as_deref(), Some("fleet"));
        assert_eq!(context.as_deref(), Some("prod"));
        assert_eq!(kubeconfig.as_deref(), Some(std::path::Path::new("/tmp/x")));
        for line in ["status -nfleet ", "-n=fleet status ", "status -Anfleet "] {
            assert_eq!(at(line).connection.namespace.as_deref(), Some("fleet"), "{line}");
        }
    }
}
