// flux-apply applies the objects of its standard input as Flux's kustomize-controller does: with its engine, in its
// stages, as its field manager. It prints what became of each object, and fails as a reconcile would.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/normalize"
	"github.com/fluxcd/pkg/ssa/utils"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

func main() {
	force := flag.Bool("force", false, "delete and create again what can't be changed in place (spec.force of a Kustomization)")
	stage := flag.String("custom-apply-stage-kinds", "", "kinds that are applied before others: group/Kind, with commas between (kustomize-controller's flag)")
	flag.Parse()
	log.SetLogger(zap.New())
	if err := run(context.Background(), *force, *stage); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, force bool, stage string) error {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	// Errors are what this is about: no warning of the server's among them.
	config.WarningHandler = nil
	api, err := client.New(config, client.Options{})
	if err != nil {
		return err
	}
	objects, err := utils.ReadObjects(os.Stdin)
	if err != nil {
		return err
	}
	if err := normalize.UnstructuredList(objects); err != nil {
		return err
	}
	manager := ssa.NewResourceManager(api, nil, ssa.Owner{
		Field: "kustomize-controller",
		Group: "kustomize.toolkit.fluxcd.io",
	})
	options := ssa.DefaultApplyOptions()
	options.Force = force
	options.CustomStageKinds = map[schema.GroupKind]struct{}{}
	for _, text := range strings.Split(stage, ",") {
		if group, kind, found := strings.Cut(text, "/"); found {
			options.CustomStageKinds[schema.GroupKind{Group: group, Kind: kind}] = struct{}{}
		}
	}
	changes, err := manager.ApplyAllStaged(ctx, objects, options)
	if changes != nil {
		for _, entry := range changes.Entries {
			fmt.Println(entry.Subject, entry.Action)
		}
	}
	return err
}
