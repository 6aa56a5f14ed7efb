//! From a request to a verdict, one function for each kind of object.

use instar_admission::{
    BreakGlass, Edit, Finding, Rule, Subject, Verdict, apply_enforcement, catalog, class,
    cluster::{self, AnnotationChange, Requester},
    cluster_of,
    cluster_state::{ClusterState, running},
    control_plane, deprecation, maintenance, marks, object_ref, policy, release, selecting_policies, start_gates,
    template::{self, Deleter, Phase, SpecContext, Template, TemplateType, Text},
    upgrade::{self, Right, Signature, Stamped},
    worker,
};
use instar_api::{
    CatalogName, ClusterUpgrade, Enforcement, KubernetesRelease, PATH_ANNOTATION, RELEASES_ANNOTATION, UpgradePolicy,
};
use instar_capi::{Cluster, ClusterClass, KubeadmControlPlane, WorkerKind, labels::UNSAFE_VERSION};
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, jsonptr::PointerBuf};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::{
    reader,
    review::{Answer, Operation, Request},
    view::{AnyMarked, AnyWorker, Read, TextMetadata},
};

/// The answer, or why an object can't be read.
pub(crate) type Judged = Result<Answer, serde_json::Error>;

pub(crate) fn allowed() -> Answer {
    Answer::Judged {
        verdict: Verdict::default(),
        patch: None,
    }
}

/// Decides what the findings lead to, with the break-glass annotation. Without findings it reads no policy.
fn settled(
    findings: Vec<Finding>,
    object: impl FnOnce() -> String,
    (old, new): (Option<&ObjectMeta>, Option<&ObjectMeta>),
    subject: &Subject<'_>,
    state: &dyn ClusterState,
) -> Verdict {
    if findings.is_empty() {
        return Verdict::default();
    }
    let old = old.and_then(|old| old.annotations.as_ref());
    let glass = match new {
        Some(new) => BreakGlass::of_edit(&object(), old, new.annotations.as_ref()),
        None => BreakGlass::of_deletion(&object(), old),
    };
    match glass {
        Ok(glass) => apply_enforcement(
            findings,
            &Subject {
                glass,
                ..subject.clone()
            },
            state,
        ),
        Err(unreadable) => Verdict {
            refused: vec![unreadable],
            ..Verdict::default()
        },
    }
}

/// An object that was created or edited, and its Cluster.
struct Edited<'a> {
    kind: &'a str,
    old: Option<&'a ObjectMeta>,
    new: &'a ObjectMeta,
    cluster: Option<&'a str>,
}

impl Edited<'_> {
    fn answer(&self, findings: Vec<Finding>, state: &dyn ClusterState) -> Answer {
        let subject = Subject {
            namespace: self.new.namespace.as_deref().unwrap_or_default(),
            cluster: self.cluster,
            ..Subject::default()
        };
        let object = || object_ref(self.kind, self.new);
        let verdict = settled(findings, object, (self.old, Some(self.new)), &subject, state);
        Answer::Judged { verdict, patch: None }
    }
}

/// The same refusals, before the API server checks the object against its schema. The validation that follows gives the
/// warnings and records overrides.
pub(crate) fn before_validation(mut answer: Answer) -> Answer {
    if let Answer::Judged { verdict, .. } = &mut answer {
        // Of what is refused, nothing more is said later.
        if !verdict.is_refusal() {
            verdict.warnings.clear();
        }
        verdict.broken.clear();
    }
    answer
}

/// Writes a Cluster's version and pins.
pub(crate) fn mutate_cluster(
    request: &Request<'_, Read<Cluster>>,
    requester: Requester,
    state: &dyn ClusterState,
) -> Answer {
    let Some((new, verdict)) = admit(request, requester, state) else {
        return allowed();
    };
    match verdict {
        Err(refused) => *refused,
        Ok(mut admitted) => {
            let patch = admitted.changes().then(|| patch(new, &admitted));
            let mut verdict = cluster_verdict(request, new, std::mem::take(&mut admitted.findings), state);
            // A new object has no UID yet, and another webhook may still refuse it: the validation records overrides.
            verdict.broken.clear();
            // A refused edit writes nothing, and adopts no Cluster.
            if !verdict.is_refusal() {
                let lines = admitted.warnings.iter().flat_map(|text| instar_admission::lines(text));
                verdict.warnings.extend(lines);
            }
            Answer::Judged { verdict, patch }
        }
    }
}

