//! What components are set up with, against the target.

use instar_capi::{ComponentSetting, SettingField};
use instar_planner::PoolOverride;

use super::*;

fn found(snapshot: &Snapshot) -> Vec<String> {
    super::found(snapshot, &[PreflightCheck::ControlPlaneFlags])
}

const API_SERVER: &str = "KubeadmControlPlane cp: spec.kubeadmConfigSpec.clusterConfiguration.apiServer.extraArgs";

/// What is found where a control plane at a version goes to another with some settings.
fn at(from: &str, to: &str, settings: &[(SettingField, &str, &str)]) -> Vec<String> {
    let mut snapshot = well();
    let control_plane = of_control_plane(&mut snapshot);
    control_plane.version = from.parse().unwrap();
    control_plane.observed = vec![from.parse().unwrap()];
    control_plane.flavor = Flavor::Kubeadm {
        cluster_configuration: ClusterConfiguration::default(),
        settings: settings
            .iter()
            .map(|(field, name, value)| ComponentSetting {
                field: *field,
                name: (*name).to_owned(),
                value: (*value).to_owned(),
            })
            .collect(),
    };
    snapshot.upgrade_spec.target = Target::Text(to.to_owned());
    found(&snapshot)
}

fn failed(message: &str) -> Vec<String> {
    vec![format!("control-plane-flags Fail KubeadmControlPlane/cp: {message}")]
}

#[test]
fn what_is_gone_on_the_way_stops_it() {
    let (api_server, kubelet) = (SettingField::ApiServer, SettingField::Kubelet);
    let nothing: Vec<String> = Vec::new();
    for (from, to, setting, expected) in [
        (
            "v1.34.3",
            "v1.37",
            (
                api_server,
                "feature-gates",
                "SidecarContainers=true,ContainerStopSignals=true",
            ),
            failed(&format!(
                "{API_SERVER}: kube-apiserver has no feature gate SidecarContainers since v1.37"
            )),
        ),
        // It has it until then, with the value that it takes.
        (
            "v1.34.3",
            "v1.36",
            (api_server, "feature-gates", "SidecarContainers=true"),
            nothing.clone(),
        ),
        // A cluster that runs with it knows better than the table.
        (
            "v1.37.0",
            "v1.38.2",
            (api_server, "feature-gates", "SidecarContainers=true"),
            vec![
                "control-plane-flags Warn KubeadmControlPlane/cp: KubeadmControlPlane cp: spec.kubeadmConfigSpec: this version \
                 of Instar knows what is gone up to v1.37, and not in v1.38"
                    .to_owned(),
            ],
        ),
        (
            "v1.34.3",
            "v1.35",
            (
                SettingField::Scheduler,
                "feature_gates",
                " DynamicResourceAllocation = false ",
            ),
            failed(
                "KubeadmControlPlane cp: spec.kubeadmConfigSpec.clusterConfiguration.scheduler.extraArgs: feature gate \
                 DynamicResourceAllocation has to be true since v1.35, and kube-scheduler doesn't start with another value",
            ),
        ),
        (
            "v1.34.3",
            "v1.35",
            (api_server, "feature-gates", "DynamicResourceAllocation=true"),
            nothing.clone(),
        ),
        (
            "v1.34.3",
            "v1.35",
            (api_server, "feature-gates", "DynamicResourceAllocation=x,,AllAlpha"),
            nothing.clone(),
        ),
        (
            "v1.34.3",
            "v1.35",
            (api_server, "pod-infra-container-image", "x"),
            nothing.clone(),
        ),
        (
            "v1.34.3",
            "v1.36",
            (kubelet, "pod-infra-container-image", "x"),
            failed(
                "KubeadmControlPlane cp: spec.kubeadmConfigSpec.joinConfiguration.nodeRegistration.kubeletExtraArgs: \
                 kubelet has no flag --pod-infra-container-image since v1.35",
            ),
        ),
        (
            "v1.36.3",
            "v1.37",
            (kubelet, "machine_id_file", "x"),
            failed(
                "KubeadmControlPlane cp: spec.kubeadmConfigSpec.joinConfiguration.nodeRegistration.kubeletExtraArgs: \
                 kubelet has no flag --machine-id-file since v1.37",
            ),
        ),
        (
            "v1.34.3",
            "v1.37.2-1",
            (api_server, "disable-admission-plugins", "JobValidation, PodSecurity"),
            failed(&format!(
                "{API_SERVER}: kube-apiserver has no admission plugin JobValidation since v1.37, and doesn't start with it \
                 in --disable-admission-plugins"
            )),
        ),
        (
            "v1.34.3",
            "v1.37",
            (kubelet, "enable-admission-plugins", "JobValidation"),
            nothing.clone(),
        ),
    ] {
        assert_eq!(at(from, to, &[setting]), expected, "{from} {to} {setting:?}");
    }
}

