//! What ships the kubectl plugin: an archive, the manifest by which Krew installs it, and plugins for k9s that call it.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::{Content, Files, Program, Release, gzip, hex};
use crate::{root, yaml};

/// The name of the plugin for Krew: `kubectl instar`.
const NAME: &str = "instar";

pub(super) fn files(release: &Release) -> Result<Files> {
    let archive = archive(release).context("the plugin's archive")?;
    let file = format!("{}.tar.gz", release.name_of(Program::Plugin));
    let krew = yaml::document(&krew(release, &file, &archive))?;
    let k9s = yaml::document(&k9s())?;
    Ok(Files::from([
        (format!("plugin/{file}"), Content::Data(archive)),
        ("plugin/krew.yaml".to_owned(), Content::Data(krew.into_bytes())),
        ("plugin/k9s.yaml".to_owned(), Content::Data(k9s.into_bytes())),
    ]))
}

/// The program and the licence, which Krew asks for.
fn archive(release: &Release) -> Result<Vec<u8>> {
    let license = std::fs::read(root().join("LICENSE")).context("LICENSE")?;
    let mut archive = Builder::new(Vec::new());
    for (name, mode, bytes) in [
        ("LICENSE", 0o644, license.as_slice()),
        (Program::Plugin.package(), 0o755, release.bytes_of(Program::Plugin)),
    ] {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.len().try_into()?);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(release.epoch);
        archive.append_data(&mut header, name, bytes)?;
    }
    gzip(&archive.into_inner()?, release.epoch)
}

fn krew(release: &Release, file: &str, archive: &[u8]) -> Value {
    json!({
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": { "name": NAME },
        "spec": {
            "version": release.tag(),
            "shortDescription": "Upgrades of Cluster API clusters",
            "description": "Shows, begins, stops and explains upgrades of Cluster API clusters that Instar manages, and \
                            checks its catalog of releases.",
            "platforms": [{
                "selector": { "matchLabels": { "os": "linux", "arch": release.platform().architecture() } },
                "uri": format!("{}/{file}", release.url),
                "sha256": hex(archive),
                "bin": Program::Plugin.package(),
                "files": [
                    { "from": Program::Plugin.package(), "to": "." },
                    { "from": "LICENSE", "to": "." },
                ],
            }],
        },
    })
}

/// What stands behind the shell's own name. k9s puts its values in place of names such as `$NAME`, and refuses a shortcut with
/// one that it doesn't know: `$1` is one.
const ARGUMENTS: &str = "\"$@\"";

/// What k9s calls on the Cluster under its cursor.
const SHORTCUTS: [(&str, &str, &str, &[&str]); 3] = [
    ("instar-status", "Shift-I", "Upgrade", &["status", "--watch"]),
    ("instar-preflight", "Shift-K", "Upgrade checks", &["preflight"]),
    ("instar-history", "Shift-H", "Upgrades so far", &["history"]),
];

fn k9s() -> Value {
    let plugins = SHORTCUTS.map(|(name, key, description, verb)| {
        // What ends at once is shown by a pager, and so is an error.
        let pager = if verb.contains(&"--watch") { "" } else { " 2>&1 | less" };
        let line = format!("kubectl instar {} {ARGUMENTS}{pager}", verb.join(" "));
        let plugin = json!({
            "shortCut": key,
            "description": description,
            "scopes": ["clusters"],
            "command": "sh",
            "background": false,
            "args": ["-c", line, "sh", "$NAME", "--namespace", "$NAMESPACE", "--context", "$CONTEXT"],
        });
        (name.to_owned(), plugin)
    });
    json!({ "plugins": plugins.into_iter().collect::<serde_json::Map<String, Value>>() })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::release::tests::release;

    #[test]
    fn krew_gets_the_archive_that_it_is_told_of() {
        let release = release();
        let files = files(&release).unwrap();
        let archive = files["plugin/kubectl-instar-linux-amd64.tar.gz"].bytes();
        let manifest: Value = serde_saphyr::from_slice(files["plugin/krew.yaml"].bytes()).unwrap();
        let platform = &manifest["spec"]["platforms"][0];
        assert_eq!(platform["sha256"], hex(archive));
        assert_eq!(
            platform["uri"],
            "https://releases.example.org/instar/kubectl-instar-linux-amd64.tar.gz"
        );
        let mut archive = tar::Archive::new(GzDecoder::new(archive));
        let mut program = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.path().unwrap().as_os_str() == "kubectl-instar" {
                assert_eq!(entry.header().mode().unwrap(), 0o755);
                entry.read_to_end(&mut program).unwrap();
            }
        }
        assert_eq!(program, release.plugin);
    }

    #[test]
    fn k9s_calls_what_there_is() {
        for (name, plugin) in k9s()["plugins"].as_object().unwrap() {
            let args = plugin["args"].as_array().unwrap();
            let args: Vec<&str> = args.iter().map(|arg| arg.as_str().unwrap()).collect();
            assert_eq!([args[0], args[2]], ["-c", "sh"], "{name}");
            let call = args[1].split(" 2>&1 | ").next().unwrap();
            assert_eq!(
                call.matches('$').count(),
                1,
                "{name}: k9s would replace what is no value of its: {call}"
            );
            let call = call.replace(ARGUMENTS, &args[3..].join(" ").replace('$', ""));
            let words = shlex::split(&call).unwrap();
            let words = ["kubectl instar".to_owned()]
                .into_iter()
                .chain(words.into_iter().skip(2));
            let error = kubectl_instar::cli::command().try_get_matches_from(words).err();
            assert!(error.is_none(), "{name}: {error:?}");
        }
    }
}
