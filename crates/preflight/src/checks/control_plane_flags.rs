//! No component is set up with a flag, a feature gate or an admission plugin that the target, or a minor on the way, has
//! no more: it would not start, and the upgrade would stop at the first new machine.

use instar_capi::{ComponentSetting, SettingField};
use instar_domain::Minor;
use instar_planner::{
    ClusterKind, ControlPlane, Flavor, MachineDeployment, Observed, Problem, Snapshot, TemplateRef, kubelet_arguments,
    target_minor,
};

use super::{cannot_be_read, each, follows, template};
use crate::{
    finding::Finding,
    flags,
    lifecycle::{self, Lifecycle, Subject, lifecycle},
};

const FEATURE_GATES: &str = "feature-gates";
const ADMISSION_PLUGINS: [&str; 2] = ["enable-admission-plugins", "disable-admission-plugins"];

/// How many things are named of one object.
const NAMED: usize = 5;

/// The minors from one to another: without the first, which runs as it is.
#[derive(Debug, Clone, Copy)]
struct Way {
    from: Minor,
    to: Minor,
}

impl Way {
    fn passes(self, since: Minor) -> bool {
        self.from < since && since <= self.to
    }
}

/// What a setting leads to.
enum Trouble {
    /// The component doesn't start.
    Stops(String),
    /// It goes on.
    Warns(String),
}

pub(super) fn look(snapshot: &Snapshot) -> Finding {
    let control_plane = match &snapshot.control_plane {
        None => return Finding::NotApplicable("the Cluster has no control plane that can be seen".to_owned()),
        Some(Observed::Invalid(unreadable)) => return Finding::Unknown(cannot_be_read(unreadable)),
        Some(Observed::Read(control_plane)) => control_plane,
    };
    let Some(to) = target_minor(snapshot) else {
        return Finding::NotApplicable("the catalog doesn't say to which version the upgrade goes".to_owned());
    };
    match snapshot.cluster.kind {
        ClusterKind::Topology(_) => return as_rendered_now(of_control_plane(control_plane, to)),
        ClusterKind::Classic(_) => {}
    }
    let pools = each(&snapshot.pools, |pool| of_pool(snapshot, pool, to));
    let findings: Vec<Finding> = std::iter::once(of_control_plane(control_plane, to))
        .chain(pools)
        .collect();
    let is_left_out = |finding: &Finding| matches!(finding, Finding::NotApplicable(_));
    if findings.iter().all(is_left_out) {
        return findings.into_iter().next().unwrap_or(Finding::Pass);
    }
    Finding::of_all(findings)
}

/// What a class renders may depend on the version: what is there now needn't be there then.
fn as_rendered_now(finding: Finding) -> Finding {
    match finding {
        Finding::Fail(problem) => Finding::Warn(Problem {
            message: format!(
                "{}, unless the Cluster's class leaves it out at that version",
                problem.message
            ),
            ..problem
        }),
        Finding::Pass | Finding::Unknown(_) | Finding::Warn(_) | Finding::NotApplicable(_) => finding,
    }
}

fn of_control_plane(control_plane: &ControlPlane, to: Minor) -> Finding {
    let (kind, name) = (&control_plane.object.kind, &control_plane.object.name);
    match &control_plane.flavor {
        Flavor::Other => Finding::NotApplicable(format!(
            "{kind} {name} is no KubeadmControlPlane, so what its components are started with isn't known"
        )),
        Flavor::Kubeadm { settings, .. } => {
            let lowest = control_plane.observed.iter().min();
            let from = lowest.map_or(&control_plane.version, |lowest| lowest.min(&control_plane.version));
            let way = Way { from: from.minor(), to };
            of_object(kind, name, "spec.kubeadmConfigSpec", settings, way)
        }
    }
}

fn of_pool(snapshot: &Snapshot, pool: &MachineDeployment, to: Minor) -> Finding {
    let bootstrap = pool.bootstrap.as_ref().filter(|bootstrap| is_kubeadm(bootstrap));
    let Some(reference) = bootstrap.filter(|_| follows(snapshot, pool)) else {
        return Finding::NotApplicable(format!(
            "MachineDeployment {} has no kubeadm template",
            pool.object.name
        ));
    };
    let (kind, name) = (&reference.kind, &reference.name);
    let template = match template(snapshot, reference) {
        // Another check tells of it.
        None => return Finding::NotApplicable(format!("{kind} {name} isn't there")),
        Some(Err(unreadable)) => return Finding::Unknown(cannot_be_read(unreadable)),
        Some(Ok(template)) => template,
    };
    let unknown = |why: &str| {
        Finding::Unknown(Problem {
            kind: kind.clone(),
            name: name.clone(),
            message: format!("the kubelet's arguments in {kind} {name} {why}"),
        })
    };
    let Some(arguments) = kubelet_arguments(snapshot, pool, template) else {
        return unknown("were not read yet");
    };
    match ComponentSetting::of_kubelet(&arguments) {
        Err(error) => unknown(&format!("can't be read: {error}")),
        Ok(settings) => {
            let way = Way {
                from: pool.version.minor(),
                to,
            };
            of_object(kind, name, "spec.template.spec", &settings, way)
        }
    }
}

/// Whether a template is of kubeadm configurations.
pub(crate) fn is_kubeadm(template: &TemplateRef) -> bool {
    template.group == "bootstrap.cluster.x-k8s.io" && template.kind == "KubeadmConfigTemplate"
}

