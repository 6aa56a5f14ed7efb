//! The inventory of a vCenter, as far as VM templates are looked for in it.

use std::collections::{BTreeMap, BTreeSet};

use instar_preflight::workload::{Missing, Presence, near_names};

use crate::{
    client::{Answer, Connection},
    credentials::Credentials,
    error::LookError,
    image_name::ImageName,
    soap::{self, Call, From, Page, Property, Reference, ServiceContent},
};

/// How many names one page has.
const PAGE: usize = 1_000;

/// How many names are read of one list at most.
const MOST_NAMES: usize = 20_000;

/// How many answers one list may take: one may have fewer names than a page, and none at all.
const MOST_PAGES: usize = 2 * MOST_NAMES / PAGE;

/// How many parts of a path are looked up.
const MOST_PARTS: usize = 32;

const VM: &str = "VirtualMachine";
const DATACENTER: &str = "Datacenter";

/// A session in which the inventory is searched.
pub(crate) struct Inventory<'c> {
    connection: &'c mut Connection,
    content: ServiceContent,
    credentials: &'c Credentials,
    /// The folders for VMs of the datacenters that were asked for, or why there is none.
    vm_folders: BTreeMap<String, Result<Reference, String>>,
    vm_names: BTreeMap<Reference, Names>,
    datacenters: Option<Listed>,
}

/// The names of a list.
#[derive(Debug, Clone, Default)]
struct Names {
    /// How many have each.
    names: BTreeMap<String, usize>,
    is_whole: bool,
}

/// The objects of a list, as far as they were read.
#[derive(Debug)]
struct Listed {
    objects: Vec<(Reference, String)>,
    is_whole: bool,
}

impl<'c> Inventory<'c> {
    pub(crate) const fn new(
        connection: &'c mut Connection,
        content: ServiceContent,
        credentials: &'c Credentials,
    ) -> Self {
        Self {
            connection,
            content,
            credentials,
            vm_folders: BTreeMap::new(),
            vm_names: BTreeMap::new(),
            datacenters: None,
        }
    }

    /// Whether there is a VM that a machine template names so in that datacenter.
    pub(crate) async fn presence(&mut self, image: &str, datacenter: &str) -> Result<Presence, LookError> {
        match ImageName::read(image) {
            ImageName::Other(why) => Ok(Presence::Unclear(why.to_owned())),
            ImageName::Path(parts) => self.by_path(&parts).await,
            ImageName::Reference(reference) => self.by_reference(&reference).await,
            ImageName::BelowDatacenter(parts) => match self.vm_folder(datacenter).await? {
                Ok(folder) => self.below(folder, &parts, datacenter).await,
                Err(why) => Ok(Presence::Unclear(why)),
            },
            ImageName::Name(name) => self.by_name(name, datacenter).await,
            ImageName::Uuid(uuid) => {
                let call = Call::find_by_instance_uuid(&self.content.search_index, uuid);
                match self.connection.call(&call, soap::found).await? {
                    Some(_) => Ok(Presence::There),
                    None => self.by_name(uuid, datacenter).await,
                }
            }
        }
    }

    async fn by_path(&mut self, parts: &[&str]) -> Result<Presence, LookError> {
        let Some((last, _)) = parts.split_last().filter(|_| parts.len() <= MOST_PARTS) else {
            return Ok(Presence::Unclear("it is no path of a VM".to_owned()));
        };
        let mut missing = *last;
        for length in (1..=parts.len()).rev() {
            let path = parts.iter().take(length).copied().collect::<Vec<_>>().join("/");
            let found = self.at_path(&path).await?;
            match found {
                Some(found) if length == parts.len() && found.kind == VM => return Ok(Presence::There),
                Some(found) => return self.missing(&found, format!("/{path}"), missing).await,
                None => missing = parts.get(length - 1).copied().unwrap_or_default(),
            }
        }
        let root = self.content.root_folder.clone();
        self.missing(&root, "/".to_owned(), missing).await
    }

    async fn below(&mut self, folder: Reference, parts: &[&str], datacenter: &str) -> Result<Presence, LookError> {
        let (mut at, mut path) = (folder, format!("the VM folder of datacenter {datacenter}"));
        for (index, part) in parts.iter().take(MOST_PARTS).enumerate() {
            let call = Call::find_child(&self.content.search_index, &at, part);
            let Some(child) = self.connection.call(&call, soap::found).await? else {
                return self.missing(&at, path, part).await;
            };
            if index + 1 == parts.len() && child.kind == VM {
                return Ok(Presence::There);
            }
            (at, path) = (child, format!("{path}/{part}"));
        }
        self.missing(&at, path, "").await
    }

    async fn by_reference(&mut self, reference: &Reference) -> Result<Presence, LookError> {
        let from = From::Itself(reference);
        let call = Call::properties(&self.content.property_collector, from, VM, "name", 1);
        Ok(match self.connection.answer(&call).await? {
            Answer::Text(_) => Presence::There,
            Answer::NotFound => Presence::Missing(Missing::default()),
        })
    }

