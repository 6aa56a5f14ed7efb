//! The one write of a decision, which carries every byte of it.

use std::{fmt, sync::Arc, time::Instant};

mod create;
mod machine;
mod referrer;
mod tried;

use instar_api::ClusterUpgrade;
use instar_capi::{Cluster, KubeadmControlPlane, MachineDeployment, MachinePool};
use instar_planner::{
    Action, AnswerHook, BeginGates, CompletePins, Convergence, DeleteTemplate, EditVersion, FollowRelease, Hold,
    HoldPool, MachinePoolChange, MintTemplate, NormalisedValue, PatchMachinePool, PinPath, PoolId, ResourceVersion,
    RestoreVersionCheck, SetConcurrency, Swap, SwapTemplate, TemplateRef, Violation, WriteTurn, accept, normalised,
    normalised_values,
};
use instar_watch::Key;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::Value;

use crate::{
    api::{Class, Error, FIELD_MANAGER, call, of_provider},
    caches::{Caches, lifecycle},
    gather::content,
    kinds::Kinds,
    memory::{Memory, TriedSwap},
};

use create::{create_strictly, refused};
use referrer::{foreign_referrer, referrer};
use tried::{is_refused, without_references};

/// Where decisions are written.
pub(crate) struct Executor<'a> {
    pub(crate) client: &'a Client,
    pub(crate) caches: &'a Caches,
    pub(crate) kinds: &'a Kinds,
    pub(crate) memory: &'a Memory,
    /// Whose objects are written.
    pub(crate) cluster: &'a Key,
}

/// What a pool's machines are made by.
struct PoolObject<'a> {
    pool: &'a PoolId,
    api_version: &'a str,
    kind: &'a str,
    name: &'a str,
}

impl<'a> PoolObject<'a> {
    fn of(swap: &'a Swap) -> Self {
        Self {
            pool: &swap.pool,
            api_version: &swap.api_version,
            kind: &swap.kind,
            name: &swap.name,
        }
    }
}

/// Whether a write is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Write {
    Made,
    /// In a dry run: the API server and the webhooks say whether they would take it.
    Tried,
}

/// What a write did.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// What it was to do.
    Done,
    /// The same, but values of the template read back as others than were set.
    Normalised(Vec<NormalisedValue>),
    /// Nothing: an earlier try had done it, and the cache is behind.
    DoneBefore,
    /// Nothing: something refers to the template that was to be deleted. The next pass leaves it out.
    Kept,
}

