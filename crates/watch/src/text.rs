//! Objects as the text that the API server sends: what is watched is of one type, whatever its kind, so the program has the
//! loop of a watch once and not once for each kind.

use std::{borrow::Cow, marker::PhantomData, sync::OnceLock};

use futures::{Stream, StreamExt, stream::BoxStream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Client, Resource,
    core::DynamicResourceScope,
    discovery::ApiResource,
    runtime::watcher::{self, Error, Event, watcher},
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{Counts, Key, Namespaces, Sink, WatchState};

/// An object, not decoded yet.
pub(crate) type Text = Box<RawValue>;

/// How much of each object is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All.
    Whole,
    /// Its metadata.
    Metadata,
}

impl Extent {
    /// As much as a type has.
    pub(crate) fn of<O: Resource>() -> Self {
        if O::metadata_api() { Self::Metadata } else { Self::Whole }
    }
}

/// The events of a watch.
pub(crate) fn events(
    client: Client,
    resource: &ApiResource,
    namespaces: &Namespaces,
    extent: Extent,
    config: watcher::Config,
) -> BoxStream<'static, Result<Event<Text>, Error>> {
    match extent {
        Extent::Whole => texts(watcher(namespaces.api::<Object<Whole>>(client, resource), config)).boxed(),
        Extent::Metadata => texts(watcher(namespaces.api::<Object<Metadata>>(client, resource), config)).boxed(),
    }
}

fn texts<W>(
    events: impl Stream<Item = Result<Event<Object<W>>, Error>>,
) -> impl Stream<Item = Result<Event<Text>, Error>> {
    events.map(|event| {
        Ok(match event? {
            Event::Apply(object) => Event::Apply(object.text),
            Event::Delete(object) => Event::Delete(object.text),
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(object.text),
            Event::InitDone => Event::InitDone,
        })
    })
}

/// Takes in what a watch brings as text.
pub(crate) trait TextSink: Send {
    /// The error says which object can't be decoded, as far as it says that itself, and why.
    fn apply(&mut self, event: Event<Text>) -> Result<(), String>;

    fn abandon_list(&mut self);

    fn set_state(&mut self, state: WatchState);

    fn counts(&self) -> Counts;
}

/// Decodes each object for a sink of its kind.
pub(crate) struct Decoding<'s, O, S> {
    sink: &'s mut S,
    objects: PhantomData<fn() -> O>,
}

impl<'s, O, S: Sink<O>> Decoding<'s, O, S> {
    pub(crate) fn into(sink: &'s mut S) -> Self {
        Self {
            sink,
            objects: PhantomData,
        }
    }
}

impl<O: DeserializeOwned, S: Sink<O>> TextSink for Decoding<'_, O, S> {
    fn apply(&mut self, event: Event<Text>) -> Result<(), String> {
        let decode = |text: Text| serde_json::from_str::<O>(text.get()).map_err(|error| with_name(&text, &error));
        let event = match event {
            Event::Apply(text) => Event::Apply(decode(text)?),
            Event::Delete(text) => Event::Delete(decode(text)?),
            Event::Init => Event::Init,
            Event::InitApply(text) => Event::InitApply(decode(text)?),
            Event::InitDone => Event::InitDone,
        };
        self.sink.apply(event);
        Ok(())
    }

    fn abandon_list(&mut self) {
        self.sink.abandon_list();
    }

    fn set_state(&mut self, state: WatchState) {
        self.sink.set_state(state);
    }

    fn counts(&self) -> Counts {
        self.sink.counts()
    }
}

/// An object, as kube's watcher takes it.
#[derive(Clone, Debug)]
struct Object<W> {
    text: Text,
    /// Its resourceVersion alone, which is read where an event of a watch comes: those of a list have the list's.
    read: OnceLock<ObjectMeta>,
    /// The same, where someone changes it.
    changed: Option<ObjectMeta>,
    of: PhantomData<W>,
}

#[derive(Clone, Debug)]
struct Whole;

#[derive(Clone, Debug)]
struct Metadata;

trait Asks {
    const EXTENT: Extent;
}