    async fn by_name(&mut self, name: &str, datacenter: &str) -> Result<Presence, LookError> {
        let folder = match self.vm_folder(datacenter).await? {
            Ok(folder) => folder,
            Err(why) => return Ok(Presence::Unclear(why)),
        };
        if !self.vm_names.contains_key(&folder) {
            let listed = self.listed(&folder, VM).await?;
            let mut names = Names {
                is_whole: listed.is_whole,
                ..Names::default()
            };
            for (_, name) in listed.objects {
                *names.names.entry(name).or_default() += 1;
            }
            self.vm_names.insert(folder.clone(), names);
        }
        let names = self.vm_names.get(&folder).cloned().unwrap_or_default();
        Ok(match (names.names.get(name), names.is_whole) {
            (Some(1), true) => Presence::There,
            (Some(0) | None, true) => {
                let near: BTreeSet<String> = names.names.into_keys().collect();
                Presence::Missing(Missing {
                    below: None,
                    near: self.shown(near_names(name, &near)),
                })
            }
            (Some(several), true) => Presence::Unclear(format!("{several} VMs have that name: name its path")),
            (_, false) => Presence::Unclear(format!(
                "not all names of the datacenter's VMs were read (at most {MOST_NAMES}, in {MOST_PAGES} answers): name its path"
            )),
        })
    }

    async fn at_path(&mut self, path: &str) -> Result<Option<Reference>, LookError> {
        let call = Call::find_by_path(&self.content.search_index, path);
        self.connection.call(&call, soap::found).await
    }

    /// What is there instead.
    async fn missing(&mut self, at: &Reference, below: String, missing: &str) -> Result<Presence, LookError> {
        // Of what has no list of children, nothing is near.
        let children = if at.kind == "Folder" {
            self.texts(From::Folder(at), "ManagedEntity").await?.objects
        } else {
            Vec::new()
        };
        let names: BTreeSet<String> = children.into_iter().map(|(_, name)| name).collect();
        Ok(Presence::Missing(Missing {
            below: Some(below),
            near: self.shown(near_names(missing, &names)),
        }))
    }

    /// Names that may be told: a server could send back what it was sent.
    fn shown(&self, names: Vec<String>) -> Vec<String> {
        let may_be = |name: &String| !self.credentials.are_in(name) && !name.chars().any(char::is_control);
        names.into_iter().filter(may_be).collect()
    }

    /// The folder for VMs of a datacenter, or why there is none.
    async fn vm_folder(&mut self, datacenter: &str) -> Result<Result<Reference, String>, LookError> {
        if let Some(known) = self.vm_folders.get(datacenter) {
            return Ok(known.clone());
        }
        let folder = match self.datacenter(datacenter).await? {
            Err(why) => Err(why),
            Ok(found) => {
                let from = From::Itself(&found);
                let call = Call::properties(&self.content.property_collector, from, DATACENTER, "vmFolder", 1);
                let page = self.connection.call(&call, soap::page).await?;
                match page.objects.into_iter().next() {
                    Some((_, Property::Reference(folder))) => Ok(folder),
                    Some((_, Property::Text(_) | Property::Absent)) | None => {
                        Err(format!("the folder for VMs of datacenter {datacenter} can't be seen"))
                    }
                }
            }
        };
        self.vm_folders.insert(datacenter.to_owned(), folder.clone());
        Ok(folder)
    }

    async fn datacenter(&mut self, name: &str) -> Result<Result<Reference, String>, LookError> {
        if name.contains('/') {
            let found = self.at_path(name.trim_matches('/')).await?;
            let found = found.filter(|found| found.kind == DATACENTER);
            return Ok(found.ok_or_else(|| format!("there is no datacenter \"{name}\"")));
        }
        if let Some(id) = name.strip_prefix("Datacenter:") {
            return Ok(Ok(Reference::new(DATACENTER, id)));
        }
        if self.datacenters.is_none() {
            let root = self.content.root_folder.clone();
            self.datacenters = Some(self.listed(&root, DATACENTER).await?);
        }
        let is_whole = self.datacenters.as_ref().is_some_and(|listed| listed.is_whole);
        let all = self.datacenters.iter().flat_map(|listed| &listed.objects);
        // What the provider's webhook sets where a template says nothing.
        let mut fitting = all.filter(|(_, other)| matches!(name, "" | "*") || other == name);
        Ok(match (fitting.next(), fitting.next()) {
            (_, None) if !is_whole => Err(
                "not all names of the vCenter's datacenters were read: name the path of the VM template".to_owned(),
            ),
            (Some((datacenter, _)), None) => Ok(datacenter.clone()),
            (None, _) => Err(format!("there is no datacenter \"{name}\"")),
            (Some(_), Some(_)) => Err(
                "the vCenter has several datacenters that fit: set spec.template.spec.datacenter of the machine template, or \
                 name the path of the VM template"
                    .to_owned(),
            ),
        })
    }

    /// All objects of a kind in a folder, however deep, with their names.
    async fn listed(&mut self, folder: &Reference, kind: &str) -> Result<Listed, LookError> {
        let call = Call::container_view(&self.content.view_manager, folder, kind);
        let view = self.connection.call(&call, soap::found).await?;
        let view = view.ok_or_else(|| self.connection.garbled(&call))?;
        self.texts(From::View(&view), kind).await
    }

    /// The names of objects, and whether these are all.
    async fn texts(&mut self, from: From<'_>, kind: &str) -> Result<Listed, LookError> {
        let collector = self.content.property_collector.clone();
        let mut call = Call::properties(&collector, from, kind, "name", PAGE);
        let mut names = Vec::new();
        for _ in 0..MOST_PAGES {
            let Page { objects, next } = self.connection.call(&call, soap::page).await?;
            for (object, property) in objects {
                match property {
                    Property::Text(name) => names.push((object, name)),
                    Property::Reference(_) | Property::Absent => {}
                }
            }
            match next {
                Some(next) if names.len() <= MOST_NAMES => call = Call::next_properties(&collector, &next),
                Some(_) => break,
                None => {
                    return Ok(Listed {
                        is_whole: names.len() <= MOST_NAMES,
                        objects: names,
                    });
                }
            }
        }
        Ok(Listed {
            objects: names,
            is_whole: false,
        })
    }
}