#[test]
fn all_that_is_wrong_with_an_object_is_said_at_once() {
    let gates = "SidecarContainers=true,LogarithmicScaleDown=true,JobSuccessPolicy=true,AnyVolumeDataSource=true,\
                 APIServerTracing=true,BtreeWatchCache=true";
    let found = at(
        "v1.36.3",
        "v1.37",
        &[
            (SettingField::Kubeadm, "NodeLocalCRISocket", "true"),
            (SettingField::Kubelet, "containerd", "x"),
            (SettingField::ControllerManager, "feature-gates", gates),
        ],
    );
    let [found] = &*found else { panic!("{found:?}") };
    assert!(
        found.contains("kubelet has no flag --containerd since v1.37; "),
        "{found}"
    );
    assert!(
        found.contains("has no feature gate SidecarContainers since v1.37; "),
        "{found}"
    );
    assert!(found.ends_with("; and 2 more"), "{found}");
    // What only kubeadm has no more stops no machine that joins.
    let found = at(
        "v1.36.3",
        "v1.37",
        &[(SettingField::Kubeadm, "NodeLocalCRISocket", "true")],
    );
    let [found] = &*found else { panic!("{found:?}") };
    assert!(found.contains(" Warn ") && found.contains("and ignores it"), "{found}");
}

#[test]
fn what_is_not_known_of_a_control_plane_is_left_out() {
    let mut snapshot = well();
    of_control_plane(&mut snapshot).flavor = Flavor::Other;
    of_control_plane(&mut snapshot).object.kind = "RKE2ControlPlane".to_owned();
    assert_eq!(
        found(&snapshot),
        [
            "control-plane-flags NotApplicable: RKE2ControlPlane cp is no KubeadmControlPlane, so what its components are \
         started with isn't known"
        ]
    );
    let mut snapshot = well();
    snapshot.upgrade_spec.target = Target::Text("v1.99".to_owned());
    assert_eq!(
        found(&snapshot),
        ["control-plane-flags NotApplicable: the catalog doesn't say to which version the upgrade goes"]
    );
}

#[test]
fn a_class_may_render_it_otherwise() {
    let mut snapshot = with(kubeadm_template(Some(json!({ "pod-infra-container-image": "x" }))));
    let topology = Unreadable {
        kind: "Cluster".to_owned(),
        name: "c".to_owned(),
        reason: "a test".to_owned(),
    };
    snapshot.cluster.kind = ClusterKind::Topology(Box::new(Observed::Invalid(topology)));
    assert_eq!(found(&snapshot), [] as [String; 0]);
    let setting = ComponentSetting {
        field: SettingField::Kubelet,
        name: "pod-infra-container-image".to_owned(),
        value: "x".to_owned(),
    };
    of_control_plane(&mut snapshot).flavor = Flavor::Kubeadm {
        cluster_configuration: ClusterConfiguration::default(),
        settings: vec![setting],
    };
    let said = found(&snapshot);
    let [found] = &*said else { panic!("{said:?}") };
    let end = "since v1.35, unless the Cluster's class leaves it out at that version";
    assert!(found.contains(" Warn ") && found.ends_with(end), "{found}");
}

fn kubeadm_template(arguments: Option<Value>) -> Template {
    Template {
        kubelet_arguments: arguments.map(Arc::new),
        ..template(&TemplateRef {
            group: "bootstrap.cluster.x-k8s.io".to_owned(),
            kind: "KubeadmConfigTemplate".to_owned(),
            name: "md".to_owned(),
        })
    }
}

