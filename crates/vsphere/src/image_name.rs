//! How a machine template names a VM template, as Cluster API Provider vSphere reads it.

use crate::soap::Reference;

/// What a text names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageName<'a> {
    /// By its place in the inventory, from the root on.
    Path(Vec<&'a str>),
    /// By its place below the folder for VMs of the datacenter.
    BelowDatacenter(Vec<&'a str>),
    /// By its name alone, wherever it is in the datacenter.
    Name(&'a str),
    /// By its instance UUID, else by its name.
    Uuid(&'a str),
    Reference(Reference),
    /// In a way that isn't looked up, and this is why.
    Other(&'static str),
}

impl<'a> ImageName<'a> {
    pub(crate) fn read(text: &'a str) -> Self {
        let parts = || {
            text.split('/')
                .filter(|part| !part.is_empty() && *part != ".")
                .collect::<Vec<_>>()
        };
        if text.contains(['*', '?', '[']) {
            return Self::Other("it is a pattern, and patterns are not looked up");
        }
        if text.split('/').any(|part| part == "..") {
            return Self::Other("it has a part .., which the provider doesn't take");
        }
        if text.starts_with('/') {
            Self::Path(parts())
        } else if text.contains('/') {
            Self::BelowDatacenter(parts())
        } else if is_uuid(text) {
            Self::Uuid(text)
        } else if let Some(id) = text.strip_prefix("VirtualMachine:") {
            Self::Reference(Reference::new("VirtualMachine", id))
        } else {
            Self::Name(text)
        }
    }
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let is_hexadecimal = text
        .chars()
        .all(|character| character == '-' || character.is_ascii_hexdigit());
    is_hexadecimal && lengths == [8, 4, 4, 4, 12]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_as_the_provider_reads_it() {
        for (text, read) in [
            ("/DC0/vm/t", ImageName::Path(vec!["DC0", "vm", "t"])),
            ("/DC0//vm/./t/", ImageName::Path(vec!["DC0", "vm", "t"])),
            ("templates/t", ImageName::BelowDatacenter(vec!["templates", "t"])),
            ("./t", ImageName::BelowDatacenter(vec!["t"])),
            ("t", ImageName::Name("t")),
            (
                "4216f9e7-1a2b-3c4d-5e6f-0123456789ab",
                ImageName::Uuid("4216f9e7-1a2b-3c4d-5e6f-0123456789ab"),
            ),
            (
                "VirtualMachine:vm-57",
                ImageName::Reference(Reference::new("VirtualMachine", "vm-57")),
            ),
            (
                "/DC0/vm/t*",
                ImageName::Other("it is a pattern, and patterns are not looked up"),
            ),
            (
                "../t",
                ImageName::Other("it has a part .., which the provider doesn't take"),
            ),
        ] {
            assert_eq!(ImageName::read(text), read, "{text}");
        }
    }
}
