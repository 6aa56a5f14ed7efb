//! What is sent to a vCenter, and what it answers, as texts.

use std::{collections::BTreeMap, fmt::Write};

use roxmltree::{Document, Node, ParsingOptions};
use secrecy::{ExposeSecret, SecretString};

use crate::credentials::Credentials;

/// How many nodes an answer may have: a page of names has some ten for each.
const MOST_NODES: u32 = 100_000;

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// A managed object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    pub(crate) kind: String,
    pub(crate) id: String,
}

/// Where everything begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServiceContent {
    pub(crate) root_folder: Reference,
    pub(crate) property_collector: Reference,
    pub(crate) view_manager: Reference,
    pub(crate) session_manager: Reference,
    pub(crate) search_index: Reference,
}

/// A part of a list of objects.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// Each object, and the value of the one property that was asked for.
    pub(crate) objects: Vec<(Reference, Property)>,
    /// With which the next part is asked for.
    pub(crate) next: Option<String>,
}

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Property {
    Text(String),
    Reference(Reference),
    Absent,
}

/// The faults that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    InvalidLogin,
    NoPermission,
    NotFound,
    Other,
}

/// It isn't what a vCenter answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Garbled;

impl Reference {
    pub(crate) fn new(kind: &str, id: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            id: id.to_owned(),
        }
    }

    fn element(&self, name: &str) -> String {
        format!("<{name} type=\"{}\">{}</{name}>", escape(&self.kind), escape(&self.id))
    }
}

