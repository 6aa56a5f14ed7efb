//! Several support matrices in one management cluster: two operating systems and a test channel, each a catalog with a
//! class of its own, and two datacenters, which a label of the Cluster tells apart.

use futures::future::try_join_all;
use instar_e2e::{
    Result,
    support::{
        catalog::{IMAGE, Rows},
        commands::{instar, kubectl_patch},
        fixtures::{CLUSTER_CLASS, COMES_UP, TopologyCluster, wait_counted},
        journeys::JourneyContext,
        ledger::Ledger,
        topology::{UPGRADE, apply_rows, apply_wired, image_of, pinned, pins, running, version},
    },
};
use serde_json::{Value, json};

const LABEL: &str = "upgrade.cluster.x-k8s.io/catalog";
const DATACENTER: &str = "journey.example.org/datacenter";

/// The datacenters, as the rows number them: the first has an image of its own, the other the general one.
const DATACENTERS: [&str; 2] = ["west", "east"];

/// A catalog, and the number that its images have.
#[derive(Clone, Copy)]
struct Matrix {
    name: &'static str,
    number: u8,
}

const UBUNTU: Matrix = Matrix {
    name: "matrix-ubuntu",
    number: 1,
};
const FLATCAR: Matrix = Matrix {
    name: "matrix-flatcar",
    number: 2,
};
const TEST: Matrix = Matrix {
    name: "matrix-test",
    number: 3,
};

impl Matrix {
    fn release(self, version: &str) -> String {
        format!("{version}-{}", self.name)
    }

    /// What machines of a datacenter are cloned with.
    fn image(self, minor: u8, datacenter: &str) -> String {
        let place = DATACENTERS.iter().take_while(|name| **name != datacenter).count();
        format!("0.0{minor}{}{place}s", self.number)
    }

    fn row(self, rows: &Rows, minor: u8) -> Value {
        let mut row = rows.row(minor, 1);
        row["metadata"]["name"] = json!(self.release(&rows.version(minor)));
        row["spec"]["catalog"] = json!(self.name);
        let image = |datacenter: &str| json!([{ "pointer": IMAGE, "value": self.image(minor, datacenter) }]);
        row["spec"]["machineImages"] = json!([
            { "kind": "DevMachineTemplate", "labels": { DATACENTER: DATACENTERS[0] }, "values": image(DATACENTERS[0]) },
            { "kind": "DevMachineTemplate", "values": image(DATACENTERS[1]) },
        ]);
        row
    }

    /// The class of the journeys, under a name and in a catalog of its own.
    fn class(self) -> String {
        let name = "kind: ClusterClass\nmetadata:\n  name: fixture\n";
        let renamed = format!(
            "kind: ClusterClass\nmetadata:\n  name: {name}\n  labels:\n    {LABEL}: {name}\n",
            name = self.name
        );
        CLUSTER_CLASS.replace(name, &renamed)
    }
}

/// A Cluster of a matrix in a datacenter.
struct Member {
    name: &'static str,
    matrix: Matrix,
    datacenter: &'static str,
}

impl Member {
    const fn shape<'v>(&self, version: &'v str) -> TopologyCluster<'v>
    where
        'static: 'v,
    {
        TopologyCluster {
            name: self.name,
            version,
            control_planes: 1,
            workers: &[("md-0", 1)],
        }
    }

    fn object(&self, version: &str) -> Value {
        let mut object = self.shape(version).object();
        object["metadata"]["labels"] = json!({ DATACENTER: self.datacenter });
        object["spec"]["topology"]["classRef"]["name"] = json!(self.matrix.name);
        object
    }
}

const MEMBERS: [Member; 4] = [
    Member {
        name: "ubuntu-west",
        matrix: UBUNTU,
        datacenter: "west",
    },
    Member {
        name: "ubuntu-east",
        matrix: UBUNTU,
        datacenter: "east",
    },
    Member {
        name: "flatcar-west",
        matrix: FLATCAR,
        datacenter: "west",
    },
    Member {
        name: "test-east",
        matrix: TEST,
        datacenter: "east",
    },
];