/// Whether a setting decides anything here. The others needn't be kept.
pub(crate) fn is_judged(setting: &ComponentSetting) -> bool {
    let ComponentSetting { field, name, .. } = setting;
    let name = flags::normalised(name);
    match field {
        SettingField::Kubeadm => true,
        SettingField::ApiServer | SettingField::ControllerManager | SettingField::Scheduler | SettingField::Kubelet => {
            name == FEATURE_GATES || is_admission(*field, &name) || flags::gone(*field, &name).is_some()
        }
    }
}

fn is_admission(field: SettingField, name: &str) -> bool {
    match field {
        SettingField::ApiServer => ADMISSION_PLUGINS.contains(&name),
        SettingField::ControllerManager | SettingField::Scheduler | SettingField::Kubelet | SettingField::Kubeadm => {
            false
        }
    }
}

/// All that is wrong with one object, in one sentence.
fn of_object(kind: &str, name: &str, spec: &str, settings: &[ComponentSetting], way: Way) -> Finding {
    let (mut stops, mut warns) = (Vec::new(), Vec::new());
    for setting in settings {
        let path = setting.field.path();
        for trouble in of_setting(setting, way) {
            match trouble {
                Trouble::Stops(what) => stops.push(format!("{spec}.{path}: {what}")),
                Trouble::Warns(what) => warns.push(format!("{spec}.{path}: {what}")),
            }
        }
    }
    if let Some(newest) = lifecycle::newest().filter(|newest| *newest < way.to)
        && settings.iter().any(is_judged)
    {
        warns.push(format!(
            "{spec}: this version of Instar knows what is gone up to {newest}, and not in {}",
            way.to
        ));
    }
    let problem = |all: Vec<String>| Problem {
        kind: kind.to_owned(),
        name: name.to_owned(),
        message: format!("{kind} {name}: {}", listed(&all)),
    };
    match (stops.is_empty(), warns.is_empty()) {
        (false, _) => Finding::Fail(problem(stops)),
        (true, false) => Finding::Warn(problem(warns)),
        (true, true) => Finding::Pass,
    }
}

fn listed(all: &[String]) -> String {
    let named = all
        .iter()
        .take(NAMED)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("; ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

fn of_setting(setting: &ComponentSetting, way: Way) -> Vec<Trouble> {
    let ComponentSetting { field, name, value } = setting;
    let program = field.program();
    let flag = flags::normalised(name);
    match field {
        SettingField::Kubeadm => {
            let gone = lifecycle(Subject::KubeadmGate, name)
                .gone
                .filter(|since| way.passes(*since));
            // What joins reads the configuration without validating it (`FetchInitConfigurationFromCluster`).
            let ignored = gone.map(|since| {
                Trouble::Warns(format!(
                    "{program} has no feature gate {name} since {since}, and ignores it"
                ))
            });
            ignored.into_iter().collect()
        }
        SettingField::ApiServer | SettingField::ControllerManager | SettingField::Scheduler | SettingField::Kubelet => {
            if flag == FEATURE_GATES {
                return gates(value)
                    .filter_map(|(gate, to)| of_gate(program, gate, to, way))
                    .collect();
            }
            if is_admission(*field, &flag) {
                let plugins = value.split(',').map(str::trim);
                return plugins
                    .filter_map(|plugin| of_plugin(program, &flag, plugin, way))
                    .collect();
            }
            let gone = flags::gone(*field, &flag).filter(|since| way.passes(*since));
            let stops = gone.map(|since| Trouble::Stops(format!("{program} has no flag --{flag} since {since}")));
            stops.into_iter().collect()
        }
    }
}

fn of_gate(program: &str, gate: &str, to: Option<bool>, way: Way) -> Option<Trouble> {
    let Lifecycle {
        deprecated,
        locked,
        gone,
    } = lifecycle(Subject::Gate, gate);
    if let Some(since) = gone.filter(|since| way.passes(*since)) {
        return Some(Trouble::Stops(format!(
            "{program} has no feature gate {gate} since {since}"
        )));
    }
    let other = locked.filter(|(since, only)| way.passes(*since) && to.is_some_and(|to| to != *only));
    if let Some((since, only)) = other {
        return Some(Trouble::Stops(format!(
            "feature gate {gate} has to be {only} since {since}, and {program} doesn't start with another value"
        )));
    }
    let since = deprecated.filter(|since| way.passes(*since))?;
    Some(Trouble::Warns(format!(
        "feature gate {gate} is deprecated since {since}, and will be gone in a later version"
    )))
}

fn of_plugin(program: &str, flag: &str, plugin: &str, way: Way) -> Option<Trouble> {
    let gone = lifecycle(Subject::AdmissionPlugin, plugin).gone;
    let since = gone.filter(|since| way.passes(*since))?;
    Some(Trouble::Stops(format!(
        "{program} has no admission plugin {plugin} since {since}, and doesn't start with it in --{flag}"
    )))
}

/// The gates of a `--feature-gates`, with their values as Go reads them.
fn gates(value: &str) -> impl Iterator<Item = (&str, Option<bool>)> {
    let pairs = value.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(gate, to)| {
        let to = match to.trim() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
            _ => None,
        };
        (gate.trim(), to)
    })
}
