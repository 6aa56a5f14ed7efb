//! What becomes of templates between their creation and the next look: webhooks, deletions, other objects of the name.

use std::{collections::BTreeMap, sync::Arc};

use instar_api::RENDERED_ANNOTATION;
use instar_capi::labels::CLUSTER_NAME;
use instar_planner::{
    Action, Decision, Flavor, Lifecycle, OwningCluster, PoolId, Swap, Target, Template, TemplateContent, plan,
};
use serde_json::{Value, json};

use crate::{
    scenarios::{complete, decide, swaps_control_plane, until, world},
    waiting::words,
    world::{
        Webhook, World, api::Answer, catalog, defaults, normalises, normalises_and_defaults, random::Random, reference,
    },
};

fn content(template: &mut Template) -> &mut TemplateContent {
    Arc::make_mut(template.content.as_mut().unwrap())
}

fn image(template: &mut Template) -> &mut Value {
    &mut content(template).spec["template"]["spec"]["image"]
}

/// A world whose first template is minted, and that template.
fn minted(world: &mut World) -> &mut Template {
    if world.minted.is_empty() {
        until(world, swaps_control_plane);
    }
    let name = world.minted[0].clone();
    world
        .templates
        .iter_mut()
        .find(|template| template.name == name)
        .unwrap()
}

/// What is waited for while the first minted template is as a change makes it.
fn waits(change: impl Fn(&mut Template)) -> (String, String) {
    let mut world = world("v1.33.5", "v1.34.5-1");
    let template = minted(&mut world);
    change(template);
    let name = template.name.clone();
    let decision = decide(&world.snapshot());
    assert_eq!(decision.action, Action::Nothing);
    let [said] = &words(&decision)[..] else {
        panic!("{decision:?}")
    };
    (name, said.clone())
}

/// Another upgrade, asked for when the first one is complete.
fn again(world: &mut World, change: impl Fn(&mut World)) -> Decision {
    until(world, complete);
    "again".clone_into(&mut world.upgrade_spec.upgrade);
    change(world);
    decide(&world.snapshot())
}

const WEBHOOKS: [Webhook; 3] = [normalises, defaults, normalises_and_defaults];

#[test]
fn what_a_webhook_makes_of_a_template_rolls_nothing_twice() {
    for webhook in WEBHOOKS {
        let mut world = world("v1.33.5", "v1.35.5-1");
        world.webhook = webhook;
        until(&mut world, complete);
        let mut made: BTreeMap<_, usize> = BTreeMap::new();
        for (pool, version, _) in &world.births {
            *made.entry((pool.clone(), version.to_string())).or_default() += 1;
        }
        let of = |pool: PoolId, version: &str, count| ((pool, version.to_owned()), count);
        let workers = |name: &str| PoolId::Workers(name.to_owned());
        let expected = BTreeMap::from([
            of(PoolId::ControlPlane, "v1.34.5", 3),
            of(PoolId::ControlPlane, "v1.35.5", 3),
            of(workers("md-0"), "v1.35.5", 2),
            of(workers("md-1"), "v1.35.5", 2),
        ]);
        assert_eq!(made, expected);
        assert_eq!(world.minted.len(), 4, "{:?}", world.minted);

        let decision = again(&mut world, |_| ());
        assert!(complete(&decision), "{decision:?}");
    }
}

#[test]
fn values_that_are_not_asked_for_any_more_roll_nothing() {
    for webhook in [normalises as Webhook, |_| ()] {
        let mut world = world("v1.33.5", "v1.34.5-1");
        world.webhook = webhook;
        let patch = [("/spec/template/spec/cpus".parse().unwrap(), json!(8))];
        let pool = PoolId::Workers("md-0".to_owned());
        world.upgrade_spec.patches.insert(pool, patch.into_iter().collect());
        let decision = again(&mut world, |world| world.upgrade_spec.patches.clear());
        assert!(complete(&decision), "{decision:?}");
    }
}

