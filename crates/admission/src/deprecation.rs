//! Releases that are to be left: those of the tier Deprecated, and those past their end of life.

use instar_api::{Rule, VERSION_ANNOTATION};
use instar_capi::Cluster;
use instar_catalog::{Catalog, Release, Resolved};
use instar_domain::KubeVersion;
use jiff::civil::Date;

use crate::{
    Finding,
    edit::{Edit, finding, object_ref},
};

const REMEDIATION: &str = "choose a release of the tier Latest, Supported or LTS";

/// How a release comes into an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// The user asks for it, so a policy may refuse it.
    Chosen,
    /// It is on the way, or was chosen elsewhere, as of an object that is moved: a refusal would stop what has begun.
    Given,
}

/// What is wrong with a release that an edit brings a Cluster to.
pub(crate) fn judge(row: &Release, used: Use, object: &str, field: &'static str, today: Date) -> Option<Finding> {
    let what = row.deprecation(today)?;
    let found = finding(Rule::ReleaseDeprecated, object.to_owned(), field, what, REMEDIATION);
    Some(match used {
        Use::Chosen => found,
        Use::Given => found.into_warning(),
    })
}

/// Judges what the annotation of a classic Cluster asks for, where it is new. `present` is the version that runs.
#[must_use]
pub fn of_classic(
    edit: Edit<'_, Cluster>,
    catalog: &Catalog,
    present: Option<&KubeVersion>,
    today: Date,
) -> Option<Finding> {
    let new = edit.new;
    if new.spec.topology.is_some() || new.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let target = by_annotation(new)?;
    if edit.old.and_then(by_annotation) == Some(target) {
        return None;
    }
    let Ok(Resolved::Release(row)) = catalog.resolve(target, present, None, today) else {
        return None;
    };
    // `clusterctl move` and a restore create the Cluster with all that it had.
    let used = edit.old.map_or(Use::Given, |_| Use::Chosen);
    let field = "metadata.annotations[upgrade.cluster.x-k8s.io/version]";
    judge(row, used, &object_ref(edit.kind, &new.metadata), field, today)
}

fn by_annotation(cluster: &Cluster) -> Option<&str> {
    let annotations = cluster.metadata.annotations.as_ref()?;
    annotations.get(VERSION_ANNOTATION).map(String::as_str)
}
