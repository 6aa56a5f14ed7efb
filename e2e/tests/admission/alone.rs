//! The ValidatingAdmissionPolicies say what the server says, with no server there; and both say what
//! the API server would have stored.

use std::{fmt, time::Duration};

use anyhow::ensure;
use instar_e2e::{
    Context, Result,
    binaries::Binary,
    instar::shipped,
    kubeconfig::client_as,
    manifests,
    progress::say,
    support::{
        journeys::JourneyContext,
        request::{ApiRequest, ApiResponse, Verb, resource},
    },
    wait::{Seen, wait_for},
};
use k8s_openapi::{
    api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, PostParams},
    core::DynamicObject,
    discovery::ApiResource,
};
use serde_json::{Value, json};

const VALIDATING: &str = "instar-validating-webhook-configuration";
const MUTATING_FIRST: &str = "00-instar-mutating-webhook-configuration";
const BREAK_GLASS: &str = "upgrade.cluster.x-k8s.io/break-glass";

/// What somebody said to an edit, without the words: they differ.
#[derive(PartialEq, Eq, Clone)]
struct Said {
    code: u16,
    reason: String,
    /// The rules that refused or warned, in the order of their names.
    rules: Vec<String>,
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.code, self.reason, self.rules)
    }
}

impl Said {
    fn of(told: &ApiResponse) -> Self {
        // A warning has several lines, and an id may begin another one.
        let text = format!("{} {}", told.message, told.warnings.join(" "));
        let between = |begin: &str, end: char| -> Vec<String> {
            let parts = text.split(begin).skip(1).filter_map(|rest| rest.split_once(end));
            parts.map(|(rule, _)| rule.to_owned()).collect()
        };
        // Of what was switched off the server warns, and a policy says nothing.
        let switched_off = between("break-glass: rule ", ' ');
        let mut rules = between("[rule ", ']');
        rules.retain(|rule| !switched_off.contains(rule));
        rules.sort();
        rules.dedup();
        Self {
            code: told.code,
            reason: told.reason.clone(),
            rules,
        }
    }
}

/// An edit of the corpus.
struct Edit {
    what: String,
    resource: ApiResource,
    name: &'static str,
    text: String,
    /// Whether it only adds to the machines' spec. A policy can't tell whether the user or a webhook does, and lets it
    /// pass.
    only_adds: bool,
}

pub(crate) async fn the_same_verdicts(scene: JourneyContext) -> Result<()> {
    let corpus = create(&scene).await?;
    let by_server = all(&scene, &corpus).await?;
    let refused = by_server.iter().filter(|said| said.code != 200).count();
    let warned = by_server
        .iter()
        .filter(|said| said.code == 200 && !said.rules.is_empty());
    let warned = warned.count();
    assert!(
        refused > 20 && warned > 5 && refused + warned < corpus.len(),
        "{refused} refused and {warned} warned of {} say little",
        corpus.len()
    );

    let adds = corpus.iter().zip(&by_server).filter(|(edit, _)| edit.only_adds);
    let refused_adds = adds.filter(|(_, said)| said.code == 403).count();
    assert!(refused_adds > 0, "the server refuses what a user adds");

    let mutating: Api<MutatingWebhookConfiguration> = Api::all(scene.mgmt.client());
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(scene.mgmt.client());
    let mut configurations = (mutating.get(MUTATING_FIRST).await?, validating.get(VALIDATING).await?);
    scene.mgmt.webhook().stop().await?;
    mutating.delete(MUTATING_FIRST, &DeleteParams::default()).await?;
    validating.delete(VALIDATING, &DeleteParams::default()).await?;
    let result = alone(&scene, &corpus, &by_server).await;
    scene.mgmt.webhook().start().await?;
    make_new(configurations.0.meta_mut());
    make_new(configurations.1.meta_mut());
    mutating.create(&PostParams::default(), &configurations.0).await?;
    validating.create(&PostParams::default(), &configurations.1).await?;
    result?;
    say(format!(
        "policies: {} edits, {refused} refused and {warned} warned of, 0 differences",
        corpus.len()
    ));
    Ok(())
}

/// So that an object can be created again.
fn make_new(metadata: &mut ObjectMeta) {
    metadata.resource_version = None;
    metadata.uid = None;
}

