//! The processes of a cluster: what each is started with and when it is ready.

use std::{
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    binaries::Binary,
    certificates::{Certificates, replace},
    gobuild::Built,
    infrastructure::Infrastructure,
    kubeconfig::{self, Credentials},
    ports,
    process::Launch,
    rundir::RunDir,
};

/// A process of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// etcd.
    Etcd,
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager: garbage collection, namespaces, aggregated roles.
    ControllerManager,
    /// Cluster API's core, with the topology controller.
    CapiCore,
    /// The kubeadm bootstrap provider.
    Bootstrap,
    /// The kubeadm control plane provider.
    ControlPlane,
    /// The in-memory infrastructure provider.
    Infrastructure,
    /// Instar's admission server.
    InstarWebhook,
    /// Instar's controller.
    InstarController,
    /// Cluster API Provider vSphere.
    Vsphere,
    /// The vCenter simulator.
    Simulator,
}

impl Component {
    /// Cluster API's managers.
    #[must_use]
    pub const fn managers(infrastructure: Infrastructure) -> &'static [Self] {
        match infrastructure {
            Infrastructure::InMemory => &[
                Self::CapiCore,
                Self::Bootstrap,
                Self::ControlPlane,
                Self::Infrastructure,
            ],
            Infrastructure::Vsphere => &[
                Self::CapiCore,
                Self::Bootstrap,
                Self::ControlPlane,
                Self::Vsphere,
                Self::Simulator,
            ],
        }
    }

    /// The process's name, and its log's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::CapiCore => "capi-core",
            Self::Bootstrap => "capi-kubeadm-bootstrap",
            Self::ControlPlane => "capi-kubeadm-control-plane",
            Self::Infrastructure => "capd",
            Self::InstarWebhook => "instar-webhook",
            Self::InstarController => "instar-controller",
            Self::Vsphere => "capv",
            Self::Simulator => "vcsim",
        }
    }

    /// What answers 200 once it is ready.
    #[must_use]
    pub fn ready_url(self) -> String {
        match self {
            Self::Etcd => format!("http://127.0.0.1:{}/readyz", ports::ETCD),
            Self::ApiServer => format!("https://127.0.0.1:{}/readyz", ports::API_SERVER),
            Self::ControllerManager => format!("https://127.0.0.1:{}/healthz", ports::CONTROLLER_MANAGER),
            Self::CapiCore => format!("http://127.0.0.1:{}/readyz", ports::CORE_HEALTH),
            Self::Bootstrap => format!("http://127.0.0.1:{}/readyz", ports::BOOTSTRAP_HEALTH),
            Self::ControlPlane => format!("http://127.0.0.1:{}/readyz", ports::CONTROL_PLANE_HEALTH),
            Self::Infrastructure => format!("http://127.0.0.1:{}/readyz", ports::INFRASTRUCTURE_HEALTH),
            Self::InstarWebhook => format!("http://127.0.0.1:{}/readyz", ports::WEBHOOK_HEALTH),
            Self::InstarController => format!("http://127.0.0.1:{}/readyz", ports::CONTROLLER_HEALTH),
            Self::Vsphere => format!("http://127.0.0.1:{}/readyz", ports::VSPHERE_HEALTH),
            Self::Simulator => format!("http://127.0.0.1:{}/readyz", ports::SIMULATOR_HEALTH),
        }
    }

    /// Where its webhooks are called, if it has some.
    #[must_use]
    pub const fn webhook_port(self) -> Option<u16> {
        match self {
            Self::Etcd | Self::ApiServer | Self::ControllerManager | Self::InstarController => None,
            Self::CapiCore => Some(ports::CORE_WEBHOOKS),
            Self::Bootstrap => Some(ports::BOOTSTRAP_WEBHOOKS),
            Self::ControlPlane => Some(ports::CONTROL_PLANE_WEBHOOKS),
            Self::Infrastructure => Some(ports::INFRASTRUCTURE_WEBHOOKS),
            Self::InstarWebhook => Some(ports::WEBHOOK),
            Self::Vsphere => Some(ports::VSPHERE_WEBHOOKS),
            Self::Simulator => Some(ports::SIMULATOR_WEBHOOKS),
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad` keeps the widths of tables.
        f.pad(self.name())
    }
}

/// The feature gate `RuntimeSDK` of Cluster API's core: Runtime Hooks, hence gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
pub enum RuntimeSdk {
    /// Runtime Extensions are called.
    #[default]
    On,
    /// They are not.
    Off,
}

impl RuntimeSdk {
    const fn gate(self) -> &'static str {
        match self {
            Self::On => "true",
            Self::Off => "false",
        }
    }
}

/// What all launches of a cluster share.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The cluster's directory.
    pub run: &'a RunDir,
    /// The programs.
    pub built: &'a Built,
    /// The certificates.
    pub certificates: &'a Certificates,
    /// What the programs may take.
    pub memory: Memory,
}

/// What of the machine's memory each program in Go takes before it collects garbage all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// A sixth, of four GiB at most: clusters run beside each other.
    Shared,
    /// The half: one cluster has thousands of objects.
    Alone,
}

/// When a program in Go collects garbage: once its memory is four times what is in use, or near its part of the
/// machine's. Two cores have more memory than time: it was a quarter of what the API server did.
fn collecting_garbage(part: Memory) -> Vec<(String, OsString)> {
    const GIB: u64 = 1 << 30;
    let machine = rustix::system::sysinfo();
    // What a number of it means, the kernel says beside it.
    let memory = u64::from(machine.mem_unit).saturating_mul(machine.totalram);
    let limit = match part {
        Memory::Shared => (memory / 6).clamp(GIB, 4 * GIB),
        Memory::Alone => memory / 2,
    };
    vec![
        ("GOGC".to_owned(), "300".into()),
        ("GOMEMLIMIT".to_owned(), limit.to_string().into()),
    ]
}

impl Site<'_> {
    fn launch(&self, component: Component, binary: Binary, arguments: Vec<String>) -> Result<Launch> {
        Ok(Launch {
            name: component.name().to_owned(),
            program: self.built.program(binary)?.to_owned(),
            arguments,
            environment: collecting_garbage(self.memory),
            log: self.run.log(component.name()),
        })
    }

    /// etcd. It need not survive a power failure.
    pub fn etcd(&self) -> Result<Launch> {
        let arguments = etcd_arguments(&self.run.data(), ports::ETCD, ports::ETCD_PEERS);
        self.launch(Component::Etcd, Binary::Etcd, arguments)
    }

    /// kube-apiserver. Its audit log has every request of Instar, and of everybody else the deletions.
    pub fn api_server(&self) -> Result<Launch> {
        let policy = self.run.certs().join("audit-policy.yaml");
        std::fs::write(&policy, AUDIT_POLICY).with_context(|| policy.display().to_string())?;
        let mut arguments = api_server_arguments(self.certificates, ports::ETCD, ports::API_SERVER);
        arguments.extend([
            format!("--admission-control-config-file={}", self.webhooks()?.display()),
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={}", self.run.audit_log().display()),
            // Written before the request is answered, so that a test can read what it just did.
            "--audit-log-mode=blocking".to_owned(),
            // Megabytes: never rotated in a cluster's life.
            "--audit-log-maxsize=100000".to_owned(),
        ]);
        self.launch(Component::ApiServer, Binary::KubeApiserver, arguments)
    }

    /// How the API server calls webhooks: with a certificate of its own, for those that ask for one.
    fn webhooks(&self) -> Result<PathBuf> {
        let directory = self.run.certs();
        let (kubeconfig, file) = (directory.join("webhooks.kubeconfig"), directory.join("admission.json"));
        let client = self.certificates.issue_client("kube-apiserver", "webhook-clients")?;
        // The name of this user stands for every webhook.
        let credentials = Credentials::Certificate(&client);
        kubeconfig::write(&kubeconfig, self.certificates.authority(), "*", &credentials)?;
        let plugin = |name: &str| {
            json!({ "name": name, "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "WebhookAdmissionConfiguration",
                "kubeConfigFile": kubeconfig,
            } })
        };
        let configuration = json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AdmissionConfiguration",
            "plugins": [plugin("MutatingAdmissionWebhook"), plugin("ValidatingAdmissionWebhook")],
        });
        replace(&file, &configuration.to_string())?;
        Ok(file)
    }

    /// kube-controller-manager, with the controllers that Cluster API and RBAC count on.
    pub fn controller_manager(&self) -> Result<Launch> {
        let serving = self.certificates.webhooks_dir();
        let arguments = vec![
            format!(
                "--kubeconfig={}",
                self.run.kubeconfig_of(Component::ControllerManager.name()).display()
            ),
            // Each controller under its own account, as kubeadm sets it up.
            "--use-service-account-credentials=true".to_owned(),
            "--controllers=garbage-collector-controller,namespace-controller,clusterrole-aggregation-controller"
                .to_owned(),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", ports::CONTROLLER_MANAGER),
            format!("--tls-cert-file={}", serving.join("tls.crt").display()),
            format!("--tls-private-key-file={}", serving.join("tls.key").display()),
        ];
        self.launch(Component::ControllerManager, Binary::KubeControllerManager, arguments)
    }

    /// Cluster API's core.
    pub fn capi_core(&self, runtime_sdk: RuntimeSdk) -> Result<Launch> {
        let gates = format!("ClusterTopology=true,RuntimeSDK={}", runtime_sdk.gate());
        self.manager(
            Component::CapiCore,
            Binary::CapiCore,
            ports::CORE_WEBHOOKS,
            ports::CORE_HEALTH,
            &gates,
        )
    }

    /// The kubeadm bootstrap provider.
    pub fn bootstrap(&self) -> Result<Launch> {
        let (webhooks, health) = (ports::BOOTSTRAP_WEBHOOKS, ports::BOOTSTRAP_HEALTH);
        self.manager(Component::Bootstrap, Binary::KubeadmBootstrap, webhooks, health, "")
    }

    /// The kubeadm control plane provider.
    pub fn control_plane(&self) -> Result<Launch> {
        let (webhooks, health) = (ports::CONTROL_PLANE_WEBHOOKS, ports::CONTROL_PLANE_HEALTH);
        self.manager(
            Component::ControlPlane,
            Binary::KubeadmControlPlane,
            webhooks,
            health,
            "ClusterTopology=true",
        )
    }

    /// What makes the machines.
    pub fn infrastructure(&self) -> Result<Vec<(Component, Launch)>> {
        Ok(match self.built.infrastructure() {
            Infrastructure::InMemory => vec![(Component::Infrastructure, self.in_memory()?)],
            Infrastructure::Vsphere => vec![
                (Component::Vsphere, self.vsphere()?),
                (Component::Simulator, self.simulator()?),
            ],
        })
    }

    /// Cluster API Provider vSphere. It watches the file with credentials for Clusters that name none, so there is
    /// one.
    fn vsphere(&self) -> Result<Launch> {
        let (webhooks, health) = (ports::VSPHERE_WEBHOOKS, ports::VSPHERE_HEALTH);
        let mut launch = self.manager(Component::Vsphere, Binary::Capv, webhooks, health, "")?;
        let credentials = self.run.certs().join("no-credentials.yaml");
        replace(&credentials, "username: \"\"\npassword: \"\"\n")?;
        let credentials = format!("--credentials-file={}", credentials.display());
        launch.arguments.push(credentials);
        Ok(launch)
    }

    /// The vCenter simulator. It has no flags for its webhook server: that looks for its certificate below TMPDIR.
    fn simulator(&self) -> Result<Launch> {
        let (webhooks, health) = (ports::SIMULATOR_WEBHOOKS, ports::SIMULATOR_HEALTH);
        let mut launch = self.manager(Component::Simulator, Binary::Vcsim, webhooks, health, "")?;
        launch.arguments.retain(|argument| !argument.starts_with("--webhook-"));
        let temporary = self.run.certs().join("simulator");
        let certificates = temporary.join("k8s-webhook-server/serving-certs");
        fs::create_dir_all(&certificates).with_context(|| certificates.display().to_string())?;
        for file in ["tls.crt", "tls.key"] {
            fs::copy(self.certificates.webhooks_dir().join(file), certificates.join(file))?;
        }
        launch.environment.push(("TMPDIR".to_owned(), temporary.into()));
        // The address of every simulated workload cluster.
        launch.environment.push(("POD_IP".to_owned(), "127.0.0.1".into()));
        Ok(launch)
    }

    /// The in-memory infrastructure provider.
    fn in_memory(&self) -> Result<Launch> {
        let (webhooks, health) = (ports::INFRASTRUCTURE_WEBHOOKS, ports::INFRASTRUCTURE_HEALTH);
        let mut launch = self.manager(
            Component::Infrastructure,
            Binary::Capd,
            webhooks,
            health,
            "ClusterTopology=true",
        )?;
        // The address of every simulated workload cluster.
        launch.environment.push(("POD_IP".to_owned(), "127.0.0.1".into()));
        Ok(launch)
    }

    /// With its gates as they come, `ReconcilerRateLimiting` above all: with it a controller looks at an object once a
    /// second, and waits for its cache to show what it has written. Without it one whose cache is behind makes
    /// a Machine that nobody asked for, or deletes what it has just made.
    fn manager(&self, component: Component, binary: Binary, webhooks: u16, health: u16, gates: &str) -> Result<Launch> {
        let arguments = manager_arguments(self.certificates, webhooks, health, gates);
        let mut launch = self.launch(component, binary, arguments)?;
        let kubeconfig: OsString = self.run.kubeconfig_of(component.name()).into();
        launch.environment.push(("KUBECONFIG".to_owned(), kubeconfig));
        Ok(launch)
    }
}

/// The arguments of a manager of Cluster API: its ports for webhooks and for its health, and its feature gates.
#[must_use]
pub fn manager_arguments(certificates: &Certificates, webhooks: u16, health: u16, gates: &str) -> Vec<String> {
    vec![
        format!("--webhook-port={webhooks}"),
        format!("--webhook-cert-dir={}", certificates.webhooks_dir().display()),
        format!("--health-addr=127.0.0.1:{health}"),
        "--leader-elect=false".to_owned(),
        "--diagnostics-address=0".to_owned(),
        format!("--feature-gates={gates}"),
        "--v=2".to_owned(),
    ]
}

/// The arguments of an etcd that need not survive a power failure.
pub(crate) fn etcd_arguments(data: &Path, clients: u16, peers: u16) -> Vec<String> {
    let (clients, peers) = (loopback("http", clients), loopback("http", peers));
    vec![
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}

/// The arguments of a kube-apiserver in front of the etcd at a port.
pub(crate) fn api_server_arguments(certificates: &Certificates, etcd: u16, port: u16) -> Vec<String> {
    let serving = certificates.api_server_dir();
    vec![
        format!("--etcd-servers={}", loopback("http", etcd)),
        "--bind-address=127.0.0.1".to_owned(),
        // Without a default route it finds none by itself.
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--tls-cert-file={}", serving.join("tls.crt").display()),
        format!("--tls-private-key-file={}", serving.join("tls.key").display()),
        format!("--client-ca-file={}", certificates.authority_file().display()),
        format!("--service-account-issuer={}", loopback("https", port)),
        format!(
            "--service-account-key-file={}",
            certificates.token_public_key().display()
        ),
        format!(
            "--service-account-signing-key-file={}",
            certificates.token_key().display()
        ),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--enable-priority-and-fairness=false".to_owned(),
        "--profiling=false".to_owned(),
    ]
}

fn loopback(scheme: &str, port: u16) -> String {
    format!("{scheme}://127.0.0.1:{port}")
}

/// The group is that of every ServiceAccount of the namespace. And who deleted something is what
/// everybody asks of a test that failed.
const AUDIT_POLICY: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts:instar-system"]
- level: Metadata
  verbs: [delete, deletecollection]
  resources:
  - group: cluster.x-k8s.io
  - group: bootstrap.cluster.x-k8s.io
  - group: controlplane.cluster.x-k8s.io
  - group: infrastructure.cluster.x-k8s.io
  - group: upgrade.cluster.x-k8s.io
- level: None
"#;