#[test]
fn a_copy_of_a_minted_template_is_judged_by_what_it_says() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    until(&mut world, complete);
    let used = world.pools[0].object.infrastructure.name.clone();
    let mut copy = world
        .templates
        .iter()
        .find(|template| template.name == used)
        .unwrap()
        .clone();
    "copy".clone_into(&mut copy.name);
    *image(&mut copy) = json!("old");
    world.templates.push(copy);
    let decision = again(&mut world, |world| {
        world.pools[0].object.infrastructure = reference("copy");
    });
    assert!(matches!(decision.action, Action::PinPath(_)), "{decision:?}");
    assert_eq!(world.write(&decision.action), Answer::Done);
    let decision = decide(&world.snapshot());
    assert!(matches!(decision.action, Action::MintTemplate(_)), "{decision:?}");
}

#[test]
fn an_edit_of_a_minted_template_in_use_rolls_nothing_and_stops_nothing() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    let decision = again(&mut world, |world| *image(minted(world)) = json!("edited-v1.34.5"));
    assert!(complete(&decision), "{decision:?}");
}

#[test]
fn a_template_that_an_older_instar_minted_is_known_by_what_it_says() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    let template = minted(&mut world);
    content(template).annotations.clear();
    // Defaults that the API server adds are no other content.
    content(template).spec["template"]["spec"]["added"] = json!("by a default");
    assert!(swaps_control_plane(&decide(&world.snapshot())));
    until(&mut world, complete);

    let (name, said) = waits(|template| {
        content(template).annotations.clear();
        *image(template) = json!("other");
    });
    assert_eq!(
        said,
        format!(
            "NameTaken: TestMachineTemplate {name} is there with another content than the control plane needs: if nothing \
             refers to it, delete it, and Instar creates it again"
        )
    );
    let garbled = |template: &mut Template| {
        *image(template) = json!("other");
        let garbled = [(RENDERED_ANNOTATION.to_owned(), "{}".to_owned())];
        content(template).annotations.extend(garbled);
    };
    assert!(waits(garbled).1.starts_with("NameTaken"));
}

#[test]
fn a_template_that_is_deleted_is_waited_for_and_minted_again() {
    let leaves: [fn(&mut Template); 2] = [
        |template| template.lifecycle = Lifecycle::Deleting,
        // The Cluster was deleted and created again, and Kubernetes hasn't collected yet what the old one owned.
        |template| "earlier".clone_into(&mut content(template).owners[0].uid),
    ];
    for leave in leaves {
        let (name, said) = waits(leave);
        assert_eq!(
            said,
            format!(
                "TemplateDeleting: TestMachineTemplate {name}, whose name the next template of the control plane has, is \
                 being deleted: Instar creates it when that is gone"
            )
        );
        let mut world = world("v1.33.5", "v1.34.5-1");
        leave(minted(&mut world));
        let name = world.minted[0].clone();
        world.templates.retain(|template| template.name != name);
        let decision = decide(&world.snapshot());
        assert!(
            matches!(&decision.action, Action::MintTemplate(mint) if mint.template.name == name),
            "{decision:?}"
        );
        until(&mut world, complete);
    }
}

#[test]
fn a_template_of_another_cluster_is_never_to_be_deleted() {
    let others: [fn(&mut Template); 2] = [
        |template| {
            let label = (CLUSTER_NAME.to_owned(), "green".to_owned());
            content(template).owners.clear();
            content(template).labels.extend([label]);
        },
        |template| {
            content(template).owners = vec![OwningCluster {
                name: "green".to_owned(),
                uid: "g".to_owned(),
            }];
        },
    ];
    for other in others {
        let (name, said) = waits(other);
        assert_eq!(
            said,
            format!(
                "NameTaken: TestMachineTemplate {name}, whose name the next template of the control plane has, belongs to \
                 Cluster green: leave it, and point the control plane at a copy of its present template that has another \
                 name"
            )
        );
    }
    // Cluster API adds the Clusters whose objects refer to it.
    let mut world = world("v1.33.5", "v1.34.5-1");
    let owners = &mut content(minted(&mut world)).owners;
    let green = OwningCluster {
        name: "green".to_owned(),
        uid: "g".to_owned(),
    };
    owners.insert(0, green);
    assert!(swaps_control_plane(&decide(&world.snapshot())));
    content(minted(&mut world)).owners.clear();
    assert!(swaps_control_plane(&decide(&world.snapshot())));
}