/// Checks that nothing is left to write into a Cluster. The mutation has given the warnings.
pub(crate) fn validate_cluster(
    request: &Request<'_, Read<Cluster>>,
    requester: Requester,
    state: &dyn ClusterState,
) -> Answer {
    let Some((new, verdict)) = admit(request, requester, state) else {
        return allowed();
    };
    match verdict {
        Err(refused) => *refused,
        Ok(admitted) if admitted.changes() => refusal(Finding {
            rule: Rule::PinsByHand,
            object: object_ref("Cluster", &new.metadata),
            field: "spec.topology",
            // Caches change between the two calls of one edit, and another replica may get the second.
            what: "the version or the pins are not what Instar writes: it has learned of the class or of a release \
                   since it wrote them, or another mutating webhook has changed them after it"
                .to_owned(),
            remediation: "try again; if it stays, let that webhook run before instar-mutating-webhook-configuration, \
                      or leave these fields alone"
                .to_owned(),
            of: None,
            strictest: Enforcement::Enforce,
        }),
        Ok(admitted) => {
            let mut verdict = cluster_verdict(request, new, admitted.findings, state);
            verdict.warnings.clear();
            Answer::Judged { verdict, patch: None }
        }
    }
}

fn cluster_verdict(
    request: &Request<'_, Read<Cluster>>,
    new: &Cluster,
    findings: Vec<Finding>,
    state: &dyn ClusterState,
) -> Verdict {
    let old = request.old_object.as_deref().map(|old| &old.metadata);
    let subject = Subject {
        namespace: &request.namespace,
        cluster: new.metadata.name.as_deref(),
        // By what it was: an edit can't choose its policy.
        labels: old.unwrap_or(&new.metadata).labels.as_ref(),
        ..Subject::default()
    };
    let object = || object_ref("Cluster", &new.metadata);
    settled(findings, object, (old, Some(&new.metadata)), &subject, state)
}

fn refusal(finding: Finding) -> Answer {
    Answer::Judged {
        verdict: Verdict {
            refused: vec![finding],
            ..Verdict::default()
        },
        patch: None,
    }
}

/// The new Cluster with what is to be written into it, or the refusal; None if there is no new Cluster.
fn admit<'r>(
    request: &'r Request<'_, Read<Cluster>>,
    requester: Requester,
    state: &dyn ClusterState,
) -> Option<(&'r Cluster, Result<cluster::Admitted, Box<Answer>>)> {
    let (old, new) = (request.old_object.as_deref(), request.object.as_deref()?);
    let metadata = &new.metadata;
    let (namespace, name) = (
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    );
    let class = cluster::class_of(new).and_then(|(namespace, name)| state.class(&namespace, &name));
    let class = class.as_deref();
    let edit = Edit {
        kind: "Cluster",
        old,
        new,
    };
    let of_catalog = catalog::judge(edit, class, state);
    let control_plane = state.control_plane(namespace, name);
    let catalog = CatalogName::of_cluster(metadata.labels.as_ref(), class.map(|class| &class.metadata));
    let (catalog, running) = (state.catalog(&catalog), running(state, namespace, name));
    let facts = cluster::Facts {
        catalog: &catalog,
        class,
        control_plane: control_plane.as_deref(),
        running: running.as_ref(),
        workers: &state.workers(namespace, name),
        today: state.today(),
        requester,
    };
    let admitted = match cluster::admit(old, new, facts) {
        Ok(mut admitted) => {
            // Nothing goes to another version but what follows the control plane.
            let lands = |finding: &Finding| admitted.landing.is_some() && finding.rule == Rule::CatalogAllowed;
            let of_catalog: Vec<_> = of_catalog.into_iter().filter(|finding| !lands(finding)).collect();
            admitted.findings.splice(..0, of_catalog);
            let present = running.as_ref().map(|versions| &versions.lowest);
            let deprecated = deprecation::of_classic(edit, &catalog, present, state.today());
            admitted.findings.extend(deprecated);
            if let Some(topology) = &new.spec.topology {
                let resolved = admitted.version.as_ref().map(ToString::to_string);
                let resolved = resolved.as_ref().unwrap_or(&topology.version);
                let another = admitted.another_release.as_deref();
                if admitted.landing.is_none() {
                    admitted
                        .findings
                        .extend(maintenance::judge(edit, resolved, another, state));
                    admitted.findings.extend(start_gates::judge(edit, resolved, state));
                }
                let bare =
                    class.and_then(|class| cluster::judge_bare_templates(edit, class, &admitted, &catalog, state));
                admitted.findings.extend(bare);
            }
            Ok(admitted)
        }
        // Where the catalog is another one than was meant, that is why.
        Err(finding) => {
            let mut verdict = cluster_verdict(request, new, of_catalog, state);
            verdict.refused.push(finding);
            Err(Box::new(Answer::Judged { verdict, patch: None }))
        }
    };
    Some((new, admitted))
}