/// With the policies in the place of the server.
async fn alone(scene: &JourneyContext, corpus: &[Edit], by_server: &[Said]) -> Result<()> {
    let shipped = shipped();
    let default = shipped.first().context("what is shipped")?;
    let directory = default.join("../policy");
    let rendered = manifests::kustomize(scene.mgmt.built().program(Binary::Kubectl)?, &directory).await?;
    let mut policies = Vec::new();
    for object in rendered {
        policies.push(scene.apply_object(object).await?);
    }
    let result = async {
        opt_out_takes_a_right(scene).await?;
        let refused = corpus
            .iter()
            .zip(by_server)
            .position(|(edit, said)| !edit.only_adds && said.code != 200)
            .context("a refusal")?;
        wait_for("the policies to hold", Duration::from_mins(1), || async {
            let said = corpus[refused].ask(scene).await?;
            if said == by_server[refused] {
                Ok(())
            } else {
                Err(Seen::from(format!("{said:?}")))
            }
        })
        .await?;
        wait_for("all of the policies to hold", Duration::from_mins(1), || async {
            let said = all(scene, corpus).await?;
            let differ: Vec<String> = corpus
                .iter()
                .zip(said.iter().zip(by_server))
                .filter(|(edit, (policy, server))| {
                    if edit.only_adds {
                        policy.code != 200
                    } else {
                        policy != server
                    }
                })
                .map(|(edit, (policy, server))| format!("{}: {policy:?}, and the server {server:?}", edit.what))
                .collect();
            if differ.is_empty() {
                Ok(())
            } else {
                Err(Seen::from(differ.join("\n")))
            }
        })
        .await
    }
    .await;
    for policy in policies {
        let types = policy.types.clone().unwrap_or_default();
        let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
        let plural = format!("{}s", types.kind.to_lowercase()).replace("policys", "policies");
        let api: Api<DynamicObject> =
            Api::all_with(scene.mgmt.client(), &resource(group, version, &types.kind, &plural));
        api.delete(&policy.name_any(), &DeleteParams::default()).await?;
    }
    result
}

/// Who may edit Namespaces, and nothing else.
const NAMESPACE_EDITORS: &str = "journey:namespace-editors";

/// An editor of Namespaces sets any label but that by which a namespace leaves admission, and an administrator sets it.
async fn opt_out_takes_a_right(scene: &JourneyContext) -> Result<()> {
    const LABEL: &str = "upgrade.cluster.x-k8s.io/admission";
    scene
        .apply_object(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": NAMESPACE_EDITORS },
            "rules": [{
                "apiGroups": [""],
                "resources": ["namespaces", "namespaces/status"],
                "verbs": ["create", "get", "patch", "update"],
            }],
        }))
        .await?;
    scene
        .apply_object(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": NAMESPACE_EDITORS },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAMESPACE_EDITORS },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": NAMESPACE_EDITORS }],
        }))
        .await?;
    let editor = client_as(&scene.mgmt.run().kubeconfig(), "namespace-editor", NAMESPACE_EDITORS).await?;
    let namespaces = resource("", "v1", "Namespace", "namespaces");
    let of_status = format!("{}/status", scene.namespace);
    let (other, disabled) = (
        json!({ "metadata": { "labels": { "team": "a" } } }),
        json!({ "metadata": { "labels": { LABEL: "disabled" } } }),
    );
    let created = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "journey-new", "labels": { LABEL: "disabled" } },
    });
    let ask = async |client: &Client, name: &str, verb: Verb<'_>| -> Result<u16> {
        let ask = ApiRequest {
            resource: &namespaces,
            namespace: None,
            name,
            verb,
            is_dry_run: true,
        };
        Ok(ask.send(client).await?.code)
    };
    wait_for("the label to take a right", Duration::from_mins(1), || async {
        let codes = [
            ask(&editor, &scene.namespace, Verb::Merge(&other)).await?,
            ask(&editor, &scene.namespace, Verb::Merge(&disabled)).await?,
            ask(&editor, &of_status, Verb::Merge(&disabled)).await?,
            ask(&editor, "", Verb::Create(&created)).await?,
            ask(&scene.mgmt.client(), &scene.namespace, Verb::Merge(&disabled)).await?,
        ];
        if codes == [200, 403, 403, 403, 200] {
            Ok(())
        } else {
            Err(Seen::from(format!("{codes:?}")))
        }
    })
    .await
}

async fn all(scene: &JourneyContext, corpus: &[Edit]) -> Result<Vec<Said>> {
    let mut said = Vec::new();
    for edit in corpus {
        said.push(edit.ask(scene).await.with_context(|| edit.what.clone())?);
    }
    Ok(said)
}