/// Each Cluster goes to its own catalog's newest row by the same edit, with the image of its datacenter; what only
/// another catalog has is refused.
pub(crate) async fn side_by_side(scene: JourneyContext) -> Result<()> {
    let (rows, newer) = (scene.rows()?, scene.more_rows(1)?);
    let first = rows.version(33);
    let last = |matrix: Matrix| {
        if matrix.number == TEST.number {
            newer.version(34)
        } else {
            rows.version(34)
        }
    };
    // With a pointer that no class of another catalog renders.
    let of_test = [TEST.row(&rows, 33), TEST.row(&newer, 34)].map(with_further_pointer);
    let mut all = of_test.to_vec();
    for matrix in [UBUNTU, FLATCAR] {
        all.extend([33, 34].map(|minor| matrix.row(&rows, minor)));
    }
    apply_rows(&scene, &all).await?;
    for matrix in [UBUNTU, FLATCAR, TEST] {
        let wired = apply_wired(&scene, &matrix.class(), &all).await?;
        let listed = json!([first, last(matrix)]);
        assert_eq!(wired["spec"]["kubernetesVersions"], listed, "{}", matrix.name);
        let templates = matrix.class();
        let templates = templates
            .split("---\n")
            .filter(|document| !document.contains("kind: ClusterClass\n"));
        let mut documents: Vec<String> = templates.map(str::to_owned).collect();
        documents.push(wired.to_string());
        documents.extend(all.iter().map(Value::to_string));
        let checked = instar(
            &scene,
            &["wire", "-f", "-", "--check", "--strict"],
            &documents.join("\n---\n"),
        )
        .await?;
        assert!(checked.succeeded, "{}: {}", matrix.name, checked.stderr);
    }

    let ledger = Ledger::start(&scene.mgmt.client(), &scene.namespace).await?;
    for member in &MEMBERS {
        scene.apply_object(member.object(&first)).await?;
    }
    let come_up = MEMBERS.iter().map(|member| async {
        running(&scene, &member.shape(&first), COMES_UP).await?;
        wait_counted(&scene.mgmt, &scene.namespace, member.name, COMES_UP).await
    });
    try_join_all(come_up).await?;

    refused(&scene, &newer).await?;

    let upgrades = MEMBERS.iter().map(|member| async {
        let printed = kubectl_patch(&scene, member.name, &version("v1.34")).await?;
        assert!(printed.succeeded, "{}: {}", member.name, printed.stderr);
        running(&scene, &member.shape(&last(member.matrix)), UPGRADE).await
    });
    try_join_all(upgrades).await?;

    ledger.caught_up().await?;
    for member in &MEMBERS {
        let Member {
            name,
            matrix,
            datacenter,
        } = member;
        let (from, to) = (&first, &last(*matrix));
        assert_eq!(
            pinned(&pins(&scene, name).await?),
            [from, to].map(|version| format!("{version}={}", matrix.release(version)))
        );
        let groups = ledger.machines_by_version(name)?;
        assert_eq!(groups.len(), 4, "{name} has a control plane and a pool at two versions");
        for ((pool, version), machines) in groups {
            let minor = if version == *from { 33 } else { 34 };
            let images: Vec<Option<String>> = machines.iter().map(image_of).collect();
            assert_eq!(
                images,
                [Some(matrix.image(minor, datacenter))],
                "{pool:?} of {name} at {version}"
            );
        }
    }
    Ok(())
}

fn with_further_pointer(mut row: Value) -> Value {
    let pointer = "/spec/template/spec/backend/inMemory/node/provisioning/startupDuration";
    let images = row["spec"]["machineImages"].as_array_mut();
    for image in images.into_iter().flatten() {
        if let Some(values) = image["values"].as_array_mut() {
            values.push(json!({ "pointer": pointer, "value": "0.001s" }));
        }
    }
    row
}

/// What is not a Cluster's catalog is refused, and says whose it is.
async fn refused(scene: &JourneyContext, newer: &Rows) -> Result<()> {
    let newest = newer.version(34);
    let elsewhere = format!("catalog {}, and the Cluster's is catalog {}", TEST.name, UBUNTU.name);
    let of_version = format!("\"{newest}\" is in {elsewhere}");
    let of_release = format!("is a release of {elsewhere}");
    let label = format!(
        "it names catalog {}, and ClusterClass {}/{} belongs to catalog {}; use a class of catalog {}",
        FLATCAR.name, scene.namespace, UBUNTU.name, UBUNTU.name, FLATCAR.name
    );
    for (patch, said) in [
        (version(&newest), of_version),
        (version(&TEST.release(&newest)), of_release),
        (json!({ "metadata": { "labels": { LABEL: FLATCAR.name } } }), label),
    ] {
        let printed = kubectl_patch(scene, "ubuntu-east", &patch).await?;
        assert!(
            !printed.succeeded && printed.stderr.contains(&said),
            "{}",
            printed.stderr
        );
    }
    Ok(())
}