fn patch(cluster: &Cluster, admitted: &cluster::Admitted) -> Patch {
    let add = |path: &[&str], value: Value| {
        PatchOperation::Add(AddOperation {
            path: PointerBuf::from_tokens(path.iter().copied()),
            value,
        })
    };
    let mut operations = Vec::new();
    if let Some(version) = &admitted.version {
        operations.push(add(&["spec", "topology", "version"], json!(version)));
    }
    let annotations = [
        (RELEASES_ANNOTATION, &admitted.pins),
        (PATH_ANNOTATION, &admitted.path),
        (UNSAFE_VERSION, &admitted.version_check),
    ];
    let is_set = |change: &AnnotationChange| matches!(change, AnnotationChange::Set(_));
    if cluster.metadata.annotations.is_none() && annotations.iter().any(|(_, change)| is_set(change)) {
        operations.push(add(&["metadata", "annotations"], json!({})));
    }
    for (name, change) in annotations {
        let path = ["metadata", "annotations", name];
        match change {
            AnnotationChange::None => {}
            AnnotationChange::Set(text) => operations.push(add(&path, json!(text))),
            AnnotationChange::Remove => operations.push(PatchOperation::Remove(RemoveOperation {
                path: PointerBuf::from_tokens(path),
            })),
        }
    }
    Patch(operations)
}

/// Judges a control plane of any provider.
pub(crate) fn control_plane(request: &Request<'_, Read<KubeadmControlPlane>>, state: &dyn ClusterState) -> Answer {
    let Some(new) = request.object.as_deref() else {
        return allowed();
    };
    let old = request.old_object.as_deref();
    let edit = Edit {
        kind: &request.kind.kind,
        old,
        new,
    };
    let edited = Edited {
        kind: &request.kind.kind,
        old: old.map(|old| &old.metadata),
        new: &new.metadata,
        cluster: cluster_of(&edit.before().metadata),
    };
    edited.answer(control_plane::judge(edit, state), state)
}

/// Judges a worker of any kind.
pub(crate) fn worker(request: &mut Request<'_, AnyWorker>, state: &dyn ClusterState) -> Answer {
    let kind = match request.kind.kind.as_ref() {
        "MachineDeployment" => WorkerKind::MachineDeployment,
        "MachineSet" => WorkerKind::MachineSet,
        "MachinePool" => WorkerKind::MachinePool,
        "Machine" => WorkerKind::Machine,
        // The configuration sends no other kind.
        _ => return allowed(),
    };
    let old = request.old_object.take().map(|old| old.of(kind));
    let new = request.object.take().map(|new| new.of(kind));
    let Some(new) = new else { return allowed() };
    let edit = Edit {
        kind: kind.as_str(),
        old: old.as_ref(),
        new: &new,
    };
    let edited = Edited {
        kind: kind.as_str(),
        old: old.as_ref().map(|old| &old.metadata),
        new: &new.metadata,
        cluster: Some(&edit.before().cluster),
    };
    edited.answer(worker::judge(kind, edit, state), state)
}

pub(crate) fn cluster_class(request: &Request<'_, Read<ClusterClass>>, state: &dyn ClusterState) -> Answer {
    let Some(new) = request.object.as_deref() else {
        return allowed();
    };
    let old = request.old_object.as_deref();
    let edit = Edit {
        kind: "ClusterClass",
        old,
        new,
    };
    let edited = Edited {
        kind: "ClusterClass",
        old: old.map(|old| &old.metadata),
        new: &new.metadata,
        cluster: None,
    };
    edited.answer(class::judge(edit, state), state)
}

