//! AdmissionReviews as a real API server sends them, the same bytes at each run.
//!
//! The objects are written as Cluster API, its providers and kubectl leave them: with managed fields,
//! owners, conditions, and their keys in order. A third to a half of each is what no rule reads.

use instar_admission::GuardedKind;
use instar_webhooks::Route;
use serde_json::{Value, json};

use crate::world::{BIG, NAMESPACE, PROD, STAGE};

/// One body, and what is expected of it.
pub(crate) struct Body {
    pub(crate) name: &'static str,
    pub(crate) route: Route,
    pub(crate) text: String,
    pub(crate) verdict: Expected,
    /// Whether the comparators know its rules.
    pub(crate) compared: bool,
}

/// What the server has to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Allowed,
    Changed,
    Refused,
}

/// How many mounts a template has beside those that all have, for some 6.7 KB.
const MOUNTS: usize = 3;
/// How many pools the Cluster has, for some 150 KB.
const POOLS: usize = 122;

/// The bodies of the table.
pub(crate) fn all() -> Vec<Body> {
    let template = Route::Validate(GuardedKind::MachineTemplate);
    let body = |name, route, text, verdict, compared| Body {
        name,
        route,
        text,
        verdict,
        compared,
    };
    vec![
        body(
            "template, dry run",
            template,
            template_dry_run(),
            Expected::Allowed,
            true,
        ),
        body(
            "template, allowed",
            template,
            template_allowed(MOUNTS),
            Expected::Allowed,
            true,
        ),
        body(
            "template, refused",
            template,
            template_refused(),
            Expected::Refused,
            true,
        ),
        body(
            "MachineDeployment",
            Route::Validate(GuardedKind::Worker),
            machine_deployment(),
            Expected::Allowed,
            false,
        ),
        body(
            "control plane",
            Route::Validate(GuardedKind::ControlPlane),
            control_plane(),
            Expected::Allowed,
            true,
        ),
        body(
            "Cluster",
            Route::MutateCluster,
            cluster(POOLS),
            Expected::Changed,
            false,
        ),
    ]
}

/// Bodies of one sort that grow: by what no rule reads, and by pools.
pub(crate) fn growing() -> Vec<Body> {
    let templates = [0, 32, 128, 384, 800].map(|mounts| Body {
        name: "template, allowed",
        route: Route::Validate(GuardedKind::MachineTemplate),
        text: template_allowed(mounts),
        verdict: Expected::Allowed,
        compared: false,
    });
    let clusters = [1, 10, 30, POOLS].map(|pools| Body {
        name: "Cluster",
        route: Route::MutateCluster,
        text: cluster(pools),
        verdict: Expected::Changed,
        compared: false,
    });
    templates.into_iter().chain(clusters).collect()
}

struct Review<'a> {
    group: &'a str,
    kind: &'a str,
    resource: &'a str,
    name: &'a str,
    user: Value,
    manager: &'a str,
    dry_run: bool,
}

/// In the order of the fields of the API server's own type.
fn review(of: &Review<'_>, object: &Value, old_object: &Value) -> String {
    let Review {
        group,
        kind,
        resource,
        name,
        user,
        manager,
        dry_run,
    } = of;
    let gvk = format!(r#"{{"group":"{group}","version":"v1beta2","kind":"{kind}"}}"#);
    let gvr = format!(r#"{{"group":"{group}","version":"v1beta2","resource":"{resource}"}}"#);
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"6f1bb56b-93b7-4f9c-8d0c-0a4de4a2c3a1","kind":{gvk},"resource":{gvr},"requestKind":{gvk},"requestResource":{gvr},"name":"{name}","namespace":"{NAMESPACE}","operation":"UPDATE","userInfo":{user},"object":{object},"oldObject":{old_object},"dryRun":{dry_run},"options":{{"kind":"PatchOptions","apiVersion":"meta.k8s.io/v1","fieldManager":"{manager}","fieldValidation":"Strict"}}}}}}"#
    )
}