impl Executor<'_> {
    /// At most one write.
    pub(crate) async fn execute(&self, action: &Action) -> Result<Effect, Error> {
        match action {
            Action::Nothing => Ok(Effect::DoneBefore),
            Action::MintTemplate(mint) => {
                self.try_first(mint.before.as_deref()).await?;
                self.in_turn(&mint.template, Box::pin(self.mint(mint))).await
            }
            Action::SwapControlPlane(swap) | Action::SwapWorkers(swap) => self.swap(swap).await.map(|()| Effect::Done),
            Action::DeleteTemplate(delete) => self.in_turn(&delete.template, Box::pin(self.delete(delete))).await,
            Action::PatchMachinePool(patch) => self.patch_machine_pool(patch, action).await,
            Action::HoldPool(hold) => {
                if let Some(edit) = &hold.before {
                    let doing = format!(
                        "trying to set spec.topology.version of Cluster {} to {}",
                        edit.name, edit.target
                    );
                    let tried = self.patch_cluster(&doing, &edit.name, &edit.patch, Write::Tried);
                    tried.await.map_err(|source| Error::Tried {
                        kind: Cluster::kind(&()).into_owned(),
                        name: edit.name.clone(),
                        turn: WriteTurn::Now,
                        source: Box::new(source),
                    })?;
                }
                let doing = || ActionDescription(action).to_string();
                let of = PoolObject {
                    pool: &hold.pool,
                    api_version: &hold.api_version,
                    kind: &hold.kind,
                    name: &hold.name,
                };
                self.patch(&of, &hold.patch, doing).await.map(|()| Effect::Done)
            }
            Action::RecordConvergence(convergence) => {
                let Convergence { kind, name, .. } = convergence;
                let doing = || format!("writing into {kind} {name} that it has converged");
                let of = PoolObject {
                    pool: &convergence.pool,
                    api_version: &convergence.api_version,
                    kind,
                    name,
                };
                self.patch(&of, &convergence.patch, doing).await.map(|()| Effect::Done)
            }
            Action::DeleteMachine(delete) => self.delete_machine(delete).await,
            Action::BeginGates(BeginGates { name, patch, .. }) => {
                let doing = || ActionDescription(action).to_string();
                let resource = ApiResource::erase::<ClusterUpgrade>(&());
                self.write(&resource, name, patch, Write::Made, doing)
                    .await
                    .map(|_| Effect::Done)
            }
            Action::PinPath(PinPath {
                name,
                patch,
                before,
                way_back,
                ..
            }) => {
                self.try_first(before.as_deref()).await?;
                if let Some(step) = way_back {
                    self.try_once(&step.swap, WriteTurn::AfterWorkersAreBack, step.template)
                        .await?;
                }
                let doing = ActionDescription(action).to_string();
                let written = self.patch_cluster(&doing, name, patch, Write::Made);
                written.await.map(|()| Effect::Done)
            }
            Action::EditVersion(EditVersion { name, patch, .. })
            | Action::CompletePins(CompletePins { name, patch, .. })
            | Action::SetConcurrency(SetConcurrency { name, patch, .. })
            | Action::AnswerHook(AnswerHook { name, patch, .. })
            | Action::RestoreVersionCheck(RestoreVersionCheck { name, patch, .. })
            | Action::FollowRelease(FollowRelease { name, patch, .. }) => {
                let doing = ActionDescription(action).to_string();
                let written = self.patch_cluster(&doing, name, patch, Write::Made);
                written.await.map(|()| Effect::Done)
            }
        }
    }

    async fn in_turn(
        &self,
        template: &TemplateRef,
        writing: impl Future<Output = Result<Effect, Error>>,
    ) -> Result<Effect, Error> {
        self.kinds.in_turn(&template.group, &template.kind, writing).await
    }

    async fn mint(&self, mint: &MintTemplate) -> Result<Effect, Error> {
        let api = self.templates(&mint.template).await?;
        let what = format!("{} {}", mint.template.kind, mint.template.name);
        let created = async { create_strictly(self.client, api.resource_url(), &mint.object).await };
        match call(|| format!("making {what}"), created).await {
            Ok(created) => {
                let version = ResourceVersion(created.resource_version().unwrap_or_default());
                let content = Arc::new(content(created));
                let spec = mint.object.get("spec").unwrap_or(&Value::Null);
                let normalised = normalised(spec, &mint.pointers, &content.spec);
                self.memory
                    .keep_content(self.cluster, mint.template.clone(), version, content);
                return Ok(if normalised.is_empty() {
                    Effect::Done
                } else {
                    Effect::Normalised(normalised)
                });
            }
            Err(Error::Call {
                source: kube::Error::Api(status),
                ..
            }) if status.is_already_exists() => {}
            Err(error) => return Err(refused(mint, error)),
        }
        // The name says what is in it. A try before this one, or another leader, made it.
        let there = call(|| format!("reading {what}"), api.get(&mint.template.name)).await?;
        let lifecycle = lifecycle(&there, false);
        match accept(mint, &content(there), lifecycle) {
            Ok(()) => Ok(Effect::DoneBefore),
            Err(waiting) => Err(Error::NotMinted(Box::new(waiting))),
        }
    }

    async fn swap(&self, swap: &Swap) -> Result<(), Error> {
        let doing = || format!("pointing {} {} at {}", swap.kind, swap.name, swap.destination());
        let of = PoolObject::of(swap);
        self.patch(&of, &swap.patch, doing).await
    }

    /// An error where the swap would be refused for which something is made first.
    pub(crate) async fn try_first(&self, swap: Option<&Swap>) -> Result<(), Error> {
        match swap {
            None => Ok(()),
            Some(swap) => self.try_once(swap, WriteTurn::Now, SwapTemplate::ToBeMade).await,
        }
    }

    /// An error where a swap would be refused; each is tried once. Where the answer doesn't come, the write itself gets it.
    async fn try_once(&self, swap: &Swap, turn: WriteTurn, template: SwapTemplate) -> Result<(), Error> {
        if self.memory.was_tried(self.cluster, &TriedSwap::from(swap)) {
            return Ok(());
        }
        let Err(error) = self.try_swap(swap, &swap.patch).await else {
            self.memory.keep_tried(self.cluster, TriedSwap::from(swap));
            return Ok(());
        };
        if error.class() == Class::Conflict {
            return Err(error);
        }
        if is_refused(&error) {
            let is_refused_without = match template {
                SwapTemplate::Exists => true,
                SwapTemplate::ToBeMade => {
                    let without = self.try_swap(swap, &without_references(&swap.patch)).await;
                    without.as_ref().is_err_and(is_refused)
                }
            };
            if is_refused_without {
                return Err(Error::Tried {
                    kind: swap.kind.clone(),
                    name: swap.name.clone(),
                    turn,
                    source: Box::new(error),
                });
            }
        }
        Ok(())
    }

    async fn try_swap(&self, swap: &Swap, patch: &Value) -> Result<(), Error> {
        let doing = || format!("trying to point {} {} at {}", swap.kind, swap.name, swap.destination());
        let of = PoolObject::of(swap);
        let resource = self.resource(&of).await?;
        self.write(&resource, of.name, patch, Write::Tried, doing)
            .await
            .map(drop)
    }

    /// A merge patch of a control plane, a MachineDeployment or a MachinePool.
    async fn patch(&self, of: &PoolObject<'_>, patch: &Value, doing: impl FnOnce() -> String) -> Result<(), Error> {
        let resource = self.resource(of).await?;
        self.write(&resource, of.name, patch, Write::Made, doing)
            .await
            .map(drop)
    }

    async fn resource(&self, of: &PoolObject<'_>) -> Result<ApiResource, Error> {
        Ok(match of.pool {
            PoolId::ControlPlane => self.control_plane(of).await?,
            PoolId::Workers(_) => ApiResource::erase::<MachineDeployment>(&()),
            PoolId::MachinePool(_) => ApiResource::erase::<MachinePool>(&()),
        })
    }

    /// A merge patch of a MachinePool, or of what makes its machines.
    async fn patch_machine_pool(&self, patch: &PatchMachinePool, action: &Action) -> Result<Effect, Error> {
        let core = ApiResource::erase::<MachinePool>(&());
        let resource = if core.api_version == patch.api_version && core.kind == patch.kind {
            core
        } else {
            self.at_version(&patch.api_version, &patch.kind).await?
        };
        let doing = || ActionDescription(action).to_string();
        let written = self
            .write(&resource, &patch.name, &patch.patch, Write::Made, doing)
            .await?;
        let normalised = match &patch.change {
            MachinePoolChange::RestoreValues { values, .. } => {
                normalised_values(values, written.data.get("spec").unwrap_or(&Value::Null))
            }
            // What differs would be set in the same way by the next step, and is compared then.
            MachinePoolChange::Pause
            | MachinePoolChange::SetValues { .. }
            | MachinePoolChange::GiveUp
            | MachinePoolChange::Resume => Vec::new(),
        };
        Ok(if normalised.is_empty() {
            Effect::Done
        } else {
            Effect::Normalised(normalised)
        })
    }

    async fn write(
        &self,
        resource: &ApiResource,
        name: &str,
        patch: &Value,
        write: Write,
        doing: impl FnOnce() -> String,
    ) -> Result<DynamicObject, Error> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), self.cluster.namespace(), resource);
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            dry_run: write == Write::Tried,
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        let writing = of_provider(resource, doing, api.patch(name, &parameters, &patch));
        self.kinds.in_turn(&resource.group, &resource.kind, writing).await
    }

    async fn patch_cluster(&self, doing: &str, name: &str, patch: &Value, write: Write) -> Result<(), Error> {
        let resource = ApiResource::erase::<Cluster>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), self.cluster.namespace(), &resource);
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            dry_run: write == Write::Tried,
            ..PatchParams::default()
        };
        call(|| doing.to_owned(), api.patch(name, &parameters, &Patch::Merge(patch))).await?;
        Ok(())
    }

    /// The resource of a control plane at the version at which it was read: by that version the patch
    /// is made.
    async fn control_plane(&self, of: &PoolObject<'_>) -> Result<ApiResource, Error> {
        let kubeadm = ApiResource::erase::<KubeadmControlPlane>(&());
        if kubeadm.api_version == of.api_version && kubeadm.kind == of.kind {
            return Ok(kubeadm);
        }
        self.at_version(of.api_version, of.kind).await
    }

    async fn at_version(&self, api_version: &str, kind: &str) -> Result<ApiResource, Error> {
        let (group, version) = api_version.split_once('/').unwrap_or_default();
        let known = self.kinds.resource(self.client, group, kind).await?;
        let kind = GroupVersionKind::gvk(group, version, kind);
        Ok(ApiResource::from_gvk_with_plural(&kind, &known.plural))
    }

    async fn delete(&self, delete: &DeleteTemplate) -> Result<Effect, Error> {
        let api = self.templates(&delete.template).await?;
        let TemplateRef { kind, name, .. } = &delete.template;
        if let Some(by) = self.referrer(&delete.template).await? {
            tracing::info!(cluster = %self.cluster, "Keeping {kind} {name}, to which {by} refers");
            let template = delete.template.clone();
            self.memory.keep_used_elsewhere(self.cluster, template, Instant::now());
            return Ok(Effect::Kept);
        }
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: Some(delete.resource_version.0.clone()),
                uid: None,
            }),
            ..DeleteParams::default()
        };
        deleted(call(|| format!("deleting {kind} {name}"), api.delete(name, &parameters)).await)
    }

    /// Who in the namespace refers to a template at this moment, of whatever Cluster.
    async fn referrer(&self, template: &TemplateRef) -> Result<Option<String>, Error> {
        let namespace = self.cluster.namespace();
        if let Some(found) = referrer(self.client, namespace, template).await? {
            return Ok(Some(found));
        }
        for (group, kind) in self.caches.foreign_control_plane_kinds(namespace) {
            let found = match self.kinds.kind(self.client, &group, &kind).await {
                Ok(known) => foreign_referrer(self.client, namespace, template, &known).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(None) | Err(Error::NoKind { .. }) => {}
                Ok(found) => return Ok(found),
                Err(error) if error.class() == Class::Terminal => {
                    return Ok(Some(format!("perhaps a {kind}, of which nothing is known: {error}")));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn templates(&self, template: &TemplateRef) -> Result<Api<DynamicObject>, Error> {
        let resource = self
            .kinds
            .resource(self.client, &template.group, &template.kind)
            .await?;
        Ok(Api::namespaced_with(
            self.client.clone(),
            self.cluster.namespace(),
            &resource,
        ))
    }
}

/// What a write does, as events, the log and the status describe it.
pub(crate) struct ActionDescription<'a>(pub(crate) &'a Action);

impl fmt::Display for ActionDescription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Action::Nothing => Ok(()),
            Action::MintTemplate(mint) => {
                write!(
                    f,
                    "Minting {} {} for {}",
                    mint.template.kind, mint.template.name, mint.pool
                )
            }
            Action::SwapControlPlane(swap) | Action::SwapWorkers(swap) => {
                write!(f, "Pointing {} {} at {}", swap.kind, swap.name, swap.destination())
            }
            Action::PatchMachinePool(patch) => machine_pool(f, patch),
            Action::HoldPool(HoldPool { kind, name, change, .. }) => match change {
                Hold::Hold => write!(f, "Pausing {kind} {name} until its gates are open"),
                Hold::Release => write!(f, "Resuming {kind} {name}"),
                Hold::PauseRollout => write!(
                    f,
                    "Pausing the rollout of {kind} {name} until a maintenance window opens"
                ),
                Hold::ResumeRollout => write!(f, "Resuming the rollout of {kind} {name}"),
            },
            Action::SetConcurrency(SetConcurrency { name, to, .. }) => match to {
                Some(to) => write!(f, "Setting the upgrade-concurrency of Cluster {name} to {to}"),
                None => write!(f, "Removing the upgrade-concurrency of Cluster {name}"),
            },
            Action::BeginGates(begin) => {
                write!(f, "Beginning with ")?;
                for (place, id) in begin.gates.iter().enumerate() {
                    let before = if place == 0 { "" } else { ", " };
                    write!(f, "{before}{id}")?;
                }
                Ok(())
            }
            Action::AnswerHook(AnswerHook { name, answer, .. }) => match answer {
                Some(answer) => write!(f, "Answering Cluster API's hooks of Cluster {name}: {answer}"),
                None => write!(f, "Removing the answer to Cluster API's hooks from Cluster {name}"),
            },
            Action::RestoreVersionCheck(restore) => write!(
                f,
                "Switching Cluster API's check of version edits on again for Cluster {}",
                restore.name
            ),
            Action::PinPath(PinPath {
                name,
                takes_back: Some(of),
                ..
            }) => write!(f, "Writing into Cluster {name} that ClusterUpgrade {of} is taken back"),
            Action::PinPath(pin) if pin.releases.is_empty() => {
                write!(f, "Pinning Cluster {} to what its control plane runs", pin.name)
            }
            Action::PinPath(pin) => write!(f, "Pinning Cluster {} to {}", pin.name, pin.releases.join(", ")),
            Action::RecordConvergence(Convergence { kind, name, .. }) => {
                write!(
                    f,
                    "Writing into {kind} {name} that all its machines are as its last swap says"
                )
            }
            Action::EditVersion(edit) => {
                write!(
                    f,
                    "Setting spec.topology.version of Cluster {} to {}",
                    edit.name, edit.target
                )
            }
            Action::CompletePins(complete) => {
                write!(f, "Pinning Cluster {}", complete.name)?;
                for (place, (version, release)) in complete.releases.iter().enumerate() {
                    let before = if place == 0 { "" } else { "," };
                    write!(f, "{before} at {version} to release {release}")?;
                }
                Ok(())
            }
            Action::FollowRelease(follow) => {
                let FollowRelease {
                    name, release, pools, ..
                } = follow;
                if pools.is_empty() {
                    return write!(
                        f,
                        "Writing into Cluster {name} that all its pools have release {release}, or are held"
                    );
                }
                let pools: Vec<String> = pools.iter().map(ToString::to_string).collect();
                write!(f, "Giving release {release} to {}", pools.join(", "))
            }
            Action::DeleteMachine(delete) => write!(
                f,
                "Deleting Machine {} of the control plane, which was created at {} and never had a node",
                delete.name, delete.created
            ),
            Action::DeleteTemplate(delete) => {
                write!(
                    f,
                    "Deleting {} {}, which nothing uses",
                    delete.template.kind, delete.template.name
                )
            }
        }
    }
}

