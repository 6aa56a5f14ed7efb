//! `kubectl instar snapshot`.

#[cfg(unix)]
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use instar::yaml;
use serde_json::Value;

use crate::{Error, Exit, connection::Connection, output, read};

/// The file in the folder.
const FILE: &str = "objects.yaml";

/// What `kubectl apply` keeps of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What an inline patch of a ClusterClass may have of credentials: what touches one of these, or all that they are in, is
/// written without its value.
const PRIVATE: [&str; 8] = [
    "files",
    "users",
    "preKubeadmCommands",
    "postKubeadmCommands",
    "bootCommands",
    "ignition",
    "bootstrapTokens",
    "discovery",
];

/// The group of templates of bootstrap configurations.
const BOOTSTRAP: &str = "bootstrap.cluster.x-k8s.io/";

/// The group of control planes.
const CONTROL_PLANE: &str = "controlplane.cluster.x-k8s.io/";

/// Writes the objects of a Cluster into a folder, to look at them without the cluster
///
/// Those of Cluster API and of Instar, the templates that they refer to, and the ClusterClass: no Secret, and nothing of the
/// workload cluster. What a control plane or a bootstrap template has of files, users, commands and bootstrap tokens is left
/// out, and so are the values of a ClusterClass's patches of them. Infrastructure templates, addresses and the variables of a
/// topology are in it: read it before you send it to anyone. The file can be read by you alone.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub struct SnapshotArgs {
    /// The Cluster
    #[arg(value_name = "CLUSTER")]
    pub(crate) cluster: String,

    /// The folder; it is created where it isn't there
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  kubectl instar snapshot my-cluster ./my-cluster
  kubectl instar status my-cluster --from-snapshot ./my-cluster
  kubectl instar plan my-cluster --to v1.35 --from-snapshot ./my-cluster

Exit codes: 0 done, 2 couldn't be read or written.";

/// Writes them.
pub(crate) async fn run(connection: &Connection, args: &SnapshotArgs) -> Result<Exit, Error> {
    let read = Box::pin(read::snapshot(connection, &args.cluster)).await?;
    for why in &read.unread {
        eprintln!("not written: {why}");
    }
    let objects = read.objects.iter().map(without_credentials);
    let documents = objects.map(|object| Ok(format!("---\n{}", yaml::print(&object)?)));
    let text: String = documents.collect::<Result<_, yaml::PrintError>>()?;
    let path = args.dir.join(FILE);
    let written = fs::create_dir_all(&args.dir).and_then(|()| private(&path, &text));
    written.map_err(|source| Error::File {
        path: path.clone(),
        source,
    })?;
    output::print(&format!("{}: {} objects\n", path.display(), read.objects.len()))?;
    Ok(Exit::Done)
}

/// Written for the user alone.
fn private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(path)?;
    // One that was there keeps its mode.
    #[cfg(unix)]
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())
}

/// Without what the configuration of machines has of credentials, also in what kubectl keeps of the last apply. Of a bootstrap
/// template of another provider than kubeadm's nobody knows where those are, so nothing of its configuration is kept.
fn without_credentials(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(annotations) = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED);
    }
    let text = |member: &str| {
        object
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let is_bootstrap = text("apiVersion").starts_with(BOOTSTRAP);
    let is_kubeadm = text("kind") == "KubeadmConfigTemplate";
    let is_class = text("kind") == "ClusterClass";
    let is_other_control_plane = text("apiVersion").starts_with(CONTROL_PLANE)
        && !matches!(&*text("kind"), "KubeadmControlPlane" | "KubeadmControlPlaneTemplate");
    if is_class {
        without_private_patches(&mut object);
        return object;
    }
    if is_other_control_plane {
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.retain(|member, _| ["version", "replicas", "machineTemplate"].contains(&member.as_str()));
        }
        return object;
    }
    let is_template = text("kind") == "KubeadmControlPlaneTemplate";
    let configuration = match (is_bootstrap, is_template) {
        (true, _) => "/spec/template/spec",
        (false, true) => "/spec/template/spec/kubeadmConfigSpec",
        (false, false) => "/spec/kubeadmConfigSpec",
    };
    let configuration = object.pointer_mut(configuration).and_then(Value::as_object_mut);
    match configuration {
        None => {}
        Some(configuration) if is_bootstrap && !is_kubeadm => configuration.clear(),
        Some(configuration) => {
            for member in PRIVATE {
                configuration.remove(member);
            }
            if let Some(init) = configuration
                .get_mut("initConfiguration")
                .and_then(Value::as_object_mut)
            {
                init.remove("bootstrapTokens");
            }
            if let Some(join) = configuration
                .get_mut("joinConfiguration")
                .and_then(Value::as_object_mut)
            {
                join.remove("discovery");
            }
        }
    }
    object
}

