//! The images that new machines will be made of are there: without one the first machine of the new version never boots.

use std::collections::BTreeSet;

use instar_planner::{ClusterKind, PoolImage, Problem, Snapshot, Stop, pool_images};

use super::{STALE_HEAVY, names};
use crate::{
    finding::Finding,
    images::{ImageAt, ImageSource, Images, Missing, Presence, source, wanted},
    workload::{Facts, Probe, Workload},
};

/// What has to be looked for.
pub(crate) fn queries(snapshot: &Snapshot) -> BTreeSet<ImageAt> {
    let images = pool_images(snapshot).unwrap_or_default();
    images.iter().filter_map(wanted).collect()
}

pub(super) fn look(snapshot: &Snapshot, workload: Workload<'_>) -> Finding {
    let Some(images) = pool_images(snapshot) else {
        return Finding::Unknown(of_cluster(
            snapshot,
            "the releases that the upgrade goes through are not known, so neither are the images that they need",
        ));
    };
    let wanted: Vec<(&PoolImage<'_>, ImageAt)> = images
        .iter()
        .filter_map(|image| Some((image, wanted(image)?)))
        .collect();
    if wanted.is_empty() {
        return Finding::NotApplicable(nothing_to_look_for(&images));
    }
    let found = match read(snapshot, workload) {
        Ok(found) => found,
        Err(finding) => return finding,
    };
    Finding::of_all(wanted.iter().map(|(image, at)| judge(snapshot, image, at, found)))
}

fn nothing_to_look_for(images: &[PoolImage<'_>]) -> String {
    let why = images.iter().find_map(|image| match source(image.template) {
        ImageSource::Nowhere(why) => Some(format!(
            "{} {} is made of {} {}, and {why}",
            image.object.kind, image.object.name, image.template.kind, image.template.name
        )),
        ImageSource::VCenter => None,
    });
    why.unwrap_or_else(|| "no release on the way sets an image".to_owned())
}

fn read<'w>(snapshot: &Snapshot, workload: Workload<'w>) -> Result<&'w Images, Finding> {
    let unknown = |message: &str| Finding::Unknown(of_cluster(snapshot, message));
    let not_yet = || unknown("the images on the way have not been looked for yet");
    let reading = workload.readings.get(&Probe::Images).ok_or_else(not_yet)?;
    match &reading.found {
        Err(problem) => Err(Finding::Unknown(problem.clone())),
        Ok(_) if snapshot.now.duration_since(reading.at) > STALE_HEAVY => Err(unknown(&format!(
            "the images on the way were looked for last at {}, which is too long ago",
            reading.at
        ))),
        Ok(Facts::Images(images)) => Ok(images),
        Ok(
            Facts::Nodes(_) | Facts::Webhooks(_) | Facts::Budgets(_) | Facts::Authorities(_) | Facts::ApiRequests(_),
        ) => Err(not_yet()),
    }
}

fn judge(snapshot: &Snapshot, image: &PoolImage<'_>, at: &ImageAt, images: &Images) -> Finding {
    let problem = |message: String| Problem {
        kind: image.object.kind.clone(),
        name: image.object.name.clone(),
        message: format!("{} {}: {message}", image.object.kind, image.object.name),
    };
    let (release, name, place) = (image.release, &at.image, &images.place);
    match images.found.get(at) {
        // Something else is wanted since.
        None => Finding::Unknown(problem(format!(
            "the VM template \"{name}\" of release {release} has not been looked for yet"
        ))),
        Some(Presence::There) => Finding::Pass,
        Some(Presence::Unclear(why)) => Finding::Unknown(problem(format!(
            "whether the VM template \"{name}\" of release {release} is in {place} isn't known: {why}"
        ))),
        Some(Presence::Missing(missing)) => {
            let found = problem(format!(
                "the VM template \"{name}\" of release {release} is not in {place}{}",
                there(missing)
            ));
            match (image.stop, &snapshot.cluster.kind) {
                // The class may lead through another release of that minor.
                (Stop::Between, ClusterKind::Topology(_)) => Finding::Warn(found),
                (Stop::Between, ClusterKind::Classic(_)) | (Stop::Target, _) => Finding::Fail(found),
            }
        }
    }
}

/// What is there instead.
fn there(Missing { below, near }: &Missing) -> String {
    let near = names(near.iter().map(String::as_str), 0);
    match (below, near.is_empty()) {
        (None, true) => String::new(),
        (None, false) => format!(" (near names: {near})"),
        (Some(below), true) => format!(" ({below} is there, without a near name)"),
        (Some(below), false) => format!(" ({below} is there, with {near})"),
    }
}

fn of_cluster(snapshot: &Snapshot, message: &str) -> Problem {
    let name = &snapshot.cluster.name;
    Problem {
        kind: "Cluster".to_owned(),
        name: name.clone(),
        message: format!("Cluster {name}: {message}"),
    }
}
