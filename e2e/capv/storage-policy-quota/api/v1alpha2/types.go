// Package v1alpha2 stands for a module that no proxy serves. The vCenter simulator registers its types
// and, without a supervisor, uses none of them.
package v1alpha2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// StoragePolicyUsage has what a type needs to be registered.
type StoragePolicyUsage struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
}

// DeepCopyObject implements runtime.Object.
func (in *StoragePolicyUsage) DeepCopyObject() runtime.Object {
	out := &StoragePolicyUsage{TypeMeta: in.TypeMeta}
	in.DeepCopyInto(&out.ObjectMeta)
	return out
}

// AddToScheme registers nothing: nothing is asked of it.
func AddToScheme(*runtime.Scheme) error {
	return nil
}