/// What the objects of a list are reached by, from the one that is named.
#[derive(Clone, Copy)]
pub(crate) enum From<'a> {
    /// It is the one.
    Itself(&'a Reference),
    /// What is in a folder.
    Folder(&'a Reference),
    /// What a view lists.
    View(&'a Reference),
}

/// A call: its name for messages, and its text.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    /// It may have the credentials in it.
    pub(crate) body: SecretString,
}

impl Call {
    fn new(name: &'static str, this: &Reference, rest: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
             <Envelope xmlns=\"http://schemas.xmlsoap.org/soap/envelope/\"><Body>\
             <{name} xmlns=\"urn:vim25\" xmlns:xsi=\"{XSI}\">{}{rest}</{name}></Body></Envelope>",
            this.element("_this")
        );
        Self {
            name,
            body: body.into(),
        }
    }

    pub(crate) fn service_content() -> Self {
        Self::new(
            "RetrieveServiceContent",
            &Reference::new("ServiceInstance", "ServiceInstance"),
            "",
        )
    }

    pub(crate) fn login(session_manager: &Reference, credentials: &Credentials) -> Self {
        let text = |secret: &SecretString| escape(secret.expose_secret());
        let (user, password) = (text(&credentials.user), text(&credentials.password));
        let rest = format!("<userName>{user}</userName><password>{password}</password>");
        Self::new("Login", session_manager, &rest)
    }

    pub(crate) fn logout(session_manager: &Reference) -> Self {
        Self::new("Logout", session_manager, "")
    }

    pub(crate) fn find_by_path(search_index: &Reference, path: &str) -> Self {
        let rest = format!("<inventoryPath>{}</inventoryPath>", escape(path));
        Self::new("FindByInventoryPath", search_index, &rest)
    }

    pub(crate) fn find_child(search_index: &Reference, parent: &Reference, name: &str) -> Self {
        let rest = format!("{}<name>{}</name>", parent.element("entity"), escape(name));
        Self::new("FindChild", search_index, &rest)
    }

    pub(crate) fn find_by_instance_uuid(search_index: &Reference, uuid: &str) -> Self {
        let uuid = escape(uuid);
        let rest = format!("<uuid>{uuid}</uuid><vmSearch>true</vmSearch><instanceUuid>true</instanceUuid>");
        Self::new("FindByUuid", search_index, &rest)
    }

    pub(crate) fn container_view(view_manager: &Reference, container: &Reference, kind: &str) -> Self {
        let container = container.element("container");
        let rest = format!("{container}<type>{}</type><recursive>true</recursive>", escape(kind));
        Self::new("CreateContainerView", view_manager, &rest)
    }

    /// The value of a property of objects of a kind, at most so many at once.
    pub(crate) fn properties(collector: &Reference, from: From<'_>, kind: &str, property: &str, most: usize) -> Self {
        let (start, through) = match from {
            From::Itself(object) => (object, None),
            From::Folder(folder) => (folder, Some(("Folder", "childEntity"))),
            From::View(view) => (view, Some(("ContainerView", "view"))),
        };
        let mut set = format!("{}<skip>{}</skip>", start.element("obj"), through.is_some());
        if let Some((kind, path)) = through {
            // Writing to a String has no error.
            let _ = write!(
                set,
                "<selectSet xsi:type=\"TraversalSpec\"><type>{kind}</type><path>{path}</path><skip>false</skip></selectSet>"
            );
        }
        let rest = format!(
            "<specSet><propSet><type>{}</type><pathSet>{}</pathSet></propSet><objectSet>{set}</objectSet></specSet>\
             <options><maxObjects>{most}</maxObjects></options>",
            escape(kind),
            escape(property)
        );
        Self::new("RetrievePropertiesEx", collector, &rest)
    }

    pub(crate) fn next_properties(collector: &Reference, token: &str) -> Self {
        let rest = format!("<token>{}</token>", escape(token));
        Self::new("ContinueRetrievePropertiesEx", collector, &rest)
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#13;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// What is in the body of an answer.
fn answer<'d, 'i>(document: &'d Document<'i>) -> Result<Node<'d, 'i>, Garbled> {
    let root = document.root_element();
    let body = child(root, "Body").ok_or(Garbled)?;
    body.first_element_child().ok_or(Garbled)
}

fn parse(text: &str) -> Result<Document<'_>, Garbled> {
    let options = ParsingOptions {
        nodes_limit: MOST_NODES,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(text, options).map_err(|_| Garbled)
}

fn child<'d, 'i>(node: Node<'d, 'i>, name: &str) -> Option<Node<'d, 'i>> {
    let mut children = node.children().filter(Node::is_element);
    children.find(|child| child.tag_name().name() == name)
}

/// The type of a value that is none has a namespace.
fn reference(node: Node<'_, '_>) -> Option<Reference> {
    let mut attributes = node.attributes().filter(|attribute| attribute.namespace().is_none());
    let kind = attributes.find(|attribute| attribute.name() == "type")?;
    Some(Reference::new(kind.value(), node.text()?))
}

pub(crate) fn service_content(text: &str) -> Result<ServiceContent, Garbled> {
    let document = parse(text)?;
    let content = child(answer(&document)?, "returnval").ok_or(Garbled)?;
    let field = |name| child(content, name).and_then(reference).ok_or(Garbled);
    Ok(ServiceContent {
        root_folder: field("rootFolder")?,
        property_collector: field("propertyCollector")?,
        view_manager: field("viewManager")?,
        session_manager: field("sessionManager")?,
        search_index: field("searchIndex")?,
    })
}

/// The object that an answer names; none where there is none.
pub(crate) fn found(text: &str) -> Result<Option<Reference>, Garbled> {
    let document = parse(text)?;
    match child(answer(&document)?, "returnval") {
        None => Ok(None),
        Some(value) => reference(value).map(Some).ok_or(Garbled),
    }
}

/// That an answer is no fault is all that counts.
pub(crate) fn done(text: &str) -> Result<(), Garbled> {
    answer(&parse(text)?).map(drop)
}

pub(crate) fn page(text: &str) -> Result<Page, Garbled> {
    let document = parse(text)?;
    let Some(value) = child(answer(&document)?, "returnval") else {
        return Ok(Page::default());
    };
    let mut objects = Vec::new();
    for object in value.children().filter(|child| child.tag_name().name() == "objects") {
        let name = child(object, "obj").and_then(reference).ok_or(Garbled)?;
        let value = child(object, "propSet").and_then(|set| child(set, "val"));
        let property = match value {
            None => Property::Absent,
            Some(value) => match reference(value) {
                Some(reference) => Property::Reference(reference),
                None => Property::Text(value.text().unwrap_or_default().to_owned()),
            },
        };
        objects.push((name, property));
    }
    let next = child(value, "token").and_then(|token| token.text()).map(str::to_owned);
    Ok(Page { objects, next })
}

/// Which fault an answer is.
pub(crate) fn fault(text: &str) -> Fault {
    let kind = |text| {
        let document = parse(text).ok()?;
        let detail = child(answer(&document).ok()?, "detail")?;
        let fault = detail.first_element_child()?;
        let kind = fault.attribute((XSI, "type")).unwrap_or_default();
        Some(kind.rsplit(':').next().unwrap_or_default().to_owned())
    };
    let known = BTreeMap::from([
        ("InvalidLogin", Fault::InvalidLogin),
        ("NoPermission", Fault::NoPermission),
        ("ManagedObjectNotFound", Fault::NotFound),
    ]);
    let kind = kind(text).unwrap_or_default();
    known.get(kind.as_str()).copied().unwrap_or(Fault::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(body: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
             xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
             xmlns:xsi=\"{XSI}\"><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
        )
    }

    /// As a vCenter and its simulator write them.
    #[test]
    fn a_page_has_objects_with_a_property_each() {
        let text = envelope(
            "<RetrievePropertiesExResponse xmlns=\"urn:vim25\"><returnval><token>2</token><objects><obj \
             type=\"VirtualMachine\">vm-1</obj><propSet><name>name</name><val xsi:type=\"xsd:string\">a &amp; b</val>\
             </propSet></objects><objects><obj type=\"Datacenter\">datacenter-2</obj><propSet><name>vmFolder</name><val \
             type=\"Folder\" xsi:type=\"ManagedObjectReference\">group-v3</val></propSet></objects><objects><obj \
             type=\"VirtualMachine\">vm-2</obj></objects></returnval></RetrievePropertiesExResponse>",
        );
        let folder = Property::Reference(Reference::new("Folder", "group-v3"));
        let name = Property::Text("a & b".to_owned());
        assert_eq!(
            page(&text),
            Ok(Page {
                objects: vec![
                    (Reference::new("VirtualMachine", "vm-1"), name),
                    (Reference::new("Datacenter", "datacenter-2"), folder),
                    (Reference::new("VirtualMachine", "vm-2"), Property::Absent),
                ],
                next: Some("2".to_owned()),
            })
        );
        let nothing = envelope("<RetrievePropertiesExResponse xmlns=\"urn:vim25\"/>");
        assert_eq!(page(&nothing), Ok(Page::default()));
        for garbled in [
            "",
            "<a/>",
            "<a><Body/></a>",
            "no",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a><Body><c/></Body></a>",
        ] {
            assert_eq!(page(garbled), Err(Garbled), "{garbled}");
        }
    }

    #[test]
    fn a_fault_is_known_by_its_type() {
        let of = |kind: &str| {
            fault(&envelope(&format!(
                "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>no</faultstring><detail><Fault \
                 xmlns=\"urn:vim25\" xsi:type=\"{kind}\"/></detail></soapenv:Fault>"
            )))
        };
        assert_eq!(of("InvalidLogin"), Fault::InvalidLogin);
        assert_eq!(of("vim25:NoPermission"), Fault::NoPermission);
        assert_eq!(of("ManagedObjectNotFound"), Fault::NotFound);
        assert_eq!(of("SystemError"), Fault::Other);
        assert_eq!(fault("<html>"), Fault::Other);
    }

    #[test]
    fn what_is_sent_can_t_leave_its_element() {
        let call = Call::find_by_path(&Reference::new("SearchIndex", "a\"b"), "DC0/vm/<x>&amp;\n");
        let body = call.body.expose_secret();
        let document = Document::parse(body).unwrap();
        let path = document
            .descendants()
            .find(|node| node.has_tag_name(("urn:vim25", "inventoryPath")));
        assert_eq!(path.and_then(|path| path.text()), Some("DC0/vm/<x>&amp;\n"));
    }
}