fn person() -> Value {
    json!({"username": "oidc:ada@example.org", "groups": ["oidc:platform", "system:authenticated"], "extra": {"authentication.kubernetes.io/credential-id": ["X509SHA256=5a4e8f0f1f2f1c0b7f8e6d5c4b3a29181716151413121110"]}})
}

fn cluster_api() -> Value {
    json!({"username": "system:serviceaccount:capi-system:capi-manager", "uid": "3a9d2f1e-2f57-4f3b-a0c1-6d0b6f3f1c55", "groups": ["system:serviceaccounts", "system:serviceaccounts:capi-system", "system:authenticated"], "extra": {"authentication.kubernetes.io/pod-name": ["capi-controller-manager-7d9f8c5b6d-x2k4p"]}})
}

fn managed(manager: &str, operation: &str, subresource: Option<&str>, fields: &Value) -> Value {
    let mut entry = json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        "manager": manager,
        "operation": operation,
        "time": "2026-11-02T09:14:31Z",
    });
    if let Some(subresource) = subresource {
        entry["subresource"] = json!(subresource);
    }
    entry
}

/// The fields of a value as its managed fields name them.
fn fields_of(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (format!("f:{key}"), fields_of(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) if items.iter().all(|item| item.get("name").is_some()) => items
            .iter()
            .map(|item| {
                let mut fields = fields_of(item);
                fields["."] = json!({});
                (format!("k:{}", json!({"name": item["name"]})), fields)
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
        _ => json!({}),
    }
}

fn metadata(cluster: &str, name: &str, generation: u32) -> Value {
    json!({
        "creationTimestamp": "2026-03-11T14:05:09Z",
        "generation": generation,
        "labels": {
            "cluster.x-k8s.io/cluster-name": cluster,
            "topology.cluster.x-k8s.io/owned": "",
        },
        "name": name,
        "namespace": NAMESPACE,
        "ownerReferences": [{
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "Cluster",
            "name": cluster,
            "uid": "c5f1fb14-6f4e-4a3c-9d57-8c3f6a9d2b10",
        }],
        "resourceVersion": "18446744",
        "uid": "b7a0c1de-53e9-4c62-8f5e-0e9bb0a4f7d3",
    })
}

const TEMPLATE: &str = "prod-md-0-9fkzx";

/// A machine template with this image, and so many mounts that nobody asked for.
fn template(image: &str, mounts: usize) -> Value {
    let own = [
        ("/var/run/docker.sock", "/var/run/docker.sock"),
        ("/var/lib/images", "/opt/images"),
        ("/etc/ssl/certs/corporate", "/usr/local/share/ca-certificates"),
    ];
    let own = own.map(|(host, container)| json!({"containerPath": container, "hostPath": host, "readOnly": true}));
    let more = (0..mounts).map(
        |n| json!({"containerPath": format!("/var/lib/volume-{n:03}"), "hostPath": format!("/srv/prod/volume-{n:03}"), "readOnly": n % 2 == 0}),
    );
    let spec = json!({"template": {
        "metadata": {"labels": {"node.example.org/pool": "general", "node.example.org/zone": "eu-central-1a"}},
        "spec": {
            "bootstrapTimeout": "3m0s",
            "customImage": image,
            "extraMounts": own.into_iter().chain(more).collect::<Vec<_>>(),
            "preLoadImages": [
                "registry.example.org/platform/cilium:v1.18.2",
                "registry.example.org/platform/node-exporter:v1.9.1",
                "registry.example.org/platform/fluent-bit:v4.1.0",
            ],
        },
    }});
    let mut metadata = metadata(PROD, TEMPLATE, 1);
    metadata["annotations"] = json!({
        "cluster.x-k8s.io/cloned-from-groupkind": "DockerMachineTemplate.infrastructure.cluster.x-k8s.io",
        "cluster.x-k8s.io/cloned-from-name": "quick-start-default-worker-machinetemplate",
    });
    let applied = json!({
        "f:metadata": {
            "f:annotations": fields_of(&metadata["annotations"]),
            "f:labels": fields_of(&metadata["labels"]),
            "f:ownerReferences": {"k:{\"uid\":\"c5f1fb14-6f4e-4a3c-9d57-8c3f6a9d2b10\"}": {}},
        },
        "f:spec": fields_of(&spec),
    });
    let reported = json!({"f:status": {".": {}, "f:capacity": {".": {}, "f:cpu": {}, "f:memory": {}}, "f:nodeInfo": {".": {}, "f:architecture": {}}}});
    metadata["managedFields"] = json!([
        managed("capi-topology", "Apply", None, &applied),
        managed("manager", "Update", Some("status"), &reported),
    ]);
    json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2",
        "kind": "DockerMachineTemplate",
        "metadata": metadata,
        "spec": spec,
        "status": {"capacity": {"cpu": "4", "memory": "16Gi"}, "nodeInfo": {"architecture": "amd64", "operatingSystem": "linux"}},
    })
}