impl Edit {
    async fn ask(&self, scene: &JourneyContext) -> Result<Said> {
        let ask = ApiRequest {
            resource: &self.resource,
            namespace: Some(&scene.namespace),
            name: self.name,
            verb: Verb::Replace(self.text.clone()),
            is_dry_run: true,
        };
        Ok(Said::of(&ask.send(&scene.mgmt.client()).await?))
    }
}

const TEMPLATE: &str = "t";
const CONFIG: &str = "k";
const OTHER_CASE: &str = "a key in other letters";
const IMAGE: &str = "/spec/template/spec/image";
const GROUP: &str = "infrastructure.cluster.x-k8s.io";

/// A provider's kind whose schema leaves everything alone, and that no other webhook looks at.
fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("journeymachinetemplates.{GROUP}") },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": { "kind": "JourneyMachineTemplate", "plural": "journeymachinetemplates" },
            "versions": [{
                "name": "v1beta2", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": { "spec": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                } },
            }],
        },
    })
}

/// Two templates, and replacements of each: what a fuzzer of structures would try, by name.
async fn create(scene: &JourneyContext) -> Result<Vec<Edit>> {
    let machine = resource(GROUP, "v1beta2", "JourneyMachineTemplate", "journeymachinetemplates");
    let config = resource(
        "bootstrap.cluster.x-k8s.io",
        "v1beta2",
        "KubeadmConfigTemplate",
        "kubeadmconfigtemplates",
    );
    scene.apply_object(definition()).await?;
    let template = json!({
        "apiVersion": format!("{GROUP}/v1beta2"),
        "kind": "JourneyMachineTemplate",
        "metadata": { "name": TEMPLATE, "annotations": { BREAK_GLASS: "template-spec: of an earlier edit" } },
        "spec": { "template": {
            "metadata": { "labels": { "a": "b" } },
            "spec": { "image": "1s", "cpus": 4, "bytes": 9_007_199_254_740_993_u64, "nics": [{ "name": "eth0" }] },
        } },
    });
    let templates: Api<DynamicObject> = Api::namespaced_with(scene.mgmt.client(), &scene.namespace, &machine);
    wait_for("the provider's kind to be served", Duration::from_secs(30), || async {
        let object: DynamicObject = serde_json::from_value(template.clone())?;
        match templates.create(&PostParams::default(), &object).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Seen::from(error.to_string())),
        }
    })
    .await?;
    scene
        .apply_object(json!({
            "apiVersion": "bootstrap.cluster.x-k8s.io/v1beta2",
            "kind": "KubeadmConfigTemplate",
            "metadata": { "name": CONFIG },
            "spec": { "template": { "spec": { "verbosity": 2, "joinConfiguration": { "timeouts": { "discoverySeconds": 60 } } } } },
        }))
        .await?;
    let get = async |resource: &ApiResource, name: &str| -> Result<Value> {
        let api: Api<DynamicObject> = Api::namespaced_with(scene.mgmt.client(), &scene.namespace, resource);
        let mut object = serde_json::to_value(api.get(name).await?)?;
        object["metadata"]
            .as_object_mut()
            .context("metadata")?
            .remove("managedFields");
        Ok(object)
    };
    let (old_machine, old_config) = (get(&machine, TEMPLATE).await?, get(&config, CONFIG).await?);

    let mut corpus = Vec::new();
    corpus.extend(machine_edits(&old_machine)?.into_iter().map(|(what, text)| Edit {
        only_adds: what == OTHER_CASE,
        what,
        resource: machine.clone(),
        name: TEMPLATE,
        text,
    }));
    let mut added = old_machine.clone();
    for (pointer, value) in [
        ("/spec/template/spec/disk", json!({ "size": 1 })),
        ("/spec/template/spec/nics/0/mtu", json!(1500)),
    ] {
        set(&mut added, pointer, value);
        corpus.push(Edit {
            only_adds: true,
            what: format!("{pointer} and what is before it are added"),
            resource: machine.clone(),
            name: TEMPLATE,
            text: added.to_string(),
        });
    }
    corpus.extend(config_edits(&old_config).into_iter().map(|(what, text)| Edit {
        only_adds: false,
        what,
        resource: config.clone(),
        name: CONFIG,
        text,
    }));
    Ok(corpus)
}