fn machine_pool(f: &mut fmt::Formatter<'_>, patch: &PatchMachinePool) -> fmt::Result {
    let PatchMachinePool { pool, kind, name, .. } = patch;
    match &patch.change {
        MachinePoolChange::Pause => write!(f, "Pausing {kind} {name} to upgrade {pool}"),
        MachinePoolChange::SetValues { release, .. } => {
            write!(f, "Setting the values of release {release} in {kind} {name} of {pool}")
        }
        MachinePoolChange::RestoreValues { version, .. } => {
            write!(f, "Setting back what {kind} {name} of {pool} had at {version}")
        }
        MachinePoolChange::GiveUp => write!(
            f,
            "Leaving {pool} to its user, since {kind} {name} did not become paused"
        ),
        MachinePoolChange::Resume => write!(f, "Resuming {kind} {name} of {pool}"),
    }
}

/// A write that was not made: it and each invariant that it would break, in a sentence.
pub(crate) fn violation(action: &Action, broken: &[Violation]) -> Error {
    let broken: Vec<String> = broken.iter().map(ToString::to_string).collect();
    Error::Violation(format!("{}: {}", ActionDescription(action), broken.join("; ")))
}

/// What is gone already was deleted before.
fn deleted<T>(answer: Result<T, Error>) -> Result<Effect, Error> {
    match answer {
        Err(Error::Call {
            source: kube::Error::Api(status),
            ..
        }) if status.is_not_found() => Ok(Effect::DoneBefore),
        answer => answer.map(|_| Effect::Done),
    }
}