const IMAGE: &str = "kindest/node:v1.33.5";

fn template_review(object: &Value, old_object: &Value) -> String {
    let of = Review {
        group: "infrastructure.cluster.x-k8s.io",
        kind: "DockerMachineTemplate",
        resource: "dockermachinetemplates",
        name: TEMPLATE,
        user: person(),
        manager: "kubectl-label",
        dry_run: false,
    };
    review(&of, object, old_object)
}

/// Somebody sets a label, and what machines are made of stays.
fn template_allowed(mounts: usize) -> String {
    let old = template(IMAGE, mounts);
    let mut new = old.clone();
    new["metadata"]["labels"]["example.org/owner"] = json!("platform");
    let labelled = json!({"f:metadata": {"f:labels": {"f:example.org/owner": {}}}});
    if let Some(entries) = new["metadata"]["managedFields"].as_array_mut() {
        entries.push(managed("kubectl-label", "Update", None, &labelled));
    }
    template_review(&new, &old)
}

/// The same, and the image would be another.
fn template_refused() -> String {
    let old = template(IMAGE, MOUNTS);
    let mut new = template("kindest/node:v1.34.3", MOUNTS);
    let edited = json!({"f:spec": {"f:template": {"f:spec": {"f:customImage": {}}}}});
    if let Some(entries) = new["metadata"]["managedFields"].as_array_mut() {
        entries.push(managed("kubectl-edit", "Update", None, &edited));
    }
    template_review(&new, &old)
}

/// The topology controller asks what a template would become. It has taken out the managed fields of
/// the others, and says in an annotation that it asks.
fn template_dry_run() -> String {
    let slim = |image: &str, dry_run: bool| {
        let mut object = template(image, 0);
        let metadata = &mut object["metadata"];
        metadata["managedFields"] = json!([]);
        object["spec"]["template"]["spec"]["extraMounts"] = json!([]);
        let metadata = &mut object["metadata"];
        if dry_run {
            metadata["annotations"]["topology.cluster.x-k8s.io/dry-run"] = json!("");
        }
        object
    };
    let (old, new) = (slim(IMAGE, false), slim("kindest/node:v1.34.3", true));
    let of = Review {
        group: "infrastructure.cluster.x-k8s.io",
        kind: "DockerMachineTemplate",
        resource: "dockermachinetemplates",
        name: TEMPLATE,
        user: cluster_api(),
        manager: "capi-topology",
        dry_run: true,
    };
    review(&of, &new, &old)
}

fn conditions(kinds: &[&str]) -> Value {
    kinds
        .iter()
        .map(|kind| {
            json!({
                "lastTransitionTime": "2026-11-02T09:14:31Z",
                "message": "",
                "observedGeneration": 7,
                "reason": kind,
                "status": if kind.starts_with("Scaling") || kind.starts_with("Rolling") || *kind == "Paused" { "False" } else { "True" },
                "type": kind,
            })
        })
        .collect()
}

