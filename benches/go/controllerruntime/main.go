// The same two rules as a provider writes them: controller-runtime, and the whole types of Cluster API.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"

	"github.com/blang/semver/v4"
	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	infrav1 "sigs.k8s.io/cluster-api/test/infrastructure/docker/api/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

type template struct{}

func (template) ValidateCreate(context.Context, *infrav1.DockerMachineTemplate) (admission.Warnings, error) {
	return nil, nil
}

func (template) ValidateDelete(context.Context, *infrav1.DockerMachineTemplate) (admission.Warnings, error) {
	return nil, nil
}

func (template) ValidateUpdate(ctx context.Context, old, new *infrav1.DockerMachineTemplate) (admission.Warnings, error) {
	request, err := admission.RequestFromContext(ctx)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	_, asks := new.Annotations["topology.cluster.x-k8s.io/dry-run"]
	if asks && request.DryRun != nil && *request.DryRun {
		return nil, nil
	}
	if reflect.DeepEqual(old.Spec.Template.Spec, new.Spec.Template.Spec) {
		return nil, nil
	}
	wrong := field.ErrorList{field.Invalid(field.NewPath("spec", "template", "spec"), new.Name, "is immutable")}
	return nil, apierrors.NewInvalid(infrav1.GroupVersion.WithKind("DockerMachineTemplate").GroupKind(), new.Name, wrong)
}

type controlPlane struct{}

func (controlPlane) ValidateCreate(context.Context, *controlplanev1.KubeadmControlPlane) (admission.Warnings, error) {
	return nil, nil
}

func (controlPlane) ValidateDelete(context.Context, *controlplanev1.KubeadmControlPlane) (admission.Warnings, error) {
	return nil, nil
}

func (controlPlane) ValidateUpdate(_ context.Context, old, new *controlplanev1.KubeadmControlPlane) (admission.Warnings, error) {
	from, err := semver.ParseTolerant(old.Spec.Version)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	to, err := semver.ParseTolerant(new.Spec.Version)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	outside := func(runs semver.Version) bool { return to.Minor < runs.Minor || to.Minor > runs.Minor+1 }
	wrong := outside(from)
	for _, count := range old.Status.Versions {
		if runs, err := semver.ParseTolerant(count.Version); err == nil {
			wrong = wrong || outside(runs)
		}
	}
	if !wrong {
		return nil, nil
	}
	errs := field.ErrorList{field.Invalid(field.NewPath("spec", "version"), new.Spec.Version, "skips or goes back")}
	return nil, apierrors.NewInvalid(controlplanev1.GroupVersion.WithKind("KubeadmControlPlane").GroupKind(), new.Name, errs)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	directory := os.Args[1]
	certificate, err := tls.LoadX509KeyPair(filepath.Join(directory, "tls.crt"), filepath.Join(directory, "tls.key"))
	must(err)
	scheme := runtime.NewScheme()
	must(infrav1.AddToScheme(scheme))
	must(controlplanev1.AddToScheme(scheme))
	ctrl.SetLogger(logr.Discard())
	serve := func(path string, hook *admission.Webhook) {
		handler, err := admission.StandaloneWebhook(hook, admission.StandaloneOptions{MetricsPath: path})
		must(err)
		http.Handle(path, handler)
	}
	serve("/validate/machine-template", admission.WithValidator[*infrav1.DockerMachineTemplate](scheme, template{}))
	serve("/validate/control-plane", admission.WithValidator[*controlplanev1.KubeadmControlPlane](scheme, controlPlane{}))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	server := &http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}}
	fmt.Println(listener.Addr())
	must(server.ServeTLS(listener, "", ""))
}
