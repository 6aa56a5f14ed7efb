// vcenter talks to the vCenter that VCENTER_URL names, with user and password in it, as govmomi does.
//
//	vcenter templates PATH...  creates the VM templates that it lacks, as copies of one that it has
//	vcenter clones             prints which VM was ever cloned from which, as JSON, also of VMs that are gone
//	vcenter sessions AGENT     prints how often clients logged in and out whose name begins so, as JSON
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/event"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// The simulator forgets older events than these.
const history = 1000

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vcenter:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	address, err := url.Parse(os.Getenv("VCENTER_URL"))
	if err != nil {
		return err
	}
	// Its certificate is its own, and it listens on loopback.
	client, err := govmomi.NewClient(ctx, address, true)
	if err != nil {
		return err
	}
	defer func() { _ = client.Logout(ctx) }()
	switch {
	case len(arguments) > 1 && arguments[0] == "templates":
		return templates(ctx, client, arguments[1:])
	case len(arguments) == 1 && arguments[0] == "clones":
		return clones(ctx, client)
	case len(arguments) == 2 && arguments[0] == "sessions":
		return sessions(ctx, client, arguments[1])
	}
	return fmt.Errorf("call it as `vcenter templates PATH...`, `vcenter clones` or `vcenter sessions AGENT`")
}

func templates(ctx context.Context, client *govmomi.Client, paths []string) error {
	finder := find.NewFinder(client.Client, true)
	for _, wanted := range paths {
		if _, err := finder.VirtualMachine(ctx, wanted); err == nil {
			continue
		}
		folder, err := finder.Folder(ctx, path.Dir(wanted))
		if err != nil {
			return err
		}
		source, err := template(ctx, client, finder, path.Dir(wanted))
		if err != nil {
			return err
		}
		datacenter, err := finder.Datacenter(ctx, path.Dir(path.Dir(wanted)))
		if err != nil {
			return err
		}
		pools, err := finder.SetDatacenter(datacenter).ResourcePoolList(ctx, "*/Resources")
		if err != nil {
			return err
		}
		pool := pools[0].Reference()
		task, err := source.Clone(ctx, folder, path.Base(wanted), types.VirtualMachineCloneSpec{
			Location: types.VirtualMachineRelocateSpec{Pool: &pool},
			Template: true,
		})
		if err != nil {
			return err
		}
		if err := task.Wait(ctx); err != nil {
			return fmt.Errorf("creating %s: %w", wanted, err)
		}
	}
	return nil
}

func template(ctx context.Context, client *govmomi.Client, finder *find.Finder, folder string) (*object.VirtualMachine, error) {
	machines, err := finder.VirtualMachineList(ctx, folder+"/*")
	if err != nil {
		return nil, err
	}
	for _, machine := range machines {
		var properties mo.VirtualMachine
		if err := machine.Properties(ctx, machine.Reference(), []string{"config.template"}, &properties); err != nil {
			return nil, err
		}
		if properties.Config != nil && properties.Config.Template {
			return machine, nil
		}
	}
	return nil, fmt.Errorf("%s has no VM template to copy", folder)
}

type clone struct {
	VM     string `json:"vm"`
	Source string `json:"source"`
}

func happened(ctx context.Context, client *govmomi.Client) ([]types.BaseEvent, error) {
	events, err := event.NewManager(client.Client).QueryEvents(ctx, types.EventFilterSpec{MaxCount: history})
	if err == nil && len(events) >= history {
		err = fmt.Errorf("%d events: the oldest ones may be gone", len(events))
	}
	return events, err
}

func sessions(ctx context.Context, client *govmomi.Client, agent string) error {
	events, err := happened(ctx, client)
	if err != nil {
		return err
	}
	var found struct {
		Logins  int `json:"logins"`
		Logouts int `json:"logouts"`
	}
	for _, event := range events {
		switch event := event.(type) {
		case *types.UserLoginSessionEvent:
			if strings.HasPrefix(event.UserAgent, agent) {
				found.Logins++
			}
		case *types.UserLogoutSessionEvent:
			if strings.HasPrefix(event.UserAgent, agent) {
				found.Logouts++
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

func clones(ctx context.Context, client *govmomi.Client) error {
	events, err := happened(ctx, client)
	if err != nil {
		return err
	}
	found := []clone{}
	for _, event := range events {
		if cloned, ok := event.(*types.VmClonedEvent); ok && cloned.Vm != nil {
			found = append(found, clone{VM: cloned.Vm.Name, Source: cloned.SourceVm.Name})
		}
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}