/// Judges a template: an update by the fields that it changes, a deletion by the objects that need the template.
pub(crate) fn template(
    sort: TemplateType,
    phase: Phase,
    request: &Request<'_, Template<'_, TextMetadata<'_>>>,
    state: &dyn ClusterState,
) -> Judged {
    let kind = request.kind.kind.as_ref();
    let (old, new) = match (request.operation, &request.old_object, &request.object) {
        (Operation::Update, Some(old), Some(new)) => (old, new),
        (Operation::Delete, Some(old), _) => return delete_template(old, Deleter::Other, request, state),
        (Operation::Create | Operation::Connect | Operation::Update | Operation::Delete, _, _) => return Ok(allowed()),
    };
    let dry_run = request.dry_run.unwrap_or_default();
    if dry_run && template::is_topology_dry_run(&new.metadata.read_annotations()?, dry_run) {
        return Ok(allowed());
    }
    let mut changed = template::changed(old, new);
    if changed.is_nothing() {
        return Ok(allowed());
    }
    let (old, new) = (old.metadata.read()?, new.metadata.read()?);
    let context = SpecContext {
        phase,
        group: &request.kind.group,
        kind,
        user: &request.user_info.username,
        policies: &selecting_policies(&request.namespace, cluster_of(&old), state),
        catalog: &state.catalog(&CatalogName::default()),
    };
    if sort == TemplateType::Machine {
        changed.spec = changed.spec.without_mutable(context);
    }
    let mut verdict = settled(
        template::update(sort, &new, &changed, context),
        || object_ref(kind, &new),
        (Some(&old), Some(&new)),
        &Subject {
            namespace: &request.namespace,
            cluster: cluster_of(&old),
            ..Subject::default()
        },
        state,
    );
    // What the user adds is refused before other webhooks have changed the object, so these are defaults of theirs.
    // Where a policy or the annotation let it pass there, nobody knows whose it is, and it is told of.
    if phase == Phase::AfterOthers && changed.spec.only_add() {
        verdict.refused.retain(|finding| finding.rule != Rule::TemplateSpec);
    }
    Ok(Answer::Judged { verdict, patch: None })
}

/// Judges the deletion of a template of which nothing else is judged.
pub(crate) fn deleted_template(
    deleter: Deleter,
    request: &Request<'_, Template<'_, TextMetadata<'_>>>,
    state: &dyn ClusterState,
) -> Judged {
    match (request.operation, &request.old_object) {
        (Operation::Delete, Some(old)) => delete_template(old, deleter, request, state),
        // The configuration sends no other operation.
        (Operation::Create | Operation::Connect | Operation::Update | Operation::Delete, _) => Ok(allowed()),
    }
}

fn delete_template(
    old: &Template<'_, TextMetadata<'_>>,
    deleter: Deleter,
    request: &Request<'_, Template<'_, TextMetadata<'_>>>,
    state: &dyn ClusterState,
) -> Judged {
    let (kind, old) = (request.kind.kind.as_ref(), old.metadata.read()?);
    let findings = template::delete(&request.kind.group, kind, &old, deleter, state);
    let verdict = settled(
        findings,
        || object_ref(kind, &old),
        (Some(&old), None),
        &Subject {
            namespace: &request.namespace,
            cluster: cluster_of(&old),
            ..Subject::default()
        },
        state,
    );
    Ok(Answer::Judged { verdict, patch: None })
}

pub(crate) fn kubernetes_release(request: &Request<'_, KubernetesRelease>, state: &dyn ClusterState) -> Answer {
    let name = request.name.as_str();
    let findings = match request.operation {
        Operation::Delete => {
            let finding = release::delete(name, state.pinned_to(name), state.upgrading_to(name));
            finding.into_iter().collect()
        }
        Operation::Create => request.object.as_ref().map_or_else(Vec::new, |row| {
            release::create(row.metadata.name.as_deref().unwrap_or(name), &row.spec)
        }),
        Operation::Update => {
            let specs = request.old_object.as_ref().zip(request.object.as_ref());
            let finding = specs.and_then(|(old, new)| release::update(name, &old.spec, &new.spec));
            finding.into_iter().collect()
        }
        Operation::Connect => Vec::new(),
    };
    let metadata = |row: &Option<KubernetesRelease>| row.as_ref().map(|row| row.metadata.clone());
    let (old, new) = (metadata(&request.old_object), metadata(&request.object));
    let verdict = settled(
        findings,
        || format!("KubernetesRelease {name}"),
        (old.as_ref(), new.as_ref()),
        &Subject::default(),
        state,
    );
    Answer::Judged { verdict, patch: None }
}