/// Drops the values of the patches of a ClusterClass that touch what is private.
fn without_private_patches(class: &mut Value) {
    let patches = class.pointer_mut("/spec/patches").and_then(Value::as_array_mut);
    let patches = patches.into_iter().flatten();
    let definitions = patches.filter_map(|patch| patch.get_mut("definitions")?.as_array_mut());
    let changes = definitions
        .flatten()
        .filter_map(|definition| definition.get_mut("jsonPatches")?.as_array_mut());
    for change in changes.flatten().filter_map(Value::as_object_mut) {
        let path = change.get("path").and_then(Value::as_str).unwrap_or_default();
        if is_private(path) {
            change.remove("value");
            change.remove("valueFrom");
        }
    }
}

/// Whether a patch there may have something private: in it, or in the whole that it is a part of.
fn is_private(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let is_whole = "/spec/template/spec/kubeadmConfigSpec".starts_with(path)
        || path.ends_with("/initConfiguration")
        || path.ends_with("/joinConfiguration");
    is_whole || path.split('/').any(|part| PRIVATE.contains(&part))
}

/// The objects of a folder.
pub(crate) fn read(dir: &Path) -> Result<Vec<Value>, Error> {
    let path = dir.join(FILE);
    let text = fs::read_to_string(&path).map_err(|source| Error::File {
        path: path.clone(),
        source,
    })?;
    yaml::read(&text).map_err(|source| Error::Snapshot { path, source })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_stay_in_the_cluster() {
        let object = json!({
            "kind": "KubeadmControlPlane",
            "metadata": { "name": "c", "annotations": { LAST_APPLIED: "token", "a": "b" } },
            "spec": { "version": "v1.35.4", "kubeadmConfigSpec": {
                "files": [{ "content": "token" }],
                "users": [{ "name": "u", "passwd": "token" }],
                "initConfiguration": { "bootstrapTokens": [{ "token": "token" }], "nodeRegistration": { "name": "n" } },
                "joinConfiguration": { "discovery": { "bootstrapToken": { "token": "token" } } },
            } },
        });
        let written = without_credentials(&object);
        assert!(!written.to_string().contains("oken"), "{written:#}");
        assert_eq!(written["spec"]["version"], "v1.35.4");
        assert_eq!(written["metadata"]["annotations"], json!({ "a": "b" }));
    }

    #[test]
    fn patches_of_a_class_are_written_without_private_values() {
        let patch = |path: &str| json!({ "op": "add", "path": path, "value": "v", "valueFrom": { "variable": "w" } });
        let files = "/spec/template/spec/kubeadmConfigSpec/files/-";
        let image = "/spec/template/spec/image";
        let class = json!({
            "kind": "ClusterClass",
            "spec": { "patches": [{ "name": "p", "definitions": [{ "jsonPatches": [patch(files), patch(image)] }] }] },
        });
        let written = without_credentials(&class);
        let changes = &written["spec"]["patches"][0]["definitions"][0]["jsonPatches"];
        assert_eq!(changes[0], json!({ "op": "add", "path": files }));
        assert_eq!(changes[1], patch(image));
        assert!(!is_private("/spec/template/spec/template"));
        assert!(is_private("/spec/template/spec") && is_private("/spec/template/spec/kubeadmConfigSpec"));
    }

    #[test]
    fn of_another_control_plane_only_what_a_plan_needs_is_written() {
        let object = json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1beta1", "kind": "RKE2ControlPlane",
            "spec": { "version": "v1.35.4", "replicas": 3, "machineTemplate": {}, "files": ["token"] },
        });
        let kept = json!({ "version": "v1.35.4", "replicas": 3, "machineTemplate": {} });
        assert_eq!(without_credentials(&object)["spec"], kept);
    }

    #[test]
    fn of_bootstrap_templates_what_may_be_a_credential_stays_too() {
        let of = |kind: &str, spec: Value| {
            let object = json!({
                "apiVersion": "bootstrap.cluster.x-k8s.io/v1beta2", "kind": kind,
                "metadata": { "name": "t" }, "spec": { "template": { "spec": spec } },
            });
            without_credentials(&object)["spec"]["template"]["spec"].clone()
        };
        let kubeadm = json!({
            "files": [{ "content": "token" }],
            "joinConfiguration": { "discovery": {}, "nodeRegistration": { "name": "n" } },
        });
        let kept = json!({ "joinConfiguration": { "nodeRegistration": { "name": "n" } } });
        assert_eq!(of("KubeadmConfigTemplate", kubeadm), kept);
        assert_eq!(of("TalosConfigTemplate", json!({ "data": "token" })), json!({}));
    }
}
