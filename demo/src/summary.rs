//! What happened, from every machine that ever was; and whether it should have.

use std::collections::BTreeMap;

use crate::{clusters::PoolPath, watch::pool_name};
use instar_e2e::support::ledger::{MachineRecord, Pool, TemplateRecord};

/// What to tell, and what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// What happened.
    pub(crate) lines: Vec<String>,
    /// What should not have happened.
    pub(crate) problems: Vec<String>,
}

/// One pool's machines by version, in the order in which it came to them.
type Stops<'a> = Vec<(&'a str, Vec<&'a MachineRecord>)>;

/// Compares what happened with what is expected. `image` reads a template's value that stands for
/// the image, and `images` has the value of each version's row.
pub(crate) fn summary(
    machines: &[MachineRecord],
    templates: &[TemplateRecord],
    pool_paths: &[PoolPath],
    images: &BTreeMap<String, String>,
    image: impl Fn(&TemplateRecord) -> Option<String>,
) -> Summary {
    let mut summary = Summary::default();
    let longest: &[&str] = pool_paths
        .iter()
        .map(|path| path.stops)
        .max_by_key(|stops| stops.len())
        .unwrap_or_default();
    for path in pool_paths {
        let stops = stops(machines, &path.pool);
        summary.check(path, &stops);
        let went: Vec<_> = stops
            .iter()
            .map(|(version, made)| format!("{version} ({} machines)", made.len()))
            .collect();
        let skipped: Vec<_> = longest
            .iter()
            .filter(|version| !stops.iter().any(|(stop, _)| stop == *version))
            .copied()
            .collect();
        let skipped = match skipped.join(", ") {
            none if none.is_empty() => none,
            some => format!("; never at {some}"),
        };
        summary
            .lines
            .push(format!("{:<14} {}{skipped}", pool_name(&path.pool), went.join(" -> ")));
    }
    for machine in machines {
        let found = machine.template.as_ref().and_then(&image);
        let wanted = images.get(&machine.version);
        if wanted.is_none() || found.as_ref() != wanted {
            summary.problems.push(format!(
                "{} of {} was made from a template with {}, and the row has {}",
                machine.name,
                machine.version,
                found.as_deref().unwrap_or("nothing"),
                wanted.map_or("nothing", String::as_str),
            ));
        }
    }
    summary.count(machines, templates, pool_paths);
    summary
}

impl Summary {
    fn check(&mut self, path: &PoolPath, stops: &Stops<'_>) {
        let pool = pool_name(&path.pool);
        let went: Vec<_> = stops.iter().map(|(version, _)| *version).collect();
        if went != path.stops {
            self.problems.push(format!(
                "{pool} went through {}, and not through {}",
                went.join(", "),
                path.stops.join(", ")
            ));
        }
        for (version, made) in stops.iter().filter(|(_, made)| made.len() != path.replicas) {
            let names: Vec<_> = made.iter().map(|machine| machine.name.as_str()).collect();
            self.problems.push(format!(
                "{pool} has {} machines, and {} were made at {version}: {}",
                path.replicas,
                made.len(),
                names.join(", ")
            ));
        }
    }

    fn count(&mut self, machines: &[MachineRecord], templates: &[TemplateRecord], pool_paths: &[PoolPath]) {
        let gone = machines.iter().filter(|machine| machine.deleted).count();
        let how = if self.problems.is_empty() {
            ", each machine once per version"
        } else {
            ""
        };
        self.lines.push(format!(
            "machines       {} made, {gone} of them replaced{how}",
            machines.len()
        ));
        let expected: usize = pool_paths.iter().map(|path| path.stops.len()).sum();
        let mut how = ", one for each pool and version that it stopped at";
        if templates.len() != expected {
            how = "";
            let names: Vec<_> = templates.iter().map(|template| template.name.as_str()).collect();
            self.problems.push(format!(
                "{} machine templates were made, and not {expected}: {}",
                templates.len(),
                names.join(", ")
            ));
        }
        self.lines.push(format!("templates      {} made{how}", templates.len()));
    }
}

