module github.com/vmware-tanzu/vm-operator/external/storage-policy-quota

go 1.26.0

require k8s.io/apimachinery v0.35.3