/// Values at places, alone, two together, and with what switches rules off; then texts that no
/// serializer writes: what the API server makes of them is what counts.
fn machine_edits(old: &Value) -> Result<Vec<(String, String)>> {
    let places: [(&str, Value); 10] = [
        (IMAGE, json!("2s")),
        (IMAGE, json!("1s")),
        ("/spec/template/spec/nics/0/name", json!("eth1")),
        (
            "/spec/template/spec/nics",
            json!([{ "name": "eth0" }, { "name": "eth1" }]),
        ),
        ("/spec/template/metadata/labels/a", json!("c")),
        ("/spec/template/metadata/annotations", json!({ "x": "y" })),
        ("/metadata/labels", json!({ "team": "a" })),
        ("/metadata/annotations", json!({ "note": "b" })),
        // None at all: neither half may take that for a deletion, for which the old ones count.
        ("/metadata/annotations", json!({})),
        (
            "/metadata/annotations",
            json!({ "topology.cluster.x-k8s.io/dry-run": "" }),
        ),
    ];
    let glasses = [
        None,
        Some("template-spec: an experiment"),
        Some("template-spec template-metadata"),
        Some("template-metadata"),
    ];
    let mut edits = Vec::new();
    for glass in glasses {
        for (first, value) in &places {
            for second in [None, Some(json!("3s"))] {
                let mut object = old.clone();
                set(&mut object, first, value.clone());
                let what = format!("{first} to {value}, then {second:?}, with {glass:?}");
                if let Some(second) = second {
                    set(&mut object, IMAGE, second);
                }
                if let Some(glass) = glass {
                    let at = format!("/metadata/annotations/{}", BREAK_GLASS.replace('/', "~1"));
                    set(&mut object, &at, json!(glass));
                }
                edits.push((what, object.to_string()));
            }
        }
    }
    let text = old.to_string();
    let other_case = "\"image\":\"1s\",\"Image\":\"2s\"";
    let two_specs = "\"spec\":{\"template\":{\"spec\":{}}},\"spec\":{\"template\"";
    for (what, part, odd) in [
        ("the same letters, escaped", "\"1s\"", "\"\\u0031s\""),
        ("other letters, escaped", "\"1s\"", "\"\\u0032s\""),
        ("the same key, escaped", "\"image\"", "\"im\\u0061ge\""),
        ("two specs, the last is the same", "\"spec\":{\"template\"", two_specs),
        (OTHER_CASE, "\"image\":\"1s\"", other_case),
        ("half a letter", "\"1s\"", "\"\\ud800\""),
        ("a float for the same number", "\"cpus\":4", "\"cpus\":4.0"),
        ("an exponent for the same number", "\"cpus\":4", "\"cpus\":4e0"),
        ("minus zero", "\"cpus\":4", "\"cpus\":-0"),
        ("a float for another number", "\"cpus\":4", "\"cpus\":4.5"),
        ("the last of two keys is another", "\"cpus\":4", "\"cpus\":4,\"cpus\":5"),
        (
            "the last of two keys is the same",
            "\"cpus\":4",
            "\"cpus\":5,\"cpus\":4",
        ),
        (
            "a big number as a float, which is another one",
            "9007199254740993",
            "9007199254740993.0",
        ),
        ("a big number's neighbour", "9007199254740993", "9007199254740992"),
        (
            "a number too big for an integer",
            "9007199254740993",
            "9223372036854775808",
        ),
    ] {
        let odd = text.replacen(part, odd, 1);
        ensure!(odd != text, "{what}: the text is as it was");
        edits.push((what.to_owned(), odd));
    }
    Ok(edits)
}

fn config_edits(old: &Value) -> Vec<(String, String)> {
    let mut edits = Vec::new();
    for (pointer, value) in [
        ("/spec/template/spec/verbosity", json!(3)),
        ("/spec/template/spec/verbosity", json!(2)),
        ("/spec/template/metadata", json!({ "labels": { "a": "b" } })),
        ("/metadata/labels", json!({ "team": "a" })),
    ] {
        let mut object = old.clone();
        set(&mut object, pointer, value.clone());
        edits.push((format!("{pointer} to {value}"), object.to_string()));
    }
    let text = old.to_string();
    for (what, number) in [
        ("a float for the same number", "2.0"),
        ("an exponent for the same number", "2e0"),
        ("a float for another number", "3.0"),
        ("the last of two keys is another", "2,\"verbosity\":3"),
        ("the last of two keys is the same", "3,\"verbosity\":2"),
    ] {
        let odd = text.replace("\"verbosity\":2", &format!("\"verbosity\":{number}"));
        edits.push((what.to_owned(), odd));
    }
    edits
}

/// Sets a value, and makes the objects on the way there. An element of an array has to be there.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for part in pointer.split('/').skip(1) {
        if at.is_array()
            && let Ok(index) = part.parse::<usize>()
        {
            at = &mut at[index];
            continue;
        }
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[part.replace("~1", "/")];
    }
    *at = value;
}