/// A classic Cluster's control plane goes to the next minor, with its template, etcd and CoreDNS in one
/// edit, as it should.
fn control_plane() -> String {
    let at = |version: &str, etcd: &str, dns: &str, template: &str| {
        let script = |name: &str, lines: usize| {
            let lines: Vec<String> = (0..lines)
                .map(|n| format!("install --mode 0644 --owner root /opt/{name}/{n:02}.conf /etc/{name}.d/{n:02}.conf"))
                .collect();
            json!({"content": lines.join("\n"), "owner": "root:root", "path": format!("/usr/local/bin/{name}.sh"), "permissions": "0755"})
        };
        let arguments = |pairs: &[(&str, &str)]| -> Value {
            pairs
                .iter()
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect()
        };
        let registration = json!({
            "criSocket": "unix:///var/run/containerd/containerd.sock",
            "kubeletExtraArgs": arguments(&[("cloud-provider", "external"), ("eviction-hard", "nodefs.available<10%,imagefs.available<10%"), ("node-ip", "{{ ds.meta_data.local_ipv4 }}"), ("protect-kernel-defaults", "true")]),
            "taints": [{"effect": "NoSchedule", "key": "node-role.kubernetes.io/control-plane"}],
        });
        let spec = json!({
            "kubeadmConfigSpec": {
                "clusterConfiguration": {
                    "apiServer": {
                        "certSANs": ["localhost", "127.0.0.1", "api.prod.example.org"],
                        "extraArgs": arguments(&[
                            ("admission-control-config-file", "/etc/kubernetes/admission.yaml"), ("audit-log-maxage", "30"), ("audit-log-path", "/var/log/kubernetes/audit.log"),
                            ("audit-policy-file", "/etc/kubernetes/audit-policy.yaml"), ("cloud-provider", "external"), ("encryption-provider-config", "/etc/kubernetes/encryption.yaml"),
                            ("oidc-client-id", "kubernetes"), ("oidc-groups-claim", "groups"), ("oidc-issuer-url", "https://login.example.org/realms/platform"), ("profiling", "false"),
                        ]),
                        "extraVolumes": [{"hostPath": "/etc/kubernetes/audit-policy.yaml", "mountPath": "/etc/kubernetes/audit-policy.yaml", "name": "audit-policy", "pathType": "File", "readOnly": true}],
                    },
                    "controllerManager": {"extraArgs": arguments(&[("bind-address", "0.0.0.0"), ("cloud-provider", "external"), ("profiling", "false"), ("terminated-pod-gc-threshold", "50")])},
                    "dns": {"imageTag": dns},
                    "etcd": {"local": {"extraArgs": arguments(&[("auto-compaction-retention", "8"), ("election-timeout", "2500"), ("heartbeat-interval", "500"), ("listen-metrics-urls", "http://0.0.0.0:2381"), ("quota-backend-bytes", "8589934592")]), "imageTag": etcd}},
                    "scheduler": {"extraArgs": arguments(&[("bind-address", "0.0.0.0"), ("profiling", "false")])},
                },
                "files": [script("audit", 2), script("kube-vip", 2)],
                "format": "cloud-config",
                "initConfiguration": {"nodeRegistration": registration},
                "joinConfiguration": {"nodeRegistration": registration},
                "ntp": {"enabled": true, "servers": ["ntp1.example.org", "ntp2.example.org"]},
                "postKubeadmCommands": ["/usr/local/bin/audit.sh"],
                "preKubeadmCommands": ["hostnamectl set-hostname \"{{ ds.meta_data.hostname }}\"", "/usr/local/bin/kube-vip.sh"],
            },
            "machineTemplate": {
                "metadata": {"labels": {"node.example.org/pool": "control-plane"}},
                "spec": {
                    "deletion": {"nodeDeletionTimeoutSeconds": 10, "nodeDrainTimeoutSeconds": 600},
                    "infrastructureRef": {"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DockerMachineTemplate", "name": template},
                },
            },
            "replicas": 3,
            "rollout": {"before": {"certificatesExpiryDays": 21}, "strategy": {"rollingUpdate": {"maxSurge": 1}, "type": "RollingUpdate"}},
            "version": version,
        });
        let status = json!({
            "availableReplicas": 3,
            "conditions": conditions(&["Available", "CertificatesAvailable", "ControlPlaneComponentsHealthy", "EtcdClusterHealthy", "Initialized", "MachinesReady", "MachinesUpToDate", "Paused", "Remediating", "RollingOut", "ScalingDown", "ScalingUp"]),
            "initialization": {"controlPlaneInitialized": true},
            "lastRemediation": {},
            "observedGeneration": 7,
            "readyReplicas": 3,
            "replicas": 3,
            "selector": "cluster.x-k8s.io/cluster-name=prod,cluster.x-k8s.io/control-plane=",
            "upToDateReplicas": 3,
            "version": "v1.33.5",
            "versions": [{"replicas": 3, "version": "v1.33.5"}],
        });
        let mut metadata = metadata(PROD, "prod-control-plane", 7);
        metadata["managedFields"] = json!([
            managed("flux", "Apply", None, &json!({"f:spec": fields_of(&spec)})),
            managed(
                "manager",
                "Update",
                Some("status"),
                &json!({"f:status": fields_of(&status)})
            ),
        ]);
        json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1beta2",
            "kind": "KubeadmControlPlane",
            "metadata": metadata,
            "spec": spec,
            "status": status,
        })
    };
    let of = Review {
        group: "controlplane.cluster.x-k8s.io",
        kind: "KubeadmControlPlane",
        resource: "kubeadmcontrolplanes",
        name: "prod-control-plane",
        user: person(),
        manager: "flux",
        dry_run: false,
    };
    let old = at("v1.33.5", "3.5.26-0", "v1.12.1", "prod-control-plane-v1-33");
    let new = at("v1.34.3", "3.6.5-0", "v1.12.4", "prod-control-plane-v1-34");
    review(&of, &new, &old)
}