fn stops<'a>(machines: &'a [MachineRecord], pool: &Pool) -> Stops<'a> {
    let mut stops: Stops<'a> = Vec::new();
    for machine in machines.iter().filter(|machine| machine.pool == *pool) {
        match stops.iter_mut().find(|(version, _)| *version == machine.version) {
            Some((_, made)) => made.push(machine),
            None => stops.push((&machine.version, vec![machine])),
        }
    }
    stops
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn template(version: &str) -> TemplateRecord {
        TemplateRecord {
            name: format!("t-{version}"),
            cluster: Some("demo".to_owned()),
            created: Timestamp::UNIX_EPOCH,
            deleted: false,
            spec: json!(format!("image-{version}")),
        }
    }

    fn machine(pool: &Pool, number: usize, version: &str) -> MachineRecord {
        MachineRecord {
            name: format!("{}-{version}-{number}", pool_name(pool)),
            pool: pool.clone(),
            version: version.to_owned(),
            created: Timestamp::UNIX_EPOCH,
            deleted: version != "v3",
            surplus: false,
            template: Some(template(version)),
        }
    }

    fn pool_paths() -> [PoolPath; 2] {
        [
            PoolPath {
                pool: Pool::ControlPlane,
                replicas: 3,
                stops: &["v1", "v2", "v3"],
            },
            PoolPath {
                pool: Pool::Workers("md-0".to_owned()),
                replicas: 2,
                stops: &["v1", "v3"],
            },
        ]
    }

    fn as_expected() -> Vec<MachineRecord> {
        let mut machines = Vec::new();
        for path in pool_paths() {
            for version in path.stops {
                machines.extend((0..path.replicas).map(|number| machine(&path.pool, number, version)));
            }
        }
        machines
    }

    fn told(machines: &[MachineRecord]) -> Summary {
        let templates: Vec<_> = ["v1", "v2", "v3", "v1", "v3"].map(template).into();
        let images = ["v1", "v2", "v3"].map(|version| (version.to_owned(), format!("image-{version}")));
        summary(machines, &templates, &pool_paths(), &images.into(), |template| {
            template.spec.as_str().map(ToOwned::to_owned)
        })
    }

    #[test]
    fn an_upgrade_as_it_should_be() {
        let told = told(&as_expected());
        assert!(told.problems.is_empty(), "{:?}", told.problems);
        assert_eq!(
            told.lines,
            [
                "control plane  v1 (3 machines) -> v2 (3 machines) -> v3 (3 machines)",
                "md-0           v1 (2 machines) -> v3 (2 machines); never at v2",
                "machines       13 made, 8 of them replaced, each machine once per version",
                "templates      5 made, one for each pool and version that it stopped at",
            ]
        );
    }

    #[test]
    fn a_machine_that_was_made_twice_is_a_problem() {
        let mut machines = as_expected();
        machines.push(machine(&Pool::Workers("md-0".to_owned()), 7, "v3"));
        assert_eq!(
            told(&machines).problems,
            ["md-0 has 2 machines, and 3 were made at v3: md-0-v3-0, md-0-v3-1, md-0-v3-7"]
        );
    }

    #[test]
    fn workers_at_the_minor_between_are_a_problem() {
        let mut machines = as_expected();
        let pool = Pool::Workers("md-0".to_owned());
        let at = machines
            .iter()
            .position(|machine| machine.pool == pool && machine.version == "v3")
            .unwrap();
        machines.splice(at..at, [machine(&pool, 0, "v2"), machine(&pool, 1, "v2")]);
        assert_eq!(
            told(&machines).problems,
            ["md-0 went through v1, v2, v3, and not through v1, v3"]
        );
    }

    #[test]
    fn a_template_without_the_rows_value_is_a_problem() {
        let mut machines = as_expected();
        machines[0].template = Some(template("v2"));
        assert_eq!(
            told(&machines).problems,
            ["control plane-v1-0 of v1 was made from a template with image-v2, and the row has image-v1"]
        );
    }

    #[test]
    fn a_pool_that_never_came_is_a_problem() {
        let machines: Vec<_> = as_expected()
            .into_iter()
            .filter(|machine| machine.pool == Pool::ControlPlane)
            .collect();
        assert_eq!(told(&machines).problems.len(), 1);
    }
}