impl Asks for Whole {
    const EXTENT: Extent = Extent::Whole;
}

impl Asks for Metadata {
    const EXTENT: Extent = Extent::Metadata;
}

impl<'de, W> Deserialize<'de> for Object<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // In an event of a watch API servers write the type before the object, so it is text here too: were it the
        // other way round, serde would have read the object before, and this were an error.
        Ok(Self {
            text: Text::deserialize(deserializer)?,
            read: OnceLock::new(),
            changed: None,
            of: PhantomData,
        })
    }
}

fn resource_version_of(text: &RawValue) -> ObjectMeta {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Outer {
        metadata: Inner,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Inner {
        resource_version: Option<String>,
    }
    // Without one kube lists again; and what is no object is an error where it is decoded.
    let read: Outer = serde_json::from_str(text.get()).unwrap_or_default();
    ObjectMeta {
        resource_version: read.metadata.resource_version,
        ..ObjectMeta::default()
    }
}

impl<W: Asks> Resource for Object<W> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn metadata_api() -> bool {
        W::EXTENT == Extent::Metadata
    }

    fn meta(&self) -> &ObjectMeta {
        let read = || self.read.get_or_init(|| resource_version_of(&self.text));
        self.changed.as_ref().unwrap_or_else(read)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.changed.get_or_insert_with(|| resource_version_of(&self.text))
    }
}

/// An error of decoding, with the object's namespace and name in front.
fn with_name(text: &RawValue, error: &serde_json::Error) -> String {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Outer {
        metadata: Inner,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Inner {
        namespace: Option<String>,
        name: Option<String>,
    }
    // What has neither, or none that is text, is named by nothing.
    let Outer { metadata } = serde_json::from_str(text.get()).unwrap_or_default();
    let (namespace, name) = (
        metadata.namespace.unwrap_or_default(),
        metadata.name.unwrap_or_default(),
    );
    if namespace.is_empty() && name.is_empty() {
        error.to_string()
    } else {
        format!("{}: {error}", Key::new(&namespace, &name))
    }
}

#[cfg(test)]
mod tests {
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::json;

    use super::*;

    /// An event of a watch names its type first, and the object is text behind it.
    #[test]
    fn it_is_read_out_of_a_list_and_out_of_an_event() {
        let object = r#"{"metadata": {"name": "md", "resourceVersion": "7"}, "spec": {"clusterName": "c"}}"#;
        let event = format!(r#"{{"type": "ADDED", "object": {object}}}"#);
        match serde_json::from_str::<WatchEvent<Object<Whole>>>(&event).unwrap() {
            WatchEvent::Added(read) => {
                assert_eq!(read.text.get(), object);
                assert_eq!(read.meta().resource_version.as_deref(), Some("7"));
            }
            event => panic!("{event:?}"),
        }
        let list = format!(r#"{{"metadata": {{"resourceVersion": "7"}}, "items": [{object}]}}"#);
        let list: ObjectList<Object<Whole>> = serde_json::from_str(&list).unwrap();
        assert_eq!(list.items[0].text.get(), object);
    }

    #[test]
    fn what_has_no_resource_version_has_none() {
        for text in [json!({"metadata": {}}), json!({}), json!(1), json!({"metadata": 1})] {
            let text = serde_json::value::to_raw_value(&text).unwrap();
            assert_eq!(resource_version_of(&text), ObjectMeta::default());
        }
    }

    #[test]
    fn an_error_names_the_object() {
        for (text, named) in [
            (
                json!({"metadata": {"namespace": "ns", "name": "md", "managedFields": 1}}),
                "ns/md: ",
            ),
            (json!({"metadata": {"name": "c"}, "spec": 1}), "c: "),
            (json!({"metadata": {"namespace": "ns"}}), "ns/: "),
            (json!({"metadata": {"name": 1}}), ""),
            (json!([]), ""),
        ] {
            let text = serde_json::value::to_raw_value(&text).unwrap();
            let error = serde_json::from_str::<u8>("true").unwrap_err();
            assert_eq!(with_name(&text, &error), format!("{named}{error}"));
        }
    }
}