/// A cluster that goes to v1.36, with a pool whose machines join by that template.
fn with(template: Template) -> Snapshot {
    let mut snapshot = well();
    snapshot.upgrade_spec.target = Target::Text("v1.36".to_owned());
    snapshot.pools.truncate(1);
    if let Observed::Read(pool) = &mut snapshot.pools[0] {
        pool.bootstrap = Some(template.reference());
    }
    snapshot.templates = vec![Observed::Read(template)];
    snapshot
}

#[test]
fn a_pool_is_judged_by_its_template() {
    let gone = "control-plane-flags Fail KubeadmConfigTemplate/md: KubeadmConfigTemplate md: \
                spec.template.spec.joinConfiguration.nodeRegistration.kubeletExtraArgs: kubelet has no flag \
                --pod-infra-container-image since v1.35";
    let map = json!({ "pod-infra-container-image": "x", "v": "2" });
    let list = json!([{ "name": "pod-infra-container-image", "value": "x" }]);
    for arguments in [&map, &list] {
        assert_eq!(found(&with(kubeadm_template(Some(arguments.clone())))), [gone]);
    }
    assert_eq!(found(&with(kubeadm_template(Some(Value::Null)))), [] as [String; 0]);
    assert_eq!(
        found(&with(kubeadm_template(Some(json!("text"))))),
        [
            "control-plane-flags Unknown KubeadmConfigTemplate/md: the kubelet's arguments in KubeadmConfigTemplate md can't be \
         read: invalid type: string \"text\", expected arguments: a map, or a list of names and values"
        ]
    );
    // Read as a whole, since the planner asked for it.
    let mut template = kubeadm_template(None);
    let spec = json!({ "joinConfiguration": { "nodeRegistration": { "kubeletExtraArgs": list } } });
    template.content = Some(Arc::new(content(json!({ "template": { "spec": spec } }))));
    assert_eq!(found(&with(template)), [gone]);
    // What the user patches for this upgrade counts.
    let mut patched = with(kubeadm_template(Some(map.clone())));
    let pointer = "/spec/template/spec/joinConfiguration/nodeRegistration/kubeletExtraArgs";
    let patch = [(pointer.parse().unwrap(), json!({}))].into();
    patched.upgrade_spec.bootstrap_patches.insert("md-0".to_owned(), patch);
    assert_eq!(found(&patched), [] as [String; 0]);
    // A pool that is held stays where it is.
    let mut held = with(kubeadm_template(Some(map.clone())));
    held.upgrade_spec.pools.insert("md-0".to_owned(), PoolOverride::Hold);
    assert_eq!(found(&held), [] as [String; 0]);
    let mut other = with(kubeadm_template(Some(map)));
    other.templates.clear();
    assert_eq!(found(&other), [] as [String; 0]);
}

#[test]
fn what_is_not_read_yet_is_asked_for() {
    let off = BTreeMap::from([(PreflightCheck::ControlPlaneFlags, Enforcement::Off)]);
    let snapshot = with(kubeadm_template(None));
    let template = kubeadm_template(None).reference();
    assert_eq!(
        unread(&snapshot, &BTreeMap::new()),
        [Unread::KubeletArguments(template)].into()
    );
    assert_eq!(unread(&snapshot, &off), BTreeSet::new());
    assert_eq!(
        found(&snapshot),
        [
            "control-plane-flags Unknown KubeadmConfigTemplate/md: the kubelet's arguments in KubeadmConfigTemplate md were not \
         read yet"
        ]
    );
    let read = with(kubeadm_template(Some(Value::Null)));
    assert_eq!(unread(&read, &BTreeMap::new()), BTreeSet::new());
    let mut other = with(kubeadm_template(None));
    if let Observed::Read(template) = &mut other.templates[0] {
        template.kind = "RKE2ConfigTemplate".to_owned();
    }
    assert_eq!(unread(&other, &BTreeMap::new()), BTreeSet::new());
}