#[test]
fn a_value_that_is_dropped_is_named_and_another_release_goes_on() {
    for webhook in [
        (|spec| *spec = json!({ "template": { "spec": {} } })) as Webhook,
        |spec| {
            defaults(spec);
            spec["template"]["spec"]["image"].take();
        },
    ] {
        let mut world = world("v1.34.5", "v1.35.5-1");
        world.webhook = webhook;
        let stuck = |decision: &Decision| decision.action == Action::Nothing && !decision.waiting.is_empty();
        let decision = until(&mut world, stuck);
        assert_eq!(
            words(&decision),
            [format!(
                "ValueMisfit: TestMachineTemplate {} was created for the control plane with a value at \
                 /spec/template/spec/image and has none: the API server or a webhook drops it, so name another release of \
                 the version, or a patch, that sets it where TestMachineTemplate keeps it",
                world.minted[0]
            )]
        );
        let mut random = Random::new(1);
        for _ in 0..10 {
            world.tick(&mut random);
            assert_eq!(plan(&world.snapshot()).action, Action::Nothing);
        }
        // As if that one set a value which stays.
        world.webhook = |_| ();
        world.upgrade_spec.target = Target::Text("v1.35.5-2".to_owned());
        until(&mut world, complete);
    }
    // A webhook that is written in Go omits what is empty.
    let mut rows = catalog::rows();
    for (_, row) in rows.iter_mut().filter(|(name, _)| name == "v1.35.5-1") {
        row["machineImages"][0]["values"] = json!([
            { "pointer": "/spec/template/spec/image", "value": "ControlPlane-v1.35.5-1" },
            { "pointer": "/spec/template/spec/encrypted", "json": "false" },
        ]);
    }
    let mut world = world("v1.34.5", "v1.35.5-1");
    world.catalog = catalog::of(rows);
    world.webhook = |spec| {
        let machine = spec["template"]["spec"].as_object_mut().unwrap();
        machine.remove("encrypted");
    };
    until(&mut world, complete);
    let decision = again(&mut world, |_| ());
    assert!(complete(&decision), "{decision:?}");
}

/// The swap that comes after the templates stands in what is written before it, but for the time.
#[test]
fn a_swap_is_tried_before_anything_is_written_for_it() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    let mut tried: Vec<Swap> = Vec::new();
    let mut swapped = 0;
    let mut random = crate::world::random::Random::new(1);
    for _ in 0..200 {
        let decision = decide(&world.snapshot());
        match &decision.action {
            Action::PinPath(pin) => tried.extend(pin.before.as_deref().cloned()),
            Action::MintTemplate(mint) => tried.push(mint.before.as_deref().cloned().unwrap()),
            Action::SwapControlPlane(swap) | Action::SwapWorkers(swap) => {
                let last = tried.iter().rfind(|tried| tried.pool == swap.pool).unwrap();
                assert_eq!((&last.template, &last.bootstrap), (&swap.template, &swap.bootstrap));
                assert_eq!(last.patch["spec"], swap.patch["spec"]);
                assert_eq!(last.resource_version, swap.resource_version);
                swapped += 1;
            }
            _ => {}
        }
        world.write(&decision.action);
        world.tick(&mut random);
    }
    assert_eq!(swapped, 3);
    let before = (&tried[0].pool, &tried[0].template);
    assert_eq!(
        before,
        (&tried[1].pool, &tried[1].template),
        "before the pins and before the template"
    );
}

/// Its webhooks may ask for the template that is still to be made.
#[test]
fn a_control_plane_of_another_kind_is_not_tried() {
    let mut world = world("v1.33.5", "v1.34.5-1");
    world.control_plane.flavor = Flavor::Other;
    let decision = until(&mut world, crate::scenarios::mints);
    let Action::MintTemplate(mint) = &decision.action else {
        panic!("{decision:?}");
    };
    assert_eq!(mint.before, None);
}