/// A pool goes to the version that its control plane runs, with its template.
fn machine_deployment() -> String {
    let at = |version: &str, template: &str| {
        let labels = json!({"cluster.x-k8s.io/cluster-name": STAGE, "cluster.x-k8s.io/deployment-name": "stage-md-0", "node.example.org/pool": "general"});
        let spec = json!({
            "clusterName": STAGE,
            "deletion": {"order": "Oldest"},
            "remediation": {"maxInFlight": "20%"},
            "replicas": 12,
            "rollout": {"strategy": {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}, "type": "RollingUpdate"}},
            "selector": {"matchLabels": {"cluster.x-k8s.io/cluster-name": STAGE, "cluster.x-k8s.io/deployment-name": "stage-md-0"}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "bootstrap": {"configRef": {"apiGroup": "bootstrap.cluster.x-k8s.io", "kind": "KubeadmConfigTemplate", "name": "stage-md-0"}},
                    "clusterName": STAGE,
                    "deletion": {"nodeDeletionTimeoutSeconds": 10, "nodeDrainTimeoutSeconds": 600, "nodeVolumeDetachTimeoutSeconds": 300},
                    "infrastructureRef": {"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DockerMachineTemplate", "name": template},
                    "minReadySeconds": 30,
                    "version": version,
                },
            },
        });
        let status = json!({
            "availableReplicas": 12,
            "conditions": conditions(&["Available", "MachinesReady", "MachinesUpToDate", "Paused", "Remediating", "RollingOut", "ScalingDown", "ScalingUp"]),
            "observedGeneration": 7,
            "phase": "Running",
            "readyReplicas": 12,
            "replicas": 12,
            "selector": "cluster.x-k8s.io/cluster-name=stage,cluster.x-k8s.io/deployment-name=stage-md-0",
            "upToDateReplicas": 12,
            "versions": [{"replicas": 12, "version": "v1.33.5"}],
        });
        let mut metadata = metadata(STAGE, "stage-md-0", 7);
        metadata["annotations"] = json!({"machinedeployment.clusters.x-k8s.io/revision": "7"});
        metadata["managedFields"] = json!([
            managed("flux", "Apply", None, &json!({"f:spec": fields_of(&spec)})),
            managed(
                "manager",
                "Update",
                Some("status"),
                &json!({"f:status": fields_of(&status)})
            ),
        ]);
        json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "MachineDeployment",
            "metadata": metadata,
            "spec": spec,
            "status": status,
        })
    };
    let of = Review {
        group: "cluster.x-k8s.io",
        kind: "MachineDeployment",
        resource: "machinedeployments",
        name: "stage-md-0",
        user: person(),
        manager: "flux",
        dry_run: false,
    };
    review(
        &of,
        &at("v1.34.3", "stage-md-0-v1-34"),
        &at("v1.33.5", "stage-md-0-v1-33"),
    )
}

