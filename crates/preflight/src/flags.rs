//! Flags that a component has no more: with one of them it doesn't start.
//!
//! Found by comparing the flags in the sources of k8s.io/kubernetes and of the modules beside it, for the last patch of
//! each minor from v1.28 to v1.37: the file has the flag in the minor before, and no file of the component has it
//! since. kube-scheduler has lost none.

use instar_capi::SettingField;
use instar_domain::Minor;

/// The component, the flag, and the first minor of v1 without it.
const GONE: [(SettingField, &str, u64); 34] = [
    // pkg/credentialprovider/azure/azure_credentials.go
    (SettingField::Kubelet, "azure-container-registry-config", 30),
    // cmd/kubelet/app/options/options.go
    (SettingField::Kubelet, "iptables-drop-bit", 31),
    (SettingField::Kubelet, "iptables-masquerade-bit", 31),
    (SettingField::Kubelet, "keep-terminated-pod-volumes", 31),
    (SettingField::Kubelet, "cloud-config", 34),
    (SettingField::Kubelet, "register-schedulable", 34),
    // pkg/kubelet/config/flags.go
    (SettingField::Kubelet, "pod-infra-container-image", 35),
    // cmd/kubelet/app/options/globalflags_linux.go, which had them from cadvisor
    (SettingField::Kubelet, "application-metrics-count-limit", 37),
    (SettingField::Kubelet, "boot-id-file", 37),
    (SettingField::Kubelet, "container-hints", 37),
    (SettingField::Kubelet, "containerd", 37),
    (SettingField::Kubelet, "containerd-namespace", 37),
    (SettingField::Kubelet, "enable-load-reader", 37),
    (SettingField::Kubelet, "event-storage-age-limit", 37),
    (SettingField::Kubelet, "event-storage-event-limit", 37),
    (SettingField::Kubelet, "global-housekeeping-interval", 37),
    (SettingField::Kubelet, "log-cadvisor-usage", 37),
    (SettingField::Kubelet, "machine-id-file", 37),
    (SettingField::Kubelet, "storage-driver-buffer-duration", 37),
    (SettingField::Kubelet, "storage-driver-db", 37),
    (SettingField::Kubelet, "storage-driver-host", 37),
    (SettingField::Kubelet, "storage-driver-password", 37),
    (SettingField::Kubelet, "storage-driver-secure", 37),
    (SettingField::Kubelet, "storage-driver-table", 37),
    (SettingField::Kubelet, "storage-driver-user", 37),
    // cmd/kube-apiserver/app/options/globalflags_providers.go
    (SettingField::ApiServer, "cloud-provider-gce-l7lb-src-cidrs", 31),
    (SettingField::ApiServer, "cloud-provider-gce-lb-src-cidrs", 31),
    // pkg/kubeapiserver/options/cloudprovider.go
    (SettingField::ApiServer, "cloud-config", 33),
    (SettingField::ApiServer, "cloud-provider", 33),
    // cmd/kube-controller-manager/app/flags_providers.go
    (SettingField::ControllerManager, "cloud-provider-gce-lb-src-cidrs", 31),
    // cmd/kube-controller-manager/app/options/hpacontroller.go
    (
        SettingField::ControllerManager,
        "horizontal-pod-autoscaler-downscale-delay",
        31,
    ),
    (
        SettingField::ControllerManager,
        "horizontal-pod-autoscaler-upscale-delay",
        31,
    ),
    // cmd/kube-controller-manager/app/options/persistentvolumebindercontroller.go
    (SettingField::ControllerManager, "volume-host-allow-local-loopback", 31),
    (SettingField::ControllerManager, "volume-host-cidr-denylist", 31),
];

/// Since when a component has no such flag. `name` is as pflag normalises it.
pub(crate) fn gone(field: SettingField, name: &str) -> Option<Minor> {
    let mut rows = GONE.iter().filter(|(of, flag, _)| *of == field && *flag == name);
    rows.next().map(|(_, _, minor)| Minor {
        major: 1,
        minor: *minor,
    })
}

/// A flag as pflag compares it: components take `_` for `-`.
pub(crate) fn normalised(name: &str) -> String {
    name.replace('_', "-")
}