/// Writes who set what lets an upgrade through.
pub(crate) fn mutate_cluster_upgrade(request: &Request<'_, ClusterUpgrade>, state: &dyn ClusterState) -> Answer {
    let Some(edit) = edit_of_upgrade(request) else {
        return allowed();
    };
    let mut answer = of_upgrade(edit, upgrade::judge(edit, state), state);
    let signature = Signature {
        user: &request.user_info.username,
        now: state.now(),
    };
    let Stamped {
        skip,
        override_window,
        approvals,
    } = upgrade::stamped(edit, signature);
    let skip = skip.map(|skip| (PointerBuf::from_tokens(["spec", "preflight", "skip"]), json!(skip)));
    let window = override_window.map(|window| (PointerBuf::from_tokens(["spec", "overrideWindow"]), json!(window)));
    let approvals = approvals.map(|approvals| (PointerBuf::from_tokens(["spec", "approvals"]), json!(approvals)));
    let stamps: Vec<PatchOperation> = skip
        .into_iter()
        .chain(window)
        .chain(approvals)
        .map(|(path, value)| PatchOperation::Replace(ReplaceOperation { path, value }))
        .collect();
    if let Answer::Judged { patch, .. } = &mut answer {
        *patch = (!stamps.is_empty()).then_some(Patch(stamps));
    }
    answer
}

/// Judges a ClusterUpgrade as it is to be stored.
pub(crate) fn validate_cluster_upgrade(request: &Request<'_, ClusterUpgrade>, state: &dyn ClusterState) -> Answer {
    let Some(edit) = edit_of_upgrade(request) else {
        return allowed();
    };
    let findings = upgrade::judge_stamped(edit, &request.user_info.username, state);
    of_upgrade(edit, findings, state)
}

/// Judges an edit by a user who lacks a right.
pub(crate) fn cluster_upgrade_without(
    right: Right,
    request: &Request<'_, ClusterUpgrade>,
    state: &dyn ClusterState,
) -> Answer {
    let Some(edit) = edit_of_upgrade(request) else {
        return allowed();
    };
    let findings = upgrade::without(right, edit, &request.user_info.username);
    of_upgrade(edit, findings, state)
}

fn edit_of_upgrade<'a>(request: &'a Request<'_, ClusterUpgrade>) -> Option<Edit<'a, ClusterUpgrade>> {
    Some(Edit {
        kind: "ClusterUpgrade",
        old: request.old_object.as_ref(),
        new: request.object.as_ref()?,
    })
}

fn of_upgrade(edit: Edit<'_, ClusterUpgrade>, findings: Vec<Finding>, state: &dyn ClusterState) -> Answer {
    let edited = Edited {
        kind: edit.kind,
        old: edit.old.map(|old| &old.metadata),
        new: &edit.new.metadata,
        cluster: Some(&edit.new.spec.cluster_name),
    };
    edited.answer(findings, state)
}

/// Judges an edit of marks by a user who lacks the right to override.
pub(crate) fn marks(request: &mut Request<'_, AnyMarked>, state: &dyn ClusterState) -> Answer {
    let old = request.old_object.take().map(AnyMarked::read);
    let Some(new) = request.object.take().map(AnyMarked::read) else {
        return allowed();
    };
    let edit = Edit {
        kind: &request.kind.kind,
        old: old.as_ref(),
        new: &new,
    };
    let edited = Edited {
        kind: edit.kind,
        old: old.as_ref().map(|old| &old.metadata),
        new: &new.metadata,
        // No policy changes the rule.
        cluster: None,
    };
    edited.answer(marks::judge(edit, &request.user_info.username), state)
}

/// Judges an UpgradePolicy. One that can't be decoded as it is may be corrected: it is judged like a created one.
pub(crate) fn upgrade_policy(request: &Request<'_, Text<'_>>, state: &dyn ClusterState) -> Judged {
    let read = |Text(text): Text<'_>| reader::read::<UpgradePolicy>(text.as_bytes());
    let Some(new) = request.object.map(read).transpose()? else {
        return Ok(allowed());
    };
    let old = request.old_object.and_then(|old| read(old).ok());
    let edit = Edit {
        kind: "UpgradePolicy",
        old: old.as_ref(),
        new: &new,
    };
    let edited = Edited {
        kind: "UpgradePolicy",
        old: old.as_ref().map(|old| &old.metadata),
        new: &new.metadata,
        cluster: None,
    };
    Ok(edited.answer(policy::judge(edit, state), state))
}