/// A topology Cluster goes to the next minor: admission writes its pins.
fn cluster(pools: usize) -> String {
    let at = |version: &str| {
        let pools: Vec<Value> = (0..pools)
            .map(|n| {
                json!({
                    "class": "default-worker",
                    "healthCheck": {"enabled": true},
                    "metadata": {"annotations": {"example.org/cost-centre": format!("{}", 4000 + n)}, "labels": {"node.example.org/pool": format!("pool-{n:03}")}},
                    "name": format!("md-{n:03}"),
                    "replicas": 3,
                    "variables": {"overrides": [{"name": "instanceType", "value": "m5.2xlarge"}]},
                })
            })
            .collect();
        let spec = json!({
            "clusterNetwork": {"pods": {"cidrBlocks": ["192.168.0.0/16"]}, "serviceDomain": "cluster.local", "services": {"cidrBlocks": ["10.128.0.0/12"]}},
            "controlPlaneEndpoint": {"host": "172.18.0.3", "port": 6443},
            "controlPlaneRef": {"apiGroup": "controlplane.cluster.x-k8s.io", "kind": "KubeadmControlPlane", "name": "big-xk2vz"},
            "infrastructureRef": {"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DockerCluster", "name": "big-8w7qp"},
            "topology": {
                "classRef": {"name": "class"},
                "controlPlane": {"metadata": {"labels": {"node.example.org/pool": "control-plane"}}, "replicas": 3},
                "variables": [{"name": "imageRepository", "value": "registry.example.org/kubernetes"}, {"name": "podSecurityStandard", "value": {"audit": "restricted", "enabled": true, "enforce": "baseline", "warn": "restricted"}}],
                "version": version,
                "workers": {"machineDeployments": pools},
            },
        });
        let status = json!({
            "conditions": conditions(&["Available", "ControlPlaneAvailable", "ControlPlaneInitialized", "ControlPlaneMachinesReady", "InfrastructureReady", "Paused", "RollingOut", "ScalingDown", "ScalingUp", "TopologyReconciled", "WorkersAvailable"]),
            "observedGeneration": 7,
            "phase": "Provisioned",
        });
        let mut metadata = metadata(BIG, BIG, 7);
        metadata["ownerReferences"] = json!([]);
        metadata["managedFields"] = json!([
            managed("flux", "Apply", None, &json!({"f:spec": fields_of(&spec)})),
            managed(
                "manager",
                "Update",
                Some("status"),
                &json!({"f:status": fields_of(&status)})
            ),
        ]);
        json!({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": metadata, "spec": spec, "status": status})
    };
    let of = Review {
        group: "cluster.x-k8s.io",
        kind: "Cluster",
        resource: "clusters",
        name: BIG,
        user: person(),
        manager: "flux",
        dry_run: false,
    };
    review(&of, &at("v1.34.3"), &at("v1.33.5"))
}
